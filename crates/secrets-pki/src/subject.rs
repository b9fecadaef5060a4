//! Names of subjects and issuers (X.501).

use der::asn1::ObjectIdentifier;
use der::{Any, Encode, Tag};
use mainstay_secrets_engine::Refusal;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use crate::csr::name_from;
use crate::role::Role;
use crate::signature::unencodable;

pub const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
pub const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
pub const USER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const LOCALITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.7");
const PROVINCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
const STREET_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.9");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
const POSTAL_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.17");

/// A subject with what its role says, in the order of Go's `pkix.Name`.
pub fn build(role: &Role, common_name: &str, serial_number: &str, user_ids: &[String]) -> Result<Name, Refusal> {
    let of_role = [
        (COUNTRY, &role.country),
        (ORGANIZATION, &role.organization),
        (ORGANIZATIONAL_UNIT, &role.ou),
        (LOCALITY, &role.locality),
        (PROVINCE, &role.province),
        (STREET_ADDRESS, &role.street_address),
        (POSTAL_CODE, &role.postal_code),
    ];
    let mut parts = Vec::new();
    for (kind, values) in of_role {
        // Several values are one set: they are one part of the name.
        parts.push(part(kind, values.iter().map(String::as_str))?);
    }
    for (kind, value) in [(COMMON_NAME, common_name), (SERIAL_NUMBER, serial_number)] {
        parts.push(part(kind, Some(value).into_iter())?);
    }
    for user_id in user_ids {
        parts.push(part(USER_ID, Some(user_id.as_str()).into_iter())?);
    }
    let parts: Vec<RelativeDistinguishedName> = parts.into_iter().flatten().collect();
    name_from(&RdnSequence::from(parts))
}

/// The texts that a name has for an attribute.
pub fn values(name: &Name, kind: ObjectIdentifier) -> Vec<String> {
    let values = name.iter().filter(|attribute| attribute.oid == kind);
    values.filter_map(|attribute| std::str::from_utf8(attribute.value.value()).ok().map(str::to_owned)).collect()
}

fn part<'a>(
    kind: ObjectIdentifier,
    values: impl Iterator<Item = &'a str>,
) -> Result<Option<RelativeDistinguishedName>, Refusal> {
    let mut part = RelativeDistinguishedName::default();
    let mut seen: Vec<&str> = Vec::new();
    for value in values.map(str::trim).filter(|value| !value.is_empty()) {
        if seen.contains(&value) {
            continue;
        }
        seen.push(value);
        part.insert(AttributeTypeAndValue { oid: kind, value: text(value).map_err(unencodable)? })
            .map_err(unencodable)?;
    }
    Ok((!part.is_empty()).then_some(part))
}

/// A text as short as it goes: letters that everyone knows, or else UTF-8 (RFC 5280, 4.1.2.4).
fn text(value: &str) -> Result<Any, der::Error> {
    let printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    let tag = if value.bytes().all(printable) { Tag::PrintableString } else { Tag::Utf8String };
    Any::new(tag, value.as_bytes())
}

/// Whether a name says nothing.
pub fn is_empty(name: &Name) -> bool {
    name.to_der().is_ok_and(|der| der.len() <= 2)
}
