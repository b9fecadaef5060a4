//! Logging in.

use std::collections::BTreeMap;

use mainstay_custody::Expect;
use mainstay_secrets_engine::{Answer, Batch, Login, Refusal, Request};
use serde_json::json;

use crate::approle::Approle;
use crate::approle::role::{LONGEST_ID, Role};
use crate::approle::roles::RoleIdEntry;
use crate::approle::secret_id::{Place, SECRET_ID, SecretId};
use crate::entry_name::EntryName;
use crate::network;
use crate::record;

/// What stands for a role and for a hash that there are not: a wrong role id costs the same reads and hashes as a wrong
/// secret id.
const NOBODY: &str = "nobody";
const NO_TAG: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Approle {
    pub(super) async fn login(&self, request: &Request) -> Result<Answer, Refusal> {
        let role_id = id(request, "role_id")?.ok_or_else(|| Refusal::invalid("missing role_id"))?;
        let secret_id = id(request, "secret_id")?;
        let role = self.role_of_id(&role_id).await?;
        let asked_for = role.as_ref().is_none_or(|(_, role)| role.bind_secret_id);
        let given = match secret_id {
            _ if !asked_for => None,
            Some(secret_id) => {
                let uid = role.as_ref().map_or(NOBODY, |(_, role)| role.uid.as_str());
                Some(self.use_secret_id(role.as_ref().map(|(_, role)| role), uid, &secret_id, request).await?)
            }
            None if role.is_some() => return Err(Refusal::invalid("missing secret_id")),
            None => return Err(refused()),
        };
        let (name, role) = role.ok_or_else(refused)?;
        from_the_role_s_networks(&role, request)?;
        Ok(Answer::login(make_login(&name, &role, given)?))
    }

    async fn role_of_id(&self, role_id: &str) -> Result<Option<(EntryName, Role)>, Refusal> {
        let entry = record::load::<RoleIdEntry>(&self.storage, &self.role_id_key(role_id)).await?;
        let name = entry.and_then(|stored| EntryName::in_path(&stored.value.role));
        let known = name.is_some();
        let name = name.or_else(|| EntryName::in_path(NOBODY)).ok_or_else(refused)?;
        let role = self.role(&name).await?.filter(|stored| known && stored.value.role_id == role_id);
        Ok(role.map(|stored| (name, stored.value)))
    }

    /// Takes one use of a secret id, after everything that could refuse it: a refusal costs its owner nothing.
    async fn use_secret_id(
        &self,
        role: Option<&Role>,
        role_uid: &str,
        secret_id: &str,
        request: &Request,
    ) -> Result<SecretId, Refusal> {
        let place = self.place(role_uid, secret_id);
        // A secret id without a limit is only read: its logins need not wait for each other.
        let before = self.secret_id(&place).await?;
        let alone = match &before {
            Some(stored) if stored.value.num_uses > 0 => Some(self.secret_ids.write(&place.place).await),
            _ => None,
        };
        let stored = if alone.is_some() { self.secret_id(&place).await? } else { before };
        let tag = stored.as_ref().map_or(NO_TAG, |stored| stored.value.tag.as_str());
        let right = self.hash.verify(SECRET_ID, secret_id, tag);
        let (Some(stored), Some(role), true) = (stored, role, right) else { return Err(refused()) };
        if stored.value.is_expired(request.now) {
            return Err(refused());
        }
        from_the_secret_id_s_networks(role, &stored.value, request)?;
        if stored.value.num_uses > 0 {
            self.take_use(&place, &stored.value, stored.revision, request).await?;
        }
        Ok(stored.value)
    }

    async fn take_use(
        &self,
        place: &Place,
        secret_id: &SecretId,
        revision: u64,
        request: &Request,
    ) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        if secret_id.num_uses == 1 {
            self.remove_ways(&mut batch, place, secret_id);
            batch.delete(&place.key(), Expect::Revision(revision));
        } else {
            let left = SecretId { num_uses: secret_id.num_uses - 1, updated_at: request.now, ..secret_id.clone() };
            record::put(&mut batch, &place.key(), Expect::Revision(revision), &left);
        }
        Ok(self.storage.commit(batch).await?)
    }
}

fn make_login(name: &EntryName, role: &Role, secret_id: Option<SecretId>) -> Result<Login, Refusal> {
    let mut login = role.token.login()?;
    let mut metadata = BTreeMap::new();
    if let Some(secret_id) = secret_id {
        if !secret_id.token_bound_cidrs.is_empty() {
            login.bound_cidrs = secret_id.token_bound_cidrs.iter().map(network::Network::to_cidr).collect();
        }
        metadata = secret_id.metadata;
    }
    metadata.insert("role_name".to_owned(), name.as_str().to_owned());
    Ok(Login { metadata, alias: role.role_id.clone(), internal: json!({ "role_name": name.as_str() }), ..login })
}

/// The role's networks may have become narrower than those that the secret id was made with.
fn from_the_secret_id_s_networks(role: &Role, secret_id: &SecretId, request: &Request) -> Result<(), Refusal> {
    if !network::within(&secret_id.cidrs, &role.secret_id_bound_cidrs) {
        return Err(Refusal::Invalid(format!(
            "failed to verify subset relationship between CIDR blocks on the role {} and CIDR blocks on the secret ID {}",
            network::quoted(&role.secret_id_bound_cidrs),
            network::quoted(&secret_id.cidrs)
        )));
    }
    if network::admits(&secret_id.cidrs, request.remote) {
        return Ok(());
    }
    Err(unauthorized(request, "through CIDR restrictions on the secret ID"))
}

fn from_the_role_s_networks(role: &Role, request: &Request) -> Result<(), Refusal> {
    if network::admits(&role.secret_id_bound_cidrs, request.remote) {
        return Ok(());
    }
    Err(unauthorized(request, "by CIDR restrictions on the role"))
}

fn unauthorized(request: &Request, why: &str) -> Refusal {
    match request.remote {
        Some(remote) => Refusal::Invalid(format!("source address \"{remote}\" unauthorized {why}")),
        None => Refusal::invalid("failed to get connection information"),
    }
}

/// One answer to everything that may be wrong with credentials: which of them it is, is nobody's business.
fn refused() -> Refusal {
    Refusal::invalid("invalid role or secret ID")
}

/// An id, without the blanks around it. None where it is empty.
fn id(request: &Request, name: &str) -> Result<Option<String>, Refusal> {
    let id = request.fields().text(name)?.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| id.len() > LONGEST_ID) {
        return Err(Refusal::Invalid(format!("{name} is longer than maximum of {LONGEST_ID} bytes")));
    }
    Ok(id)
}
