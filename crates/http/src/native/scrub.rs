//! Scrubs: all stored content read and compared with its digests.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mainstay_objects::{DamagedContent, ScrubRun, Scrubber};
use mainstay_types::{Role, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::Body;
use crate::problem::{Code, Problem};

/// How many damaged contents an answer tells of. The journal has them all.
const DAMAGED_SHOWN: usize = 100;

/// Asks for a scrub.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewScrub)]
struct ScrubRequest {
    /// Bytes that are read each second at most; as many as can be where none is said.
    #[schema(value_type = Option<u64>, minimum = 1)]
    rate_bytes_per_second: Option<NonZeroU64>,
}

/// The scrub that runs, or the last one since the control plane started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Scrub)]
struct ScrubBody {
    /// `never`, `running`, `done` or `failed`.
    state: &'static str,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<String>,
    contents_done: u64,
    /// About: contents come and go meanwhile.
    contents_total: u64,
    bytes_done: u64,
    damaged_total: u64,
    /// The first hundred; `v1.content.damaged` events tell of all.
    damaged: Vec<DamageBody>,
    /// Why it did not come to its end.
    error: Option<String>,
}

/// Stored bytes that are not what was stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Damage)]
struct DamageBody {
    #[schema(example = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")]
    address: String,
    reason: String,
    /// The ids of the instances that it belongs to.
    instances: Vec<String>,
    /// Some of the objects that it belongs to, as `BUCKET/KEY`.
    objects: Vec<String>,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(begin, show))
}

/// Begins to read all stored content and compare it with its digests.
///
/// Needs the role admin for every tenant. Where a scrub runs, that one goes on and is answered.
#[utoipa::path(
    post, path = "/scrub", operation_id = "begin_scrub", tag = "health", request_body = ScrubRequest,
    responses((status = 202, description = "It runs; `GET /scrub` tells how far it is.", body = ScrubBody))
)]
async fn begin(
    State(api): ApiState,
    caller: Caller,
    body: Body<ScrubRequest>,
) -> Result<(StatusCode, Json<ScrubBody>), Problem> {
    let scrubber = allowed(&api, &caller)?;
    scrubber.begin(body.value.rate_bytes_per_second.map(NonZeroU64::get));
    Ok((StatusCode::ACCEPTED, Json(scrubber.latest().into())))
}

/// Shows the scrub that runs, or the last one.
///
/// Needs the role admin for every tenant, since it names objects of each.
#[utoipa::path(
    get, path = "/scrub", operation_id = "get_scrub", tag = "health",
    responses((status = 200, description = "How far it is, or what it found.", body = ScrubBody))
)]
async fn show(State(api): ApiState, caller: Caller) -> Result<Json<ScrubBody>, Problem> {
    Ok(Json(allowed(&api, &caller)?.latest().into()))
}

fn allowed<'a>(api: &'a Api, caller: &Caller) -> Result<&'a Scrubber, Problem> {
    caller.require(Role::Admin)?;
    caller.require_all_tenants()?;
    api.scrubber.as_ref().ok_or_else(|| {
        Problem::new(Code::RouteNotFound, "this layer keeps no objects")
            .remedy("set Storage:ObjectStore:Driver to offer object storage")
    })
}

impl From<ScrubRun> for ScrubBody {
    fn from(run: ScrubRun) -> Self {
        let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        let damaged = run.report.as_ref().map(|report| report.damaged.as_slice()).unwrap_or_default();
        Self {
            state: match (&run.started_at, &run.finished_at, &run.error) {
                (None, ..) => "never",
                (Some(_), None, _) => "running",
                (_, _, Some(_)) => "failed",
                (_, _, None) => "done",
            },
            started_at: moment(run.started_at),
            finished_at: moment(run.finished_at),
            contents_done: run.progress.contents,
            contents_total: run.progress.total,
            bytes_done: run.progress.bytes,
            damaged_total: run.progress.damaged,
            damaged: damaged.iter().take(DAMAGED_SHOWN).map(DamageBody::from).collect(),
            error: run.error,
        }
    }
}

impl From<&DamagedContent> for DamageBody {
    fn from(damaged: &DamagedContent) -> Self {
        let instances: BTreeSet<String> = damaged.touches.iter().map(|touched| touched.account.to_string()).collect();
        Self {
            address: damaged.address.to_string(),
            reason: damaged.reason.clone(),
            instances: instances.into_iter().collect(),
            objects: damaged.touches.iter().map(|touched| format!("{}/{}", touched.bucket, touched.key)).collect(),
        }
    }
}
