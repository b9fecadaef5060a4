//! The journal's events: in pages, or followed as they happen.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use mainstay_domain::event::{Actor, Event, Subject, SubjectKind};
use mainstay_types::{Digest, Sequence, TenantScope, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{Params, page_size};
use crate::problem::{Code, Problem};

/// How many events are read at once while those of other tenants are passed over.
const READ_AHEAD: usize = 1000;
/// How many events of others one request passes over at most; where it stops short, `next` says where to go on.
const PASSED_OVER: usize = 100 * READ_AHEAD;
/// How often a follower that sees no event gets a sign of life, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
struct EventBody {
    sequence: Sequence,
    #[schema(value_type = String)]
    time: Timestamp,
    /// Null for what belongs to the layer itself.
    tenant: Option<String>,
    /// `system`, or the id of a token.
    #[schema(value_type = String)]
    actor: Actor,
    #[serde(rename = "type")]
    kind: String,
    #[schema(value_type = Object)]
    subject: Subject,
    #[schema(value_type = Object)]
    payload: serde_json::Value,
    /// BLAKE3 of the payload in canonical CBOR, in hexadecimal.
    #[schema(value_type = String)]
    payload_digest: Digest,
    /// BLAKE3 of the event before this one, in hexadecimal.
    #[schema(value_type = String)]
    previous: Digest,
}

/// A part of the journal.
#[derive(Debug, Serialize, ToSchema)]
struct EventPage {
    items: Vec<EventBody>,
    /// What to send as `after` for the next page; null where the journal ends.
    next: Option<Sequence>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventParams {
    /// Only events after this sequence number.
    after: Option<Sequence>,
    /// At most so many.
    limit: Option<usize>,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(events))
}

/// The tenant's events, and those of the shared clusters. With `Accept: text/event-stream` they are followed: nothing
/// is missed, and `id:` is the sequence number to go on from.
#[utoipa::path(get, path = "/events", params(EventParams), responses((status = 200, body = EventPage), (status = "default", body = Problem)))]
async fn events(
    State(api): ApiState,
    caller: Caller,
    Params(params): Params<EventParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accepts =
        |kind: &str| headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains(kind));
    if accepts("text/event-stream") {
        let after = last_event_id(&headers)?.or(params.after).unwrap_or(0);
        return Ok(follow(&api, caller, after));
    }
    page(&api, &caller, &params).await.map(|page| Json(page).into_response())
}

async fn page(api: &Api, caller: &Caller, params: &EventParams) -> Result<EventPage, Problem> {
    let limit = page_size(params.limit);
    let mut after = params.after.unwrap_or(0);
    let mut items = Vec::new();
    for _ in 0..PASSED_OVER / READ_AHEAD {
        let read = api.control.journal().read(after, READ_AHEAD).await.map_err(|error| Problem::internal(&error))?;
        let end = read.len() < READ_AHEAD;
        for event in read {
            if items.len() == limit {
                return Ok(EventPage { items, next: Some(after) });
            }
            after = event.sequence;
            if visible(&event, caller) {
                items.push(body(event));
            }
        }
        if end {
            return Ok(EventPage { items, next: None });
        }
    }
    Ok(EventPage { items, next: Some(after) })
}

fn follow(api: &Api, caller: Caller, after: Sequence) -> Response {
    let follower = api.control.journal().follow(after);
    let events = stream::unfold((follower, caller), |(mut follower, caller)| async move {
        loop {
            match follower.next().await {
                Ok(Some(event)) if visible(&event, &caller) => {
                    let (id, kind) = (event.sequence.to_string(), event.kind.clone());
                    let sse = sse::Event::default().id(id).event(kind).json_data(body(event));
                    let sse = sse.unwrap_or_else(|error| sse::Event::default().comment(error.to_string()));
                    return Some((Ok::<_, Infallible>(sse), (follower, caller)));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!(%error, "a follower of the events is cut off; it can go on from its last event");
                    return None;
                }
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// Where a follower that lost its connection goes on.
fn last_event_id(headers: &HeaderMap) -> Result<Option<Sequence>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    value.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
        Problem::new(Code::HeaderInvalid, "the last event id is not a sequence number").field("last-event-id")
    })
}

/// Whether the caller may see an event: a tenant's own, and what happens to the shared clusters. Whoever may act in
/// every tenant sees everything.
fn visible(event: &Event, caller: &Caller) -> bool {
    match &event.tenant {
        _ if caller.scope == TenantScope::Any => true,
        Some(tenant) => *tenant == caller.tenant,
        None => event.subject.kind == SubjectKind::Cluster,
    }
}

fn body(event: Event) -> EventBody {
    let payload = match event.body().map(|body| body.to_json()) {
        Ok(Ok(payload)) => payload,
        // An event of a newer version: what can be said of it is in the other fields.
        _ => serde_json::Value::Null,
    };
    EventBody {
        sequence: event.sequence,
        time: event.time,
        tenant: event.tenant.map(|tenant| tenant.to_string()),
        actor: event.actor,
        kind: event.kind,
        subject: event.subject,
        payload,
        payload_digest: event.payload_digest,
        previous: event.previous,
    }
}
