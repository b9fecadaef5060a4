//! Certificates, from what they are to say to their bytes.

use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use der::{DateTime, Sequence};
use mainstay_secrets_engine::Refusal;
use mainstay_types::Timestamp;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints, KeyUsage, KeyUsages,
    NameConstraints, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity as EncodedValidity};
use x509_cert::{AlgorithmIdentifier, SubjectPublicKeyInfo, Version};

use crate::certificate::{Certificate, Serial};
use crate::csr::AltNames;
use crate::extension::{self, Urls, extension};
use crate::key::PrivateKey;
use crate::role::Role;
use crate::signature::{self, Hash, key_identifier, unencodable};
use crate::validity::Validity;

/// What a certificate is to say.
pub struct Template {
    pub subject: Name,
    pub names: AltNames,
    pub public_key: SubjectPublicKeyInfo,
    pub validity: Validity,
    pub purpose: Purpose,
    pub key_usage: der::flagset::FlagSet<KeyUsages>,
    pub extended_key_usage: Vec<ObjectIdentifier>,
    pub policies: Vec<ObjectIdentifier>,
    pub urls: Urls,
    /// Taken over from a request as they are, in the place of those made from what is above.
    pub verbatim: Vec<Extension>,
}

/// What somebody may do with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    Leaf,
    /// A leaf that says so.
    DeclaredLeaf,
    Authority {
        path_length: Option<u8>,
        permitted_domains: Vec<String>,
    },
}

/// Who signs.
pub struct Signer<'a> {
    /// None for an authority that signs its own certificate.
    pub certificate: Option<&'a Certificate>,
    pub key: &'a PrivateKey,
    pub hash: Hash,
}

/// The part of a certificate that is signed (RFC 5280, 4.1). The crate's own cannot be made from parts.
#[derive(Sequence)]
struct TbsCertificate {
    #[asn1(context_specific = "0", default = "Default::default")]
    version: Version,
    serial_number: SerialNumber,
    signature: AlgorithmIdentifier,
    issuer: Name,
    validity: EncodedValidity,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfo,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

/// A request may not say these: they are about its issuer, or make it one.
const NEVER_VERBATIM: [ObjectIdentifier; 6] = [
    BasicConstraints::OID,
    SubjectKeyIdentifier::OID,
    AuthorityKeyIdentifier::OID,
    AuthorityInfoAccessSyntax::OID,
    CrlDistributionPoints::OID,
    NameConstraints::OID,
];

impl Template {
    /// Makes the certificate.
    pub fn sign(&self, signer: &Signer<'_>, serial: &Serial) -> Result<Certificate, Refusal> {
        let own = key_identifier(&self.public_key);
        let (issuer, authority) = match signer.certificate {
            Some(certificate) => (certificate.subject(), certificate.key_identifier()),
            None => (&self.subject, own.clone()),
        };
        let extensions = self.extensions(&own, &authority).map_err(unencodable)?;
        assemble(
            signer,
            Parts {
                serial,
                issuer,
                subject: &self.subject,
                public_key: &self.public_key,
                validity: self.validity,
                extensions,
            },
        )
    }

    /// The extensions of a request for such a certificate.
    pub fn requested_extensions(&self, with_constraints: bool) -> Result<Vec<Extension>, Refusal> {
        let mut extensions = Vec::new();
        if !self.names.is_empty() {
            let names = self.names.encoded().and_then(|names| extension(false, &names));
            extensions.push(names.map_err(unencodable)?);
        }
        if with_constraints {
            let constraints = BasicConstraints { ca: true, path_len_constraint: None };
            extensions.push(extension(true, &constraints).map_err(unencodable)?);
        }
        Ok(extensions)
    }

