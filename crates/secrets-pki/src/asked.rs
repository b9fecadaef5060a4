//! What a certificate is asked to say, held against its role.

use std::net::IpAddr;

use mainstay_secrets_engine::{Fields, Refusal};
use x509_cert::name::Name;

use crate::csr::{AltNames, Csr};
use crate::glob;
use crate::key::KeyKind;
use crate::names::AskedName;
use crate::other_name::OtherName;
use crate::role::Role;
use crate::signature::key_kind;
use crate::subject;

/// How many alternative names a certificate has at most: more than any service has, and no reason to work for long.
const MOST_NAMES: usize = 1_000;

/// Whose certificate it will be.
#[derive(Debug)]
pub struct Identity {
    pub subject: Name,
    pub names: AltNames,
}

/// Decides whose certificate it will be, where the role allows that.
pub fn identity(role: &Role, fields: &Fields<'_>, csr: Option<&Csr>) -> Result<Identity, Refusal> {
    let of_csr = csr.filter(|_| role.use_csr_common_name).and_then(|csr| csr.subject_value(subject::COMMON_NAME));
    let common_name = match of_csr.filter(|name| !name.is_empty()) {
        Some(name) => name,
        None => fields.text("common_name")?.unwrap_or_default(),
    };
    if common_name.is_empty() && role.require_cn {
        return Err(Refusal::invalid(
            "the common_name field is required, or must be provided in a CSR with \"use_csr_common_name\" set to true, unless \"require_cn\" is set to false",
        ));
    }
    let mut names = match csr.filter(|_| role.use_csr_sans) {
        Some(csr) => csr.names.clone(),
        None => names_of_fields(fields)?,
    };
    if !common_name.is_empty() && !fields.boolean("exclude_cn_from_sans")?.unwrap_or(false) {
        push(&mut names, &common_name);
    }
    if !common_name.is_empty() {
        check_common_name(role, &common_name)?;
    }
    check_names(role, &mut names)?;
    check_addresses(role, &names, csr.is_some() && role.use_csr_sans)?;
    let subject = subject(role, fields, csr, &common_name)?;
    let count = names.dns.len() + names.emails.len() + names.ips.len() + names.uris.len() + names.others.len();
    if count > MOST_NAMES {
        return Err(Refusal::Invalid(format!(
            "a certificate has at most {MOST_NAMES} names, but {count} were asked for"
        )));
    }
    Ok(Identity { subject, names })
}

/// Holds a request's key against its role, where the role names one kind.
pub fn check_key(role: &Role, csr: &Csr) -> Result<(), Refusal> {
    let kind = key_kind(csr.public_key());
    let kind = kind.ok_or_else(|| Refusal::invalid("the CSR's key is of no supported type; use rsa, ec or ed25519"))?;
    if role.key_type != "any" && role.key_type != kind.name() {
        return Err(Refusal::Invalid(format!("role requires keys of type {}", role.key_type)));
    }
    let bits = u64::from(kind.bits());
    let wanted = if role.key_type == "any" { 0 } else { role.key_bits };
    if bits < wanted {
        let message = format!("role requires a minimum of a {wanted}-bit key, but CSR's key is {bits} bits");
        return Err(Refusal::Invalid(message));
    }
    match kind {
        KeyKind::Rsa { bits: ..2048 } => {
            let message = format!("Vault requires a minimum of a 2048-bit key, but CSR's key is {bits} bits");
            Err(Refusal::Invalid(message))
        }
        _ => Ok(()),
    }
}

fn names_of_fields(fields: &Fields<'_>) -> Result<AltNames, Refusal> {
    let mut names = AltNames::default();
    for name in fields.list("alt_names")?.unwrap_or_default() {
        push(&mut names, &name);
    }
    for text in fields.list("ip_sans")?.unwrap_or_default() {
        let ip: Result<IpAddr, _> = text.parse();
        names.ips.push(ip.map_err(|_| Refusal::Invalid(format!("the value {text:?} is not a valid IP address")))?);
    }
    names.uris = fields.list("uri_sans")?.unwrap_or_default();
    for text in fields.list("other_sans")?.unwrap_or_default() {
        let other = OtherName::parse(&text);
        let other = other.map_err(|error| Refusal::Invalid(format!("could not parse requested other SAN: {error}")))?;
        names.others.push(other);
    }
    Ok(names)
}

