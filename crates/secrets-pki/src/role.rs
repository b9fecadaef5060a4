//! Roles: what certificates a caller may have.

use mainstay_secrets_engine::{Fields, Refusal};
use serde::{Deserialize, Serialize};

use crate::extension;
use crate::key::KeyKind;
use crate::names::Rules;
use crate::other_name::OtherName;
use crate::signature::Hash;

/// A role, with the names that Vault gives its fields: what is kept is what is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    pub issuer_ref: String,
    pub ttl: u64,
    pub max_ttl: u64,
    pub not_before_duration: u64,
    pub not_after: String,
    pub allow_localhost: bool,
    pub allowed_domains: Vec<String>,
    pub allowed_domains_template: bool,
    pub allow_bare_domains: bool,
    pub allow_token_displayname: bool,
    pub allow_subdomains: bool,
    pub allow_glob_domains: bool,
    pub allow_wildcard_certificates: bool,
    pub allow_any_name: bool,
    pub enforce_hostnames: bool,
    pub allow_ip_sans: bool,
    pub allowed_uri_sans: Vec<String>,
    pub allowed_uri_sans_template: bool,
    pub allowed_other_sans: Vec<String>,
    pub allowed_serial_numbers: Vec<String>,
    pub allowed_user_ids: Vec<String>,
    pub server_flag: bool,
    pub client_flag: bool,
    pub code_signing_flag: bool,
    pub email_protection_flag: bool,
    pub key_type: String,
    pub key_bits: u64,
    pub signature_bits: u64,
    pub use_pss: bool,
    pub key_usage: Vec<String>,
    pub ext_key_usage: Vec<String>,
    pub ext_key_usage_oids: Vec<String>,
    pub use_csr_common_name: bool,
    pub use_csr_sans: bool,
    pub ou: Vec<String>,
    pub organization: Vec<String>,
    pub country: Vec<String>,
    pub locality: Vec<String>,
    pub province: Vec<String>,
    pub street_address: Vec<String>,
    pub postal_code: Vec<String>,
    pub generate_lease: bool,
    pub no_store: bool,
    pub require_cn: bool,
    pub cn_validations: Vec<String>,
    pub policy_identifiers: Vec<String>,
    pub basic_constraints_valid_for_non_ca: bool,
}

/// Vault's defaults.
impl Default for Role {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            issuer_ref: "default".to_owned(),
            ttl: 0,
            max_ttl: 0,
            not_before_duration: 30,
            not_after: String::new(),
            allow_localhost: true,
            allowed_domains: Vec::new(),
            allowed_domains_template: false,
            allow_bare_domains: false,
            allow_token_displayname: false,
            allow_subdomains: false,
            allow_glob_domains: false,
            allow_wildcard_certificates: true,
            allow_any_name: false,
            enforce_hostnames: true,
            allow_ip_sans: true,
            allowed_uri_sans: Vec::new(),
            allowed_uri_sans_template: false,
            allowed_other_sans: Vec::new(),
            allowed_serial_numbers: Vec::new(),
            allowed_user_ids: Vec::new(),
            server_flag: true,
            client_flag: true,
            code_signing_flag: false,
            email_protection_flag: false,
            key_type: "rsa".to_owned(),
            key_bits: 0,
            signature_bits: 0,
            use_pss: false,
            key_usage: texts(&["DigitalSignature", "KeyAgreement", "KeyEncipherment"]),
            ext_key_usage: Vec::new(),
            ext_key_usage_oids: Vec::new(),
            use_csr_common_name: true,
            use_csr_sans: true,
            ou: Vec::new(),
            organization: Vec::new(),
            country: Vec::new(),
            locality: Vec::new(),
            province: Vec::new(),
            street_address: Vec::new(),
            postal_code: Vec::new(),
            generate_lease: false,
            no_store: false,
            require_cn: true,
            cn_validations: texts(&["email", "hostname"]),
            policy_identifiers: Vec::new(),
            basic_constraints_valid_for_non_ca: false,
        }
    }
}

