//! Instances: what consumers own.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use mainstay_control::{busy_ports, draw_id};
use mainstay_domain::command::{CreateInstance, DeleteInstance, MoveInstance, Rejection, Request};
use mainstay_domain::view::{Instance, View};
use mainstay_types::{
    ContractRef, EngineName, EnvironmentName, InstanceId, InstanceName, OperationId, Parameters, Plan, Role, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::operations::{OperationBody, answer};
use super::page::Page;
use super::submit_drawn;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{At, Body, IdempotencyHeader, Key, PageParams, Params, Seconds, WaitParams};
use crate::problem::{Code, Problem};
use crate::serve::Stopping;

/// What a consumer asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInstance {
    /// A DNS label, unique within the tenant.
    #[schema(value_type = String, example = "shop")]
    name: InstanceName,
    /// The service interface, one of those at `/offerings`.
    #[schema(value_type = String, example = "postgresql/v1")]
    contract: ContractRef,
    /// `shared` or `dedicated`; the offering's first plan where none is named.
    #[schema(value_type = Option<String>, example = "shared")]
    plan: Option<Plan>,
    /// The contract's first engine where none is named.
    #[schema(value_type = Option<String>)]
    engine: Option<EngineName>,
    /// `default` where none is named.
    #[schema(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    /// What the offering lets be set, by name; values are text.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    parameters: Parameters,
}

/// Where an instance is to move.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Destination {
    /// An engine that can take over from the one that it has; the one that it has where none is named, in the version that is
    /// installed now.
    #[schema(value_type = Option<String>, example = "valkey")]
    engine: Option<EngineName>,
    /// The plan that it has where none is named. Only that one is possible.
    #[schema(value_type = Option<String>, example = "dedicated")]
    plan: Option<Plan>,
}

/// What a consumer owns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Instance)]
pub(super) struct InstanceBody {
    id: String,
    name: String,
    tenant: String,
    environment: String,
    contract: String,
    plan: String,
    engine: String,
    /// The running deployment that it lives on.
    cluster: String,
    /// The cluster that it is to live on, while it moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    moving_to: Option<String>,
    /// `requested`, `provisioning`, `ready`, `degraded`, `failed` or `deleting`.
    state: String,
    /// Why it is in this state, where that needs saying.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Null while it has no place yet.
    endpoint: Option<EndpointBody>,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    parameters: Parameters,
    recovery: RecoveryBody,
    /// How many bindings give access to it.
    bindings: usize,
    #[schema(format = DateTime)]
    created_at: String,
}

/// Where clients connect to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Endpoint)]
pub(super) struct EndpointBody {
    pub(super) host: String,
    pub(super) port: u16,
}

/// What is known of an instance's recovery.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Recovery)]
struct RecoveryBody {
    /// `unprotected`, `unproven`, `proven`, `overdue` or `failed`.
    state: String,
    /// Why it failed, or why the last backup did not come about.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[schema(format = DateTime)]
    latest_recovery_point: Option<String>,
    #[schema(format = DateTime)]
    proven_at: Option<String>,
    rto_seconds: Option<f64>,
    rpo_seconds: Option<f64>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Only instances of this contract.
    #[param(value_type = Option<String>)]
    contract: Option<ContractRef>,
    /// Only instances of this environment.
    #[param(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    /// How many items to answer at most: 100 where nothing is said, never more than 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only items after this one: the `next` of the page before.
    after: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeleteParams {
    /// Revoke its live bindings too. Without it their existence refuses the deletion.
    #[serde(default)]
    #[param(value_type = Option<bool>)]
    force: bool,
    /// How long to wait for the end of the work: `30s`, or a number of seconds, five minutes at most.
    #[param(value_type = Option<String>, example = "30s")]
    wait: Option<Seconds>,
}

type InstanceList = Page<InstanceBody>;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, delete)).routes(routes!(relocate))
}

