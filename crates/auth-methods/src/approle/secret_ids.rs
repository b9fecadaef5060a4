//! Secret ids: made, looked up, destroyed.

use mainstay_custody::Expect;
use mainstay_secrets_engine::{Answer, Batch, Refusal, Request, Stored};
use serde_json::json;

use crate::approle::Approle;
use crate::approle::role::{LONGEST_ID, Role};
use crate::approle::secret_id::{Place, SECRET_ID, SecretId, lasting};
use crate::entry_name::EntryName;
use crate::record;

/// How many secret ids are removed in one transaction: it stays short, and other writers get their turn.
const REMOVED_AT_ONCE: usize = 100;

impl Approle {
    pub(super) async fn generate_secret_id(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        self.add_secret_id(name, uuid::Uuid::new_v4().to_string(), request).await
    }

    pub(super) async fn register_secret_id(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let secret_id = required_id(request, "secret_id")?;
        self.add_secret_id(name, secret_id, request).await
    }

    pub(super) async fn list_secret_ids(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let role = self.known_role(name).await?;
        let mut accessors = Vec::new();
        for place in self.storage.list(&folder(&role)).await? {
            let place = Place { role_uid: role.uid.clone(), place };
            let stored = self.secret_id(&place).await?;
            accessors.extend(stored.filter(|stored| !stored.value.is_expired(request.now)).map(|s| s.value.accessor));
        }
        if accessors.is_empty() { Err(Refusal::NotFound) } else { Ok(Answer::keys(accessors)) }
    }

    pub(super) async fn lookup_secret_id(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let secret_id = required_id(request, "secret_id")?;
        let role = self.known_role(name).await?;
        let stored = self.secret_id(&self.place(&role.uid, &secret_id)).await?;
        let usable = stored.filter(|stored| {
            self.hash.verify(SECRET_ID, &secret_id, &stored.value.tag) && !stored.value.is_expired(request.now)
        });
        Ok(usable.map_or_else(Answer::nothing, |stored| stored.value.answer()))
    }

    pub(super) async fn destroy_secret_id(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let secret_id = required_id(request, "secret_id")?;
        let role = self.known_role(name).await?;
        self.destroy(&self.place(&role.uid, &secret_id)).await?;
        Ok(Answer::nothing())
    }

    pub(super) async fn lookup_accessor(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let place = self.place_of_accessor(name, request).await?;
        let stored = self.secret_id(&place).await?.filter(|stored| !stored.value.is_expired(request.now));
        Ok(stored.ok_or(Refusal::NotFound)?.value.answer())
    }

    pub(super) async fn destroy_accessor(&self, name: &EntryName, request: &Request) -> Result<Answer, Refusal> {
        let place = self.place_of_accessor(name, request).await?;
        self.destroy(&place).await?;
        Ok(Answer::nothing())
    }

    pub(super) async fn secret_id(&self, place: &Place) -> Result<Option<Stored<SecretId>>, Refusal> {
        record::load(&self.storage, &place.key()).await
    }

    /// Removes all secret ids of a role. Whoever calls this keeps new ones from being made.
    pub(super) async fn forget_secret_ids(&self, role: &Role) -> Result<(), Refusal> {
        let folder = folder(role);
        loop {
            let keys = self.storage.keys(&folder, None, REMOVED_AT_ONCE).await?;
            if keys.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for key in &keys {
                let place = Place { role_uid: role.uid.clone(), place: key[folder.len()..].to_owned() };
                if let Some(stored) = self.secret_id(&place).await? {
                    self.remove_ways(&mut batch, &place, &stored.value);
                }
                batch.delete(key, Expect::Anything);
            }
            self.storage.commit(batch).await?;
        }
    }

    async fn add_secret_id(&self, name: &EntryName, id: String, request: &Request) -> Result<Answer, Refusal> {
        let _unchanged = self.roles.read(name.as_str()).await;
        let Some(stored) = self.role(name).await? else { return Err(Refusal::UnsupportedPath) };
        let role = stored.value;
        if !role.bind_secret_id {
            return Err(Refusal::invalid("bind_secret_id is not set on the role"));
        }
        let secret_id = SecretId::new(self.hash.tag(SECRET_ID, &id), &role, request)?;
        let place = self.place(&role.uid, &id);
        let _alone = self.secret_ids.write(&place.place).await;
        let before = self.secret_id(&place).await?;
        let mut batch = Batch::default();
        self.add(&mut batch, &place, record::unchanged(before.as_ref()), &secret_id);
        match &before {
            Some(before) if !before.value.is_expired(request.now) => {
                return Err(Refusal::invalid("failed to store secret_id: SecretID is already registered"));
            }
            Some(before) => self.remove_ways(&mut batch, &place, &before.value),
            None => {}
        }
        self.storage.commit(batch).await?;
        Ok(Answer::data(json!({
            "secret_id": id,
            "secret_id_accessor": secret_id.accessor,
            "secret_id_ttl": lasting(secret_id.ttl, &request.mount),
            "secret_id_num_uses": secret_id.num_uses,
        })))
    }

    async fn destroy(&self, place: &Place) -> Result<(), Refusal> {
        let _alone = self.secret_ids.write(&place.place).await;
        let Some(stored) = self.secret_id(place).await? else { return Ok(()) };
        let mut batch = Batch::default();
        self.remove_ways(&mut batch, place, &stored.value);
        batch.delete(&place.key(), Expect::Revision(stored.revision));
        Ok(self.storage.commit(batch).await?)
    }

    /// Where the secret id of an accessor is. An accessor of another role's secret id leads nowhere.
    async fn place_of_accessor(&self, name: &EntryName, request: &Request) -> Result<Place, Refusal> {
        let accessor = required_id(request, "secret_id_accessor")?;
        let role = self.known_role(name).await?;
        let place = record::load::<Place>(&self.storage, &self.accessor_key(&accessor)).await?;
        let place = place.map(|stored| stored.value).filter(|place| place.role_uid == role.uid);
        place.ok_or(Refusal::NotFound)
    }

    async fn known_role(&self, name: &EntryName) -> Result<Role, Refusal> {
        let stored = self.role(name).await?;
        let missing = || Refusal::Invalid(format!("role {:?} does not exist", name.as_str()));
        Ok(stored.ok_or_else(missing)?.value)
    }
}

fn folder(role: &Role) -> String {
    format!("secret/{}/", role.uid)
}

/// An id that a request has to have.
fn required_id(request: &Request, name: &str) -> Result<String, Refusal> {
    let id = request.fields().required(name)?.trim().to_owned();
    match id.len() {
        0 => Err(Refusal::Invalid(format!("missing {name}"))),
        length if length > LONGEST_ID => {
            Err(Refusal::Invalid(format!("{name} is longer than maximum of {LONGEST_ID} bytes")))
        }
        _ => Ok(id),
    }
}
