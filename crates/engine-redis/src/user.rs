//! ACL users as a server tells them, and what is known of a credential besides its rights. Pure.
//!
//! A server keeps of a user nothing but its rights. What else we have to know of a credential, its instance and its end, is
//! written as a selector of its user that names a pattern of keys and allows no command on them:
//! `(~mainstay:INSTANCE:SECONDS)`. It allows nothing, and it is written, saved and removed with the user.

use std::collections::BTreeMap;

use mainstay_engine::CredentialSpec;
use mainstay_types::{InstanceId, Timestamp};

/// Who we are to a server.
pub(crate) const ADMIN: &str = "mainstay";
/// Whom a server takes everybody for who has not proved who he is, and itself when it reads its append-only file: it drops each
/// transaction there that this user may not carry out. So it may everything, and nobody can be it: it is off and has no password.
pub(crate) const DEFAULT: &str = "default";
/// What makes it so.
pub(crate) const DEFAULT_RULES: [&str; 5] = ["reset", "off", "~*", "&*", "+@all"];
/// Who a source is followed as, while its data moves to another cluster.
pub(crate) const FOLLOWER: &str = "mainstay-follower";
/// Beginnings of the names of users that stand for credentials and instances.
const CREDENTIAL: &str = "b_";
const INSTANCE: &str = "i_";

/// A user, parsed from its line in the answer to `ACL LIST`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub enabled: bool,
    /// SHA-256 of its passwords, in hexadecimal.
    pub passwords: Vec<String>,
    /// Patterns of keys (`~a:*`) and channels (`&a:*`), sorted.
    pub patterns: Vec<String>,
    /// Its flags and commands, as the server puts them.
    pub rules: Vec<String>,
    pub note: Option<Note>,
    /// Whether it has a selector that is no note.
    pub selectors: bool,
}

/// What we keep of a credential in its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// The suffix of its instance's id.
    pub instance: String,
    /// When it ends, in seconds since the epoch.
    pub valid_until: i64,
}

impl Note {
    /// What is written for a credential.
    pub fn of(credential: &CredentialSpec) -> Self {
        Self { instance: credential.instance.suffix().to_owned(), valid_until: seconds(credential.valid_until) }
    }

    /// The selector that it is written as.
    pub fn selector(&self) -> String {
        format!("(~{ADMIN}:{}:{})", self.instance, self.valid_until)
    }

    fn parse(selector: &str) -> Option<Self> {
        let mut words = selector.split_ascii_whitespace();
        let (instance, seconds) =
            words.next()?.strip_prefix('~')?.strip_prefix(ADMIN)?.strip_prefix(':')?.split_once(':')?;
        // No command is allowed by it, and no channel.
        let nothing_else = words.all(|word| matches!(word, "resetchannels" | "-@all" | "alldbs"));
        nothing_else.then_some(Self { instance: instance.to_owned(), valid_until: seconds.parse().ok()? })
    }
}

/// The user that stands for an instance.
pub(crate) fn instance_user(instance: &InstanceId) -> String {
    format!("{INSTANCE}{}", instance.suffix())
}

/// Whether a user is a credential's or an instance's, and so goes along when the data moves.
pub(crate) fn belongs_to_tenants(name: &str) -> bool {
    name.starts_with(CREDENTIAL) || name.starts_with(INSTANCE)
}

impl User {
    /// Whether it is what the default user has to be.
    pub fn is_default_shut_off(&self) -> bool {
        !self.enabled && self.passwords.is_empty() && !self.rules.iter().any(|rule| rule == "nopass")
    }

    /// Whether it may replay what anybody did.
    pub fn may_everything(&self) -> bool {
        self.rules == ["+@all"] && self.patterns == ["&*", "~*"]
    }

