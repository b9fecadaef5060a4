//! What a role says: which tokens it takes, and what it gives for them.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_secrets_engine::{Fields, Mount, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::jwt::bound_claims::Matching;
use crate::jwt::claim;
use crate::jwt::validity::Leeways;
use crate::token_params::{Deprecated, TokenParams, list, set};

/// A role. What it is called, its key says.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Role {
    pub kind: RoleKind,
    pub leeways: Leeways,
    pub bound_audiences: Vec<String>,
    pub bound_subject: String,
    pub matching: Matching,
    pub bound_claims: Map<String, Value>,
    /// From claims to the names in a token's metadata.
    pub claim_mappings: BTreeMap<String, String>,
    pub user_claim: String,
    pub user_claim_json_pointer: bool,
    pub groups_claim: String,
    /// What the browser flow would need is kept for clients that read it back.
    pub oidc_scopes: Vec<String>,
    pub allowed_redirect_uris: Vec<String>,
    pub verbose_oidc_logging: bool,
    pub max_age: u64,
    pub token: TokenParams,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoleKind {
    Jwt,
    /// For the browser flow, and thus for nobody here.
    #[default]
    Oidc,
}

/// The key of a token's metadata that says which role it came by.
pub(super) const ROLE_METADATA: &str = "role";

const DEPRECATED: &[Deprecated] = &[
    Deprecated::Policies,
    Deprecated::NumUses,
    Deprecated::Ttl,
    Deprecated::MaxTtl,
    Deprecated::Period,
    Deprecated::BoundCidrs,
];

impl Role {
    /// Takes over the fields that a request has. Answers warnings.
    pub fn apply(&mut self, fields: &Fields<'_>, mount: &Mount) -> Result<Vec<String>, Refusal> {
        self.kind = match fields.text("role_type")?.as_deref() {
            Some("jwt") => RoleKind::Jwt,
            None | Some("" | "oidc") => RoleKind::Oidc,
            Some(other) => return Err(Refusal::Invalid(format!("invalid 'role_type': {other}"))),
        };
        self.token.apply(fields, DEPRECATED)?;
        self.token.check_period(mount)?;
        set(&mut self.leeways.expiration, signed_seconds(fields, "expiration_leeway")?);
        set(&mut self.leeways.not_before, signed_seconds(fields, "not_before_leeway")?);
        set(&mut self.leeways.clock_skew, signed_seconds(fields, "clock_skew_leeway")?);
        set(&mut self.bound_audiences, list(fields, "bound_audiences")?);
        set(&mut self.bound_subject, fields.text("bound_subject")?);
        self.apply_bound_claims(fields)?;
        if let Some(mappings) = fields.map("claim_mappings")? {
            check_mappings(&mappings)?;
            self.claim_mappings = mappings;
        }
        set(&mut self.user_claim, fields.text("user_claim")?);
        set(&mut self.user_claim_json_pointer, fields.boolean("user_claim_json_pointer")?);
        set(&mut self.groups_claim, fields.text("groups_claim")?);
        set(&mut self.oidc_scopes, list(fields, "oidc_scopes")?);
        set(&mut self.allowed_redirect_uris, list(fields, "allowed_redirect_uris")?);
        set(&mut self.verbose_oidc_logging, fields.boolean("verbose_oidc_logging")?);
        set(&mut self.max_age, fields.seconds("max_age")?);
        self.check()?;
        Ok(self.warnings(mount))
    }