/// Lists the tenant's instances, by name.
#[utoipa::path(
    get, path = "/instances", operation_id = "list_instances", tag = "instances", params(ListParams),
    responses((status = 200, description = "A page of instances.", body = InstanceList))
)]
async fn list(State(api): ApiState, caller: Caller, Params(params): Params<ListParams>) -> Json<InstanceList> {
    let view = api.control.view();
    let wanted = |instance: &&std::sync::Arc<Instance>| {
        params.contract.as_ref().is_none_or(|contract| *contract == instance.contract)
            && params.environment.as_ref().is_none_or(|environment| *environment == instance.environment)
    };
    let items = view.instances_of(&caller.tenant).filter(wanted);
    let page_params = PageParams { limit: params.limit, after: params.after.clone() };
    let page = Page::of(items, &page_params, |instance| instance.name.to_string());
    Json(Page { items: page.items.into_iter().map(|i| body(&api, &view, i)).collect(), next: page.next })
}

/// Creates an instance.
///
/// Needs the role operator. The answer is the operation that makes it.
#[utoipa::path(
    post, path = "/instances", operation_id = "create_instance", tag = "instances",
    params(WaitParams, IdempotencyHeader), request_body = NewInstance,
    responses(
        (status = 200, description = "With `wait`: the work is finished, well or not.", body = OperationBody),
        (status = 202, description = "The work goes on.", body = OperationBody,
            headers(("Location" = String, description = "Where the operation is watched.")))
    )
)]
async fn create(
    State(api): ApiState,
    caller: Caller,
    Params(wait): Params<WaitParams>,
    stopping: Stopping,
    body: Body<NewInstance>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let wanted = body.value;
    refuse_missing_engine(&api, &wanted.contract, wanted.engine.as_ref()).await?;
    let busy_ports = busy_ports();
    let accepted = submit_drawn(|| {
        let command = CreateInstance {
            request: Request { operation: OperationId::from_random(draw_id()), idempotency: body.idempotency.clone() },
            tenant: caller.tenant.clone(),
            name: wanted.name.clone(),
            contract: wanted.contract.clone(),
            plan: wanted.plan,
            engine: wanted.engine.clone(),
            environment: wanted.environment.clone(),
            parameters: wanted.parameters.clone(),
            id: InstanceId::from_random(draw_id()),
            busy_ports: busy_ports.clone(),
        };
        api.control.submit(caller.actor.clone(), command)
    })
    .await?;
    answer(&api, accepted, wait.duration(), stopping).await
}

/// Shows an instance.
#[utoipa::path(
    get, path = "/instances/{name}", operation_id = "get_instance", tag = "instances",
    params(("name" = String, Path, description = "The instance's name.")),
    responses((status = 200, description = "The instance.", body = InstanceBody))
)]
async fn get(State(api): ApiState, caller: Caller, At(name): At<InstanceName>) -> Result<Json<InstanceBody>, Problem> {
    let view = api.control.view();
    let instance = view.instance(&caller.tenant, &name).ok_or(Rejection::InstanceNotFound { name })?;
    Ok(Json(self::body(&api, &view, instance)))
}

/// Deletes an instance with all its data.
///
/// Needs the role operator. The answer is the operation that deletes it; asked again meanwhile, the same.
#[utoipa::path(
    delete, path = "/instances/{name}", operation_id = "delete_instance", tag = "instances",
    params(("name" = String, Path, description = "The instance's name."), DeleteParams, IdempotencyHeader),
    responses(
        (status = 200, description = "With `wait`: the work is finished, well or not.", body = OperationBody),
        (status = 202, description = "The work goes on.", body = OperationBody,
            headers(("Location" = String, description = "Where the operation is watched."))),
        (status = 204, description = "It is being deleted already, and nobody watches the work.")
    )
)]
async fn delete(
    State(api): ApiState,
    caller: Caller,
    At(name): At<InstanceName>,
    Params(params): Params<DeleteParams>,
    stopping: Stopping,
    Key(idempotency): Key,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let accepted = submit_drawn(|| {
        let operation = OperationId::from_random(draw_id());
        let request = Request { operation, idempotency: idempotency.clone() };
        let (tenant, name) = (caller.tenant.clone(), name.clone());
        api.control.submit(caller.actor.clone(), DeleteInstance { request, tenant, name, force: params.force })
    })
    .await?;
    let wait = WaitParams { wait: params.wait };
    answer(&api, accepted, wait.duration(), stopping).await
}

