//! What is stored of a secret id: everything but the secret id.

use std::collections::BTreeMap;

use mainstay_custody::Expect;
use mainstay_secrets_engine::{Answer, Batch, Fields, Mount, Refusal, Request};
use mainstay_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::approle::Approle;
use crate::approle::role::{Role, cidrs_of};
use crate::network::{self, Network};
use crate::record;
use crate::token_params::list;

/// A secret id of a role.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SecretId {
    /// The keyed hash of the secret id.
    pub tag: String,
    pub accessor: String,
    /// How often it may still be used; 0 is without limit.
    pub num_uses: u64,
    /// How long it was to last, in seconds; 0 is for ever.
    pub ttl: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub metadata: BTreeMap<String, String>,
    pub cidrs: Vec<Network>,
    pub token_bound_cidrs: Vec<Network>,
}

/// Where a secret id is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub role_uid: String,
    pub place: String,
}

/// The purpose of the hashes of secret ids.
pub(super) const SECRET_ID: &str = "secret id";

/// The largest metadata of a secret id, in bytes of its keys and values: they are in every token that is made with it.
const LARGEST_METADATA: usize = 16 << 10;

/// What Vault shows for a time that never comes.
const NEVER: &str = "0001-01-01T00:00:00Z";

// === impl SecretId ===

impl SecretId {
    /// A new one, as a request and its role say.
    pub fn new(tag: String, role: &Role, request: &Request) -> Result<Self, Refusal> {
        let fields = request.fields();
        let cidrs = cidrs_of(&list(&fields, "cidr_list")?.unwrap_or_default())?;
        must_be_within(&cidrs, &role.secret_id_bound_cidrs)?;
        let token_bound_cidrs = cidrs_of(&list(&fields, "token_bound_cidrs")?.unwrap_or_default())?;
        must_be_within(&token_bound_cidrs, &role.token.bound_cidrs)?;
        let ttl = ttl(&fields, role)?;
        let lasts = lasting(ttl, &request.mount);
        Ok(Self {
            tag,
            accessor: uuid::Uuid::new_v4().to_string(),
            num_uses: num_uses(&fields, role)?,
            ttl,
            created_at: request.now,
            updated_at: request.now,
            expires_at: (lasts > 0).then(|| request.now.plus_seconds(lasts)),
            metadata: metadata(&fields)?,
            cidrs,
            token_bound_cidrs,
        })
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    pub fn answer(&self) -> Answer {
        Answer::data(json!({
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.num_uses,
            "secret_id_ttl": self.ttl,
            "creation_time": self.created_at,
            "expiration_time": self.expires_at.map_or_else(|| NEVER.to_owned(), |time| time.to_string()),
            "last_updated_time": self.updated_at,
            "metadata": self.metadata,
            "cidr_list": self.cidrs,
            "token_bound_cidrs": self.token_bound_cidrs,
        }))
    }
}

// === impl Place ===

impl Place {
    pub fn key(&self) -> String {
        format!("secret/{}/{}", self.role_uid, self.place)
    }

    /// Sorts by the time of expiry, so that tidying up need not look at what stays.
    pub fn expiry_key(&self, expires_at: Timestamp) -> String {
        format!("expiry/{:020}/{}/{}", expires_at.as_micros().max(0), self.role_uid, self.place)
    }

    /// The time and the place in the key of an expiry.
    pub fn of_expiry_key(key: &str) -> Option<(Timestamp, Self)> {
        let mut parts = key.strip_prefix("expiry/")?.split('/');
        let (time, role_uid, place) = (parts.next()?, parts.next()?, parts.next()?);
        let place = Self { role_uid: role_uid.to_owned(), place: place.to_owned() };
        Some((Timestamp::from_micros(time.parse().ok()?), place))
    }
}

// === impl Approle ===

impl Approle {
    pub(super) fn place(&self, role_uid: &str, secret_id: &str) -> Place {
        Place { role_uid: role_uid.to_owned(), place: self.hash.place(SECRET_ID, secret_id) }
    }

    pub(super) fn accessor_key(&self, accessor: &str) -> String {
        format!("accessor/{}", self.hash.place("accessor", accessor))
    }

    /// Adds a new secret id to a batch, with the ways to it.
    pub(super) fn add(&self, batch: &mut Batch, place: &Place, expect: Expect, secret_id: &SecretId) {
        record::put(batch, &place.key(), expect, secret_id);
        record::put(batch, &self.accessor_key(&secret_id.accessor), Expect::Absent, place);
        if let Some(expires_at) = secret_id.expires_at {
            batch.put(&place.expiry_key(expires_at), Expect::Anything, &json!({}));
        }
    }

