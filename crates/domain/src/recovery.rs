//! What can be backed up, as far as decisions depend on it.

use std::collections::BTreeMap;

use mainstay_types::EngineName;

/// What one backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A whole cluster, with every instance on it.
    Cluster,
    /// One instance.
    Instance,
}

/// How an engine's data is backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    pub scope: Scope,
    /// Whether every moment between backups can be restored too.
    pub log: bool,
}

/// The engines whose data can be backed up here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recoverable(BTreeMap<EngineName, Means>);

impl Recoverable {
    pub fn of(&self, engine: &EngineName) -> Option<Means> {
        self.0.get(engine).copied()
    }

    /// Whether nothing can be backed up at all, because there is nowhere to keep it.
    pub fn is_off(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(EngineName, Means)> for Recoverable {
    fn from_iter<I: IntoIterator<Item = (EngineName, Means)>>(engines: I) -> Self {
        Self(engines.into_iter().collect())
    }
}