/// Moves an instance to another engine, or to a new process of its own, while it is used.
///
/// Needs the role operator. Its address and its bindings stay what they are; writes wait for a moment, and the operation's
/// `detail` says for how long. Where it can not be done the instance stays as it is.
#[utoipa::path(
    post, path = "/instances/{name}/move", operation_id = "move_instance", tag = "instances",
    params(("name" = String, Path, description = "The instance's name."), WaitParams, IdempotencyHeader),
    request_body = Destination,
    responses(
        (status = 200, description = "With `wait`: the work is finished, well or not.", body = OperationBody),
        (status = 202, description = "The work goes on.", body = OperationBody,
            headers(("Location" = String, description = "Where the operation is watched.")))
    )
)]
async fn relocate(
    State(api): ApiState,
    caller: Caller,
    At(name): At<InstanceName>,
    Params(wait): Params<WaitParams>,
    stopping: Stopping,
    body: Body<Destination>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let Destination { engine, plan } = body.value;
    let contract = api.control.view().instance(&caller.tenant, &name).map(|instance| instance.contract.clone());
    if let (Some(contract), Some(_)) = (contract, &engine) {
        refuse_missing_engine(&api, &contract, engine.as_ref()).await?;
    }
    let busy_ports = busy_ports();
    let accepted = submit_drawn(|| {
        let command = MoveInstance {
            request: Request { operation: OperationId::from_random(draw_id()), idempotency: body.idempotency.clone() },
            tenant: caller.tenant.clone(),
            name: name.clone(),
            engine: engine.clone(),
            plan,
            busy_ports: busy_ports.clone(),
        };
        api.control.submit(caller.actor.clone(), command)
    })
    .await?;
    answer(&api, accepted, wait.duration(), stopping).await
}

async fn refuse_missing_engine(api: &Api, contract: &ContractRef, engine: Option<&EngineName>) -> Result<(), Problem> {
    let Some((engine, reason, remedy)) = api.control.missing_engine(contract, engine).await else { return Ok(()) };
    let detail = format!("engine {engine} can not be used on this machine: {reason}");
    Err(Problem::new(Code::EngineMissing, detail).field("engine").remedy(remedy))
}

fn body(api: &Api, view: &View, instance: &Instance) -> InstanceBody {
    let cluster = view.cluster(&instance.cluster);
    let (state, reason) = instance.visible_state(cluster.map(|cluster| &**cluster));
    // What is wrong now is told also where the journal can not take it, as on a disk that is full.
    let reason = reason
        .map(str::to_owned)
        .or_else(|| api.control.trouble_with(&instance.id))
        .or_else(|| api.control.trouble_with_cluster(&instance.cluster));
    let host = api.control.engine(&instance.engine).map(|engine| engine.host().to_string());
    InstanceBody {
        id: instance.id.to_string(),
        name: instance.name.to_string(),
        tenant: instance.tenant.to_string(),
        environment: instance.environment.to_string(),
        contract: instance.contract.to_string(),
        plan: instance.plan.to_string(),
        engine: instance.engine.to_string(),
        cluster: instance.cluster.to_string(),
        moving_to: instance.moving.as_ref().map(ToString::to_string),
        state: state.to_string(),
        reason,
        endpoint: host.zip(cluster).map(|(host, cluster)| EndpointBody { host, port: cluster.port }),
        parameters: instance.shown_parameters(),
        recovery: recovery(api, view, instance),
        bindings: view.bindings_of(instance).filter(|binding| binding.is_live()).count(),
        created_at: instance.created_at.to_string(),
    }
}

/// How far it can be relied on that the instance comes back.
fn recovery(api: &Api, view: &View, instance: &Instance) -> RecoveryBody {
    let recovery = &instance.recovery;
    let protected = view.points_of(instance).next().is_some();
    let failure = recovery.drill_failed.as_ref().or(recovery.backup_failed.as_ref());
    let (moment, seconds) = (|at: Timestamp| at.to_string(), |milliseconds: u64| milliseconds as f64 / 1e3);
    RecoveryBody {
        state: recovery.state(protected, Timestamp::now()).to_string(),
        reason: failure.map(|failure| failure.reason.clone()),
        latest_recovery_point: api.control.latest_recovery_point(instance).map(moment),
        proven_at: recovery.proof.as_ref().map(|proof| moment(proof.at)),
        rto_seconds: recovery.proof.as_ref().map(|proof| seconds(proof.recovery_time_milliseconds)),
        rpo_seconds: recovery.proof.as_ref().map(|proof| seconds(proof.loss_milliseconds)),
    }
}
