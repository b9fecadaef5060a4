//! The server's program on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_engine::EngineError;

use crate::config::Flavour;

/// Where programs are looked for: what a user's `PATH` says is not trusted.
const PLACES: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

/// A server's version, as numbers so that versions can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub major: u16,
    pub minor: u16,
    pub patch: u16,
}

/// The program and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installation {
    pub program: PathBuf,
    pub version: Version,
}

impl Version {
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// `7.0.15`; what follows the third number is left out.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|part| {
            let digits = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse::<u16>()
        });
        let mut next = || numbers.next()?.ok();
        Some(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The oldest version that is used: the first with functions, selectors in ACLs and a port that opens while it runs.
pub(crate) fn oldest(flavour: Flavour) -> Version {
    match flavour {
        Flavour::Redis => Version::new(7, 0, 0),
        Flavour::Valkey => Version::new(7, 2, 0),
    }
}

/// How to install what is missing.
pub(crate) fn remedy(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Redis => "install it with: apt-get install redis-server",
        Flavour::Valkey => "install it with: apt-get install valkey-server (Debian 13 or newer)",
    }
}

/// The program, where it is installed in a version that can be used.
pub(crate) fn installed(flavour: Flavour, configured: Option<&Path>) -> Option<Installation> {
    let found = candidates(flavour, configured).filter_map(|program| look(flavour, program));
    found.into_iter().find(|installation| installation.version >= oldest(flavour))
}

/// Where the program is, whichever version it has: to ask takes as long as to start.
pub(crate) fn program(flavour: Flavour, configured: Option<&Path>) -> Option<PathBuf> {
    candidates(flavour, configured).find(|program| program.exists())
}

/// The error that says how to install it.
pub(crate) fn not_installed(flavour: Flavour, configured: Option<&Path>) -> EngineError {
    EngineError::permanent(missing(flavour, configured), remedy(flavour))
}

fn candidates(flavour: Flavour, configured: Option<&Path>) -> impl Iterator<Item = PathBuf> {
    let places = match configured {
        Some(directory) => vec![directory.to_owned()],
        None => PLACES.iter().map(PathBuf::from).collect(),
    };
    let name = format!("{}-server", flavour.name());
    places.into_iter().map(move |place| place.join(&name))
}

/// What is missing.
pub(crate) fn missing(flavour: Flavour, configured: Option<&Path>) -> String {
    let (name, oldest) = (flavour.name(), oldest(flavour));
    match configured {
        Some(directory) => format!("no {name}-server {oldest} or newer in {}", directory.display()),
        None => format!("no {name}-server {oldest} or newer is installed"),
    }
}

fn look(flavour: Flavour, program: PathBuf) -> Option<Installation> {
    let output = Command::new(&program).arg("--version").output().ok()?;
    let version = parse_version(flavour, &String::from_utf8_lossy(&output.stdout))?;
    Some(Installation { program, version })
}

/// `Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0`.
fn parse_version(flavour: Flavour, text: &str) -> Option<Version> {
    let (server, rest) = text.split_once(" server v=")?;
    server.eq_ignore_ascii_case(flavour.name()).then(|| Version::parse(rest))?
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Flavour, Version, installed, parse_version};

    #[test]
    fn versions() {
        let version = |major, minor, patch| Some(Version::new(major, minor, patch));
        for (flavour, text, expected) in [
            (Flavour::Redis, "Redis server v=7.0.15 sha=00000000:0 malloc=libc\n", version(7, 0, 15)),
            (Flavour::Valkey, "Valkey server v=9.1.2 sha=00000000:1 malloc=libc\n", version(9, 1, 2)),
            (Flavour::Redis, "Redis server v=8.0.0-rc1 sha=0\n", version(8, 0, 0)),
            // A link from one name to the other is not the engine that was asked for.
            (Flavour::Redis, "Valkey server v=9.1.2 sha=00000000:1\n", None),
            (Flavour::Redis, "something else", None),
        ] {
            assert_eq!(parse_version(flavour, text), expected, "{text:?}");
        }
        assert!(Version::new(7, 0, 15) < Version::new(7, 2, 0));
    }

    #[test]
    fn an_empty_directory_has_none() {
        assert_eq!(installed(Flavour::Redis, Some(Path::new("/nonexistent"))), None);
    }
}
