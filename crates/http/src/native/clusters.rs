//! Clusters: the running deployments that instances live on.

use axum::Json;
use axum::extract::State;
use mainstay_domain::view::{Cluster, View};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::instances::EndpointBody;
use super::page::Page;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{PageParams, Params};

/// One running deployment of an engine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cluster)]
struct ClusterBody {
    name: String,
    engine: String,
    /// The version that serves it; null while it never served.
    version: Option<String>,
    plan: String,
    /// The machine it runs on.
    node: String,
    endpoint: Option<EndpointBody>,
    /// `requested`, `ready`, `degraded`, `failed` or `retired`.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How many of the tenant's instances live on it.
    instances: usize,
    #[schema(format = DateTime)]
    created_at: String,
}

type ClusterList = Page<ClusterBody>;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Lists the shared clusters, and the dedicated ones of the tenant.
#[utoipa::path(
    get, path = "/clusters", operation_id = "list_clusters", tag = "clusters", params(PageParams),
    responses((status = 200, description = "A page of clusters.", body = ClusterList))
)]
async fn list(State(api): ApiState, caller: Caller, Params(params): Params<PageParams>) -> Json<ClusterList> {
    let view = api.control.view();
    let visible = |cluster: &&std::sync::Arc<Cluster>| cluster.tenant.as_ref().is_none_or(|t| *t == caller.tenant);
    let clusters = view.clusters().filter(visible).map(|cluster| body(&api, &view, &caller, cluster));
    Json(Page::of(clusters, &params, |cluster| cluster.name.clone()))
}

fn body(api: &Api, view: &View, caller: &Caller, cluster: &Cluster) -> ClusterBody {
    let host = api.control.engine(&cluster.engine).map(|engine| engine.host().to_string());
    ClusterBody {
        name: cluster.name.to_string(),
        engine: cluster.engine.to_string(),
        version: cluster.version.clone(),
        plan: cluster.plan.to_string(),
        node: cluster.node.to_string(),
        endpoint: host.map(|host| EndpointBody { host, port: cluster.port }),
        state: cluster.state.to_string(),
        reason: cluster.reason.clone(),
        instances: view.instances_on(&cluster.name).filter(|instance| instance.tenant == caller.tenant).count(),
        created_at: cluster.created_at.to_string(),
    }
}
