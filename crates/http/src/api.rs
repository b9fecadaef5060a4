//! The routes, and the state that their handlers share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use mainstay_control::Control;
use mainstay_domain::event::Actor;
use mainstay_objects::Scrubber;
use mainstay_secrets::Secrets;
use tokio::sync::Semaphore;

use crate::caller::Caller;
use crate::desk::RecoveryDesk;
use crate::document;
use crate::finish::LEFT_ALONE;
use crate::metrics::{self, HttpMetrics};
use crate::problem::{Code, Problem};
use crate::serve::Limits;
use crate::vault;

const SEE_CONTRACT: &str = "the paths and their methods are listed in /openapi.json";

/// Requests to custody with a large body that are served at the same time: at twenty times their size in memory some
/// 300 MiB at the worst.
const LARGE_BODIES: usize = 8;

/// What every handler can reach. A clone is another handle to the same.
#[derive(Clone)]
pub struct Api {
    pub(crate) control: Control,
    /// Secret custody, where the Vault API is served.
    pub(crate) secrets: Option<Secrets>,
    /// What reads stored objects over, where objects are kept.
    pub(crate) scrubber: Option<Scrubber>,
    /// Who keeps the backup repository, where there is one.
    pub(crate) recovery: Option<Arc<dyn RecoveryDesk>>,
    pub(crate) version: &'static str,
    pub(crate) started: Instant,
    pub(crate) http_metrics: Arc<HttpMetrics>,
    pub(crate) body_timeout: Duration,
    /// Places for followers of the events.
    pub(crate) followers: Arc<Semaphore>,
    /// Places for large bodies.
    pub(crate) large_bodies: Arc<Semaphore>,
    /// Places for requests whose clients have hung up.
    pub(crate) left_alone: Arc<Semaphore>,
}

impl Api {
    /// The API of a control plane, saying this version of itself.
    pub fn new(control: Control, version: &'static str) -> Self {
        let Limits { body_timeout, followers, .. } = Limits::default();
        Self {
            control,
            secrets: None,
            scrubber: None,
            recovery: None,
            version,
            started: Instant::now(),
            http_metrics: Arc::new(HttpMetrics::default()),
            body_timeout,
            followers: Arc::new(Semaphore::new(followers)),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES)),
            left_alone: Arc::new(Semaphore::new(LEFT_ALONE)),
        }
    }

    /// The same API with secret custody's beside it.
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets: Some(secrets), ..self }
    }

    /// The same API with the scrubs of an object store.
    pub fn with_scrubber(self, scrubber: Scrubber) -> Self {
        Self { scrubber: Some(scrubber), ..self }
    }

    /// The same API with the layer's own recovery.
    pub fn with_recovery(self, desk: Arc<dyn RecoveryDesk>) -> Self {
        Self { recovery: Some(desk), ..self }
    }

    /// The same API within other limits.
    pub fn within(self, limits: &Limits) -> Self {
        let followers = Arc::new(Semaphore::new(limits.followers));
        Self { body_timeout: limits.body_timeout, followers, ..self }
    }

    /// Whether whoever was let in earlier would be let in now: their token was not revoked and has not expired.
    pub(crate) async fn accepts(&self, actor: &Actor) -> bool {
        match (self.control.accepts(actor), &self.secrets, actor) {
            (true, ..) => true,
            (false, Some(secrets), Actor::Token(id)) => secrets.accepts(id).await,
            _ => false,
        }
    }
}

/// The whole of the API.
pub fn router(api: Api) -> Router {
    let (router, document) = document::routes().split_for_parts();
    let document = Arc::new(document::finished(document));
    router
        .route("/openapi.json", get(move |_: Caller| async move { axum::Json(&*document).into_response() }))
        .route("/metrics", get(metrics::page))
        .route("/v1/{*path}", any(vault::handle))
        .fallback(|| async { Problem::new(Code::RouteNotFound, "nothing is served at this path").remedy(SEE_CONTRACT) })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "this path does not take this method").remedy(SEE_CONTRACT)
        })
        .layer(middleware::from_fn_with_state(api.clone(), metrics::measure))
        .with_state(api)
}

/// The state, for handlers.
pub(crate) type ApiState = State<Api>;
