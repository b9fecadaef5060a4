//! Bindings: one consumer's credentials and endpoint. A password is in the answers of create and rotate only.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mainstay_control::draw_id;
use mainstay_domain::command::{CreateBinding, DeleteBinding, Rejection, RenewBinding, Request, RotateBinding};
use mainstay_domain::view::{Binding, BindingState, OperationState, View};
use mainstay_types::{BindingId, ConsumerName, InstanceName, OperationId, Role};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
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

/// How long the answer with the credentials is waited for when the caller does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// What a consumer asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBinding {
    /// The application that the credentials are for.
    #[schema(value_type = String, example = "web")]
    consumer: ConsumerName,
    /// The lease: `24h`, or a number of seconds. 32 days where nothing is said.
    #[schema(value_type = Option<String>, example = "24h")]
    ttl: Option<Seconds>,
}

/// For how long a binding is to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BindingRenewal)]
struct Renewal {
    /// The new lease from now on; as long as the last one where nothing is said.
    #[schema(value_type = Option<String>)]
    ttl: Option<Seconds>,
}

/// How a binding's credential is to be replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BindingRotation)]
struct Rotation {
    /// How long the old credential works on beside the new one: `1h` where nothing is said.
    #[schema(value_type = Option<String>)]
    overlap: Option<Seconds>,
}

/// A binding with its credentials: the only answer that holds a password.
#[derive(Serialize, ToSchema)]
#[schema(as = BoundBinding)]
struct BoundBody {
    id: String,
    instance: String,
    consumer: String,
    lease_seconds: u64,
    #[schema(format = DateTime)]
    expires_at: String,
    /// Named as in the Service Binding specification: `type`, `provider`, `host`, `port`, `uri`, `username`, `password`
    /// and what the contract adds.
    credentials: BTreeMap<&'static str, String>,
}

/// A binding without its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Binding)]
struct BindingBody {
    id: String,
    instance: String,
    consumer: String,
    /// `requested`, `ready`, `failed` or `revoking`.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Counts its credentials; rotation makes the next. Null while none works.
    generation: Option<u32>,
    lease_seconds: u64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// Older credentials that still work beside the current one.
    retiring: Vec<RetiringBody>,
}

/// A credential that a newer one has taken the place of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RetiringCredential)]
struct RetiringBody {
    generation: u32,
    #[schema(format = DateTime)]
    retire_at: String,
}

type BindingList = Page<BindingBody>;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
        .routes(routes!(renew))
        .routes(routes!(rotate))
}

/// Lists the bindings of an instance, without their secrets.
#[utoipa::path(
    get, path = "/instances/{name}/bindings", operation_id = "list_bindings", tag = "bindings",
    params(("name" = String, Path, description = "The instance's name."), PageParams),
    responses((status = 200, description = "A page of bindings.", body = BindingList))
)]
async fn list(
    State(api): ApiState,
    caller: Caller,
    At(name): At<InstanceName>,
    Params(params): Params<PageParams>,
) -> Result<Json<BindingList>, Problem> {
    let view = api.control.view();
    let instance = view.instance(&caller.tenant, &name).ok_or(Rejection::InstanceNotFound { name })?;
    let bindings = view.bindings_of(instance).map(|binding| body(&api, binding));
    Ok(Json(Page::of(bindings, &params, |binding| binding.id.clone())))
}