    fn extensions(&self, own: &[u8], authority: &[u8]) -> Result<Vec<Extension>, der::Error> {
        let mut extensions = Vec::new();
        let (usage, constraints) = match &self.purpose {
            Purpose::Leaf => (self.key_usage, None),
            Purpose::DeclaredLeaf => (self.key_usage, Some(BasicConstraints { ca: false, path_len_constraint: None })),
            Purpose::Authority { path_length, .. } => {
                let usage = match self.key_usage.is_empty() {
                    true => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
                    false => self.key_usage,
                };
                (usage, Some(BasicConstraints { ca: true, path_len_constraint: *path_length }))
            }
        };
        if !usage.is_empty() {
            extensions.push(extension(true, &KeyUsage(usage))?);
        }
        if !self.extended_key_usage.is_empty() {
            extensions.push(extension::extended_key_usage(&self.extended_key_usage)?);
        }
        if let Some(constraints) = constraints {
            extensions.push(extension(true, &constraints)?);
        }
        extensions.push(extension(false, &SubjectKeyIdentifier(der::asn1::OctetString::new(own)?))?);
        extensions.push(extension::authority_key_identifier(authority)?);
        extensions.extend(extension::urls(&self.urls)?);
        if !self.names.is_empty() {
            let critical = crate::subject::is_empty(&self.subject);
            extensions.push(extension(critical, &self.names.encoded()?)?);
        }
        if !self.policies.is_empty() {
            extensions.push(extension::policies(&self.policies)?);
        }
        if let Purpose::Authority { permitted_domains, .. } = &self.purpose
            && !permitted_domains.is_empty()
        {
            extensions.push(extension::permitted_domains(permitted_domains)?);
        }
        for verbatim in self.verbatim.iter().filter(|extension| !NEVER_VERBATIM.contains(&extension.extn_id)) {
            extensions.retain(|extension| extension.extn_id != verbatim.extn_id);
            extensions.push(verbatim.clone());
        }
        Ok(extensions)
    }
}

/// What a role says that a certificate is for.
pub fn extended_key_usage(role: &Role) -> Vec<ObjectIdentifier> {
    let flags = [
        (role.server_flag, extension::SERVER_AUTH),
        (role.client_flag, extension::CLIENT_AUTH),
        (role.code_signing_flag, extension::CODE_SIGNING),
        (role.email_protection_flag, extension::EMAIL_PROTECTION),
    ];
    let flagged = flags.into_iter().filter(|(is_set, _)| *is_set).filter_map(|(_, oid)| extension::oid(oid));
    let named = extension::extended_key_usages(&role.ext_key_usage);
    let numbered = role.ext_key_usage_oids.iter().filter_map(|oid| extension::oid(oid));
    let mut all: Vec<ObjectIdentifier> = Vec::new();
    for oid in flagged.chain(named).chain(numbered) {
        if !all.contains(&oid) {
            all.push(oid);
        }
    }
    all
}

/// Signs a certificate that another authority made for itself once more: it stays as it is, but for who issued it.
pub fn cross_sign(certificate: &Certificate, signer: &Signer<'_>, urls: &Urls) -> Result<Certificate, Refusal> {
    let issuer = signer.certificate.map_or(certificate.subject(), Certificate::subject);
    let authority = signer.certificate.map_or_else(|| certificate.key_identifier(), Certificate::key_identifier);
    let about_issuer = [AuthorityKeyIdentifier::OID, AuthorityInfoAccessSyntax::OID, CrlDistributionPoints::OID];
    let kept = certificate.tbs().extensions().into_iter().flatten();
    let mut extensions: Vec<Extension> =
        kept.filter(|extension| !about_issuer.contains(&extension.extn_id)).cloned().collect();
    extensions.push(extension::authority_key_identifier(&authority).map_err(unencodable)?);
    extensions.extend(extension::urls(urls).map_err(unencodable)?);
    assemble(
        signer,
        Parts {
            serial: &certificate.serial(),
            issuer,
            subject: certificate.subject(),
            public_key: certificate.public_key(),
            validity: Validity { not_before: certificate.not_before(), not_after: certificate.not_after() },
            extensions,
        },
    )
}

/// A moment as X.509 writes it.
pub fn time(moment: Timestamp) -> Result<Time, der::Error> {
    let seconds = u64::try_from(moment.as_micros() / 1_000_000).unwrap_or(0);
    // There is no later moment in X.509 than the end of the year 9999 (RFC 5280, 4.1.2.5).
    let date = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds)).unwrap_or(DateTime::INFINITY);
    Ok(Time::from(date))
}

struct Parts<'a> {
    serial: &'a Serial,
    issuer: &'a Name,
    subject: &'a Name,
    public_key: &'a SubjectPublicKeyInfo,
    validity: Validity,
    extensions: Vec<Extension>,
}

fn assemble(signer: &Signer<'_>, parts: Parts<'_>) -> Result<Certificate, Refusal> {
    let signed = signature::sign(signer.key, signer.hash, |algorithm| {
        Ok(TbsCertificate {
            version: Version::V3,
            serial_number: parts.serial.to_asn1()?,
            signature: algorithm,
            issuer: parts.issuer.clone(),
            validity: EncodedValidity::new(time(parts.validity.not_before)?, time(parts.validity.not_after)?),
            subject: parts.subject.clone(),
            subject_public_key_info: parts.public_key.clone(),
            extensions: Some(parts.extensions.clone()),
        })
    })?;
    // It has to be readable for whoever gets it: what could not be read here would not be there either.
    Certificate::from_der(&signed).map_err(unencodable)
}