    /// The rules that make it again elsewhere, with the commands that credentials have there.
    pub fn acl(&self, commands: &[&'static str]) -> Vec<String> {
        let mut rules = vec!["reset".to_owned()];
        let Some(note) = &self.note else { return rules };
        rules.push(if self.enabled { "on" } else { "off" }.to_owned());
        rules.extend(self.passwords.iter().map(|hash| format!("#{hash}")));
        rules.extend(self.patterns.iter().cloned());
        rules.extend(commands.iter().map(|&rule| rule.to_owned()));
        rules.push(note.selector());
        rules
    }
}

/// The users that a server lists, by name.
pub(crate) fn parse_list(lines: &[String]) -> BTreeMap<String, User> {
    lines.iter().filter_map(|line| parse_line(line)).collect()
}

/// `user NAME on #HASH ~KEYS &CHANNELS +@all (SELECTOR)`.
pub(crate) fn parse_line(line: &str) -> Option<(String, User)> {
    let (name, mut rest) = line.strip_prefix("user ")?.split_once(' ')?;
    let mut user = User::default();
    while let Some((before, selector, after)) = cut_selector(rest) {
        parse_words(before, &mut user);
        match Note::parse(selector) {
            Some(note) if user.note.is_none() => user.note = Some(note),
            _ => user.selectors = true,
        }
        rest = after;
    }
    parse_words(rest, &mut user);
    user.patterns.sort();
    Some((name.to_owned(), user))
}

/// What is before the first selector, in it, and after it.
fn cut_selector(text: &str) -> Option<(&str, &str, &str)> {
    let begin = text.find(" (")?;
    let inner = &text[begin + 2..];
    let end = inner.find(')')?;
    Some((&text[..begin], &inner[..end], &inner[end + 1..]))
}

fn parse_words(text: &str, user: &mut User) {
    for word in text.split_ascii_whitespace() {
        match word {
            "on" => user.enabled = true,
            // What a user has from the beginning is told by some versions and not by others.
            "off" | "sanitize-payload" | "resetchannels" | "alldbs" => {}
            _ if word.starts_with('#') => user.passwords.push(word[1..].to_owned()),
            _ if word.starts_with(['~', '&', '%']) => user.patterns.push(word.to_owned()),
            _ => user.rules.push(word.to_owned()),
        }
    }
}

/// Whole seconds since the epoch.
fn seconds(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::{Note, User, parse_line};

    #[test]
    fn lines_of_both_servers() {
        let note = Some(Note { instance: "abc".to_owned(), valid_until: 123 });
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let user = User {
            enabled: true,
            passwords: words(&["86f6"]),
            patterns: words(&["&*", "~*"]),
            rules: words(&["+@all", "-@admin"]),
            note: note.clone(),
            selectors: false,
        };
        for (line, expected) in [
            (
                "user t on sanitize-payload #86f6 ~* &* +@all -@admin (~mainstay:abc:123 resetchannels -@all)",
                user.clone(),
            ),
            ("user t on #86f6 ~* &* alldbs +@all -@admin (~mainstay:abc:123 resetchannels alldbs -@all)", user.clone()),
            (
                "user t off nopass resetchannels -@all (~mainstay:abc:123 resetchannels -@all) (~* &* +get)",
                User { rules: words(&["nopass", "-@all"]), note: note.clone(), selectors: true, ..User::default() },
            ),
            // A note that allows something is none.
            (
                "user t off resetchannels -@all (~mainstay:abc:123 resetchannels -@all +get)",
                User { rules: words(&["-@all"]), selectors: true, ..User::default() },
            ),
        ] {
            assert_eq!(parse_line(line), Some(("t".to_owned(), expected)), "{line}");
        }
        assert_eq!(parse_line("something else"), None);
    }

    #[test]
    fn a_note_is_read_as_it_is_written() {
        let note = Note { instance: "abc".to_owned(), valid_until: 1_790_000_000 };
        let selector = note.selector();
        assert_eq!(Note::parse(selector.trim_matches(['(', ')'])), Some(note));
    }
}