/// Makes credentials for a consumer, and gives them in the answer.
///
/// Needs the role operator. It waits for the credential, for 30 seconds where `wait` does not say otherwise. No other
/// answer holds the password, except that of a rotation.
#[utoipa::path(
    post, path = "/instances/{name}/bindings", operation_id = "create_binding", tag = "bindings",
    params(("name" = String, Path, description = "The instance's name."), WaitParams, IdempotencyHeader),
    request_body = NewBinding,
    responses(
        (status = 201, description = "The binding with its credentials.", body = BoundBody),
        (status = 202, description = "Not ready in time. With the same Idempotency-Key it can be asked for again.",
            body = OperationBody, headers(("Location" = String, description = "Where the operation is watched.")))
    )
)]
async fn create(
    State(api): ApiState,
    caller: Caller,
    At(instance): At<InstanceName>,
    Params(wait): Params<WaitParams>,
    stopping: Stopping,
    body: Body<NewBinding>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let accepted = submit_drawn(|| {
        let command = CreateBinding {
            request: request(&body.idempotency),
            tenant: caller.tenant.clone(),
            instance: instance.clone(),
            consumer: body.value.consumer.clone(),
            lease_seconds: body.value.ttl.map(Seconds::whole),
            id: BindingId::from_random(draw_id()),
            statements: None,
        };
        api.control.submit(caller.actor.clone(), command)
    })
    .await?;
    deliver(&api, accepted.operation, wait, stopping, StatusCode::CREATED).await
}

/// Shows a binding, without its secrets.
#[utoipa::path(
    get, path = "/bindings/{id}", operation_id = "get_binding", tag = "bindings",
    params(("id" = String, Path, description = "The binding's id.")),
    responses((status = 200, description = "The binding.", body = BindingBody))
)]
async fn get(State(api): ApiState, caller: Caller, At(id): At<BindingId>) -> Result<Json<BindingBody>, Problem> {
    let view = api.control.view();
    own(&view, &caller, &id).map(|binding| Json(body(&api, binding)))
}

/// Revokes a binding: its credentials stop working and its sessions end.
///
/// Needs the role operator. The answer is the operation that revokes it.
#[utoipa::path(
    delete, path = "/bindings/{id}", operation_id = "delete_binding", tag = "bindings",
    params(("id" = String, Path, description = "The binding's id."), WaitParams, IdempotencyHeader),
    responses(
        (status = 200, description = "With `wait`: the work is finished, well or not.", body = OperationBody),
        (status = 202, description = "The work goes on.", body = OperationBody,
            headers(("Location" = String, description = "Where the operation is watched.")))
    )
)]
async fn delete(
    State(api): ApiState,
    caller: Caller,
    At(id): At<BindingId>,
    Params(wait): Params<WaitParams>,
    stopping: Stopping,
    Key(idempotency): Key,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let accepted = submit_drawn(|| {
        let command = DeleteBinding { request: request(&idempotency), tenant: caller.tenant.clone(), id: id.clone() };
        api.control.submit(caller.actor.clone(), command)
    })
    .await?;
    answer(&api, accepted, wait.duration(), stopping).await
}

/// Begins a binding's lease anew.
///
/// Needs the role operator.
#[utoipa::path(
    post, path = "/bindings/{id}/renew", operation_id = "renew_binding", tag = "bindings",
    params(("id" = String, Path, description = "The binding's id.")), request_body = Renewal,
    responses((status = 200, description = "The binding with its new lease.", body = BindingBody))
)]
async fn renew(
    State(api): ApiState,
    caller: Caller,
    At(id): At<BindingId>,
    body: Body<Renewal>,
) -> Result<Json<BindingBody>, Problem> {
    caller.require(Role::Operator)?;
    let lease_seconds = body.value.ttl.map(Seconds::whole);
    let command = RenewBinding { tenant: caller.tenant.clone(), id: id.clone(), lease_seconds };
    api.control.submit(caller.actor.clone(), command).await?;
    let view = api.control.view();
    own(&view, &caller, &id).map(|binding| Json(self::body(&api, binding)))
}

