//! The routes, and the state that their handlers share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use mainstay_control::Control;
use tokio::sync::Semaphore;

use crate::caller::Caller;
use crate::document;
use crate::metrics::{self, HttpMetrics};
use crate::problem::{Code, Problem};
use crate::serve::Limits;

const SEE_CONTRACT: &str = "the paths and their methods are listed in /openapi.json";

/// What every handler can reach. A clone is another handle to the same.
#[derive(Clone)]
pub struct Api {
    pub(crate) control: Control,
    pub(crate) version: &'static str,
    pub(crate) started: Instant,
    pub(crate) http_metrics: Arc<HttpMetrics>,
    pub(crate) body_timeout: Duration,
    /// Places for followers of the events.
    pub(crate) followers: Arc<Semaphore>,
}

impl Api {
    /// The API of a control plane, saying this version of itself.
    pub fn new(control: Control, version: &'static str) -> Self {
        let Limits { body_timeout, followers, .. } = Limits::default();
        Self {
            control,
            version,
            started: Instant::now(),
            http_metrics: Arc::new(HttpMetrics::default()),
            body_timeout,
            followers: Arc::new(Semaphore::new(followers)),
        }
    }

    /// The same API within other limits.
    pub fn within(self, limits: &Limits) -> Self {
        let followers = Arc::new(Semaphore::new(limits.followers));
        Self { body_timeout: limits.body_timeout, followers, ..self }
    }
}

/// The whole of the API.
pub fn router(api: Api) -> Router {
    let (router, document) = document::routes().split_for_parts();
    let document = Arc::new(document::finished(document));
    router
        .route("/openapi.json", get(move |_: Caller| async move { axum::Json(&*document).into_response() }))
        .route("/metrics", get(metrics::page))
        .fallback(|| async { Problem::new(Code::RouteNotFound, "nothing is served at this path").remedy(SEE_CONTRACT) })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "this path does not take this method").remedy(SEE_CONTRACT)
        })
        .layer(middleware::from_fn_with_state(api.clone(), metrics::measure))
        .with_state(api)
}

/// The state, for handlers.
pub(crate) type ApiState = State<Api>;
