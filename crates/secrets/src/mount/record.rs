//! Mounts as they are kept.

use std::collections::BTreeMap;

use mainstay_secrets_engine::{Class, Fields, Mount, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The lease where nobody says another, and the longest one: 32 days, Vault's.
pub(crate) const DEFAULT_LEASE_SECONDS: u64 = 768 * 3600;

/// The longest path of a mount, in bytes.
const LONGEST_PATH: usize = 512;

/// Paths that nothing can be mounted at or below, since the layer serves them itself.
const RESERVED: [&str; 6] = ["sys/", "cubbyhole/", "identity/", "auth/", "audit/", "agent/"];

/// One mount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MountRecord {
    /// With a slash at the end, and `auth/` in front for an auth method.
    pub(crate) path: String,
    pub(crate) kind: String,
    pub(crate) uuid: String,
    pub(crate) accessor: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) config: MountConfig,
    #[serde(default)]
    pub(crate) local: bool,
    #[serde(default)]
    pub(crate) seal_wrap: bool,
    /// It is being removed: nothing is served from it, and its entries are deleted until none is left.
    #[serde(default)]
    pub(crate) leaving: bool,
}

/// What can be tuned. 0 means the system's own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct MountConfig {
    #[serde(default)]
    pub(crate) default_lease_ttl: u64,
    #[serde(default)]
    pub(crate) max_lease_ttl: u64,
    #[serde(default)]
    pub(crate) force_no_cache: bool,
    #[serde(default)]
    pub(crate) listing_visibility: Option<String>,
    #[serde(default)]
    pub(crate) token_type: Option<String>,
    #[serde(default)]
    pub(crate) audit_non_hmac_request_keys: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) audit_non_hmac_response_keys: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) passthrough_request_headers: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) allowed_response_headers: Option<Vec<String>>,
}

impl MountRecord {
    /// A mount that is made now.
    pub(crate) fn new(path: String, kind: &str) -> Result<Self, Refusal> {
        let short = uuid::Uuid::new_v4().simple().to_string();
        let class = if path.starts_with("auth/") { "auth_" } else { "" };
        Ok(Self {
            path,
            kind: kind.to_owned(),
            uuid: uuid::Uuid::new_v4().to_string(),
            accessor: format!("{class}{kind}_{}", &short[..8]),
            description: String::new(),
            options: BTreeMap::new(),
            config: MountConfig::default(),
            local: false,
            seal_wrap: false,
            leaving: false,
        })
    }

    pub(crate) fn class(&self) -> Class {
        if self.path.starts_with("auth/") { Class::Auth } else { Class::Secrets }
    }

    pub(crate) fn default_lease_seconds(&self) -> u64 {
        let own = self.config.default_lease_ttl;
        (if own == 0 { DEFAULT_LEASE_SECONDS } else { own }).min(self.max_lease_seconds())
    }

    pub(crate) fn max_lease_seconds(&self) -> u64 {
        let own = self.config.max_lease_ttl;
        if own == 0 { DEFAULT_LEASE_SECONDS } else { own }
    }

    /// The mount as its backend sees it.
    pub(crate) fn mount(&self) -> Mount {
        Mount {
            path: self.path.clone(),
            accessor: self.accessor.clone(),
            uuid: self.uuid.clone(),
            options: self.options.clone(),
            default_lease_seconds: self.default_lease_seconds(),
            max_lease_seconds: self.max_lease_seconds(),
        }
    }

    /// The mount in the words of `sys/mounts` and `sys/auth`.
    pub(crate) fn listing(&self) -> Value {
        let mut config = json!({
            "default_lease_ttl": self.config.default_lease_ttl,
            "max_lease_ttl": self.config.max_lease_ttl,
            "force_no_cache": self.config.force_no_cache,
        });
        self.config.add_optional(&mut config);
        if self.class() == Class::Auth {
            config["token_type"] = self.config.token_type.as_deref().unwrap_or("default-service").into();
        }
        json!({
            "type": self.kind,
            "description": self.description,
            "accessor": self.accessor,
            "uuid": self.uuid,
            "config": config,
            "options": if self.options.is_empty() { Value::Null } else { json!(self.options) },
            "local": self.local,
            "seal_wrap": self.seal_wrap,
            "external_entropy_access": false,
            "plugin_version": "",
            "running_plugin_version": concat!("v", env!("CARGO_PKG_VERSION"), "+builtin"),
            "running_sha256": "",
            "deprecation_status": "supported",
        })
    }