    fn apply_bound_claims(&mut self, fields: &Fields<'_>) -> Result<(), Refusal> {
        self.matching = match fields.text("bound_claims_type")?.as_deref() {
            None | Some("string") => Matching::String,
            Some("glob") => Matching::Glob,
            Some(other) => return Err(Refusal::Invalid(format!("invalid 'bound_claims_type': {other}"))),
        };
        let wrong = || Refusal::invalid("error converting input for field \"bound_claims\": it has to be an object");
        match fields.get("bound_claims") {
            None => {}
            Some(Value::Object(claims)) => self.bound_claims = claims.clone(),
            Some(Value::String(text)) => self.bound_claims = serde_json::from_str(text).map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        }
        for (name, value) in self.bound_claims.iter().filter(|_| self.matching == Matching::Glob) {
            let values = claim::listed(value);
            let values =
                values.ok_or_else(|| Refusal::Invalid(format!("claim is not a string or list: {name}: {value}")))?;
            if let Some(value) = values.iter().find(|value| !value.is_string()) {
                return Err(Refusal::Invalid(format!("claim is not a string: {value}")));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.user_claim.is_empty() {
            return Err(Refusal::invalid("a user claim must be defined on the role"));
        }
        if self.kind == RoleKind::Oidc && self.allowed_redirect_uris.is_empty() {
            return Err(Refusal::invalid(
                "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
            ));
        }
        let bound = !self.bound_audiences.is_empty()
            || !self.token.bound_cidrs.is_empty()
            || !self.bound_subject.is_empty()
            || !self.bound_claims.is_empty();
        if self.kind == RoleKind::Jwt && !bound {
            return Err(Refusal::invalid("must have at least one bound constraint when creating/updating a role"));
        }
        Ok(())
    }

    fn warnings(&self, mount: &Mount) -> Vec<String> {
        let mut warnings = Vec::new();
        if mount.max_lease_seconds != 0 && self.token.max_ttl > mount.max_lease_seconds {
            warnings.push(
                "token max ttl is greater than the system or backend mount's maximum TTL value; issued tokens' max TTL \
                 value will be truncated"
                    .to_owned(),
            );
        }
        if self.verbose_oidc_logging {
            warnings.push("verbose_oidc_logging has no effect here: tokens and claims are never logged".to_owned());
        }
        warnings
    }

    pub fn answer(&self) -> Map<String, Value> {
        let or_null = |value: Value, empty: bool| if empty { Value::Null } else { value };
        let fields = json!({
            "role_type": self.kind,
            "expiration_leeway": self.leeways.expiration,
            "not_before_leeway": self.leeways.not_before,
            "clock_skew_leeway": self.leeways.clock_skew,
            "bound_audiences": or_null(json!(self.bound_audiences), self.bound_audiences.is_empty()),
            "bound_subject": self.bound_subject,
            "bound_claims_type": self.matching,
            "bound_claims": or_null(json!(self.bound_claims), self.bound_claims.is_empty()),
            "claim_mappings": or_null(json!(self.claim_mappings), self.claim_mappings.is_empty()),
            "user_claim": self.user_claim,
            "user_claim_json_pointer": self.user_claim_json_pointer,
            "groups_claim": self.groups_claim,
            "allowed_redirect_uris":
                or_null(json!(self.allowed_redirect_uris), self.allowed_redirect_uris.is_empty()),
            "oidc_scopes": or_null(json!(self.oidc_scopes), self.oidc_scopes.is_empty()),
            "verbose_oidc_logging": self.verbose_oidc_logging,
            "max_age": self.max_age,
        });
        let mut data = Map::new();
        if let Value::Object(fields) = fields {
            data.extend(fields);
        }
        self.token.answer(&mut data);
        data
    }
}

/// Two claims do not fit in one place, and the role's name is nobody's to change.
fn check_mappings(mappings: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let mut targets = BTreeSet::new();
    for target in mappings.values() {
        if target == ROLE_METADATA {
            return Err(Refusal::Invalid(format!(
                "metadata key {target:?} is reserved and may not be a mapping destination"
            )));
        }
        if !targets.insert(target) {
            return Err(Refusal::Invalid(format!("multiple keys are mapped to metadata key {target:?}")));
        }
    }
    Ok(())
}

/// A duration that may be negative, which turns a leeway off.
fn signed_seconds(fields: &Fields<'_>, name: &str) -> Result<Option<i64>, Refusal> {
    if let Ok(seconds) = fields.integer(name) {
        return Ok(seconds);
    }
    let negative = fields.text(name)?.is_some_and(|text| text.starts_with('-'));
    if negative {
        return Ok(Some(-1));
    }
    Ok(fields.seconds(name)?.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)))
}