/// Adds a name to those of its kind. What is neither an email address nor a host name is no alternative name.
fn push(names: &mut AltNames, text: &str) {
    let Some(name) = AskedName::parse(text) else {
        // It will be refused by name: as one that could mean something else to whoever reads the certificate.
        names.dns.push(text.to_owned());
        return;
    };
    let Some(certified) = name.certified() else { return };
    let list = if name.is_email() { &mut names.emails } else { &mut names.dns };
    list.push(certified);
}

fn check_common_name(role: &Role, common_name: &str) -> Result<(), Refusal> {
    let refused = || Refusal::Invalid(format!("common name {common_name} not allowed by this role"));
    if role.cn_validations == ["disabled"] {
        return if common_name.chars().any(char::is_control) { Err(refused()) } else { Ok(()) };
    }
    let name = AskedName::parse(common_name).ok_or_else(refused)?;
    let kind = if name.is_email() { "email" } else { "hostname" };
    let is_kind_allowed = role.cn_validations.iter().any(|validation| validation == kind);
    if is_kind_allowed && name.is_allowed(&role.rules()) { Ok(()) } else { Err(refused()) }
}

/// Checks host names and email addresses, and brings them into the one form that certificates have.
fn check_names(role: &Role, names: &mut AltNames) -> Result<(), Refusal> {
    let lists = [(&mut names.dns, false, "subject alternate name"), (&mut names.emails, true, "email address")];
    for (list, is_email, what) in lists {
        let mut checked: Vec<String> = Vec::new();
        for text in list.iter() {
            let name = AskedName::parse(text).filter(|name| name.is_email() == is_email);
            let name = name.filter(|name| name.is_allowed(&role.rules()));
            let certified = name.and_then(|name| name.certified());
            let certified =
                certified.ok_or_else(|| Refusal::Invalid(format!("{what} {text} not allowed by this role")))?;
            if !checked.contains(&certified) {
                checked.push(certified);
            }
        }
        *list = checked;
    }
    Ok(())
}

fn check_addresses(role: &Role, names: &AltNames, from_csr: bool) -> Result<(), Refusal> {
    if !names.ips.is_empty() && !role.allow_ip_sans {
        let ips: Vec<String> = names.ips.iter().map(IpAddr::to_string).collect();
        let what = if from_csr { "some via CSR".to_owned() } else { format!("[{}]", ips.join(" ")) };
        return Err(Refusal::Invalid(format!(
            "IP Subject Alternative Names are not allowed in this role, but was provided {what}"
        )));
    }
    let source = if from_csr { "via CSR" } else { "via the API" };
    if !names.uris.is_empty() && role.allowed_uri_sans.is_empty() {
        return Err(Refusal::Invalid(format!(
            "URI Subject Alternative Names are not allowed in this role, but were provided {source}"
        )));
    }
    for uri in &names.uris {
        if !role.allowed_uri_sans.iter().any(|allowed| glob::matches(allowed, uri)) {
            return Err(Refusal::Invalid(format!(
                "URI Subject Alternative Names were provided {source} which are not valid for this role"
            )));
        }
        if !is_uri(uri) {
            return Err(Refusal::Invalid(format!(
                "the provided URI Subject Alternative Name {uri:?} is not a valid URI"
            )));
        }
    }
    match names.others.iter().find(|other| !other.is_allowed(&role.allowed_other_sans)) {
        Some(other) => {
            Err(Refusal::Invalid(format!("other SAN {} not allowed for OID {} by this role", other.value, other.kind)))
        }
        None => Ok(()),
    }
}

