//! What a role says.

use mainstay_secrets_engine::{Fields, Mount, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::network::Network;
use crate::token_params::{Deprecated, TokenParams, list, set};

/// A role. What it is called, its key says.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Role {
    /// Never the same again, so that a role of the same name does not take over the secret ids of the one before.
    pub uid: String,
    pub role_id: String,
    pub bind_secret_id: bool,
    pub secret_id_bound_cidrs: Vec<Network>,
    /// How often a new secret id may be used; 0 is without limit.
    pub secret_id_num_uses: u64,
    /// How long a new secret id lasts, in seconds; 0 is for ever.
    pub secret_id_ttl: u64,
    pub local_secret_ids: bool,
    pub token: TokenParams,
}

/// The longest role id and secret id, in bytes: what Vault hashes.
pub(super) const LONGEST_ID: usize = 4096;

const DEPRECATED: &[Deprecated] = &[Deprecated::Policies, Deprecated::Period];

impl Role {
    pub fn new() -> Self {
        Self {
            uid: uuid::Uuid::new_v4().to_string(),
            role_id: uuid::Uuid::new_v4().to_string(),
            bind_secret_id: true,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl: 0,
            local_secret_ids: false,
            token: TokenParams::default(),
        }
    }

    /// Takes over the fields that a request has, but for `local_secret_ids`, which only a new role takes. Answers
    /// warnings.
    pub fn apply(&mut self, data: &Map<String, Value>, mount: &Mount) -> Result<Vec<String>, Refusal> {
        let mut warnings = Vec::new();
        let mut data = data.clone();
        for (given, meant) in [("default-service", "service"), ("default-batch", "batch")] {
            if data.get("token_type").and_then(Value::as_str) == Some(given) {
                data.insert("token_type".to_owned(), json!(meant));
                warnings.push(format!("{given} has no useful meaning; adjusting to {meant}"));
            }
        }
        let fields = Fields::new(&data);
        self.token.apply(&fields, DEPRECATED)?;
        self.token.check_period(mount)?;
        if let Some(role_id) = fields.text("role_id")? {
            self.set_role_id(role_id)?;
        }
        set(&mut self.bind_secret_id, fields.boolean("bind_secret_id")?);
        let cidrs = match list(&fields, "secret_id_bound_cidrs")? {
            Some(cidrs) => Some(cidrs),
            None => list(&fields, "bound_cidr_list")?,
        };
        set(&mut self.secret_id_bound_cidrs, cidrs.map(|texts| cidrs_of(&texts)).transpose()?);
        let num_uses = fields.integer("secret_id_num_uses")?.map(u64::try_from).transpose();
        set(
            &mut self.secret_id_num_uses,
            num_uses.map_err(|_| Refusal::invalid("secret_id_num_uses cannot be negative"))?,
        );
        set(&mut self.secret_id_ttl, fields.seconds("secret_id_ttl")?);
        if mount.max_lease_seconds != 0 && self.token.max_ttl > mount.max_lease_seconds {
            warnings.push(
                "token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value will \
                 be truncated"
                    .to_owned(),
            );
        }
        Ok(warnings)
    }

    pub fn set_role_id(&mut self, role_id: String) -> Result<(), Refusal> {
        if role_id.trim().is_empty() {
            return Err(Refusal::invalid("invalid role_id supplied, or failed to generate a role_id"));
        }
        if role_id.len() > LONGEST_ID {
            return Err(Refusal::Invalid(format!("role_id is longer than maximum of {LONGEST_ID} bytes")));
        }
        self.role_id = role_id;
        Ok(())
    }

    /// Whether anything but the role id is asked of whoever logs in: the role id is no secret.
    pub fn is_constrained(&self) -> bool {
        self.bind_secret_id || !self.secret_id_bound_cidrs.is_empty() || !self.token.bound_cidrs.is_empty()
    }

    /// The role as it is answered. Its role id has a path of its own.
    pub fn answer(&self) -> Map<String, Value> {
        let cidrs = &self.secret_id_bound_cidrs;
        let mut data = Map::new();
        data.insert("bind_secret_id".to_owned(), json!(self.bind_secret_id));
        data.insert("secret_id_bound_cidrs".to_owned(), if cidrs.is_empty() { Value::Null } else { json!(cidrs) });
        data.insert("secret_id_num_uses".to_owned(), json!(self.secret_id_num_uses));
        data.insert("secret_id_ttl".to_owned(), json!(self.secret_id_ttl));
        data.insert("local_secret_ids".to_owned(), json!(self.local_secret_ids));
        self.token.answer(&mut data);
        data
    }
}

/// Networks, which have to be in CIDR notation.
pub(super) fn cidrs_of(texts: &[String]) -> Result<Vec<Network>, Refusal> {
    let networks = texts.iter().map(|text| Network::cidr(text));
    let networks: Result<_, _> = networks.collect();
    networks.map_err(|error| Refusal::Invalid(format!("failed to validate CIDR blocks: {error}")))
}
