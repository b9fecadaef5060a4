//! userpass: people log in with a name and a password.

mod lockout;
mod login;
mod passwords;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_secrets_engine::{
    Answer, Backend, Class, Globs, Kind, Login, Mount, Operation, Refusal, Request, Storage,
};
use mainstay_types::Timestamp;

use crate::entry_name::EntryName;
use crate::stripes::Stripes;
use lockout::Lockout;
use passwords::Passwords;

/// The auth method `userpass`. One of it serves all its mounts, which share the memory that hashing may take.
#[derive(Default)]
pub struct UserpassKind {
    passwords: Arc<Passwords>,
}

/// One mount of it: `user/NAME` is a user.
struct Userpass {
    storage: Storage,
    passwords: Arc<Passwords>,
    lockout: Lockout,
    /// By a user's name: changes of a user exclude each other.
    users: Stripes,
}

/// What a path leads to.
enum Route {
    Users,
    User(EntryName),
    Password(EntryName),
    Policies(EntryName),
    Login(EntryName),
}

#[async_trait]
impl Kind for UserpassKind {
    fn name(&self) -> &'static str {
        "userpass"
    }

    fn class(&self) -> Class {
        Class::Auth
    }

    async fn open(&self, _mount: Arc<Mount>, storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        let passwords = Arc::clone(&self.passwords);
        Ok(Arc::new(Userpass { storage, passwords, lockout: Lockout::new(), users: Stripes::new() }))
    }
}

#[async_trait]
impl Backend for Userpass {
    fn globs(&self) -> Globs {
        Globs { unauthenticated: &["login/*"], sudo: &[] }
    }

    async fn exists(&self, request: &Request) -> Result<Option<bool>, Refusal> {
        match Route::parse(&request.path) {
            Some(Route::User(name)) => Ok(Some(self.user(&name).await?.is_some())),
            _ => Ok(None),
        }
    }

    async fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        use Operation::{Create, Delete, List, Read, Update};
        let route = Route::parse(&request.path).ok_or(Refusal::UnsupportedPath)?;
        match (route, request.operation) {
            (Route::Users, List) => self.list_users().await,
            (Route::User(name), Read) => self.read_user(&name).await,
            (Route::User(name), Create | Update) => self.write_user(&name, request).await,
            (Route::User(name), Delete) => self.delete_user(&name).await,
            (Route::Password(name), Create | Update) => self.write_password(&name, request).await,
            (Route::Policies(name), Create | Update) => self.write_policies(&name, request).await,
            (Route::Login(name), Create | Update) => self.login(&name, request).await,
            _ => Err(Refusal::UnsupportedOperation),
        }
    }

    async fn renew_login(&self, login: Login, _now: Timestamp) -> Result<Login, Refusal> {
        let name = login.internal["username"].as_str().and_then(EntryName::in_path);
        let name = name.ok_or_else(|| Refusal::invalid("failed to fetch username during renewal"))?;
        let Some(stored) = self.user(&name).await? else {
            return Err(Refusal::Invalid(format!("user {:?} does not exist during renewal", name.as_str())));
        };
        if !stored.value.token.same_policies(&login.policies) {
            return Err(Refusal::invalid("policies have changed, not renewing"));
        }
        Ok(stored.value.token.renewed(login))
    }
}

impl Route {
    fn parse(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        match path.split('/').collect::<Vec<_>>().as_slice() {
            ["users"] => Some(Self::Users),
            ["users", name] => Some(Self::User(EntryName::in_path(name)?)),
            ["users", name, "password"] => Some(Self::Password(EntryName::in_path(name)?)),
            ["users", name, "policies"] => Some(Self::Policies(EntryName::in_path(name)?)),
            ["login", name] => Some(Self::Login(EntryName::in_path(name)?)),
            _ => None,
        }
    }
}
