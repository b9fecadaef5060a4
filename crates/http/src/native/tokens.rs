//! Tokens: who may do what, where, until when.

use axum::Json;
use axum::extract::State;
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
use crate::input::{At, Body, PageParams, Params, Seconds};
use crate::problem::Problem;

/// A token that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewToken)]
struct NewTokenRequest {
    /// `viewer`, `operator` or `admin`.
    #[schema(value_type = String, example = "operator")]
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
#[schema(as = CreatedToken)]
struct NewTokenBody {
    /// By which it is listed and revoked.
    id: String,
    /// What is sent as `Authorization: Bearer`.
    token: String,
    role: String,
    tenant: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// What is known of a token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenBody {
    id: String,
    role: String,
    /// The tenant it acts in, or `*`.
    tenant: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

type TokenList = Page<TokenBody>;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// Lists the tokens of the tenants that the caller may act in.
///
/// Needs the role admin.
#[utoipa::path(
    get, path = "/tokens", operation_id = "list_tokens", tag = "tokens", params(PageParams),
    responses((status = 200, description = "A page of tokens.", body = TokenList))
)]
async fn list(
    State(api): ApiState,
    caller: Caller,
    Params(params): Params<PageParams>,
) -> Result<Json<TokenList>, Problem> {
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
///
/// Needs the role admin. No other answer holds the token, so an Idempotency-Key has no effect here.
#[utoipa::path(
    post, path = "/tokens", operation_id = "create_token", tag = "tokens", request_body = NewTokenRequest,
    responses((status = 201, description = "The token.", body = NewTokenBody))
)]
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

/// Revokes a token: it is refused from now on.
///
/// Needs the role admin.
#[utoipa::path(
    delete, path = "/tokens/{id}", operation_id = "revoke_token", tag = "tokens",
    params(("id" = String, Path, description = "The token's id.")),
    responses((status = 204, description = "It is revoked."))
)]
async fn revoke(State(api): ApiState, caller: Caller, At(id): At<TokenId>) -> Result<StatusCode, Problem> {
    caller.require(Role::Admin)?;
    let cause = format!("{} asked for it", caller.actor);
    api.control.submit(caller.actor, RevokeToken { by: caller.scope, id, cause }).await?;
    Ok(StatusCode::NO_CONTENT)
}
