//! Backups, and what is brought back from them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use mainstay_control::{Reachable, busy_ports, draw_id};
use mainstay_domain::command::{BackUpInstance, NewInstance, Rejection, Request, RestoreInstance, RestoreTo};
use mainstay_domain::view::{Instance, Proof, RecoveryPoint, View};
use mainstay_types::{InstanceId, InstanceName, OperationId, Role, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::operations::{OperationBody, answer};
use super::page::Page;
use super::submit_drawn;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{At, Body, IdempotencyHeader, Key, PageParams, Params, WaitParams};
use crate::problem::{Code, Problem};
use crate::serve::Stopping;
use crate::window::RecoveryWindow;

/// A recovery point that an instance can be restored from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Backup)]
struct BackupBody {
    #[schema(example = "bk-0123456789ab")]
    id: String,
    /// The whole cluster that it holds, or the one that the instance lived on.
    cluster: String,
    /// Whether every instance of the cluster is in it.
    whole_cluster: bool,
    engine: String,
    /// Of the engine.
    version: String,
    /// Whether the newest drill restored this one and it was well.
    proven: bool,
    /// What was read.
    bytes: u64,
    #[schema(format = DateTime)]
    began_at: String,
    /// The earliest moment that it restores.
    #[schema(format = DateTime)]
    ended_at: String,
    /// What is not in it although one could think so.
    uncovered: Vec<String>,
}

/// What is to be brought back, and where.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRestore {
    /// A moment (RFC 3339) or a backup's id; the newest that there is where nothing is said.
    #[schema(example = "2026-11-21T12:00:00Z")]
    at: Option<String>,
    /// What to call the new instance that it is restored to; in place where nothing is said, or what it was called where it was deleted.
    #[schema(value_type = Option<String>)]
    to: Option<InstanceName>,
}

type BackupList = Page<BackupBody>;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(restore))
}

/// Lists what an instance can be restored from, the newest last. One that was deleted has its backups for a month, or until another has
/// its name.
#[utoipa::path(
    get, path = "/instances/{name}/backups", operation_id = "list_backups", tag = "recovery",
    params(("name" = String, Path, description = "The instance's name."), PageParams),
    responses((status = 200, description = "A page of backups.", body = BackupList))
)]
async fn list(
    State(api): ApiState,
    caller: Caller,
    At(name): At<InstanceName>,
    Params(params): Params<PageParams>,
) -> Result<Json<BackupList>, Problem> {
    let view = api.control.view();
    let instance = origin(&view, &caller, &name).ok_or(Rejection::InstanceNotFound { name })?;
    let proof = instance.recovery.proof.as_ref();
    let page = Page::of(view.points_of(instance), &params, |point| format!("{:020} {}", point.after, point.id));
    Ok(Json(Page { items: page.items.into_iter().map(|point| body(point, proof)).collect(), next: page.next }))
}

/// Backs an instance up.
///
/// Needs the role operator. The answer is the operation; asked again meanwhile, the same backup serves both.
#[utoipa::path(
    post, path = "/instances/{name}/backups", operation_id = "create_backup", tag = "recovery",
    params(("name" = String, Path, description = "The instance's name."), WaitParams, IdempotencyHeader),
    responses(
        (status = 200, description = "With `wait`: the work is finished, well or not.", body = OperationBody),
        (status = 202, description = "The work goes on.", body = OperationBody,
            headers(("Location" = String, description = "Where the operation is watched.")))
    )
)]
async fn create(
    State(api): ApiState,
    caller: Caller,
    At(name): At<InstanceName>,
    Params(wait): Params<WaitParams>,
    stopping: Stopping,
    Key(idempotency): Key,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let accepted = submit_drawn(|| {
        let request = Request { operation: OperationId::from_random(draw_id()), idempotency: idempotency.clone() };
        let (tenant, name) = (caller.tenant.clone(), name.clone());
        api.control.submit(caller.actor.clone(), BackUpInstance { request, tenant, name })
    })
    .await?;
    answer(&api, accepted, wait.duration(), stopping).await
}

