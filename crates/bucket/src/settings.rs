//! All that is set for a bucket.

use minicbor::{Decode, Encode};

use crate::cors::CorsRules;
use crate::lifecycle::Lifecycle;
use crate::notification::Notifications;
use crate::{ObjectLock, Policy, Tags};

/// All that is set for a bucket.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Settings {
    #[n(0)]
    pub versioning: Versioning,
    /// Whether its versions can be locked.
    #[n(1)]
    pub lock: Option<ObjectLock>,
    #[n(2)]
    pub policy: Option<Policy>,
    #[n(3)]
    pub cors: Option<CorsRules>,
    #[n(4)]
    pub lifecycle: Option<Lifecycle>,
    #[n(5)]
    pub tags: Option<Tags>,
    #[n(6)]
    pub encryption: Option<Encryption>,
    #[n(7)]
    pub notifications: Option<Notifications>,
    #[n(8)]
    pub quota: Quota,
    #[n(9)]
    pub public_access_block: Option<PublicAccessBlock>,
    #[n(10)]
    pub ownership: Option<Ownership>,
}

/// Whether a key's earlier contents are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Versioning {
    /// They never were: there are null versions only.
    #[default]
    #[n(0)]
    Unversioned,
    #[n(1)]
    Enabled,
    /// Earlier versions are kept, new ones replace the null version.
    #[n(2)]
    Suspended,
}

/// What a bucket may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Quota {
    /// Bytes of all versions and of the parts of uploads.
    #[n(0)]
    pub bytes: Option<u64>,
    /// Versions, delete markers not among them.
    #[n(1)]
    pub objects: Option<u64>,
}

/// How objects are encrypted at rest where a put says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Encryption {
    /// SSE-S3 (`AES256`): with a key that Mainstay keeps.
    #[n(0)]
    Aes256,
}

/// Which ways of making a bucket public are closed. Without ACLs the two about them mean nothing, and are told back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct PublicAccessBlock {
    #[n(0)]
    pub block_public_acls: bool,
    #[n(1)]
    pub ignore_public_acls: bool,
    /// A policy that makes the bucket public is refused when it is put.
    #[n(2)]
    pub block_public_policy: bool,
    /// A policy that makes the bucket public lets nobody in but the bucket's own account.
    #[n(3)]
    pub restrict_public_buckets: bool,
}

/// Who owns what others put. Buckets have no ACLs, as with `BucketOwnerEnforced`, the default in Amazon S3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Ownership {
    #[default]
    #[n(0)]
    BucketOwnerEnforced,
}

/// Settings that this version cannot read.
#[derive(Debug, thiserror::Error)]
pub enum UnknownFormat {
    #[error("a bucket's settings are in format {0}, which this version of Mainstay does not read: start a newer one")]
    Version(u8),
    #[error("a bucket's settings cannot be read")]
    Malformed(#[from] minicbor::decode::Error),
}

/// Raised with each change that an earlier version could not read.
const FORMAT: u8 = 1;

impl Settings {
    /// The settings as they are stored: the format's number and a map.
    pub fn to_cbor(&self) -> Vec<u8> {
        match minicbor::to_vec((FORMAT, self)) {
            Ok(bytes) => bytes,
            // A vector takes whatever is written to it, and no encoder of these types refuses a value.
            Err(error) => unreachable!("settings are encoded into memory: {error}"),
        }
    }

