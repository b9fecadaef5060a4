//! How an instance is backed up and drilled, and which moments of it can be had back.

use axum::Json;
use axum::extract::State;
use mainstay_domain::command::{Rejection, SetRecoveryPolicy};
use mainstay_domain::event::RecoveryPolicyChanged;
use mainstay_domain::view::RecoveryPolicy;
use mainstay_types::{Assertion, InstanceName, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{At, Body};
use crate::problem::Problem;
use crate::window::RecoveryWindow;

/// How an instance is to be backed up and drilled. What is left out is the layer's default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPolicy {
    #[schema(example = 86400)]
    backup_every_seconds: Option<u64>,
    #[schema(example = 604800)]
    drill_every_seconds: Option<u64>,
    /// Backups that are kept: so many of the newest,
    keep_last: Option<u32>,
    /// the newest of so many days,
    keep_daily: Option<u32>,
    /// of so many weeks,
    keep_weekly: Option<u32>,
    /// and of so many periods of thirty days.
    keep_monthly: Option<u32>,
    /// What each drill asks of the data that came back.
    #[serde(default)]
    assertions: Vec<AssertionBody>,
}

/// Something that has to be true of the data.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DrillAssertion)]
struct AssertionBody {
    /// In the engine's own language.
    #[schema(example = "SELECT count(*) > 0 FROM orders")]
    query: String,
    /// What it has to answer, as the engine's command-line client prints it.
    #[schema(example = "t")]
    expect: String,
}

/// How an instance is backed up and drilled, and what can be had back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecoveryDetails)]
struct DetailsBody {
    backup_every_seconds: u64,
    drill_every_seconds: u64,
    keep_last: u32,
    keep_daily: u32,
    keep_weekly: u32,
    keep_monthly: u32,
    assertions: Vec<AssertionBody>,
    window: RecoveryWindow,
    /// Why the last backup did not come about, where it did not.
    backup_failure: Option<String>,
    /// Why the last drill did not pass, where it did not.
    drill_failure: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, replace))
}

/// Shows how an instance is backed up and drilled, and which moments of it can be had back.
#[utoipa::path(
    get, path = "/instances/{name}/recovery", operation_id = "get_instance_recovery", tag = "recovery",
    params(("name" = String, Path, description = "The instance's name.")),
    responses((status = 200, description = "The policy, and the moments that can be had.", body = DetailsBody))
)]
async fn show(State(api): ApiState, caller: Caller, At(name): At<InstanceName>) -> Result<Json<DetailsBody>, Problem> {
    details(&api, &caller, name).await
}

/// Says how an instance is to be backed up and drilled.
///
/// Needs the role operator. The next drill is due at once.
#[utoipa::path(
    put, path = "/instances/{name}/recovery", operation_id = "set_instance_recovery", tag = "recovery",
    params(("name" = String, Path, description = "The instance's name.")), request_body = NewPolicy,
    responses((status = 200, description = "The policy, and the moments that can be had.", body = DetailsBody))
)]
async fn replace(
    State(api): ApiState,
    caller: Caller,
    At(name): At<InstanceName>,
    body: Body<NewPolicy>,
) -> Result<Json<DetailsBody>, Problem> {
    caller.require(Role::Operator)?;
    let wanted = body.value;
    let assertion = |each: AssertionBody| Assertion { query: each.query, expect: each.expect };
    let policy = RecoveryPolicyChanged {
        backup_every_seconds: wanted.backup_every_seconds,
        drill_every_seconds: wanted.drill_every_seconds,
        keep_last: wanted.keep_last,
        keep_daily: wanted.keep_daily,
        keep_weekly: wanted.keep_weekly,
        keep_monthly: wanted.keep_monthly,
        assertions: wanted.assertions.into_iter().map(assertion).collect(),
    };
    let command = SetRecoveryPolicy { tenant: caller.tenant.clone(), name: name.clone(), policy };
    api.control.submit(caller.actor.clone(), command).await?;
    details(&api, &caller, name).await
}

async fn details(api: &Api, caller: &Caller, name: InstanceName) -> Result<Json<DetailsBody>, Problem> {
    let view = api.control.view();
    let instance = view.instance(&caller.tenant, &name).ok_or(Rejection::InstanceNotFound { name })?;
    let reachable = api.control.reachable(instance).await;
    let RecoveryPolicy { backup_every_seconds, drill_every_seconds, keep, assertions, .. } = &instance.recovery.policy;
    let assertion = |each: &Assertion| AssertionBody { query: each.query.clone(), expect: each.expect.clone() };
    Ok(Json(DetailsBody {
        backup_every_seconds: *backup_every_seconds,
        drill_every_seconds: *drill_every_seconds,
        keep_last: keep.last,
        keep_daily: keep.daily,
        keep_weekly: keep.weekly,
        keep_monthly: keep.monthly,
        assertions: assertions.iter().map(assertion).collect(),
        window: RecoveryWindow::of(&reachable),
        backup_failure: instance.recovery.backup_failed.as_ref().map(|failure| failure.reason.clone()),
        drill_failure: instance.recovery.drill_failed.as_ref().map(|failure| failure.reason.clone()),
    }))
}
