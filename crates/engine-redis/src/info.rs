//! The answer to `INFO`, parsed.

use std::collections::HashMap;

use mainstay_engine::EngineError;

use crate::admin::{Admin, failed};
use crate::config::Flavour;
use crate::install::Version;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info(HashMap<String, String>);

impl Info {
    /// Asks a server.
    pub async fn ask(admin: &Admin) -> Result<Self, EngineError> {
        let text: String =
            admin.query(&redis::cmd("INFO")).await.map_err(failed("the server told nothing of itself"))?;
        Ok(Self::parse(&text))
    }

    /// Lines of names and values, and headings.
    pub fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.parse().ok()
    }

    /// The version of the server that runs, which may be older than the one that is installed by now.
    pub fn version(&self, flavour: Flavour) -> Option<Version> {
        // Valkey tells in redis_version which Redis it is compatible with.
        Version::parse(self.text(&format!("{}_version", flavour.name())))
    }

    /// Whether it follows another server.
    pub fn is_replica(&self) -> bool {
        self.text("role") == "slave"
    }

    /// Keys in all databases.
    pub fn keys(&self) -> u64 {
        self.in_databases("keys=").map(|(_, keys)| keys).sum()
    }

    /// Keys in all databases that expire at some time.
    pub fn expiring(&self) -> u64 {
        self.in_databases("expires=").map(|(_, keys)| keys).sum()
    }

    /// The numbers of the databases that have keys.
    pub fn databases(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.in_databases("keys=").map(|(number, _)| number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// What is said of each database: `db0:keys=1,expires=0,avg_ttl=0`.
    fn in_databases(&self, figure: &str) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().filter_map(move |(name, value)| {
            let number = name.strip_prefix("db")?.parse().ok()?;
            let value = value.split(',').find_map(|word| word.strip_prefix(figure))?;
            Some((number, value.parse().ok()?))
        })
    }

    /// Why it takes no writes although it answers; none where it does.
    pub fn refuses_writes(&self) -> Option<String> {
        let failing = self.text("aof_enabled") == "1" && self.text("aof_last_write_status") == "err";
        failing
            .then(|| "it refuses writes, because its append-only file can not be written: is the disk full?".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Info;
    use crate::config::Flavour;
    use crate::install::Version;

    #[test]
    fn what_a_server_says() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\n\r\n# Persistence\r\naof_enabled:1\r\n\
             aof_last_write_status:ok\r\n# Replication\r\nrole:master\r\n# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\n\
             db11:keys=4,expires=1,avg_ttl=9\r\n",
        );
        assert_eq!(info.version(Flavour::Valkey), Some(Version::new(9, 1, 2)));
        assert_eq!((info.keys(), info.is_replica(), info.refuses_writes()), (7, false, None));
        assert_eq!((info.expiring(), info.databases()), (1, vec![0, 11]));
        assert!(Info::parse("aof_enabled:1\naof_last_write_status:err").refuses_writes().is_some());
        assert_eq!(Info::parse("").keys(), 0);
    }
}
