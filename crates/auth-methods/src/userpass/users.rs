//! Users: made, read, changed, deleted.

use mainstay_custody::Expect;
use mainstay_secrets_engine::{Answer, Batch, Operation, Refusal, Request, Stored};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::entry_name::EntryName;
use crate::record;
use crate::token_params::{Deprecated, TokenParams};
use crate::userpass::Userpass;
use crate::userpass::passwords::LONGEST_PASSWORD;

/// A user. What they are called, the key says.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct User {
    /// A PHC string: algorithm, parameters, salt and hash.
    pub password_hash: String,
    pub token: TokenParams,
}

const DEPRECATED: &[Deprecated] = &[Deprecated::Policies, Deprecated::Ttl, Deprecated::MaxTtl, Deprecated::BoundCidrs];

impl Userpass {
    pub(super) async fn user(&self, name: &EntryName) -> Result<Option<Stored<User>>, Refusal> {
        record::load(&self.storage, &key(name)).await
    }

    pub(super) async fn list_users(&self) -> Result<Answer, Refusal> {
        let names = self.storage.list("user/").await?;
        if names.is_empty() { Err(Refusal::NotFound) } else { Ok(Answer::keys(names)) }
    }

    pub(super) async fn read_user(&self, name: &EntryName) -> Result<Answer, Refusal> {
        let user = self.user(name).await?.ok_or(Refusal::NotFound)?.value;
        let mut data = Map::new();
        user.token.answer(&mut data);
        Ok(Answer { data: Some(data), ..Answer::default() })
    }

    pub(super) async fn write_user(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        if request.fields().get("password_hash").is_some() {
            return Err(Refusal::invalid("'password_hash' is not supported: write the password itself"));
        }
        let given = password(request)?;
        let _changing = self.users.write(name.as_str()).await;
        let stored = self.user(name).await?;
        if given.is_none() && (stored.is_none() || request.operation == Operation::Create) {
            return Err(Refusal::invalid("missing password"));
        }
        let mut token = stored.as_ref().map_or_else(TokenParams::default, |stored| stored.value.token.clone());
        token.apply(&request.fields(), DEPRECATED)?;
        let password_hash = match (given, &stored) {
            (Some(password), _) => self.passwords.hash(password).await?,
            (None, Some(stored)) => stored.value.password_hash.clone(),
            (None, None) => return Err(Refusal::invalid("missing password")),
        };
        self.put_user(name, stored.as_ref(), &User { password_hash, token }).await
    }

    pub(super) async fn delete_user(&self, name: &EntryName) -> Result<Answer, Refusal> {
        let _changing = self.users.write(name.as_str()).await;
        self.storage.delete(&key(name)).await?;
        Ok(Answer::nothing())
    }

    pub(super) async fn write_password(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let password = password(request)?.ok_or_else(|| Refusal::invalid("missing password"))?;
        let _changing = self.users.write(name.as_str()).await;
        let stored = self.user(name).await?.ok_or_else(|| Refusal::invalid("username does not exist"))?;
        let password_hash = self.passwords.hash(password).await?;
        let user = User { password_hash, ..stored.value.clone() };
        self.put_user(name, Some(&stored), &user).await
    }

    pub(super) async fn write_policies(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let _changing = self.users.write(name.as_str()).await;
        let stored = self.user(name).await?.ok_or_else(|| Refusal::invalid("username does not exist"))?;
        let mine = request.data.iter().filter(|(field, _)| ["token_policies", "policies"].contains(&field.as_str()));
        let mine: Map<String, Value> = mine.map(|(field, value)| (field.clone(), value.clone())).collect();
        let mut user = stored.value.clone();
        user.token.apply(&mainstay_secrets_engine::Fields::new(&mine), DEPRECATED)?;
        self.put_user(name, Some(&stored), &user).await
    }

    async fn put_user(&self, name: &EntryName, before: Option<&Stored<User>>, user: &User) -> Result<Answer, Refusal> {
        let expect = match before {
            Some(stored) => Expect::Revision(stored.revision),
            None => Expect::Absent,
        };
        let mut batch = Batch::default();
        record::put(&mut batch, &key(name), expect, user);
        self.storage.commit(batch).await?;
        Ok(Answer::nothing())
    }
}

/// The password of a request. None where it is empty.
pub(super) fn password(request: &Request) -> Result<Option<Zeroizing<String>>, Refusal> {
    let password = request.fields().text("password")?.map(Zeroizing::new).filter(|password| !password.is_empty());
    if password.as_ref().is_some_and(|password| password.len() > LONGEST_PASSWORD) {
        return Err(Refusal::Invalid(format!("password is longer than maximum of {LONGEST_PASSWORD} bytes")));
    }
    Ok(password)
}

fn key(name: &EntryName) -> String {
    format!("user/{name}")
}
