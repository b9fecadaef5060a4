//! Bindings: one consumer's credentials and endpoint. A password is in the answers of create and rotate only.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mainstay_control::draw_id;
use mainstay_domain::command::{CreateBinding, DeleteBinding, Rejection, RenewBinding, Request, RotateBinding};
use mainstay_domain::view::{Binding, OperationState, View};
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
use crate::input::{Body, Key, PageParams, Params, Seconds, WaitParams, from_path};
use crate::problem::{Code, Problem};

/// How long the answer with the credentials is waited for when the caller does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// What a consumer asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBinding {
    /// The application that the credentials are for.
    #[schema(value_type = String)]
    consumer: ConsumerName,
    /// The lease: `24h`, or a number of seconds. 32 days where nothing is said.
    #[schema(value_type = Option<String>)]
    ttl: Option<Seconds>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Renewal {
    /// The new lease from now on; as long as the last one where nothing is said.
    #[schema(value_type = Option<String>)]
    ttl: Option<Seconds>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// How long the old credential works on beside the new one: `1h` where nothing is said.
    #[schema(value_type = Option<String>)]
    overlap: Option<Seconds>,
}

/// A binding with its credentials: the only answer that holds a password.
#[derive(Serialize, ToSchema)]
struct BoundBody {
    id: String,
    instance: String,
    consumer: String,
    lease_seconds: u64,
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
    /// Counts its credentials; rotation makes the next.
    generation: Option<u32>,
    lease_seconds: u64,
    created_at: String,
    expires_at: String,
    /// Older credentials that still work beside the current one.
    retiring: Vec<RetiringBody>,
}

/// A credential that a newer one has taken the place of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RetiringCredential)]
struct RetiringBody {
    generation: u32,
    retire_at: String,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
        .routes(routes!(renew))
        .routes(routes!(rotate))
}

/// The bindings of an instance, without their secrets.
#[utoipa::path(get, path = "/instances/{name}/bindings", params(("name" = String, Path), ("limit" = Option<usize>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = Page<BindingBody>), (status = "default", body = Problem)))]
async fn list(
    State(api): ApiState,
    caller: Caller,
    Path(name): Path<String>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<BindingBody>>, Problem> {
    let view = api.control.view();
    let name = from_path(&name, "name")?;
    let instance = view.instance(&caller.tenant, &name).ok_or(Rejection::InstanceNotFound { name })?;
    let bindings = view.bindings_of(instance).map(|binding| body(binding));
    Ok(Json(Page::of(bindings, &params, |binding| binding.id.clone())))
}

/// Makes credentials for a consumer, and gives them in the answer.
#[utoipa::path(post, path = "/instances/{name}/bindings", params(("name" = String, Path), ("wait" = Option<String>, Query)), request_body = NewBinding,
    responses((status = 201, body = BoundBody), (status = 202, body = OperationBody, description = "not ready in time: send it again with the same Idempotency-Key"), (status = "default", body = Problem)))]
async fn create(
    State(api): ApiState,
    caller: Caller,
    Path(name): Path<String>,
    Params(wait): Params<WaitParams>,
    body: Body<NewBinding>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let instance: InstanceName = from_path(&name, "name")?;
    let accepted = submit_drawn(|| {
        let command = CreateBinding {
            request: request(&body.idempotency),
            tenant: caller.tenant.clone(),
            instance: instance.clone(),
            consumer: body.value.consumer.clone(),
            lease_seconds: body.value.ttl.map(Seconds::whole),
            id: BindingId::from_random(draw_id()),
        };
        api.control.submit(caller.actor.clone(), command)
    })
    .await?;
    deliver(&api, accepted.operation, wait, StatusCode::CREATED).await
}

/// One binding, without its secrets.
#[utoipa::path(get, path = "/bindings/{id}", params(("id" = String, Path)), responses((status = 200, body = BindingBody), (status = "default", body = Problem)))]
async fn get(State(api): ApiState, caller: Caller, Path(id): Path<String>) -> Result<Json<BindingBody>, Problem> {
    let view = api.control.view();
    own(&view, &caller, &from_path(&id, "id")?).map(body).map(Json)
}

