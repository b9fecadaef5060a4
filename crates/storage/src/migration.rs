//! Forward-only schema migrations: what is pending is decided purely, each driver carries it out.

use mainstay_types::Digest;

use crate::driver::Service;
use crate::error::OpenError;

/// One step of a schema, with its text for each database. A released step never changes: its digest is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1, 2, 3, ... without gaps.
    pub version: u32,
    /// What it brings, in a few words.
    pub name: &'static str,
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

/// A migration that a store has recorded as done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub version: u32,
    pub digest: String,
}

/// The migrations that a store still needs, in order.
pub(crate) fn pending<'a>(
    service: Service,
    known: &'a [Migration],
    text: fn(&Migration) -> &'static str,
    applied: &[Applied],
) -> Result<&'a [Migration], OpenError> {
    debug_assert!(known.iter().zip(1..).all(|(migration, version)| migration.version == version));
    for (done, expected) in applied.iter().zip(1..) {
        let Some(migration) = known.get(expected as usize - 1) else {
            let found = applied.iter().map(|applied| applied.version).max().unwrap_or(expected);
            return Err(OpenError::Newer { service, found, known: known.len() as u32 });
        };
        if done.version != expected || done.digest != digest(text(migration)) {
            return Err(OpenError::ForeignMigration { service, version: expected });
        }
    }
    Ok(&known[applied.len()..])
}

/// What is recorded of a migration's text.
pub(crate) fn digest(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Applied, Migration, digest, pending};
    use crate::driver::Service;
    use crate::error::OpenError;

    const KNOWN: [Migration; 2] = [
        Migration { version: 1, name: "first", sqlite: "one", postgres: "" },
        Migration { version: 2, name: "second", sqlite: "two", postgres: "" },
    ];

    fn check(applied: &[(u32, &str)]) -> Result<Vec<u32>, OpenError> {
        let applied: Vec<_> =
            applied.iter().map(|&(version, text)| Applied { version, digest: digest(text) }).collect();
        let rest = pending(Service::Journal, &KNOWN, |migration| migration.sqlite, &applied)?;
        Ok(rest.iter().map(|migration| migration.version).collect())
    }

    #[test]
    fn only_what_is_missing_is_pending() {
        assert_eq!(check(&[]).unwrap(), [1, 2]);
        assert_eq!(check(&[(1, "one")]).unwrap(), [2]);
        assert_eq!(check(&[(1, "one"), (2, "two")]).unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn a_newer_or_foreign_history_is_refused() {
        let newer = check(&[(1, "one"), (2, "two"), (3, "three")]);
        assert!(matches!(newer, Err(OpenError::Newer { found: 3, known: 2, .. })));
        assert!(matches!(check(&[(1, "eins")]), Err(OpenError::ForeignMigration { version: 1, .. })));
        assert!(matches!(check(&[(2, "two")]), Err(OpenError::ForeignMigration { version: 1, .. })));
    }
}
