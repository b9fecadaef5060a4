//! Extensions of certificates, from what roles and requests say to what X.509 says.

use der::Encode;
use der::asn1::{Ia5String, ObjectIdentifier, OctetString};
use der::flagset::FlagSet;
use der::oid::AssociatedOid;
use serde::{Deserialize, Serialize};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::crl::CrlDistributionPoints;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, CertificatePolicies, ExtendedKeyUsage,
    KeyUsages, NameConstraints,
};

const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// Where certificates say that more is to be had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urls {
    #[serde(default)]
    pub issuing_certificates: Vec<String>,
    #[serde(default)]
    pub crl_distribution_points: Vec<String>,
    #[serde(default)]
    pub ocsp_servers: Vec<String>,
}

impl Urls {
    pub fn is_empty(&self) -> bool {
        self.issuing_certificates.is_empty() && self.crl_distribution_points.is_empty() && self.ocsp_servers.is_empty()
    }
}

/// Any extension.
pub fn extension<T: AssociatedOid + Encode>(critical: bool, value: &T) -> Result<Extension, der::Error> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

/// An object identifier in numbers with dots. None where the text is none.
pub fn oid(text: &str) -> Option<ObjectIdentifier> {
    text.trim().parse().ok()
}

/// What a key is for. Names that nobody knows mean nothing, as with Vault.
pub fn key_usages(names: &[String]) -> FlagSet<KeyUsages> {
    let usages = names.iter().filter_map(|name| match name.trim().to_ascii_lowercase().as_str() {
        "digitalsignature" => Some(KeyUsages::DigitalSignature),
        "contentcommitment" => Some(KeyUsages::NonRepudiation),
        "keyencipherment" => Some(KeyUsages::KeyEncipherment),
        "dataencipherment" => Some(KeyUsages::DataEncipherment),
        "keyagreement" => Some(KeyUsages::KeyAgreement),
        "certsign" => Some(KeyUsages::KeyCertSign),
        "crlsign" => Some(KeyUsages::CRLSign),
        "encipheronly" => Some(KeyUsages::EncipherOnly),
        "decipheronly" => Some(KeyUsages::DecipherOnly),
        _ => None,
    });
    usages.fold(FlagSet::default(), |all, usage| all | usage)
}

/// What a certificate is for, by Go's names for it. Names that nobody knows mean nothing, as with Vault.
pub fn extended_key_usages(names: &[String]) -> Vec<ObjectIdentifier> {
    let known = names.iter().filter_map(|name| match name.trim().to_ascii_lowercase().as_str() {
        "any" => Some("2.5.29.37.0"),
        "serverauth" => Some(SERVER_AUTH),
        "clientauth" => Some(CLIENT_AUTH),
        "codesigning" => Some(CODE_SIGNING),
        "emailprotection" => Some(EMAIL_PROTECTION),
        "ipsecendsystem" => Some("1.3.6.1.5.5.7.3.5"),
        "ipsectunnel" => Some("1.3.6.1.5.5.7.3.6"),
        "ipsecuser" => Some("1.3.6.1.5.5.7.3.7"),
        "timestamping" => Some("1.3.6.1.5.5.7.3.8"),
        "ocspsigning" => Some("1.3.6.1.5.5.7.3.9"),
        "microsoftservergatedcrypto" => Some("1.3.6.1.4.1.311.10.3.3"),
        "netscapeservergatedcrypto" => Some("2.16.840.1.113730.4.1"),
        _ => None,
    });
    known.filter_map(oid).collect()
}

pub const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
pub const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
pub const EMAIL_PROTECTION: &str = "1.3.6.1.5.5.7.3.4";

pub fn extended_key_usage(usages: &[ObjectIdentifier]) -> Result<Extension, der::Error> {
    extension(false, &ExtendedKeyUsage(usages.to_vec()))
}

pub fn authority_key_identifier(identifier: &[u8]) -> Result<Extension, der::Error> {
    let key_identifier = Some(OctetString::new(identifier)?);
    extension(false, &AuthorityKeyIdentifier { key_identifier, ..AuthorityKeyIdentifier::default() })
}

pub fn policies(oids: &[ObjectIdentifier]) -> Result<Extension, der::Error> {
    let information = |oid: &ObjectIdentifier| x509_cert::ext::pkix::certpolicy::PolicyInformation {
        policy_identifier: *oid,
        policy_qualifiers: None,
    };
    extension(false, &CertificatePolicies(oids.iter().map(information).collect()))
}

/// The domains that an authority may certify, and no others (RFC 5280, 4.2.1.10).
pub fn permitted_domains(domains: &[String]) -> Result<Extension, der::Error> {
    let subtree = |domain: &String| {
        Ok(GeneralSubtree { base: GeneralName::DnsName(Ia5String::new(domain)?), minimum: 0, maximum: None })
    };
    let permitted = domains.iter().map(subtree).collect::<Result<_, der::Error>>()?;
    extension(true, &NameConstraints { permitted_subtrees: Some(permitted), excluded_subtrees: None })
}

/// The extensions that say where the issuer's certificate, its revocation list and its OCSP responder are.
pub fn urls(urls: &Urls) -> Result<Vec<Extension>, der::Error> {
    let mut extensions = Vec::new();
    let access = |access_method, url: &String| Ok(AccessDescription { access_method, access_location: uri(url)? });
    let servers = urls.ocsp_servers.iter().map(|url| access(OCSP, url));
    let issuers = urls.issuing_certificates.iter().map(|url| access(CA_ISSUERS, url));
    let information = servers.chain(issuers).collect::<Result<Vec<_>, der::Error>>()?;
    if !information.is_empty() {
        extensions.push(extension(false, &AuthorityInfoAccessSyntax(information))?);
    }
    let point = |url: &String| {
        let name = DistributionPointName::FullName(vec![uri(url)?]);
        Ok(DistributionPoint { distribution_point: Some(name), reasons: None, crl_issuer: None })
    };
    let points = urls.crl_distribution_points.iter().map(point).collect::<Result<Vec<_>, der::Error>>()?;
    if !points.is_empty() {
        extensions.push(extension(false, &CrlDistributionPoints(points))?);
    }
    Ok(extensions)
}

pub fn uri(text: &str) -> Result<GeneralName, der::Error> {
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(text)?))
}
