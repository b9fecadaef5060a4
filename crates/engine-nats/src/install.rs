//! The server that is installed on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest version that is used: that of Debian 12, which all that is written here was tried with.
const OLDEST: (u32, u32) = (2, 9);
/// How to install what is missing.
pub(crate) const INSTALL_REMEDY: &str = "install it with: apt-get install nats-server";
/// Where it is looked for. The search path of whoever started us is not trusted.
const PLACES: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

/// A server that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installation {
    pub program: PathBuf,
    /// For example `2.9.10`.
    pub version: String,
}

/// The server to use; with a configured directory the one in there alone. An error says why there is none.
pub(crate) fn installed(configured: Option<&Path>) -> Result<Installation, String> {
    let places: Vec<&Path> = configured.map_or_else(|| PLACES.map(Path::new).to_vec(), |bin| vec![bin]);
    let mut reason = match configured {
        Some(bin) => format!("there is no nats-server in {}", bin.display()),
        None => "nats-server is not installed".to_owned(),
    };
    for program in places.iter().map(|place| place.join("nats-server")) {
        let Ok(output) = Command::new(&program).arg("--version").env_clear().output() else { continue };
        let text = String::from_utf8_lossy(&output.stdout);
        match parse_version(&text) {
            Some((number, version)) if number >= OLDEST => return Ok(Installation { program, version }),
            Some((_, version)) => {
                reason = format!("{} is version {version}, and {}.{} is needed", program.display(), OLDEST.0, OLDEST.1);
            }
            None => reason = format!("{} does not tell its version", program.display()),
        }
    }
    Err(reason)
}

/// Whether a server of this version answers requests about the whole server to its own account alone. Until 2.10.27, and in 2.11.0,
/// it answered some of them, such as to purge another account, to every account (CVE-2025-30215).
pub fn confines_accounts(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let mut next = || numbers.next().unwrap_or_default();
    match (next(), next(), next()) {
        (2, 10, patch) => patch >= 27,
        (2, 11, patch) => patch >= 1,
        (major, minor, _) => (major, minor) > (2, 11),
    }
}

/// `nats-server: v2.9.10`.
fn parse_version(text: &str) -> Option<((u32, u32), String)> {
    let version = text.trim().strip_prefix("nats-server: v")?;
    let mut parts = version.split('.');
    let number = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((number, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{confines_accounts, installed, parse_version};

    #[test]
    fn versions() {
        for (text, expected) in [
            ("nats-server: v2.9.10\n", Some(((2, 9), "2.9.10"))),
            ("nats-server: v2.12.0-RC.1\n", Some(((2, 12), "2.12.0-RC.1"))),
            ("something else v2.9.10", None),
        ] {
            assert_eq!(parse_version(text), expected.map(|(number, version)| (number, version.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn accounts_are_confined_by_versions_that_were_mended() {
        for (version, expected) in [
            ("2.9.10", false),
            ("2.10.26", false),
            ("2.10.27", true),
            ("2.11.0", false),
            ("2.11.1", true),
            ("2.12.0-RC.1", true),
            ("3.0.0", true),
            ("", false),
            ("unknown", false),
        ] {
            assert_eq!(confines_accounts(version), expected, "{version}");
        }
    }

    #[test]
    fn an_empty_directory_has_none() {
        assert!(installed(Some(Path::new("/nonexistent"))).unwrap_err().contains("/nonexistent"));
    }
}