impl Role {
    /// This role with what a request says about it instead.
    pub fn overlaid(mut self, fields: &Fields<'_>) -> Result<Self, Refusal> {
        for (name, place) in self.flags() {
            if let Some(flag) = fields.boolean(name)? {
                *place = flag;
            }
        }
        for (name, place) in self.lists() {
            if let Some(list) = fields.list(name)? {
                *place = list;
            }
        }
        for (name, place) in self.texts() {
            if let Some(text) = fields.text(name)? {
                *place = text;
            }
        }
        for (name, place) in [
            ("ttl", &mut self.ttl),
            ("max_ttl", &mut self.max_ttl),
            ("not_before_duration", &mut self.not_before_duration),
        ] {
            if let Some(seconds) = fields.seconds(name)? {
                *place = seconds;
            }
        }
        for (name, place) in [("key_bits", &mut self.key_bits), ("signature_bits", &mut self.signature_bits)] {
            if let Some(bits) = fields.count(name)? {
                *place = bits;
            }
        }
        Ok(self)
    }

    /// The role in its last form, with everything in it possible.
    pub fn checked(mut self) -> Result<Self, Refusal> {
        let refuse = |message: &str| Err(Refusal::invalid(message));
        if self.max_ttl > 0 && self.ttl > self.max_ttl {
            return refuse("\"ttl\" value must be less than \"max_ttl\" value");
        }
        if self.allowed_domains_template || self.allowed_uri_sans_template {
            return refuse(
                "identity templates are not supported; write the names out in allowed_domains and allowed_uri_sans",
            );
        }
        if self.use_pss {
            return refuse("PSS signatures are not supported; leave use_pss out, or use an EC key");
        }
        if self.key_type != "any" {
            self.key_bits = KeyKind::parse(&self.key_type, self.key_bits)?.bits().into();
        }
        Hash::parse(self.signature_bits)?;
        if let Some(oid) = self.ext_key_usage_oids.iter().find(|oid| extension::oid(oid).is_none()) {
            let message = format!("{oid:?} could not be parsed as a valid oid for an extended key usage");
            return Err(Refusal::Invalid(message));
        }
        if let Some(oid) = self.policy_identifiers.iter().find(|oid| extension::oid(oid).is_none()) {
            return Err(Refusal::Invalid(format!(
                "{oid:?} could not be parsed as a valid oid for a policy identifier"
            )));
        }
        if self.allowed_other_sans != ["*"] {
            let all = self.allowed_other_sans.iter().map(|text| OtherName::parse(text));
            all.collect::<Result<Vec<_>, _>>()
                .map_err(|error| Refusal::Invalid(format!("error parsing allowed_other_sans: {error}")))?;
        }
        self.cn_validations = checked_cn_validations(self.cn_validations)?;
        if self.issuer_ref.is_empty() {
            self.issuer_ref = "default".to_owned();
        }
        // What is not kept cannot be revoked when a lease ends.
        self.generate_lease &= !self.no_store;
        Ok(self)
    }

    /// What somebody may do who makes authorities: everything, as the request says it.
    pub fn for_authority(fields: &Fields<'_>) -> Result<Self, Refusal> {
        let mut role = Self {
            key_usage: fields.list("key_usage")?.unwrap_or_default(),
            ext_key_usage: fields.list("ext_key_usage")?.unwrap_or_default(),
            ext_key_usage_oids: fields.list("ext_key_usage_oids")?.unwrap_or_default(),
            server_flag: false,
            client_flag: false,
            use_csr_common_name: false,
            use_csr_sans: false,
            ..Self::anything()
        };
        for (name, place) in role.lists() {
            let is_subject = matches!(
                name,
                "ou" | "organization" | "country" | "locality" | "province" | "street_address" | "postal_code"
            );
            if let Some(list) = fields.list(name)?.filter(|_| is_subject || name == "policy_identifiers") {
                *place = list;
            }
        }
        role.key_type = fields.text("key_type")?.unwrap_or_else(|| "rsa".to_owned());
        role.key_bits = fields.count("key_bits")?.unwrap_or(0);
        role.signature_bits = fields.count("signature_bits")?.unwrap_or(0);
        role.use_pss = fields.boolean("use_pss")?.unwrap_or(false);
        role.not_before_duration = fields.seconds("not_before_duration")?.unwrap_or(30);
        role.checked()
    }

