//! Drills: recovery points restored into scratch clusters and looked at.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use mainstay_control::draw_id;
use mainstay_domain::command::{Rejection, Request, RunDrill};
use mainstay_domain::view::{Drill, DrillOutcome};
use mainstay_types::{InstanceName, OperationId, Role};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::operations::{OperationBody, answer};
use super::page::Page;
use super::submit_drawn;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{At, IdempotencyHeader, Key, PageParams, Params, WaitParams};
use crate::problem::Problem;
use crate::serve::Stopping;

/// How a drill went.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Drill)]
struct DrillBody {
    /// The sequence number of its event, `v1.drill.passed` or `v1.drill.failed`.
    sequence: u64,
    instance: String,
    instance_id: String,
    /// The backup that was restored.
    backup: Option<String>,
    /// `passed` or `failed`.
    state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// From its beginning to the first question that was answered.
    rto_seconds: Option<f64>,
    /// From the newest change that came back to the drill's beginning.
    rpo_seconds: Option<f64>,
    checks: Vec<CheckBody>,
    #[schema(format = DateTime)]
    began_at: String,
    #[schema(format = DateTime)]
    ended_at: String,
}

/// One thing that a drill has looked at.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillCheck)]
struct CheckBody {
    name: String,
    passed: bool,
    /// Why it did not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// What was seen.
    seen: String,
}

type DrillList = Page<DrillBody>;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(of_instance, run))
}

/// Lists the tenant's drills that are remembered, the newest last.
#[utoipa::path(
    get, path = "/drills", operation_id = "list_drills", tag = "recovery", params(PageParams),
    responses((status = 200, description = "A page of drills.", body = DrillList))
)]
async fn list(State(api): ApiState, caller: Caller, Params(params): Params<PageParams>) -> Json<DrillList> {
    let view = api.control.view();
    let own = view.drills().filter(|drill| drill.tenant == caller.tenant).map(|drill| body(drill));
    Json(Page::of(own, &params, cursor))
}

/// Lists the drills of one instance, the newest last.
#[utoipa::path(
    get, path = "/instances/{name}/drills", operation_id = "list_drills_of_instance", tag = "recovery",
    params(("name" = String, Path, description = "The instance's name."), PageParams),
    responses((status = 200, description = "A page of drills.", body = DrillList))
)]
async fn of_instance(
    State(api): ApiState,
    caller: Caller,
    At(name): At<InstanceName>,
    Params(params): Params<PageParams>,
) -> Result<Json<DrillList>, Problem> {
    let view = api.control.view();
    let instance = view.instance(&caller.tenant, &name).ok_or(Rejection::InstanceNotFound { name })?;
    let own = view.drills().filter(|drill| drill.instance_id == instance.id).map(|drill| body(drill));
    Ok(Json(Page::of(own, &params, cursor)))
}

/// Restores the newest recovery point of an instance into a scratch cluster and looks whether all is well.
///
/// Needs the role operator. The instance itself is not touched.
#[utoipa::path(
    post, path = "/instances/{name}/drills", operation_id = "run_drill", tag = "recovery",
    params(("name" = String, Path, description = "The instance's name."), WaitParams, IdempotencyHeader),
    responses(
        (status = 200, description = "With `wait`: the work is finished, well or not.", body = OperationBody),
        (status = 202, description = "The work goes on.", body = OperationBody,
            headers(("Location" = String, description = "Where the operation is watched.")))
    )
)]
async fn run(
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
        api.control.submit(caller.actor.clone(), RunDrill { request, tenant, name })
    })
    .await?;
    answer(&api, accepted, wait.duration(), stopping).await
}

fn cursor(drill: &DrillBody) -> String {
    // As text in the order of the numbers.
    format!("{:020}", drill.sequence)
}

fn body(drill: &Drill) -> DrillBody {
    let seconds = |milliseconds: u64| Some(milliseconds as f64 / 1e3);
    let (state, reason, rto_seconds, rpo_seconds) = match &drill.outcome {
        DrillOutcome::Passed { recovery_time_milliseconds, loss_milliseconds } => {
            ("passed", None, seconds(*recovery_time_milliseconds), seconds(*loss_milliseconds))
        }
        DrillOutcome::Failed { reason } => ("failed", Some(reason.clone()), None, None),
    };
    let check = |check: &mainstay_domain::event::DrillCheck| CheckBody {
        name: check.name.clone(),
        passed: check.failure.is_none(),
        failure: check.failure.clone(),
        seen: check.seen.clone(),
    };
    DrillBody {
        sequence: drill.sequence,
        instance: drill.instance.to_string(),
        instance_id: drill.instance_id.to_string(),
        backup: drill.backup.as_ref().map(ToString::to_string),
        state,
        reason,
        rto_seconds,
        rpo_seconds,
        checks: drill.checks.iter().map(check).collect(),
        began_at: drill.began_at.to_string(),
        ended_at: drill.ended_at.to_string(),
    }
}