/// Gives a binding a new credential; the old one works on until the overlap ends.
///
/// Needs the role operator. It waits for the credential, for 30 seconds where `wait` does not say otherwise.
#[utoipa::path(
    post, path = "/bindings/{id}/rotate", operation_id = "rotate_binding", tag = "bindings",
    params(("id" = String, Path, description = "The binding's id."), WaitParams, IdempotencyHeader),
    request_body = Rotation,
    responses(
        (status = 200, description = "The binding with its new credentials.", body = BoundBody),
        (status = 202, description = "Not ready in time. With the same Idempotency-Key it can be asked for again.",
            body = OperationBody, headers(("Location" = String, description = "Where the operation is watched.")))
    )
)]
async fn rotate(
    State(api): ApiState,
    caller: Caller,
    At(id): At<BindingId>,
    Params(wait): Params<WaitParams>,
    stopping: Stopping,
    body: Body<Rotation>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let accepted = submit_drawn(|| {
        let command = RotateBinding {
            request: request(&body.idempotency),
            tenant: caller.tenant.clone(),
            id: id.clone(),
            overlap_seconds: body.value.overlap.map(Seconds::whole),
        };
        api.control.submit(caller.actor.clone(), command)
    })
    .await?;
    deliver(&api, accepted.operation, wait, stopping, StatusCode::OK).await
}

fn request(idempotency: &Option<mainstay_domain::event::Idempotency>) -> Request {
    Request { operation: OperationId::from_random(draw_id()), idempotency: idempotency.clone() }
}

/// Waits until the credential works, and hands it out.
async fn deliver(
    api: &Api,
    operation: Option<OperationId>,
    wait: WaitParams,
    mut stopping: Stopping,
    done: StatusCode,
) -> Result<Response, Problem> {
    let id = operation.ok_or_else(|| Problem::new(Code::Internal, "the binding has no operation"))?;
    let finished = tokio::select! {
        finished = api.control.wait_for(&id, wait.duration().unwrap_or(DEFAULT_WAIT)) => finished.ok(),
        () = stopping.begun() => None,
    };
    let Some(operation) = finished else {
        return answer(api, mainstay_control::Accepted { operation: Some(id) }, None, stopping).await;
    };
    if let OperationState::Failed { code, detail } = &operation.state {
        return Err(Problem::of_failed_operation(code, detail));
    }
    // The subject of an operation on a binding is the binding's id.
    let id: BindingId = operation.subject.id.parse().map_err(|error| Problem::internal(&error))?;
    let delivery = api.control.deliver(&id).await?;
    let view = api.control.view();
    let binding = view.binding(&id).ok_or(Rejection::BindingNotFound { id })?;
    let body = BoundBody {
        id: binding.id.to_string(),
        instance: binding.instance.to_string(),
        consumer: binding.consumer.to_string(),
        lease_seconds: binding.lease_seconds,
        expires_at: binding.expires_at.to_string(),
        credentials: delivery.iter().map(|(key, value)| (*key, value.expose_secret().to_owned())).collect(),
    };
    Ok((done, [("cache-control", "no-store")], Json(body)).into_response())
}

fn own<'a>(view: &'a View, caller: &Caller, id: &BindingId) -> Result<&'a Binding, Problem> {
    let binding = view.binding(id).filter(|binding| binding.tenant == caller.tenant);
    binding.map(|binding| &**binding).ok_or_else(|| Rejection::BindingNotFound { id: id.clone() }.into())
}

fn body(api: &Api, binding: &Binding) -> BindingBody {
    let in_work = matches!(binding.state, BindingState::Requested | BindingState::Revoking);
    // What keeps the work from getting on is known of the instance, which is worked on one step at a time.
    let trouble = || api.control.trouble_with(&binding.instance_id).filter(|_| in_work);
    let retiring = binding.credentials.iter().filter_map(|credential| {
        let retire_at = credential.retire_at?.to_string();
        Some(RetiringBody { generation: credential.generation, retire_at })
    });
    BindingBody {
        id: binding.id.to_string(),
        instance: binding.instance.to_string(),
        consumer: binding.consumer.to_string(),
        state: binding.state.to_string(),
        reason: binding.reason.clone().or_else(trouble),
        generation: binding.current().map(|credential| credential.generation),
        lease_seconds: binding.lease_seconds,
        created_at: binding.created_at.to_string(),
        expires_at: binding.expires_at.to_string(),
        retiring: retiring.collect(),
    }
}
