//! Credentials as variables of a shell or a process.

use secrecy::{ExposeSecret, SecretString};

use crate::resource::Bound;

/// One variable of one binding.
pub(crate) struct Variable<'a> {
    pub name: String,
    pub value: &'a SecretString,
}

/// The variables of a binding: `SHOP_URI`, `SHOP_HOST`, ...
pub(crate) fn variables(bound: &Bound) -> Vec<Variable<'_>> {
    let named = |(key, value): (&String, _)| (variable_name(Some(bound.instance.as_str()), key), value);
    let credentials = bound.credentials.iter();
    credentials
        .map(|(key, credential)| named((key, &credential.0)))
        .map(|(name, value)| Variable { name, value })
        .collect()
}

// === impl Variable ===

impl Variable<'_> {
    /// `NAME=value`, which a shell reads as this value and nothing else.
    pub fn line(&self) -> String {
        format!("{}={}", self.name, quoted(self.value.expose_secret()))
    }
}

/// Upper snake case; what a variable's name cannot hold becomes an underscore.
pub(crate) fn variable_name(prefix: Option<&str>, key: &str) -> String {
    let joined = prefix.map_or_else(|| key.to_owned(), |prefix| format!("{prefix}_{key}"));
    let name: String = joined
        .chars()
        .map(|symbol| if symbol.is_ascii_alphanumeric() { symbol.to_ascii_uppercase() } else { '_' })
        .collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// A word of POSIX shell (IEEE 1003.1, section 2.2.2). Plain words stay bare, so that `docker --env-file` and other
/// readers that know no quotes take them too.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(&byte);
    if !value.is_empty() && value.bytes().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{quoted, variable_name};

    #[test]
    fn names_are_upper_snake_case() {
        let cases = [
            (("shop", "uri"), "SHOP_URI"),
            (("shop-2", "access-key-id"), "SHOP_2_ACCESS_KEY_ID"),
            (("0db", "host"), "_0DB_HOST"),
            (("a", "we;ird\n"), "A_WE_IRD_"),
        ];
        for ((instance, key), expected) in cases {
            assert_eq!(variable_name(Some(instance), key), expected);
        }
    }

    #[test]
    fn a_shell_reads_back_what_was_written() {
        let values = [
            "",
            "plain",
            "postgresql://u:p@h:5432/d?sslmode=disable&x=1",
            "it's",
            "$(touch /tmp/x) `id` $HOME",
            "a\nb",
            "a\\nb",
            "-n",
            "*",
            "~",
            "ü",
            "'\"'\"'",
            "!x",
            "#x",
        ];
        for value in values {
            let script = format!("eval \"$1\"; printf %s \"$A\" # {}", "");
            let output =
                Command::new("sh").args(["-c", &script, "sh", &format!("A={}", quoted(value))]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
        assert_eq!(quoted("b_x:secret@127.0.0.1:7432"), "b_x:secret@127.0.0.1:7432");
    }
}
