//! The published names of the drivers, and the services that keep a store.

/// The values of `Storage:Driver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Driver {
    /// SQLite in memory: gone with the process.
    InMemory,
    /// SQLite in files of one directory.
    Filesystem,
    /// PostgreSQL 15 or newer.
    Postgres,
}

/// Text that names no driver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a storage driver: use one of postgres, filesystem, inmemory")]
pub struct UnknownDriver {
    text: String,
}

/// Who owns a store. Each has its own file or schema, so that none depends on the tables of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    Journal,
    Custody,
    Objects,
    Artifacts,
}

// === impl Driver ===

impl Driver {
    /// Every driver, the production default first.
    pub const ALL: [Driver; 3] = [Driver::Postgres, Driver::Filesystem, Driver::InMemory];

    /// The name as it is written in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InMemory => "inmemory",
            Self::Filesystem => "filesystem",
            Self::Postgres => "postgres",
        }
    }
}

impl std::fmt::Display for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Driver {
    type Err = UnknownDriver;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|driver| driver.as_str() == text);
        found.ok_or_else(|| UnknownDriver { text: text.chars().take(40).collect() })
    }
}

// === impl Service ===

impl Service {
    /// The name as it stands in file and schema names, and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Custody => "custody",
            Self::Objects => "objects",
            Self::Artifacts => "artifacts",
        }
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Driver;

    #[test]
    fn names_are_the_published_ones() {
        for driver in Driver::ALL {
            assert_eq!(driver.to_string().parse(), Ok(driver));
        }
        let error = "sqlite".parse::<Driver>().unwrap_err().to_string();
        assert_eq!(error, "\"sqlite\" is not a storage driver: use one of postgres, filesystem, inmemory");
    }
}
