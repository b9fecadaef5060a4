//! The PostgreSQL programs that are installed on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest version that is used: the first that denies the schema `public` to everyone.
pub(crate) const OLDEST_MAJOR: u32 = 15;
/// How to install what is missing.
pub(crate) const INSTALL_REMEDY: &str = "install it with: apt-get install postgresql";
/// Where Debian and the RPMs of the PostgreSQL project put each major version.
const PLACES: [(&str, &str, &str); 2] = [("/usr/lib/postgresql", "", "bin"), ("/usr", "pgsql-", "bin")];

/// One version's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installation {
    pub bin: PathBuf,
    pub major: u32,
    /// For example `15.18`.
    pub version: String,
}

impl Installation {
    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// All that can be used, the newest first. With a configured directory that one alone.
pub(crate) fn installed(configured: Option<&Path>) -> Vec<Installation> {
    let candidates = match configured {
        Some(bin) => vec![bin.to_owned()],
        None => PLACES.iter().flat_map(|(base, prefix, bin)| versions_in(base, prefix, bin)).collect(),
    };
    let mut found: Vec<Installation> = candidates.into_iter().filter_map(|bin| look(&bin)).collect();
    found.retain(|installation| installation.major >= OLDEST_MAJOR);
    found.sort_by_key(|installation| std::cmp::Reverse(installation.major));
    found
}

fn versions_in(base: &str, prefix: &str, bin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let is_version = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u32>().is_ok());
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_version))
        .map(|entry| entry.path().join(bin))
        .collect()
}

fn look(bin: &Path) -> Option<Installation> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let (major, version) = parse_version(&String::from_utf8_lossy(&output.stdout))?;
    bin.join("initdb").exists().then(|| Installation { bin: bin.to_owned(), major, version })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_version(text: &str) -> Option<(u32, String)> {
    let version = text.strip_prefix("postgres (PostgreSQL) ")?.split_ascii_whitespace().next()?;
    let digits = version.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(version.len());
    Some((version[..digits].parse().ok()?, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{installed, parse_version};

    #[test]
    fn versions() {
        for (text, expected) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some((15, "15.18"))),
            ("postgres (PostgreSQL) 17.2\n", Some((17, "17.2"))),
            ("postgres (PostgreSQL) 19beta1\n", Some((19, "19beta1"))),
            ("something else 15.1", None),
        ] {
            assert_eq!(parse_version(text), expected.map(|(major, version)| (major, version.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn an_empty_directory_has_none() {
        assert!(installed(Some(Path::new("/nonexistent"))).is_empty());
    }
}
