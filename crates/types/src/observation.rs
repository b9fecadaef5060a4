//! What an engine found when it looked at one of its clusters.

use std::collections::BTreeMap;

use crate::{BindingId, Generation, InstanceId};

/// What is really there, held by the planner against what should be there.
///
/// It speaks only of the instances and credentials that the engine was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    pub health: Health,
    /// Instances that were asked about.
    pub instances: BTreeMap<InstanceId, Presence>,
    /// Credentials that were asked about.
    pub credentials: BTreeMap<(BindingId, Generation), CredentialObservation>,
    /// Settings that differ from what the engine would write today, each as one sentence.
    pub changed_settings: Vec<String>,
}

/// Whether a cluster serves its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Serving,
    /// It answers, and does not do all that its clients may expect.
    Hindered { reason: String },
    /// Its process runs and does not answer, or not yet.
    Unresponsive { reason: String },
    /// No process of it runs.
    Down { cause: String },
}

/// Whether something that should exist does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    Present,
    Missing,
    /// It exists and is not as it should be; the sentence says in what.
    Drifted {
        how: String,
    },
}

/// One credential as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialObservation {
    pub presence: Presence,
    /// Client sessions that are open with it.
    pub sessions: u32,
}

impl Observation {
    /// An observation of a cluster that serves nobody, so that nothing else could be seen.
    pub fn without_service(health: Health) -> Self {
        Self { health, instances: BTreeMap::new(), credentials: BTreeMap::new(), changed_settings: Vec::new() }
    }
}
