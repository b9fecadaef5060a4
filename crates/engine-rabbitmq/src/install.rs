//! The RabbitMQ that is installed on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use mainstay_engine::EngineError;

use crate::config::RabbitmqConfig;

/// The oldest version that is used: Debian 12's.
pub(crate) const OLDEST: &str = "3.10";
/// How to install what is missing.
pub(crate) const INSTALL_REMEDY: &str = "install it with: apt-get install rabbitmq-server";
/// Where packages put each version, in a directory `rabbitmq_server-VERSION`.
const PLACE: &str = "/usr/lib/rabbitmq/lib";
/// Programs that a node needs besides its own: Erlang, and what ends its epmd with it.
const NEEDED: [&str; 3] = ["erl", "epmd", "setpriv"];
/// Where the node looks for them; what our own `PATH` says is not trusted.
const PROGRAM_PLACES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installation {
    /// The program itself and not the one in `/usr/sbin`, which changes the user and reads the machine's settings.
    pub server: PathBuf,
    /// For example `3.10.8`.
    pub version: String,
}

/// Why there is none that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub reason: String,
}

impl Installation {
    /// The newest, or the one in the configured directory.
    pub fn find(config: &RabbitmqConfig) -> Result<Self, Missing> {
        let found = match &config.bin_dir {
            Some(bin) => look(bin).into_iter().collect(),
            None => installed(Path::new(PLACE)),
        };
        let newest = found.into_iter().max_by_key(|installation| numbers(&installation.version));
        let Some(newest) = newest.filter(|newest| numbers(&newest.version) >= numbers(OLDEST)) else {
            let place = config.bin_dir.as_deref().map(|bin| format!(" in {}", bin.display())).unwrap_or_default();
            return Err(Missing { reason: format!("no RabbitMQ {OLDEST} or newer is installed{place}") });
        };
        let is_there = |program: &str| PROGRAM_PLACES.iter().any(|place| Path::new(place).join(program).exists());
        match NEEDED.into_iter().find(|program| !is_there(program)) {
            None => Ok(newest),
            Some(program) => {
                let places = PROGRAM_PLACES.join(", ");
                Err(Missing { reason: format!("RabbitMQ needs the program {program}, which is in none of {places}") })
            }
        }
    }
}

impl From<Missing> for EngineError {
    fn from(missing: Missing) -> Self {
        EngineError::permanent(missing.reason, INSTALL_REMEDY)
    }
}

fn installed(place: &Path) -> Vec<Installation> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.filter_map(|entry| look(&entry.path().join("sbin"))).collect()
}

/// A version tells itself by its plugins: asking the program takes a second.
fn look(bin: &Path) -> Option<Installation> {
    let server = bin.join("rabbitmq-server");
    let plugins = fs::read_dir(bin.join("../plugins")).ok()?.flatten();
    let version = plugins.filter_map(|entry| version(entry.file_name().to_str()?)).next()?;
    server.exists().then_some(Installation { server, version })
}

/// `rabbit-3.10.8`, or `rabbit-3.10.8.ez` where it is packed.
fn version(plugin: &str) -> Option<String> {
    let version = plugin.strip_prefix("rabbit-")?;
    let version = version.strip_suffix(".ez").unwrap_or(version);
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-']).map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{numbers, version};

    #[test]
    fn versions() {
        assert_eq!(version("rabbit-3.10.8").unwrap(), "3.10.8");
        assert_eq!(version("rabbit-4.0.5.ez").unwrap(), "4.0.5");
        assert_eq!(version("rabbit_common-3.10.8"), None);
        assert_eq!(version("rabbit-common"), None);
        assert!(numbers("3.9.29") < numbers("3.10") && numbers("3.10") < numbers("3.10.8"));
        assert!(numbers("4.0.0-rc.1") > numbers("3.13.7"));
    }
}
