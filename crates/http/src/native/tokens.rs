//! Tokens: who may do what, where, until when.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mainstay_domain::command::RevokeToken;
use mainstay_types::{Role, TenantScope, TokenId};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{Body, PageParams, Params, Seconds, from_path};
use crate::problem::Problem;

/// A token that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTokenRequest {
    /// `viewer`, `operator` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// The tenant it acts in, or `*` for every one; the tenant of the request where none is named.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantScope>,
    /// How long it is accepted: `24h`, or a number of seconds. 32 days where nothing is said.
    #[schema(value_type = Option<String>)]
    ttl: Option<Seconds>,
}

/// A token that was just made: the only answer that holds it.
#[derive(Serialize, ToSchema)]
struct NewTokenBody {
    id: String,
    token: String,
    role: String,
    tenant: String,
    expires_at: String,
}

/// What is known of a token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenBody {
    id: String,
    role: String,
    tenant: String,
    created_at: String,
    expires_at: String,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// The tokens of the tenants that the caller may act in.
#[utoipa::path(get, path = "/tokens", params(("limit" = Option<usize>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = Page<TokenBody>), (status = "default", body = Problem)))]
async fn list(
    State(api): ApiState,
    caller: Caller,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<TokenBody>>, Problem> {
    caller.require(Role::Admin)?;
    let view = api.control.view();
    let tokens = view.tokens().filter(|token| caller.scope.includes(&token.tenant)).map(|token| TokenBody {
        id: token.id.to_string(),
        role: token.role.to_string(),
        tenant: token.tenant.to_string(),
        created_at: token.created_at.to_string(),
        expires_at: token.expires_at.to_string(),
    });
    Ok(Json(Page::of(tokens, &params, |token| token.id.clone())))
}

/// Makes a token, and gives it in the answer.
#[utoipa::path(post, path = "/tokens", request_body = NewTokenRequest, responses((status = 201, body = NewTokenBody), (status = "default", body = Problem)))]
async fn create(State(api): ApiState, caller: Caller, body: Body<NewTokenRequest>) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let NewTokenRequest { role, tenant, ttl } = body.value;
    let tenant = tenant.unwrap_or(TenantScope::One(caller.tenant));
    let made = api.control.create_token(caller.actor, caller.scope, role, tenant, ttl.map(Seconds::whole)).await?;
    let body = NewTokenBody {
        id: made.id.to_string(),
        token: made.token.expose_secret().to_owned(),
        role: made.role.to_string(),
        tenant: made.tenant.to_string(),
        expires_at: made.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, [("cache-control", "no-store")], Json(body)).into_response())
}

/// Revokes a token.
#[utoipa::path(delete, path = "/tokens/{id}", params(("id" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
async fn revoke(State(api): ApiState, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    caller.require(Role::Admin)?;
    let id: TokenId = from_path(&id, "id")?;
    let cause = format!("{} asked for it", caller.actor);
    api.control.submit(caller.actor, RevokeToken { by: caller.scope, id, cause }).await?;
    Ok(StatusCode::NO_CONTENT)
}