    /// Adds the removal of the ways to a secret id to a batch.
    pub(super) fn remove_ways(&self, batch: &mut Batch, place: &Place, secret_id: &SecretId) {
        batch.delete(&self.accessor_key(&secret_id.accessor), Expect::Anything);
        if let Some(expires_at) = secret_id.expires_at {
            batch.delete(&place.expiry_key(expires_at), Expect::Anything);
        }
    }
}

/// How long a secret id really lasts: no longer than the mount allows.
pub(super) fn lasting(ttl: u64, mount: &Mount) -> u64 {
    if mount.max_lease_seconds == 0 { ttl } else { ttl.min(mount.max_lease_seconds) }
}

fn must_be_within(networks: &[Network], bounds: &[Network]) -> Result<(), Refusal> {
    if network::within(networks, bounds) {
        return Ok(());
    }
    Err(Refusal::Invalid(format!(
        "failed to verify subset relationship between CIDR blocks on the role {} and CIDR blocks on the secret ID {}",
        network::quoted(bounds),
        network::quoted(networks)
    )))
}

fn num_uses(fields: &Fields<'_>, role: &Role) -> Result<u64, Refusal> {
    let Some(num_uses) = fields.integer("num_uses")? else { return Ok(role.secret_id_num_uses) };
    let num_uses = u64::try_from(num_uses).map_err(|_| Refusal::invalid("num_uses cannot be negative"))?;
    let most = role.secret_id_num_uses;
    if most > 0 && (num_uses == 0 || num_uses > most) {
        return Err(Refusal::invalid("num_uses cannot be higher than the role's secret_id_num_uses"));
    }
    Ok(num_uses)
}

fn ttl(fields: &Fields<'_>, role: &Role) -> Result<u64, Refusal> {
    let Some(ttl) = fields.seconds("ttl")? else { return Ok(role.secret_id_ttl) };
    let longest = role.secret_id_ttl;
    if longest > 0 && (ttl == 0 || ttl > longest) {
        return Err(Refusal::invalid("ttl cannot be longer than the role's secret_id_ttl"));
    }
    Ok(ttl)
}

/// Metadata: an object, a JSON object in a text, or `key=value` with commas between.
fn metadata(fields: &Fields<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    let wrong = || Refusal::invalid("failed to parse metadata: write a JSON object of strings, or key=value,key=value");
    let metadata = match fields.get("metadata") {
        Some(Value::String(text)) if text.trim().is_empty() => BTreeMap::new(),
        Some(Value::String(text)) if !text.trim_start().starts_with('{') => {
            let pairs = text.split(',').map(|pair| pair.split_once('='));
            let pairs: Option<BTreeMap<_, _>> =
                pairs.map(|pair| pair.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))).collect();
            pairs.ok_or_else(wrong)?
        }
        _ => fields.map("metadata").map_err(|_| wrong())?.unwrap_or_default(),
    };
    let size: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > LARGEST_METADATA {
        return Err(Refusal::Invalid(format!("metadata has {size} bytes and may have {LARGEST_METADATA}")));
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use mainstay_secrets_engine::Fields;
    use mainstay_types::Timestamp;
    use serde_json::{Map, Value, json};

    use super::{Place, metadata};

    #[test]
    fn metadata_is_read_in_each_of_its_forms() {
        let table = [
            (json!({}), Some(json!({}))),
            (json!({"metadata": ""}), Some(json!({}))),
            (json!({"metadata": {"a": "1"}}), Some(json!({"a": "1"}))),
            (json!({"metadata": "{\"a\": \"1\", \"B\": \"two\"}"}), Some(json!({"a": "1", "B": "two"}))),
            (json!({"metadata": "a=1, b=x=y"}), Some(json!({"a": "1", "b": "x=y"}))),
            (json!({"metadata": "nothing"}), None),
            (json!({"metadata": "{\"a\": [1]}"}), None),
            (json!({"metadata": "x".repeat(20_000) + "=1"}), None),
        ];
        for (data, expected) in table {
            let data: Map<String, Value> = data.as_object().unwrap().clone();
            let read = metadata(&Fields::new(&data)).ok().map(|metadata| json!(metadata));
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn keys_of_expiries_sort_by_time_and_lead_back() {
        let place = Place { role_uid: "u".to_owned(), place: "p".to_owned() };
        let times = [0, 9, 10, 1_795_262_400_000_000].map(Timestamp::from_micros);
        let keys = times.map(|time| place.expiry_key(time));
        assert!(keys.is_sorted());
        for (time, key) in times.into_iter().zip(&keys) {
            assert_eq!(Place::of_expiry_key(key), Some((time, place.clone())));
        }
        assert_eq!(Place::of_expiry_key("expiry/x/u/p"), None);
    }
}
