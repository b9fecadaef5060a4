use serde::Deserialize;

use super::Resource;
use super::instance::Endpoint;
use crate::output::Cell;

#[derive(Deserialize)]
pub(crate) struct Cluster {
    name: String,
    engine: String,
    version: Option<String>,
    plan: String,
    node: Option<String>,
    endpoint: Option<Endpoint>,
    state: String,
    reason: Option<String>,
    instances: Option<u64>,
}

impl Resource for Cluster {
    const PLURAL: &'static str = "clusters";
    const COLUMNS: &'static [&'static str] =
        &["NAME", "ENGINE", "VERSION", "PLAN", "NODE", "ENDPOINT", "STATE", "INSTANCES", "REASON"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.name.as_str().into(),
            self.engine.as_str().into(),
            self.version.as_deref().into(),
            self.plan.as_str().into(),
            self.node.as_deref().into(),
            self.endpoint.as_ref().map(Endpoint::to_text).into(),
            Cell::State(self.state.clone()),
            self.instances.into(),
            self.reason.as_deref().into(),
        ]
    }
}
