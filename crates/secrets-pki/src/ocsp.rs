//! The online certificate status protocol (RFC 6960), as far as an authority answers it for itself.

use aws_lc_rs::digest;
use der::asn1::{GeneralizedTime, Null, ObjectIdentifier, OctetString};
use der::{Choice, Decode, Encode, Enumerated, Sequence};
use mainstay_secrets_engine::Refusal;
use mainstay_types::Timestamp;
use x509_cert::AlgorithmIdentifier;
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;

use crate::certificate::{Certificate, Serial};
use crate::key::PrivateKey;
use crate::signature::{self, Hash, unencodable};

/// The longest request that is read, as with Vault. A request for one certificate has about 100 bytes.
pub const LONGEST_REQUEST: usize = 2048;

/// The longest nonce that is repeated (RFC 9654, 2.1).
const LONGEST_NONCE: usize = 128 + 2;

const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const HASHES: [(ObjectIdentifier, &digest::Algorithm); 4] = [
    (ObjectIdentifier::new_unwrap("1.3.14.3.2.26"), &digest::SHA1_FOR_LEGACY_USE_ONLY),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"), &digest::SHA256),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"), &digest::SHA384),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"), &digest::SHA512),
];

/// A question that could be read.
pub struct Question {
    ids: Vec<CertId>,
    nonce: Option<Extension>,
}

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Good,
    Revoked(Timestamp),
    Unknown,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumerated)]
#[repr(u32)]
pub enum Failure {
    Successful = 0,
    Malformed = 1,
    Internal = 2,
    Unauthorized = 6,
}

/// When an answer was made, and how long it may be believed.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    pub now: Timestamp,
    pub until: Option<Timestamp>,
}

impl Question {
    pub fn parse(der: &[u8]) -> Option<Self> {
        if der.len() > LONGEST_REQUEST {
            return None;
        }
        let request = OcspRequest::from_der(der).ok()?.request;
        let ids: Vec<CertId> = request.list.into_iter().map(|one| one.id).collect();
        let mut extensions = request.extensions.unwrap_or_default().into_iter();
        let nonce = extensions.find(|extension| extension.extn_id == NONCE);
        let nonce = nonce.filter(|nonce| nonce.extn_value.as_bytes().len() <= LONGEST_NONCE);
        (!ids.is_empty()).then_some(Self { ids, nonce })
    }

    /// The certificates that are asked for.
    pub fn serials(&self) -> Vec<Serial> {
        self.ids.iter().map(|id| Serial::from(&id.serial)).collect()
    }

    /// Whether everything that is asked for is about certificates of this issuer.
    pub fn is_about(&self, issuer: &Certificate) -> bool {
        self.ids.iter().all(|id| id.is_about(issuer))
    }

    /// Answers for each certificate that is asked for, in their order.
    pub fn answer(
        &self,
        issuer: &Certificate,
        (key, hash): (&PrivateKey, Hash),
        statuses: &[Status],
        period: Period,
    ) -> Result<Vec<u8>, Refusal> {
        let moment = |moment: Timestamp| {
            let seconds = u64::try_from(moment.as_micros() / 1_000_000).unwrap_or(0);
            GeneralizedTime::from_unix_duration(std::time::Duration::from_secs(seconds))
        };
        let single = |(id, status): (&CertId, &Status)| {
            let status = match status {
                Status::Good => CertStatus::Good(Null),
                Status::Revoked(at) => CertStatus::Revoked(RevokedInfo { time: moment(*at)? }),
                Status::Unknown => CertStatus::Unknown(Null),
            };
            let next_update = period.until.map(moment).transpose()?;
            Ok(SingleResponse { id: id.clone(), status, this_update: moment(period.now)?, next_update })
        };
        let responses = self.ids.iter().zip(statuses).map(single).collect::<Result<Vec<_>, der::Error>>();
        let responses = responses.map_err(unencodable)?;
        let basic = signature::sign(key, hash, |_| {
            Ok(ResponseData {
                responder: ResponderId::ByName(issuer.subject().clone()),
                produced_at: moment(period.now)?,
                responses: responses.clone(),
                extensions: self.nonce.clone().map(|nonce| vec![nonce]),
            })
        })?;
        let response = OctetString::new(basic).map_err(unencodable)?;
        let bytes = Some(ResponseBytes { kind: BASIC, response });
        OcspResponse { status: Failure::Successful, bytes }.to_der().map_err(unencodable)
    }
}

impl Failure {
    pub fn answer(self) -> Result<Vec<u8>, Refusal> {
        OcspResponse { status: self, bytes: None }.to_der().map_err(unencodable)
    }
}

impl CertId {
    fn is_about(&self, issuer: &Certificate) -> bool {
        let Some((_, hash)) = HASHES.iter().find(|(oid, _)| *oid == self.hash.oid) else { return false };
        let Ok(name) = issuer.subject().to_der() else { return false };
        let key = issuer.public_key().subject_public_key.raw_bytes();
        digest::digest(hash, &name).as_ref() == self.issuer_name_hash.as_bytes()
            && digest::digest(hash, key).as_ref() == self.issuer_key_hash.as_bytes()
    }
}

// The forms of RFC 6960, 4. What the protocol knows and nobody asks here is read and left alone.

#[derive(Sequence)]
struct OcspRequest {
    request: TbsRequest,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    signature: Option<der::Any>,
}

#[derive(Sequence)]
struct TbsRequest {
    #[asn1(context_specific = "0", default = "Default::default", tag_mode = "EXPLICIT")]
    version: u8,
    #[asn1(context_specific = "1", optional = "true", tag_mode = "EXPLICIT")]
    requestor: Option<der::Any>,
    list: Vec<SingleRequest>,
    #[asn1(context_specific = "2", optional = "true", tag_mode = "EXPLICIT")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct SingleRequest {
    id: CertId,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Clone, Sequence)]
struct CertId {
    hash: AlgorithmIdentifier,
    issuer_name_hash: OctetString,
    issuer_key_hash: OctetString,
    serial: SerialNumber,
}

#[derive(Sequence)]
struct OcspResponse {
    status: Failure,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    bytes: Option<ResponseBytes>,
}

#[derive(Sequence)]
struct ResponseBytes {
    kind: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct ResponseData {
    responder: ResponderId,
    produced_at: GeneralizedTime,
    responses: Vec<SingleResponse>,
    #[asn1(context_specific = "1", optional = "true", tag_mode = "EXPLICIT")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Choice)]
enum ResponderId {
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    ByName(Name),
}

#[derive(Clone, Sequence)]
struct SingleResponse {
    id: CertId,
    status: CertStatus,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    next_update: Option<GeneralizedTime>,
}

#[derive(Clone, Copy, Choice)]
enum CertStatus {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    Good(Null),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Revoked(RevokedInfo),
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT")]
    Unknown(Null),
}

#[derive(Clone, Copy, Sequence)]
struct RevokedInfo {
    time: GeneralizedTime,
}
