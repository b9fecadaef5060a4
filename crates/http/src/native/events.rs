//! The journal's events: in pages, or followed as they happen.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use mainstay_domain::event::{Actor, Event, SubjectKind};
use mainstay_journal::Follower;
use mainstay_types::{Digest, Sequence, TenantScope, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::subject::SubjectBody;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{Params, page_size};
use crate::problem::{Code, Problem};
use crate::serve::Stopping;

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
    /// Strictly increasing and gapless.
    #[schema(value_type = u64)]
    sequence: Sequence,
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// Null for what belongs to the layer itself.
    tenant: Option<String>,
    /// `system`, or the id of a token.
    #[schema(value_type = String)]
    actor: Actor,
    /// `v1.<subject>.<past-tense verb>`.
    #[serde(rename = "type")]
    #[schema(example = "v1.instance.ready")]
    kind: String,
    subject: SubjectBody,
    /// What the type says of it; null for types that this version does not know.
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
#[schema(as = EventList)]
struct EventPage {
    items: Vec<EventBody>,
    /// What to send as `after` for the next page; null where the journal ends.
    #[schema(value_type = Option<u64>)]
    next: Option<Sequence>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventParams {
    /// Only events after this sequence number.
    #[param(value_type = Option<u64>)]
    after: Option<Sequence>,
    /// How many events to answer at most: 100 where nothing is said, never more than 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Lists or follows the tenant's events, and those of the shared clusters.
///
/// With `Accept: text/event-stream` they are followed as they happen: nothing is missed, `id:` is the sequence number
/// to go on from, and `Last-Event-ID` goes on from one.
#[utoipa::path(
    get, path = "/events", operation_id = "list_events", tag = "events",
    params(EventParams, ("Last-Event-ID" = Option<u64>, Header, description = "Where a follower goes on; in place of `after`.")),
    responses((status = 200, description = "A page of events, or the stream of them.",
        content((EventPage = "application/json"), (String = "text/event-stream"))))
)]
async fn events(
    State(api): ApiState,
    caller: Caller,
    Params(params): Params<EventParams>,
    stopping: Stopping,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accepts =
        |kind: &str| headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains(kind));
    if accepts("text/event-stream") {
        let after = last_event_id(&headers)?.or(params.after).unwrap_or(0);
        return follow(api, caller, after, stopping);
    }
    page(&api, &caller, &params).await.map(|page| Json(page).into_response())
}

async fn page(api: &Api, caller: &Caller, params: &EventParams) -> Result<EventPage, Problem> {
    let limit = page_size(params.limit);
    let mut after = params.after.unwrap_or(0);
    let mut items = Vec::new();
    if after >= api.control.view().sequence() {
        return Ok(EventPage { items, next: None });
    }
    for _ in 0..PASSED_OVER / READ_AHEAD {
        let read = api.control.journal().read(after, READ_AHEAD).await?;
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

/// The events after one, as they happen, for as long as the caller's token is accepted and the control plane runs.
fn follow(api: Api, caller: Caller, after: Sequence, stopping: Stopping) -> Result<Response, Problem> {
    let place = api.followers.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, "as many follow the events as may at once")
            .remedy("end another follower, or read the events a page at a time")
    })?;
    let follower = api.control.journal().follow(after);
    let events = stream::unfold((follower, stopping), move |(mut follower, mut stopping)| {
        let (api, caller, _place) = (api.clone(), caller.clone(), &place);
        async move {
            let event = tokio::select! {
                event = next(&mut follower, &caller) => event?,
                () = stopping.begun() => return None,
            };
            if !api.accepts(&caller.actor).await {
                tracing::debug!(actor = %caller.actor, "a follower's token is not accepted any more");
                return None;
            }
            let (id, kind) = (event.sequence.to_string(), event.kind.clone());
            let sse = sse::Event::default().id(id).event(kind).json_data(body(event));
            let sse = sse.unwrap_or_else(|error| sse::Event::default().comment(error.to_string()));
            Some((Ok::<_, Infallible>(sse), (follower, stopping)))
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// The next event that a caller may see; none when the journal is closed or can not be read.
async fn next(follower: &mut Follower, caller: &Caller) -> Option<Event> {
    loop {
        match follower.next().await {
            Ok(Some(event)) if visible(&event, caller) => return Some(event),
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!(%error, "a follower of the events is cut off; it can go on from its last event");
                return None;
            }
        }
    }
}

/// Where a follower that lost its connection goes on.
fn last_event_id(headers: &HeaderMap) -> Result<Option<Sequence>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    value.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
        Problem::new(Code::HeaderInvalid, "the last event id is not a sequence number")
            .field("last-event-id")
            .remedy("send the `id:` of the last event that came, or leave the header out")
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
        subject: event.subject.into(),
        payload,
        payload_digest: event.payload_digest,
        previous: event.previous,
    }
}