/// Revokes a binding: its credentials stop working and its sessions end.
#[utoipa::path(delete, path = "/bindings/{id}", params(("id" = String, Path), ("wait" = Option<String>, Query)),
    responses((status = 202, body = OperationBody), (status = 200, body = OperationBody, description = "with wait: it is finished"), (status = "default", body = Problem)))]
async fn delete(
    State(api): ApiState,
    caller: Caller,
    Path(id): Path<String>,
    Params(wait): Params<WaitParams>,
    Key(idempotency): Key,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let id: BindingId = from_path(&id, "id")?;
    let accepted = submit_drawn(|| {
        let command = DeleteBinding { request: request(&idempotency), tenant: caller.tenant.clone(), id: id.clone() };
        api.control.submit(caller.actor.clone(), command)
    })
    .await?;
    answer(&api, accepted, wait.duration()).await
}

/// Begins a binding's lease anew.
#[utoipa::path(post, path = "/bindings/{id}/renew", params(("id" = String, Path)), request_body = Renewal, responses((status = 200, body = BindingBody), (status = "default", body = Problem)))]
async fn renew(
    State(api): ApiState,
    caller: Caller,
    Path(id): Path<String>,
    body: Body<Renewal>,
) -> Result<Json<BindingBody>, Problem> {
    caller.require(Role::Operator)?;
    let id: BindingId = from_path(&id, "id")?;
    let lease_seconds = body.value.ttl.map(Seconds::whole);
    let command = RenewBinding { tenant: caller.tenant.clone(), id: id.clone(), lease_seconds };
    api.control.submit(caller.actor.clone(), command).await?;
    let view = api.control.view();
    own(&view, &caller, &id).map(self::body).map(Json)
}

/// Gives a binding a new credential; the old one works on until the overlap ends.
#[utoipa::path(post, path = "/bindings/{id}/rotate", params(("id" = String, Path), ("wait" = Option<String>, Query)), request_body = Rotation,
    responses((status = 200, body = BoundBody), (status = 202, body = OperationBody, description = "not ready in time: send it again with the same Idempotency-Key"), (status = "default", body = Problem)))]
async fn rotate(
    State(api): ApiState,
    caller: Caller,
    Path(id): Path<String>,
    Params(wait): Params<WaitParams>,
    body: Body<Rotation>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let id: BindingId = from_path(&id, "id")?;
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
    deliver(&api, accepted.operation, wait, StatusCode::OK).await
}

fn request(idempotency: &Option<mainstay_domain::event::Idempotency>) -> Request {
    Request { operation: OperationId::from_random(draw_id()), idempotency: idempotency.clone() }
}

/// Waits until the credential works, and hands it out.
async fn deliver(
    api: &Api,
    operation: Option<OperationId>,
    wait: WaitParams,
    done: StatusCode,
) -> Result<Response, Problem> {
    let id = operation.ok_or_else(|| Problem::new(Code::Internal, "the binding has no operation"))?;
    let finished = api.control.wait_for(&id, wait.duration().unwrap_or(DEFAULT_WAIT)).await;
    let Ok(operation) = finished else {
        return answer(api, mainstay_control::Accepted { operation: Some(id) }, None).await;
    };
    if let OperationState::Failed { detail, .. } = &operation.state {
        return Err(Problem::new(Code::BindingFailed, detail.clone()).remedy("mend the cause and bind again"));
    }
    let id: BindingId = from_path(&operation.subject.id, "id")?;
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

fn body(binding: &Binding) -> BindingBody {
    let retiring = binding.credentials.iter().filter_map(|credential| {
        let retire_at = credential.retire_at?.to_string();
        Some(RetiringBody { generation: credential.generation, retire_at })
    });
    BindingBody {
        id: binding.id.to_string(),
        instance: binding.instance.to_string(),
        consumer: binding.consumer.to_string(),
        state: binding.state.to_string(),
        reason: binding.reason.clone(),
        generation: binding.current().map(|credential| credential.generation),
        lease_seconds: binding.lease_seconds,
        created_at: binding.created_at.to_string(),
        expires_at: binding.expires_at.to_string(),
        retiring: retiring.collect(),
    }
}
