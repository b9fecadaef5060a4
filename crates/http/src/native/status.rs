//! The state of the layer in one answer.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use mainstay_types::{TenantScope, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::recovery;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::health::{Dependency, dependencies};

/// The state of the layer, as one tenant may see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
struct StatusBody {
    version: &'static str,
    ready: bool,
    dependencies: Vec<Dependency>,
    journal: JournalBody,
    /// How many of the tenant's instances are in each state.
    instances: BTreeMap<String, usize>,
    /// What somebody should do, a sentence each; for tokens of every tenant.
    reminders: Vec<String>,
    #[schema(format = DateTime)]
    data_as_of: String,
}

/// How far the journal has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JournalStatus)]
struct JournalBody {
    /// The sequence number of the newest event.
    sequence: u64,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(status))
}

/// Shows the state of the layer.
#[utoipa::path(
    get, path = "/status", operation_id = "get_status", tag = "health",
    responses((status = 200, description = "The state of the layer, as the tenant may see it.", body = StatusBody))
)]
async fn status(State(api): ApiState, caller: Caller) -> Json<StatusBody> {
    let dependencies = dependencies(&api).await;
    let view = api.control.view();
    let mut instances = BTreeMap::new();
    for instance in view.instances_of(&caller.tenant) {
        let (state, _) = instance.visible_state(view.cluster(&instance.cluster).map(|cluster| &**cluster));
        *instances.entry(state.to_string()).or_default() += 1;
    }
    Json(StatusBody {
        version: api.version,
        ready: dependencies.iter().all(|dependency| dependency.ready),
        dependencies,
        journal: JournalBody { sequence: view.sequence() },
        instances,
        reminders: match caller.scope {
            TenantScope::Any => recovery::urgent(&api),
            TenantScope::One(_) => Vec::new(),
        },
        data_as_of: Timestamp::now().to_string(),
    })
}