/// Brings an instance back to a moment, in place or as a new instance.
///
/// Needs the role operator. In place its bindings stay valid, and what is replaced can be had back in the same way. A new instance has
/// no bindings. One that was deleted is made anew, under its old name where no other is said.
#[utoipa::path(
    post, path = "/instances/{name}/restores", operation_id = "restore_instance", tag = "recovery",
    params(("name" = String, Path, description = "The instance's name."), WaitParams, IdempotencyHeader),
    request_body = NewRestore,
    responses(
        (status = 200, description = "With `wait`: the work is finished, well or not.", body = OperationBody),
        (status = 202, description = "The work goes on.", body = OperationBody,
            headers(("Location" = String, description = "Where the operation is watched.")))
    )
)]
async fn restore(
    State(api): ApiState,
    caller: Caller,
    At(name): At<InstanceName>,
    Params(wait): Params<WaitParams>,
    stopping: Stopping,
    body: Body<NewRestore>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let mut at = moment(body.value.at.as_deref())?;
    let view = api.control.view();
    let mut to = body.value.to.clone();
    // What else is wrong with the request its decision says.
    if let Some(origin) = origin(&view, &caller, &name) {
        at = reachable(&api, origin, at).await?;
        to = to.or(origin.unwanted_since.map(|_| name.clone()));
    }
    let busy_ports = if to.is_some() { busy_ports() } else { Default::default() };
    let accepted = submit_drawn(|| {
        let new = to.clone().map(|name| NewInstance {
            name,
            id: InstanceId::from_random(draw_id()),
            busy_ports: busy_ports.clone(),
        });
        let request = Request { operation: OperationId::from_random(draw_id()), idempotency: body.idempotency.clone() };
        let (tenant, name, at) = (caller.tenant.clone(), name.clone(), at.clone());
        api.control.submit(caller.actor.clone(), RestoreInstance { request, tenant, name, at, new })
    })
    .await?;
    answer(&api, accepted, wait.duration(), stopping).await
}

/// What `at` means.
fn moment(at: Option<&str>) -> Result<RestoreTo, Problem> {
    let Some(at) = at else { return Ok(RestoreTo::Latest) };
    let time = at.parse().map(RestoreTo::Time);
    time.or_else(|_| at.parse().map(RestoreTo::Backup)).map_err(|_| {
        Problem::new(Code::FieldInvalid, format!("{at:?} is neither a time nor a backup's id"))
            .field("at")
            .remedy("write a time as 2026-11-21T12:00:00Z, or an id as mainstay backups lists them")
    })
}

/// The instance that has a name, or that had it.
fn origin<'a>(view: &'a View, caller: &Caller, name: &InstanceName) -> Option<&'a Instance> {
    let there = view.instance(&caller.tenant, name);
    there.or_else(|| view.deleted_instance(&caller.tenant, name)).map(Arc::as_ref)
}

/// Refuses a moment that nothing in the repository leads to, while the caller is there to read which ones can be had. The newest of an
/// instance that was deleted is a moment of its life, whatever its cluster has been since.
async fn reachable(api: &Api, origin: &Instance, at: RestoreTo) -> Result<RestoreTo, Problem> {
    let has_log = api.control.recoverable().of(&origin.engine).is_some_and(|means| means.log);
    let wanted = match at {
        RestoreTo::Time(time) => Some(time),
        RestoreTo::Latest if origin.unwanted_since.is_some() && has_log => None,
        at => return Ok(at),
    };
    if api.control.view().points_of(origin).next().is_none() {
        return Ok(at);
    }
    let reachable = api.control.reachable(origin).await;
    match wanted.or(reachable.latest()) {
        Some(time) if reachable.holds(time) => Ok(RestoreTo::Time(time)),
        _ => {
            let wanted = wanted.map_or_else(|| "its last moment".to_owned(), |time| time.to_string());
            let detail = format!("instance {} can not be restored to {wanted}", origin.name);
            Err(Problem::new(Code::TimeUnreachable, detail)
                .field("at")
                .remedy(told(&reachable))
                .window(RecoveryWindow::of(&reachable)))
        }
    }
}

/// The moments that can be had, as a sentence.
fn told(reachable: &Reachable) -> String {
    let span = |(from, until): &(Timestamp, Timestamp)| {
        if from == until { from.to_string() } else { format!("{from} to {until}") }
    };
    let spans: Vec<_> = reachable.spans.iter().map(span).collect();
    match (spans.is_empty(), reachable.gaps.is_empty()) {
        (true, true) => "back it up first".to_owned(),
        (true, false) => format!("nothing can be restored: {}", reachable.gaps.join("; ")),
        (false, true) => format!("use a time within {}", spans.join(", ")),
        (false, false) => format!("use a time within {}; {}", spans.join(", "), reachable.gaps.join("; ")),
    }
}

fn body(point: &RecoveryPoint, proof: Option<&Proof>) -> BackupBody {
    BackupBody {
        id: point.id.to_string(),
        cluster: point.cluster.to_string(),
        whole_cluster: point.instance.is_none(),
        engine: point.engine.to_string(),
        version: point.version.clone(),
        proven: proof.is_some_and(|proof| proof.backup == point.id),
        bytes: point.bytes,
        began_at: point.began_at.to_string(),
        ended_at: point.ended_at.to_string(),
        uncovered: point.uncovered.clone(),
    }
}
