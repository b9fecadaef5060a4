//! Names that clients choose, and what is made of them. Pure.

use mainstay_types::ConsumerName;

/// What consumers of this engine's credentials are called in front of their role's name.
const CONSUMER_PREFIX: &str = "secrets-";
/// The longest name of a consumer: a DNS label.
const CONSUMER_LENGTH: usize = 63;

/// Whether a configuration or role may be called this: Vault's generic name, letters, digits and `_`, with `-` and `.`
/// within.
pub(crate) fn fits(name: &str) -> bool {
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.starts_with(word) && name.ends_with(word) && name.chars().all(|letter| word(letter) || "-.".contains(letter))
}

/// Whether a role is among those that a configuration allows. A `*` at the beginning or the end of one stands for
/// anything, as in Vault.
pub(crate) fn allowed(role: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        _ if pattern == "*" => true,
        (Some(rest), Some(_)) => role.contains(rest.strip_suffix('*').unwrap_or(rest)),
        (Some(end), None) => role.ends_with(end),
        (None, Some(begin)) => role.starts_with(begin),
        (None, None) => role == pattern,
    })
}

/// The consumer that a role's credentials are listed for.
pub(crate) fn consumer(role: &str) -> ConsumerName {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let mut name: String = CONSUMER_PREFIX.chars().chain(role.chars().map(letter)).take(CONSUMER_LENGTH).collect();
    name.truncate(name.trim_end_matches('-').len());
    name.parse().expect("small letters, digits and dashes, with a letter at both ends, are a DNS label")
}

#[cfg(test)]
mod tests {
    use super::{allowed, consumer, fits};

    #[test]
    fn names() {
        for good in ["a", "_", "my-role", "a.b", "A1_"] {
            assert!(fits(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".a", "a/b", "a b", "ä", "a'"] {
            assert!(!fits(bad), "{bad}");
        }
    }

    #[test]
    fn allowed_roles() {
        let table = [
            ("app", "app", true),
            ("app", "*", true),
            ("app-ro", "app-*", true),
            ("app-ro", "*-ro", true),
            ("my-app-ro", "*app*", true),
            ("app", "app-*", false),
            ("app", "App", false),
            ("app", "", false),
            ("a*b", "a*c", false),
        ];
        for (role, pattern, expected) in table {
            assert_eq!(allowed(role, &[pattern.to_owned()]), expected, "{role} {pattern}");
        }
        assert!(!allowed("app", &[]));
    }

    #[test]
    fn consumers() {
        for (role, name) in [("app", "secrets-app"), ("My_App.RO", "secrets-my-app-ro"), ("__", "secrets")] {
            assert_eq!(consumer(role).as_str(), name);
        }
        let long = consumer(&format!("{}-{}", "x".repeat(54), "y".repeat(40)));
        assert_eq!(long.as_str(), format!("secrets-{}", "x".repeat(54)));
    }
}
