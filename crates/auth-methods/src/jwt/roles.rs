//! Roles: made, read, changed, deleted.

use mainstay_custody::Expect;
use mainstay_secrets_engine::{Answer, Batch, Operation, Refusal, Request, Stored};

use crate::entry_name::EntryName;
use crate::jwt::Jwt;
use crate::jwt::role::Role;
use crate::record;

impl Jwt {
    pub(super) async fn role(&self, name: &EntryName) -> Result<Option<Stored<Role>>, Refusal> {
        record::load(&self.storage, &key(name)).await
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
        // The caller's policies were asked for an update: it is not to make a role with it.
        if stored.is_none() && request.operation == Operation::Update {
            return Err(Refusal::invalid("role entry not found during update operation"));
        }
        let mut role = stored.as_ref().map_or_else(Role::default, |stored| stored.value.clone());
        let warnings = role.apply(&request.fields(), &request.mount)?;
        let mut batch = Batch::default();
        record::put(&mut batch, &key(name), record::unchanged(stored.as_ref()), &role);
        self.storage.commit(batch).await?;
        Ok(Answer { warnings, ..Answer::default() })
    }

    pub(super) async fn delete_role(&self, name: &EntryName) -> Result<Answer, Refusal> {
        let _changing = self.roles.write(name.as_str()).await;
        let mut batch = Batch::default();
        batch.delete(&key(name), Expect::Anything);
        self.storage.commit(batch).await?;
        Ok(Answer::nothing())
    }
}

fn key(name: &EntryName) -> String {
    format!("role/{name}")
}