    /// What somebody may do who has requests signed as they are; the role says how long, and whether it is kept.
    pub fn for_verbatim(role: Option<Self>, fields: &Fields<'_>) -> Result<Self, Refusal> {
        let base = role.unwrap_or_default();
        let mut verbatim = Self {
            issuer_ref: base.issuer_ref,
            ttl: base.ttl,
            max_ttl: base.max_ttl,
            not_before_duration: base.not_before_duration,
            not_after: base.not_after,
            no_store: base.no_store,
            generate_lease: base.generate_lease,
            key_type: "any".to_owned(),
            key_bits: 0,
            server_flag: false,
            client_flag: false,
            ..Self::anything()
        };
        verbatim.key_usage = fields.list("key_usage")?.unwrap_or(verbatim.key_usage);
        verbatim.ext_key_usage = fields.list("ext_key_usage")?.unwrap_or_default();
        verbatim.ext_key_usage_oids = fields.list("ext_key_usage_oids")?.unwrap_or_default();
        verbatim.signature_bits = fields.count("signature_bits")?.unwrap_or(0);
        verbatim.checked()
    }

    pub fn rules(&self) -> Rules<'_> {
        Rules {
            allowed_domains: &self.allowed_domains,
            allow_bare_domains: self.allow_bare_domains,
            allow_subdomains: self.allow_subdomains,
            allow_glob_domains: self.allow_glob_domains,
            allow_wildcard_certificates: self.allow_wildcard_certificates,
            allow_any_name: self.allow_any_name,
            allow_localhost: self.allow_localhost,
            enforce_hostnames: self.enforce_hostnames,
        }
    }

    pub fn hash(&self) -> Result<Hash, Refusal> {
        Hash::parse(self.signature_bits)
    }

    fn anything() -> Self {
        let any = || vec!["*".to_owned()];
        Self {
            allow_any_name: true,
            enforce_hostnames: false,
            allowed_uri_sans: any(),
            allowed_other_sans: any(),
            allowed_serial_numbers: any(),
            allowed_user_ids: any(),
            cn_validations: vec!["disabled".to_owned()],
            require_cn: false,
            ..Self::default()
        }
    }

    fn flags(&mut self) -> [(&'static str, &mut bool); 21] {
        [
            ("allow_localhost", &mut self.allow_localhost),
            ("allowed_domains_template", &mut self.allowed_domains_template),
            ("allow_bare_domains", &mut self.allow_bare_domains),
            ("allow_subdomains", &mut self.allow_subdomains),
            ("allow_glob_domains", &mut self.allow_glob_domains),
            ("allow_wildcard_certificates", &mut self.allow_wildcard_certificates),
            ("allow_any_name", &mut self.allow_any_name),
            ("enforce_hostnames", &mut self.enforce_hostnames),
            ("allow_ip_sans", &mut self.allow_ip_sans),
            ("allowed_uri_sans_template", &mut self.allowed_uri_sans_template),
            ("server_flag", &mut self.server_flag),
            ("client_flag", &mut self.client_flag),
            ("code_signing_flag", &mut self.code_signing_flag),
            ("email_protection_flag", &mut self.email_protection_flag),
            ("use_pss", &mut self.use_pss),
            ("use_csr_common_name", &mut self.use_csr_common_name),
            ("use_csr_sans", &mut self.use_csr_sans),
            ("generate_lease", &mut self.generate_lease),
            ("no_store", &mut self.no_store),
            ("require_cn", &mut self.require_cn),
            ("basic_constraints_valid_for_non_ca", &mut self.basic_constraints_valid_for_non_ca),
        ]
    }

    fn lists(&mut self) -> [(&'static str, &mut Vec<String>); 17] {
        [
            ("allowed_domains", &mut self.allowed_domains),
            ("allowed_uri_sans", &mut self.allowed_uri_sans),
            ("allowed_other_sans", &mut self.allowed_other_sans),
            ("allowed_serial_numbers", &mut self.allowed_serial_numbers),
            ("allowed_user_ids", &mut self.allowed_user_ids),
            ("key_usage", &mut self.key_usage),
            ("ext_key_usage", &mut self.ext_key_usage),
            ("ext_key_usage_oids", &mut self.ext_key_usage_oids),
            ("ou", &mut self.ou),
            ("organization", &mut self.organization),
            ("country", &mut self.country),
            ("locality", &mut self.locality),
            ("province", &mut self.province),
            ("street_address", &mut self.street_address),
            ("postal_code", &mut self.postal_code),
            ("cn_validations", &mut self.cn_validations),
            ("policy_identifiers", &mut self.policy_identifiers),
        ]
    }

    fn texts(&mut self) -> [(&'static str, &mut String); 3] {
        [("issuer_ref", &mut self.issuer_ref), ("not_after", &mut self.not_after), ("key_type", &mut self.key_type)]
    }
}

fn checked_cn_validations(validations: Vec<String>) -> Result<Vec<String>, Refusal> {
    if validations.is_empty() {
        return Ok(Role::default().cn_validations);
    }
    let mut checked: Vec<String> = Vec::new();
    for validation in validations {
        let validation = validation.to_ascii_lowercase();
        if !["disabled", "email", "hostname"].contains(&validation.as_str()) {
            return Err(Refusal::Invalid(format!("cn_validations value incorrect: unknown type: `{validation}`")));
        }
        if checked.contains(&validation) {
            let message = format!("cn_validations value incorrect: `{validation}` specified multiple times");
            return Err(Refusal::Invalid(message));
        }
        checked.push(validation);
    }
    if checked.len() > 1 && checked.iter().any(|validation| validation == "disabled") {
        return Err(Refusal::invalid(
            "cn_validations value incorrect: cannot specify `disabled` along with `email` or `hostname`",
        ));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use mainstay_secrets_engine::Fields;
    use serde_json::{Value, json};

    use super::Role;

    fn role(json: Value) -> Result<Role, String> {
        let Value::Object(data) = json else { unreachable!() };
        Role::default().overlaid(&Fields::new(&data)).and_then(Role::checked).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_is_refused_when_the_role_is_written() {
        assert_eq!(role(json!({})).unwrap(), Role { key_bits: 2048, ..Role::default() });
        let table = [
            json!({"ttl": "2h", "max_ttl": "1h"}),
            json!({"key_type": "rsa", "key_bits": 1024}),
            json!({"key_type": "dsa"}),
            json!({"ext_key_usage_oids": "1.x"}),
            json!({"policy_identifiers": "cps"}),
            json!({"allowed_other_sans": "1.2.3"}),
            json!({"cn_validations": "disabled,email"}),
            json!({"cn_validations": "email,email"}),
            json!({"allowed_domains_template": true}),
            json!({"use_pss": true}),
        ];
        for fields in table {
            assert!(role(fields.clone()).is_err(), "{fields}");
        }
    }

    #[test]
    fn every_field_can_be_set() {
        let defaults = serde_json::to_value(Role::default()).unwrap();
        let Value::Object(defaults) = defaults else { unreachable!() };
        let unsettable = ["allow_token_displayname", "cn_validations", "key_type"];
        for (name, default) in defaults {
            if unsettable.contains(&name.as_str()) {
                continue;
            }
            let other = match default {
                Value::Bool(flag) => json!(!flag),
                Value::Number(_) => json!(384),
                Value::Array(_) => json!(["1.2.3;utf8:x"]),
                _ => json!("2030-01-01T00:00:00Z"),
            };
            let Value::Object(data) = json!({ &name: other }) else { unreachable!() };
            let changed = Role::default().overlaid(&Fields::new(&data)).unwrap();
            assert_eq!(serde_json::to_value(changed).unwrap()[&name], other, "{name}");
        }
    }
}
