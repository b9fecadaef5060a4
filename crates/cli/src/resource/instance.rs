use std::collections::BTreeMap;

use mainstay_types::Timestamp;
use serde::Deserialize;

use super::{Resource, age};
use crate::duration::rough;
use crate::output::{Cell, vertical};

#[derive(Deserialize)]
pub(crate) struct Instance {
    pub id: Option<String>,
    pub name: String,
    pub tenant: Option<String>,
    pub environment: Option<String>,
    pub contract: String,
    pub plan: String,
    pub engine: String,
    pub cluster: Option<String>,
    /// The cluster that it is to live on, while it moves.
    pub moving_to: Option<String>,
    pub state: String,
    pub reason: Option<String>,
    pub endpoint: Option<Endpoint>,
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    pub recovery: Option<Recovery>,
    pub bindings: Option<u64>,
    pub created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
}

#[derive(Deserialize)]
pub(crate) struct Recovery {
    pub state: String,
    reason: Option<String>,
    latest_recovery_point: Option<Timestamp>,
    proven_at: Option<Timestamp>,
    rto_seconds: Option<f64>,
    rpo_seconds: Option<f64>,
}

impl Resource for Instance {
    const PLURAL: &'static str = "instances";
    const COLUMNS: &'static [&'static str] =
        &["NAME", "CONTRACT", "PLAN", "STATE", "ENVIRONMENT", "ENDPOINT", "RECOVERY", "BINDINGS", "AGE"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.name.as_str().into(),
            self.contract.as_str().into(),
            self.plan.as_str().into(),
            Cell::State(self.state.clone()),
            self.environment.as_deref().into(),
            self.endpoint.as_ref().map(Endpoint::to_text).into(),
            self.recovery.as_ref().map(|recovery| Cell::State(recovery.state.clone())).into(),
            self.bindings.into(),
            age(self.created_at),
        ]
    }
}

impl Instance {
    /// All there is to say of it, a line for each thing.
    pub fn details(&self) -> String {
        let parameters = self.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let mut fields: Vec<(&str, Cell)> = vec![
            ("Name", self.name.as_str().into()),
            ("Id", self.id.as_deref().into()),
            ("Tenant", self.tenant.as_deref().into()),
            ("Environment", self.environment.as_deref().into()),
            ("Contract", self.contract.as_str().into()),
            ("Plan", self.plan.as_str().into()),
            ("Engine", self.engine.as_str().into()),
            ("Cluster", self.cluster.as_deref().into()),
            ("Parameters", Some(parameters.join(" ")).filter(|text| !text.is_empty()).into()),
            ("State", Cell::State(self.state.clone())),
        ];
        if let Some(cluster) = &self.moving_to {
            fields.push(("Moving to", cluster.as_str().into()));
        }
        if let Some(reason) = &self.reason {
            fields.push(("Reason", reason.as_str().into()));
        }
        fields.push(("Endpoint", self.endpoint.as_ref().map(Endpoint::to_text).into()));
        fields.push(("Bindings", self.bindings.into()));
        if let Some(recovery) = &self.recovery {
            let seconds = |value: Option<f64>| Cell::from(value.map(|seconds| rough(seconds.max(0.0) as u64)));
            fields.push(("Recovery", Cell::State(recovery.state.clone())));
            if let Some(reason) = &recovery.reason {
                fields.push(("Recovery failed", reason.as_str().into()));
            }
            fields.push(("Recovery point", recovery.latest_recovery_point.map(|moment| moment.to_string()).into()));
            fields.push(("Proven at", recovery.proven_at.map(|moment| moment.to_string()).into()));
            fields.push(("Time to recover", seconds(recovery.rto_seconds)));
            fields.push(("Loss at most", seconds(recovery.rpo_seconds)));
        }
        fields.push(("Created at", self.created_at.map(|moment| moment.to_string()).into()));
        vertical(&fields)
    }
}

impl Endpoint {
    pub fn to_text(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}