fn subject(role: &Role, fields: &Fields<'_>, csr: Option<&Csr>, common_name: &str) -> Result<Name, Refusal> {
    let of_csr = || csr.and_then(|csr| csr.subject_value(subject::SERIAL_NUMBER));
    let serial_number =
        fields.text("serial_number")?.filter(|text| !text.is_empty()).or_else(of_csr).unwrap_or_default();
    let is_listed = |allowed: &String| *allowed == serial_number || glob::matches(allowed, &serial_number);
    if !serial_number.is_empty() && !role.allowed_serial_numbers.iter().any(is_listed) {
        return Err(Refusal::Invalid(format!("serial_number {serial_number} not allowed by this role")));
    }
    let mut user_ids = fields.list("user_ids")?.unwrap_or_default();
    if let Some(csr) = csr.filter(|_| user_ids.is_empty()) {
        user_ids = subject::values(csr.subject(), subject::USER_ID);
    }
    for user_id in &user_ids {
        let is_allowed = |allowed: &String| allowed.eq_ignore_ascii_case(user_id) || glob::matches(allowed, user_id);
        if !role.allowed_user_ids.iter().any(is_allowed) {
            return Err(Refusal::Invalid(format!("user_id {user_id} is not allowed by this role")));
        }
    }
    subject::build(role, common_name, &serial_number, &user_ids)
}

/// A scheme, a colon, and something after it, in printable ASCII (RFC 3986, 3).
pub fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(in_scheme)
        && !rest.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use mainstay_secrets_engine::Fields;
    use serde_json::{Value, json};

    use super::{Identity, identity, is_uri};
    use crate::role::Role;

    fn ask(role: Value, fields: Value) -> Result<Identity, String> {
        let (Value::Object(role), Value::Object(fields)) = (role, fields) else { unreachable!() };
        let role = Role::default().overlaid(&Fields::new(&role)).and_then(Role::checked).unwrap();
        identity(&role, &Fields::new(&fields), None).map_err(|error| error.to_string())
    }

    #[test]
    fn refusals_say_what_vault_says() {
        let role = json!({"allowed_domains": "example.com", "allow_subdomains": true, "allow_ip_sans": false});
        let table = [
            (json!({}), "the common_name field is required, or must be provided in a CSR"),
            (json!({"common_name": "evil.org"}), "common name evil.org not allowed by this role"),
            (
                json!({"common_name": "a.example.com", "alt_names": "evil.org"}),
                "subject alternate name evil.org not allowed by this role",
            ),
            (
                json!({"common_name": "a.example.com", "alt_names": "me@evil.org"}),
                "email address me@evil.org not allowed by this role",
            ),
            (
                json!({"common_name": "a.example.com", "ip_sans": "127.0.0.1"}),
                "IP Subject Alternative Names are not allowed in this role, but was provided [127.0.0.1]",
            ),
            (
                json!({"common_name": "a.example.com", "ip_sans": "1.2.3"}),
                "the value \"1.2.3\" is not a valid IP address",
            ),
            (
                json!({"common_name": "a.example.com", "uri_sans": "spiffe://x"}),
                "URI Subject Alternative Names are not allowed in this role, but were provided via the API",
            ),
            (
                json!({"common_name": "a.example.com", "other_sans": "1.2.3;utf8:x"}),
                "other SAN x not allowed for OID 1.2.3 by this role",
            ),
            (json!({"common_name": "a.example.com", "serial_number": "7"}), "serial_number 7 not allowed by this role"),
            (json!({"common_name": "a.example.com", "user_ids": "7"}), "user_id 7 is not allowed by this role"),
            (json!({"common_name": "a.example.com\0"}), "common name a.example.com\0 not allowed by this role"),
        ];
        for (fields, expected) in table {
            let refused = ask(role.clone(), fields.clone()).unwrap_err();
            assert!(refused.starts_with(expected), "{fields}: {refused}");
        }
    }

    #[test]
    fn names_come_once_and_in_one_form() {
        let role = json!({"allowed_domains": "example.com", "allow_subdomains": true, "ou": "a,b,a"});
        let fields =
            json!({"common_name": "A.example.com", "alt_names": "a.example.com,b.example.com,x@a.example.com"});
        let identity = ask(role, fields).unwrap();
        assert_eq!(identity.names.dns, ["a.example.com", "b.example.com"]);
        assert_eq!(identity.names.emails, ["x@a.example.com"]);
        assert_eq!(identity.subject.to_string(), "CN=A.example.com,OU=a+OU=b");
    }

    #[test]
    fn uris_have_a_scheme_and_nothing_unprintable() {
        assert!(is_uri("spiffe://trust/ns") && is_uri("urn:x"));
        assert!(!is_uri("no scheme:x") && !is_uri("http:") && !is_uri("http://x\n") && !is_uri("x"));
    }
}
