//! AppRole: machines log in with the id of a role and, mostly, a secret id of it.

mod field;
mod login;
mod role;
mod roles;
mod route;
mod secret_id;
mod secret_ids;
mod tidy;

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_secrets_engine::{
    Answer, Backend, Class, Globs, Kind, Login, Mount, Operation, Refusal, Request, Storage,
};
use mainstay_types::Timestamp;

use crate::entry_name::EntryName;
use crate::keyed_hash::KeyedHash;
use crate::stripes::Stripes;
use route::Route;

/// The auth method `approle`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApproleKind;

/// One mount of it.
///
/// `role/NAME` is a role, `role-id/PLACE` says whose role id has its hash there, `secret/UID/PLACE` is a secret id of the
/// role with that uid, `accessor/PLACE` and `expiry/TIME/UID/PLACE` lead to it.
struct Approle {
    storage: Storage,
    hash: KeyedHash,
    /// By a role's name: changes of a role exclude each other, and secret ids are not made while it changes.
    roles: Stripes,
    /// By a secret id's place: of many logins at once each takes a use of its own.
    secret_ids: Stripes,
}

#[async_trait]
impl Kind for ApproleKind {
    fn name(&self) -> &'static str {
        "approle"
    }

    fn class(&self) -> Class {
        Class::Auth
    }

    async fn open(&self, _mount: Arc<Mount>, storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        let hash = KeyedHash::of_mount(&storage).await?;
        Ok(Arc::new(Approle { storage, hash, roles: Stripes::new(), secret_ids: Stripes::new() }))
    }
}

#[async_trait]
impl Backend for Approle {
    fn globs(&self) -> Globs {
        Globs { unauthenticated: &["login"], sudo: &[] }
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
            (Route::Login, Create | Update) => self.login(request).await,
            (Route::Roles, List) => self.list_roles().await,
            (Route::Role(name), Read) => self.read_role(&name).await,
            (Route::Role(name), Create | Update) => self.write_role(&name, request).await,
            (Route::Role(name), Delete) => self.delete_role(&name).await,
            (Route::Field(name, field), Read) => self.read_field(&name, field).await,
            (Route::Field(name, field), Create | Update) => self.write_field(&name, field, request).await,
            (Route::Field(name, field), Delete) => self.clear_field(&name, field).await,
            (Route::RoleId(name), Read) => self.read_role_id(&name).await,
            (Route::RoleId(name), Create | Update) => self.write_role_id(&name, request).await,
            (Route::LocalSecretIds(name), Read) => self.read_local_secret_ids(&name).await,
            (Route::SecretIds(name), List) => self.list_secret_ids(&name, request).await,
            (Route::SecretIds(name), Create | Update) => self.generate_secret_id(&name, request).await,
            (Route::CustomSecretId(name), Create | Update) => self.register_secret_id(&name, request).await,
            (Route::LookupSecretId(name), Create | Update) => self.lookup_secret_id(&name, request).await,
            (Route::DestroySecretId(name), Create | Update | Delete) => self.destroy_secret_id(&name, request).await,
            (Route::LookupAccessor(name), Create | Update) => self.lookup_accessor(&name, request).await,
            (Route::DestroyAccessor(name), Create | Update | Delete) => self.destroy_accessor(&name, request).await,
            (Route::Tidy, Create | Update) => self.tidy_now(request).await,
            _ => Err(Refusal::UnsupportedOperation),
        }
    }

    async fn renew_login(&self, login: Login, _now: Timestamp) -> Result<Login, Refusal> {
        let name = login.internal["role_name"].as_str().and_then(EntryName::in_path);
        let name = name.ok_or_else(|| Refusal::invalid("failed to fetch role_name during renewal"))?;
        match self.role(&name).await? {
            Some(stored) => Ok(stored.value.token.renewed(login)),
            None => Err(Refusal::Invalid(format!("role {:?} does not exist during renewal", name.as_str()))),
        }
    }

    async fn tend(&self, now: Timestamp) -> Result<(), Refusal> {
        self.tidy(now).await
    }
}
