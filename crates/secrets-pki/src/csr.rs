//! Certificate signing requests, read and made (RFC 2986).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use der::asn1::{ObjectIdentifier, SetOfVec};
use der::oid::AssociatedOid;
use der::{Decode, Encode};
use mainstay_secrets_engine::Refusal;
use x509_cert::SubjectPublicKeyInfo;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};

use crate::key::PrivateKey;
use crate::other_name::OtherName;
use crate::pem;
use crate::signature::{self, Hash, Signed, unencodable};
use crate::subject;

/// The shortest text that can be a request. Something shorter is a file's name, given instead of what is in the file.
const SHORTEST_PEM: usize = 75;

/// A request whose signature is right.
pub struct Csr {
    info: CertReqInfo,
    extensions: Vec<Extension>,
    pub names: AltNames,
}

/// The alternative names of a request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AltNames {
    pub dns: Vec<String>,
    pub emails: Vec<String>,
    pub ips: Vec<IpAddr>,
    pub uris: Vec<String>,
    pub others: Vec<OtherName>,
}

impl Csr {
    /// Reads a request in PEM.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Refusal::invalid("\"csr\" is empty"));
        }
        if text.len() < SHORTEST_PEM {
            return Err(Refusal::invalid("csr contains no data"));
        }
        let block = pem::decode(text)?.into_iter().next();
        let block = block.ok_or_else(|| Refusal::invalid("csr contains no data"))?;
        let unreadable =
            |error: der::Error| Refusal::Invalid(format!("certificate request could not be parsed: {error}"));
        let request = CertReq::from_der(block.contents()).map_err(unreadable)?;
        let signed = Signed::from_der(block.contents()).map_err(unreadable)?;
        if !signed.is_by(&request.info.public_key) {
            return Err(Refusal::invalid("request signature invalid"));
        }
        let asked = request.info.attributes.iter().filter(|attribute| attribute.oid == ExtensionReq::OID);
        let asked = asked.flat_map(|attribute| attribute.values.iter());
        let asked = asked.map(|value| value.decode_as::<ExtensionReq>());
        let extensions: Vec<ExtensionReq> = asked.collect::<Result<_, _>>().map_err(unreadable)?;
        let extensions: Vec<Extension> = extensions.into_iter().flat_map(|request| request.0).collect();
        let names = AltNames::of(&extensions).map_err(unreadable)?;
        Ok(Self { info: request.info, extensions, names })
    }

    pub fn subject(&self) -> &Name {
        &self.info.subject
    }

    pub fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.info.public_key
    }

    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The first value of an attribute of the subject.
    pub fn subject_value(&self, kind: ObjectIdentifier) -> Option<String> {
        subject::values(self.subject(), kind).into_iter().next()
    }
}

impl AltNames {
    fn of(extensions: &[Extension]) -> Result<Self, der::Error> {
        let mut all = Self::default();
        for extension in extensions.iter().filter(|extension| extension.extn_id == SubjectAltName::OID) {
            for name in SubjectAltName::from_der(extension.extn_value.as_bytes())?.0 {
                match name {
                    GeneralName::DnsName(name) => all.dns.push(name.to_string()),
                    GeneralName::Rfc822Name(name) => all.emails.push(name.to_string()),
                    GeneralName::UniformResourceIdentifier(name) => all.uris.push(name.to_string()),
                    GeneralName::IpAddress(bytes) => all.ips.push(ip(bytes.as_bytes())?),
                    GeneralName::OtherName(name) => {
                        let other = OtherName::from_encoded(&name);
                        all.others.push(other.ok_or(der::ErrorKind::Value { tag: der::Tag::Utf8String })?);
                    }
                    // Names of other kinds are for nobody here: they are left out, as Go leaves them out.
                    _ => {}
                }
            }
        }
        Ok(all)
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The extension of a certificate.
    pub fn encoded(&self) -> Result<SubjectAltName, der::Error> {
        let text = |text: &String| der::asn1::Ia5String::new(text);
        let mut names = Vec::new();
        for name in &self.dns {
            names.push(GeneralName::DnsName(text(name)?));
        }
        for name in &self.emails {
            names.push(GeneralName::Rfc822Name(text(name)?));
        }
        names.extend(self.ips.iter().map(|ip| GeneralName::from(*ip)));
        for name in &self.uris {
            names.push(GeneralName::UniformResourceIdentifier(text(name)?));
        }
        for name in &self.others {
            names.push(name.encoded()?);
        }
        Ok(SubjectAltName(names))
    }
}

/// Makes a request, in DER.
pub fn make(key: &PrivateKey, hash: Hash, subject: &Name, extensions: Vec<Extension>) -> Result<Vec<u8>, Refusal> {
    let public_key = key.public()?;
    signature::sign(key, hash, |_| {
        let mut attributes = SetOfVec::new();
        if !extensions.is_empty() {
            attributes.insert(Attribute::try_from(ExtensionReq(extensions.clone()))?)?;
        }
        Ok(CertReqInfo { version: Version::V1, subject: subject.clone(), public_key: public_key.clone(), attributes })
    })
}

/// A name rebuilt from its own encoding.
pub fn name_from(encoded: &impl Encode) -> Result<Name, Refusal> {
    encoded.to_der().and_then(|der| Name::from_der(&der)).map_err(unencodable)
}

fn ip(bytes: &[u8]) -> Result<IpAddr, der::Error> {
    match bytes.len() {
        4 => Ok(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap_or_default()).into()),
        16 => Ok(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap_or_default()).into()),
        _ => Err(der::ErrorKind::Value { tag: der::Tag::OctetString }.into()),
    }
}
