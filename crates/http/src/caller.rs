//! Who calls, and for which tenant.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use mainstay_control::{Bearer, TokenRefused};
use mainstay_domain::event::Actor;
use mainstay_secrets::RoleBearer;
use mainstay_types::{Role, TenantName, TenantScope};
use secrecy::SecretString;

use crate::api::Api;
use crate::problem::{Code, Problem};

/// The header that names a tenant, for tokens that may act in every one.
pub(crate) const TENANT_HEADER: &str = "mainstay-tenant";

/// Whoever bears the token of a request, acting in one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) role: Role,
    /// Where the token may act.
    pub(crate) scope: TenantScope,
    /// Where this request acts.
    pub(crate) tenant: TenantName,
}

impl Caller {
    /// Refuses a caller whose role is less than this one.
    pub(crate) fn require(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        Err(Problem::new(
            Code::RoleInsufficient,
            format!("this needs the role {role}, and the token's is {}", self.role),
        )
        .remedy(format!("use a token with the role {role}: mainstay token create --role {role}")))
    }

    /// Refuses a caller who may not see what belongs to every tenant.
    pub(crate) fn require_all_tenants(&self) -> Result<(), Problem> {
        if self.scope == TenantScope::Any {
            return Ok(());
        }
        Err(Problem::new(Code::TenantForbidden, "this shows every tenant, and the token is for one")
            .remedy("use a token whose tenant is *"))
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Bearer { id, role, tenant: scope } = bearer(api, &token(parts)?).await?;
        let tenant = tenant(parts, &scope)?;
        tracing::Span::current().record("tenant", tracing::field::display(&tenant));
        Ok(Self { actor: Actor::Token(id), role, scope, tenant })
    }
}

/// Who bears a token: one of the layer's, or one of custody's that has a role among its policies.
async fn bearer(api: &Api, token: &SecretString) -> Result<Bearer, Problem> {
    let answer = match (api.control.authenticate(token), &api.secrets) {
        (Err(error @ TokenRefused::Unknown), Some(secrets)) => {
            let bearer = secrets.role_bearer(token).await.map_err(|error| Problem::internal(&error))?;
            return bearer
                .map(|RoleBearer { id, role, scope }| Bearer { id, role, tenant: scope })
                .ok_or(refused(error));
        }
        (answer, _) => answer,
    };
    answer.map_err(refused)
}

/// The text of a request's token: the bearer token of `Authorization`, or `X-Vault-Token`.
pub(crate) fn token_text(headers: &HeaderMap) -> Option<&str> {
    if let Some(token) = headers.get("x-vault-token") {
        return token.to_str().ok().map(str::trim);
    }
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn token(parts: &Parts) -> Result<SecretString, Problem> {
    token_text(&parts.headers).map(SecretString::from).ok_or_else(|| {
        Problem::new(Code::TokenMissing, "the request has no Authorization header with a bearer token")
            .remedy("send 'Authorization: Bearer TOKEN'; `mainstay up` wrote one to admin.token in its data directory")
    })
}

fn refused(error: TokenRefused) -> Problem {
    let code = match error {
        TokenRefused::Unknown => Code::TokenRefused,
        TokenRefused::Expired => Code::TokenExpired,
    };
    Problem::new(code, error.to_string()).remedy("ask an admin for a new one: mainstay token create")
}

/// The tenant of the request: the one it names, if the token may act there.
fn tenant(parts: &Parts, scope: &TenantScope) -> Result<TenantName, Problem> {
    let named = match parts.headers.get(TENANT_HEADER) {
        None => return Ok(scope.tenant().cloned().unwrap_or_else(TenantName::default_tenant)),
        Some(value) => value.to_str().unwrap_or("\u{fffd}").parse::<TenantName>(),
    };
    let named = named.map_err(|error| {
        Problem::new(Code::HeaderInvalid, error.to_string()).field(TENANT_HEADER).remedy("correct the tenant's name")
    })?;
    if scope.covers(&named) {
        return Ok(named);
    }
    Err(Problem::new(Code::TenantForbidden, format!("the token is not for tenant {named}"))
        .field(TENANT_HEADER)
        .remedy("leave the tenant out, or use a token of that tenant"))
}