    /// Reads stored settings.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, UnknownFormat> {
        let mut decoder = minicbor::Decoder::new(bytes);
        decoder.array()?;
        match decoder.u8()? {
            FORMAT => Ok(decoder.decode()?),
            newer => Err(UnknownFormat::Version(newer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Encryption, FORMAT, Ownership, PublicAccessBlock, Quota, Settings, UnknownFormat, Versioning};
    use crate::cors::{CorsRule, CorsRules};
    use crate::lifecycle::{Expiration, Filter, Lifecycle, NoncurrentExpiration, Rule};
    use crate::notification::{EventKind, EventPattern, Notification, Notifications, TargetKind};
    use crate::{LockDefault, LockPeriod, ObjectLock, Policy, RetentionMode, Tags};

    /// Settings in which everything is set.
    fn full() -> Settings {
        let policy = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::photos/*"}}"#;
        let tags = || Tags::of_object([("team".to_owned(), "shop".to_owned())]).unwrap();
        Settings {
            versioning: Versioning::Enabled,
            lock: Some(ObjectLock {
                default: Some(LockDefault::new(RetentionMode::Governance, LockPeriod::Days(7)).unwrap()),
            }),
            policy: Some(Policy::parse(policy, &"photos".parse().unwrap()).unwrap()),
            cors: Some(
                CorsRules::new(vec![CorsRule {
                    id: Some("web".to_owned()),
                    allowed_origins: vec!["*".to_owned()],
                    allowed_methods: vec!["GET".to_owned()],
                    allowed_headers: vec!["*".to_owned()],
                    expose_headers: vec!["ETag".to_owned()],
                    max_age_seconds: Some(60),
                }])
                .unwrap(),
            ),
            lifecycle: Some(
                Lifecycle::new(vec![Rule {
                    id: "old".to_owned(),
                    enabled: true,
                    filter: Filter {
                        prefix: Some("logs/".to_owned()),
                        tags: tags(),
                        larger_than: Some(1),
                        smaller_than: Some(9),
                        old_form: false,
                    },
                    expiration: Some(Expiration::Days(30)),
                    noncurrent: Some(NoncurrentExpiration { days: 3, keep: Some(2) }),
                    abort_uploads_after_days: None,
                }])
                .unwrap(),
            ),
            tags: Some(tags()),
            encryption: Some(Encryption::Aes256),
            notifications: Some(
                Notifications::new(vec![Notification {
                    id: "new".to_owned(),
                    kind: TargetKind::Topic,
                    events: vec![EventPattern::GroupOf(EventKind::Put), EventPattern::One(EventKind::Delete)],
                    prefix: Some("in/".to_owned()),
                    suffix: None,
                }])
                .unwrap(),
            ),
            quota: Quota { bytes: Some(1 << 40), objects: None },
            public_access_block: Some(PublicAccessBlock { block_public_policy: true, ..PublicAccessBlock::default() }),
            ownership: Some(Ownership::BucketOwnerEnforced),
        }
    }

    /// What the first version wrote for those settings. A change that cannot read it needs a new format.
    const FIRST_FORMAT: &str = "8201ab0001018182008200810702787f7b2253746174656d656e74223a207b22456666656374223a2022416c6c6f77222c20\
        225072696e636970616c223a20222a222c2022416374696f6e223a202273333a4765744f626a656374222c0a202020202020\
        202020202020225265736f75726365223a202261726e3a6177733a73333a3a3a70686f746f732f2a227d7d0381a600637765\
        620181612a0281634745540381612a0481644554616705183c0481a500636f6c6401f502a500656c6f67732f01a164746561\
        6d6473686f700201030904f403820081181e0482030205a1647465616d6473686f700600078184636e657700828201810082\
        00810463696e2f08811b00000100000000000984f4f4f5f40a00";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn every_format_that_was_written_is_read() {
        assert_eq!(hex(&full().to_cbor()), FIRST_FORMAT);
        assert_eq!(Settings::from_cbor(&bytes(FIRST_FORMAT)).unwrap(), full());
        let empty = Settings::default();
        assert_eq!(Settings::from_cbor(&empty.to_cbor()).unwrap(), empty);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let mut newer = full().to_cbor();
        newer[1] = FORMAT + 1;
        assert!(matches!(Settings::from_cbor(&newer), Err(UnknownFormat::Version(2))));
        let whole = full().to_cbor();
        for length in 0..whole.len() {
            assert!(Settings::from_cbor(&whole[..length]).is_err(), "cut after {length} bytes");
        }
    }
}
