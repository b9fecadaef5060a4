//! The routes, and the state that their handlers share.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use mainstay_control::Control;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::caller::Caller;
use crate::health;
use crate::metrics::{self, HttpMetrics};
use crate::native;
use crate::problem::{Code, Problem};

/// What every handler can reach. A clone is another handle to the same.
#[derive(Clone)]
pub struct Api {
    pub(crate) control: Control,
    pub(crate) version: &'static str,
    pub(crate) started: Instant,
    pub(crate) http_metrics: Arc<HttpMetrics>,
}

impl Api {
    /// The API of a control plane, saying this version of itself.
    pub fn new(control: Control, version: &'static str) -> Self {
        Self { control, version, started: Instant::now(), http_metrics: Arc::new(HttpMetrics::default()) }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Mainstay",
        description = "Databases and other stateful services as standard connections to real engines.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&BearerToken),
    security(("token" = []))
)]
struct Document;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi()).merge(health::routes()).nest("/api/v1", native::routes())
}

/// The OpenAPI document: the contract that `contracts/openapi.json` holds.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

/// The whole of the API.
pub fn router(api: Api) -> Router {
    let (router, document) = routes().split_for_parts();
    let document = Arc::new(document);
    router
        .route("/openapi.json", get(move |_: Caller| async move { axum::Json(&*document).into_response() }))
        .route("/metrics", get(metrics::page))
        .fallback(|| async { Problem::new(Code::RouteNotFound, "nothing is served at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "this path does not take this method")
        })
        .layer(middleware::from_fn_with_state(api.clone(), metrics::measure))
        .with_state(api)
}

/// The state, for handlers.
pub(crate) type ApiState = State<Api>;
