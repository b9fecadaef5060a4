//! Whether the layer lives, and whether it can be used: the truth about each thing it depends on.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mainstay_domain::view::ClusterState;
use mainstay_types::Plan;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{Api, ApiState};

/// What sealed custody keeps from being done.
const SEALED: &str = "secret custody is sealed or not initialised: no password can be made or read until operators unseal it \
                      (mainstay custody status)";

/// Something that the layer can not do its work without.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Dependency {
    name: String,
    pub(crate) ready: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Whether the layer can be used.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    ready: bool,
    dependencies: Vec<Dependency>,
}

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
}

/// Whether the control plane's process answers. Needs no token.
#[utoipa::path(
    get, path = "/livez", operation_id = "livez", tag = "health", security(()),
    responses((status = 200, description = "It lives.", body = String))
)]
async fn livez() -> &'static str {
    "ok\n"
}

/// Whether the layer can be used: its stores and its shared clusters, one by one.
///
/// Needs no token, and names nothing that belongs to a tenant.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "Everything can be used.", body = Readiness),
        (status = 503, description = "Something can not; its `detail` says why.", body = Readiness)
    )
)]
async fn readyz(State(api): ApiState) -> (StatusCode, Json<Readiness>) {
    let dependencies = dependencies(&api).await;
    let ready = dependencies.iter().all(|dependency| dependency.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, dependencies }))
}

/// What the layer depends on: its stores, and the clusters that everybody shares. How a dedicated cluster is, its
/// owner sees in the instance.
pub(crate) async fn dependencies(api: &Api) -> Vec<Dependency> {
    let sealed = api.secrets.as_ref().filter(|secrets| secrets.is_sealed());
    let sealed = sealed.map(|secrets| secrets.old_copy().unwrap_or_else(|| SEALED.to_owned()));
    let stores = api.control.health().await.into_iter().map(|(name, detail)| {
        let detail = detail.or_else(|| sealed.clone().filter(|_| name == "custody"));
        Dependency { name: name.to_owned(), ready: detail.is_none(), detail }
    });
    let view = api.control.view();
    let shared = view.clusters().filter(|cluster| cluster.plan == Plan::Shared).map(|cluster| {
        // The journal says what it has come to, the trouble how it is at this moment.
        let trouble = api.control.trouble_with_cluster(&cluster.name);
        let ready = cluster.state == ClusterState::Ready && trouble.is_none();
        let reason =
            || trouble.or_else(|| cluster.reason.clone()).unwrap_or_else(|| format!("it is {}", cluster.state));
        let detail = (!ready).then(reason);
        Dependency { name: cluster.name.to_string(), ready, detail }
    });
    stores.chain(shared).collect()
}
