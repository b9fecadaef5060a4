//! JWT: whoever bears a token of an issuer that the operator trusts logs in with it.
//!
//! The issuer says who somebody is; nobody is sent to its login page from here. `oidc` is the same method by its other
//! name, without the browser flow.

mod audience;
mod bound_claims;
mod claim;
mod config;
mod issuer;
mod key_source;
mod keys;
mod login;
mod role;
mod roles;
mod settings;
mod validity;

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_secrets_engine::{
    Answer, Backend, Class, Globs, Kind, Login, Mount, Operation, Refusal, Request, Storage,
};
use mainstay_types::Timestamp;
use tokio::sync::RwLock;

use crate::entry_name::EntryName;
use crate::stripes::Stripes;
use settings::Settings;

/// The auth method `jwt`, and its other name `oidc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtKind {
    Jwt,
    Oidc,
}

/// One mount of it: `config` is its configuration, `role/NAME` a role.
struct Jwt {
    storage: Storage,
    /// By a role's name: changes of a role exclude each other.
    roles: Stripes,
    /// The configuration ready for use, with the issuer's keys; none before it is first needed.
    settings: RwLock<Option<Arc<Settings>>>,
}

/// What a path leads to.
enum Route {
    Config,
    Roles,
    Role(EntryName),
    Login,
    BrowserFlow,
}

const NO_BROWSER_FLOW: &str = "the OIDC browser flow is not offered here: log in with a token of the issuer at 'login', \
                               with a role whose 'role_type' is 'jwt'";

#[async_trait]
impl Kind for JwtKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Oidc => "oidc",
        }
    }

    fn class(&self) -> Class {
        Class::Auth
    }

    async fn open(&self, _mount: Arc<Mount>, storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        Ok(Arc::new(Jwt { storage, roles: Stripes::new(), settings: RwLock::new(None) }))
    }
}

#[async_trait]
impl Backend for Jwt {
    fn globs(&self) -> Globs {
        Globs { unauthenticated: &["login", "oidc/auth_url", "oidc/callback"], sudo: &[] }
    }

    async fn exists(&self, request: &Request) -> Result<Option<bool>, Refusal> {
        match Route::parse(&request.path) {
            Some(Route::Role(name)) => Ok(Some(self.role(&name).await?.is_some())),
            _ => Ok(None),
        }
    }

    async fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        use Operation::{Create, Delete, List, Read, Update};
        let route = Route::parse(&request.path).ok_or(Refusal::UnsupportedPath)?;
        match (route, request.operation) {
            (Route::Config, Read) => self.read_config().await,
            (Route::Config, Create | Update) => self.write_config(request).await,
            (Route::Roles, List) => self.list_roles().await,
            (Route::Role(name), Read) => self.read_role(&name).await,
            (Route::Role(name), Create | Update) => self.write_role(&name, request).await,
            (Route::Role(name), Delete) => self.delete_role(&name).await,
            (Route::Login, Create | Update) => self.login(request).await,
            (Route::BrowserFlow, Create | Update | Read) => Err(Refusal::invalid(NO_BROWSER_FLOW)),
            _ => Err(Refusal::UnsupportedOperation),
        }
    }

    async fn renew_login(&self, login: Login, _now: Timestamp) -> Result<Login, Refusal> {
        let name = login.internal["role"].as_str().and_then(EntryName::in_path);
        let name = name.ok_or_else(|| Refusal::invalid("failed to fetch role_name during renewal"))?;
        match self.role(&name).await? {
            Some(stored) => Ok(stored.value.token.renewed(login)),
            None => Err(Refusal::Invalid(format!("role {name} does not exist during renewal"))),
        }
    }
}

impl Route {
    fn parse(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        match path.split('/').collect::<Vec<_>>().as_slice() {
            ["config"] => Some(Self::Config),
            ["role"] => Some(Self::Roles),
            ["role", name] => Some(Self::Role(EntryName::in_path(name)?)),
            ["login"] => Some(Self::Login),
            ["oidc", "auth_url" | "callback"] => Some(Self::BrowserFlow),
            _ => None,
        }
    }
}