    /// The mount's settings in the words of `.../tune`.
    pub(crate) fn tuning(&self) -> Value {
        let mut tuning = json!({
            "description": self.description,
            "default_lease_ttl": self.default_lease_seconds(),
            "max_lease_ttl": self.max_lease_seconds(),
            "force_no_cache": self.config.force_no_cache,
        });
        self.config.add_optional(&mut tuning);
        if !self.options.is_empty() {
            tuning["options"] = json!(self.options);
        }
        if self.class() == Class::Auth {
            tuning["token_type"] = self.config.token_type.as_deref().unwrap_or("default-service").into();
        }
        tuning
    }
}

impl MountConfig {
    /// Takes over what a request says.
    pub(crate) fn update(&mut self, fields: Fields<'_>) -> Result<(), Refusal> {
        if let Some(seconds) = lease(fields, "default_lease_ttl", self.default_lease_ttl)? {
            self.default_lease_ttl = seconds;
        }
        if let Some(seconds) = lease(fields, "max_lease_ttl", self.max_lease_ttl)? {
            self.max_lease_ttl = seconds;
        }
        let longest = if self.max_lease_ttl == 0 { DEFAULT_LEASE_SECONDS } else { self.max_lease_ttl };
        if self.default_lease_ttl > longest {
            return Err(Refusal::invalid(format!(
                "backend max lease TTL of {longest} is less than the newly set default lease TTL of {}",
                self.default_lease_ttl
            )));
        }
        if let Some(flag) = fields.boolean("force_no_cache")? {
            self.force_no_cache = flag;
        }
        if let Some(visibility) = fields.text("listing_visibility")? {
            if !["", "unauth", "hidden"].contains(&visibility.as_str()) {
                return Err(Refusal::invalid("invalid value for listing_visibility: it is unauth or hidden"));
            }
            self.listing_visibility = Some(visibility).filter(|visibility| !visibility.is_empty());
        }
        if let Some(kind) = fields.text("token_type")? {
            if !["default-service", "default-batch", "service", "batch"].contains(&kind.as_str()) {
                return Err(Refusal::invalid(format!("invalid value for 'token_type': {kind}")));
            }
            self.token_type = Some(kind);
        }
        for (name, list) in [
            ("audit_non_hmac_request_keys", &mut self.audit_non_hmac_request_keys),
            ("audit_non_hmac_response_keys", &mut self.audit_non_hmac_response_keys),
            ("passthrough_request_headers", &mut self.passthrough_request_headers),
            ("allowed_response_headers", &mut self.allowed_response_headers),
        ] {
            if let Some(keys) = fields.list(name)? {
                *list = Some(keys).filter(|keys| !keys.is_empty());
            }
        }
        Ok(())
    }

    fn add_optional(&self, object: &mut Value) {
        if let Some(visibility) = &self.listing_visibility {
            object["listing_visibility"] = visibility.as_str().into();
        }
        for (name, list) in [
            ("audit_non_hmac_request_keys", &self.audit_non_hmac_request_keys),
            ("audit_non_hmac_response_keys", &self.audit_non_hmac_response_keys),
            ("passthrough_request_headers", &self.passthrough_request_headers),
            ("allowed_response_headers", &self.allowed_response_headers),
        ] {
            if let Some(keys) = list {
                object[name] = json!(keys);
            }
        }
    }
}

/// A lease of the system's own (`system`, or 0) or so many seconds.
fn lease(fields: Fields<'_>, name: &str, now: u64) -> Result<Option<u64>, Refusal> {
    match fields.get(name) {
        Some(Value::String(text)) if text == "system" => Ok(Some(0)),
        Some(Value::String(text)) if text.is_empty() => Ok(Some(now)),
        _ => fields.seconds(name),
    }
}

/// A path that something may be mounted at, with its slash at the end. `class` says whether `auth/` goes in front.
pub(crate) fn check_path(path: &str, class: Class) -> Result<String, Refusal> {
    let trimmed = path.trim_matches('/');
    let well_formed = !trimmed.is_empty()
        && trimmed.len() <= LONGEST_PATH
        && trimmed.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..")
        && !trimmed.chars().any(|letter| letter.is_control() || matches!(letter, '*' | '+' | '\\' | '%' | '?' | '#'));
    if !well_formed {
        return Err(Refusal::invalid(format!("invalid mount path {path:?}: use segments of visible characters")));
    }
    match class {
        Class::Auth if trimmed == "token" || trimmed.starts_with("token/") => {
            Err(Refusal::invalid("path is already in use at token/"))
        }
        Class::Auth => Ok(format!("auth/{trimmed}/")),
        Class::Secrets => {
            let path = format!("{trimmed}/");
            match RESERVED.iter().find(|reserved| path.starts_with(*reserved)) {
                Some(reserved) => Err(Refusal::invalid(format!("cannot mount '{reserved}'"))),
                None => Ok(path),
            }
        }
    }
}
