//! Roles: made, read, changed, deleted.

use mainstay_custody::{CommitError, Expect};
use mainstay_secrets_engine::{Answer, Batch, Operation, Refusal, Request, Stored};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::approle::Approle;
use crate::approle::role::Role;
use crate::entry_name::EntryName;
use crate::record;

/// Whose role id it is.
#[derive(Serialize, Deserialize)]
pub(super) struct RoleIdEntry {
    pub role: String,
}

impl Approle {
    pub(super) async fn role(&self, name: &EntryName) -> Result<Option<Stored<Role>>, Refusal> {
        record::load(&self.storage, &role_key(name)).await
    }

    pub(super) async fn list_roles(&self) -> Result<Answer, Refusal> {
        let names = self.storage.list("role/").await?;
        if names.is_empty() { Err(Refusal::NotFound) } else { Ok(Answer::keys(names)) }
    }

    pub(super) async fn read_role(&self, name: &EntryName) -> Result<Answer, Refusal> {
        let role = self.role(name).await?.ok_or(Refusal::NotFound)?.value;
        Ok(Answer { data: Some(role.answer()), ..Answer::default() })
    }

    pub(super) async fn write_role(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let _changing = self.roles.write(name.as_str()).await;
        let stored = self.role(name).await?;
        let local_secret_ids = request.fields().boolean("local_secret_ids")?;
        let mut role = match &stored {
            Some(_) if local_secret_ids.is_some() => {
                return Err(Refusal::invalid("local_secret_ids can only be modified during role creation"));
            }
            Some(stored) => stored.value.clone(),
            // The caller's policies were asked for an update: it is not to make a role with it.
            None if request.operation == Operation::Update => {
                return Err(Refusal::Invalid(format!("role name {:?} doesn't exist", name.as_str())));
            }
            None => Role { local_secret_ids: local_secret_ids.unwrap_or(false), ..Role::new() },
        };
        let warnings = role.apply(&request.data, &request.mount)?;
        self.put_role(name, stored.as_ref(), &role).await?;
        Ok(Answer { warnings, ..Answer::default() })
    }

    /// Puts a role in the place of the one that was read, with the way from its role id to it.
    pub(super) async fn put_role(
        &self,
        name: &EntryName,
        before: Option<&Stored<Role>>,
        role: &Role,
    ) -> Result<(), Refusal> {
        if !role.is_constrained() {
            return Err(Refusal::invalid("at least one constraint should be enabled on the role"));
        }
        let mut batch = Batch::default();
        record::put(&mut batch, &role_key(name), record::unchanged(before), role);
        let previous = before.map(|stored| &stored.value.role_id);
        let role_id_key = self.role_id_key(&role.role_id);
        if previous != Some(&role.role_id) {
            let entry = RoleIdEntry { role: name.as_str().to_owned() };
            record::put(&mut batch, &role_id_key, Expect::Absent, &entry);
            if let Some(previous) = previous {
                batch.delete(&self.role_id_key(previous), Expect::Anything);
            }
        }
        match self.storage.commit(batch).await {
            Err(CommitError::Conflict { path }) if path.ends_with(&role_id_key) => {
                Err(Refusal::invalid("role_id already in use"))
            }
            result => Ok(result?),
        }
    }

    pub(super) async fn delete_role(&self, name: &EntryName) -> Result<Answer, Refusal> {
        let _changing = self.roles.write(name.as_str()).await;
        let Some(stored) = self.role(name).await? else { return Ok(Answer::nothing()) };
        let role = &stored.value;
        // The role goes last: where this is interrupted, it is still there to be deleted again.
        self.forget_secret_ids(role).await?;
        let mut batch = Batch::default();
        batch.delete(&self.role_id_key(&role.role_id), Expect::Anything);
        batch.delete(&role_key(name), Expect::Revision(stored.revision));
        self.storage.commit(batch).await?;
        Ok(Answer::nothing())
    }

    pub(super) async fn read_role_id(&self, name: &EntryName) -> Result<Answer, Refusal> {
        let role = self.role(name).await?.ok_or(Refusal::NotFound)?.value;
        Ok(Answer::data(json!({ "role_id": role.role_id })))
    }

    pub(super) async fn write_role_id(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let _changing = self.roles.write(name.as_str()).await;
        let stored = self.role(name).await?.ok_or(Refusal::UnsupportedPath)?;
        let mut role = stored.value.clone();
        role.set_role_id(request.fields().required("role_id")?)?;
        self.put_role(name, Some(&stored), &role).await?;
        Ok(Answer::nothing())
    }

    pub(super) async fn read_local_secret_ids(&self, name: &EntryName) -> Result<Answer, Refusal> {
        let role = self.role(name).await?.ok_or(Refusal::NotFound)?.value;
        Ok(Answer::data(json!({ "local_secret_ids": role.local_secret_ids })))
    }

    pub(super) fn role_id_key(&self, role_id: &str) -> String {
        format!("role-id/{}", self.hash.place("role id", role_id))
    }
}

fn role_key(name: &EntryName) -> String {
    format!("role/{name}")
}
