//! What a client hears when something is not done, and what an operator reads of it.

use hyper::header::CONTENT_TYPE;
use hyper::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use mainstay_bucket::{InvalidChecksum, InvalidKey, InvalidLock, MalformedPolicy, MetadataError, TagsError, VersionId};
use mainstay_dataplane as dataplane;
use mainstay_objects as objects;
use mainstay_objects::Refusal;
use mainstay_types::InvalidText;
use s3s::{S3Error, S3ErrorCode};

use crate::arrival::RequestId;
use crate::body::{BodyError, Measured};

/// Why a request was not carried out: S3's error, with the cause that an operator needs where it is the server's.
pub struct Failure(S3Error);

pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What all of ours say where they do not say it otherwise.
const INTERNAL: &str = "We encountered an internal error. Please try again.";
const DENIED: &str = "Access Denied";

impl Failure {
    pub fn new(code: S3ErrorCode, message: impl Into<String>) -> Self {
        Self(S3Error::with_message(code, message.into()))
    }

    /// An error whose code s3s does not know.
    pub fn custom(code: &'static str, status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(S3ErrorCode::Custom(code.into()), message).with_status(status)
    }

    pub fn denied() -> Self {
        Self::new(S3ErrorCode::AccessDenied, DENIED)
    }

    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(S3ErrorCode::InvalidArgument, message)
    }

    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(S3ErrorCode::InvalidRequest, message)
    }

    pub fn not_implemented(what: &str) -> Self {
        Self::new(S3ErrorCode::NotImplemented, format!("A header or a call that is not implemented: {what}"))
    }

    pub fn malformed_xml(message: impl Into<String>) -> Self {
        Self::new(S3ErrorCode::MalformedXML, message)
    }

    pub fn no_such_bucket() -> Self {
        Self::new(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist")
    }

    pub fn no_such_key() -> Self {
        Self::new(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
    }

    pub fn precondition_failed() -> Self {
        let message = "At least one of the pre-conditions you specified did not hold";
        Self::new(S3ErrorCode::PreconditionFailed, message)
    }

    /// Status 304, which has headers and no body.
    pub fn not_modified(headers: HeaderMap) -> Self {
        let mut error = S3Error::new(S3ErrorCode::NotModified);
        error.set_headers(headers);
        Self(error)
    }

    pub fn range_not_satisfiable(size: u64) -> Self {
        let failure = Self::new(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
        failure.with_header("content-range", &format!("bytes */{size}"))
    }

    /// The same, with a header that the answer has beside its body.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        let mut headers = self.0.headers().cloned().unwrap_or_else(|| {
            // s3s replaces all headers where an error brings its own.
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/xml"))])
        });
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
        self.0.set_headers(headers);
        self
    }

    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.set_status_code(status);
        self
    }

    fn full(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        let message = "There is no room left. Delete something, or ask the operator for more.";
        Self::internal(S3ErrorCode::Custom("InsufficientStorage".into()), message, cause)
            .with_status(StatusCode::INSUFFICIENT_STORAGE)
    }

    /// An error of ours, whose cause stays here.
    fn internal(
        code: S3ErrorCode,
        message: &'static str,
        cause: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        let mut error = S3Error::with_message(code, message);
        error.set_source(Box::new(cause));
        Self(error)
    }

    /// S3's code, for an error that is one entry of an answer.
    pub fn code(&self) -> &str {
        self.0.code().as_str()
    }

    pub fn message(&self) -> &str {
        self.0.message().unwrap_or_default()
    }

    /// Tells the operator of an error that is the server's. `request` names the answer that the client has.
    pub fn log(&self, operation: &str, request: Option<RequestId>) {
        if self.0.status_code().is_none_or(|status| status.is_server_error()) {
            let cause =
                self.0.source().map_or_else(|| self.message().to_owned(), |source| mainstay_types::chain(source));
            let code = self.0.code().as_str();
            let request = request.map(tracing::field::display);
            match code {
                // What nobody has built yet is no trouble.
                "NotImplemented" => {}
                "SlowDown" => tracing::warn!(operation, request, "an S3 request waited too long for memory"),
                _ => tracing::error!(operation, request, code, cause, "an S3 request failed"),
            }
        }
    }

    pub fn into_s3(self) -> S3Error {
        self.0
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        Self(error)
    }
}

impl From<S3ErrorCode> for Failure {
    fn from(code: S3ErrorCode) -> Self {
        Self(S3Error::new(code))
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let message = error.to_string();
        match error {
            BodyError::Connection(_) | BodyError::Incomplete => Self::new(
                S3ErrorCode::IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP header",
            ),
            BodyError::TooLong => Self::new(S3ErrorCode::IncompleteBody, message),
            BodyError::Stalled => Self::new(
                S3ErrorCode::RequestTimeout,
                "Your socket connection to the server was not read from or written to within the timeout period.",
            ),
            BodyError::TooLarge { .. } => Self::new(S3ErrorCode::MaxMessageLengthExceeded, message),
            BodyError::TooManyTags { .. } => Self::malformed_xml(message),
            BodyError::Framing(_) => Self::new(S3ErrorCode::IncompleteBody, message),
            BodyError::ChunkSignature => Self::new(S3ErrorCode::SignatureDoesNotMatch, message),
            BodyError::Trailer => Self::custom("MalformedTrailerError", StatusCode::BAD_REQUEST, message),
            BodyError::Mismatch(Measured::SignedSha256) => Self::custom(
                "XAmzContentSHA256Mismatch",
                StatusCode::BAD_REQUEST,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ),
            BodyError::Mismatch(Measured::Md5) => {
                Self::new(S3ErrorCode::BadDigest, "The Content-MD5 you specified did not match what we received.")
            }
            BodyError::Mismatch(Measured::Checksum(algorithm)) => Self::new(
                S3ErrorCode::BadDigest,
                format!("The {algorithm} you specified did not match the calculated checksum."),
            ),
        }
    }
}

/// A digest in the head of a request that is none.
impl From<Measured> for Failure {
    fn from(measured: Measured) -> Self {
        match measured {
            Measured::Checksum(algorithm) => {
                Self::invalid_request(format!("Value for {} header is invalid.", algorithm.header()))
            }
            Measured::Md5 | Measured::SignedSha256 => {
                Self::new(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified is not valid.")
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let with = |code| Self::new(code, message.clone());
        match &refusal {
            Refusal::NoSuchBucket => Self::no_such_bucket(),
            Refusal::BucketExists => with(S3ErrorCode::BucketAlreadyExists),
            Refusal::BucketOwned => with(S3ErrorCode::BucketAlreadyOwnedByYou),
            Refusal::TooManyBuckets { .. } => with(S3ErrorCode::TooManyBuckets),
            Refusal::BucketNotEmpty => with(S3ErrorCode::BucketNotEmpty),
            Refusal::NoSuchAccount => Self::denied(),
            Refusal::NoSuchKey { marker: None } => Self::no_such_key(),
            Refusal::NoSuchKey { marker: Some(id) } => hidden(Self::no_such_key(), id),
            Refusal::NoSuchVersion => with(S3ErrorCode::NoSuchVersion),
            Refusal::IsMarker { id } => {
                let message = "The specified method is not allowed against this resource.";
                let failure = hidden(Self::new(S3ErrorCode::MethodNotAllowed, message), id);
                failure.with_header("allow", "DELETE")
            }
            Refusal::NoSuchUpload => with(S3ErrorCode::NoSuchUpload),
            Refusal::InvalidPart { .. } => with(S3ErrorCode::InvalidPart),
            Refusal::InvalidPartOrder => with(S3ErrorCode::InvalidPartOrder),
            Refusal::InvalidPartNumber => with(S3ErrorCode::InvalidArgument),
            Refusal::PartTooSmall { .. } => with(S3ErrorCode::EntityTooSmall),
            Refusal::TooLarge { .. } => with(S3ErrorCode::EntityTooLarge),
            Refusal::PreconditionFailed => Self::precondition_failed(),
            Refusal::ConditionOnNothing => Self::no_such_key(),
            Refusal::Locked(_) => with(S3ErrorCode::AccessDenied),
            Refusal::NoLock => Self::invalid_request("Bucket is missing Object Lock Configuration"),
            Refusal::InvalidSettings { .. } => with(S3ErrorCode::InvalidBucketState),
            Refusal::OutOfBytes { .. } | Refusal::OutOfObjects { .. } => {
                Self::custom("QuotaExceeded", StatusCode::FORBIDDEN, message)
            }
            Refusal::SourceGone => Self::no_such_key(),
        }
    }
}

/// The headers that tell of a delete marker.
fn hidden(failure: Failure, marker: &VersionId) -> Failure {
    failure.with_header("x-amz-delete-marker", "true").with_header("x-amz-version-id", &marker.to_string())
}

impl From<objects::Error> for Failure {
    fn from(error: objects::Error) -> Self {
        match error {
            objects::Error::Refused(refusal) => refusal.into(),
            objects::Error::Index(error) => error.into(),
        }
    }
}

impl From<objects::IndexError> for Failure {
    fn from(error: objects::IndexError) -> Self {
        match error {
            objects::IndexError::Record(_) => Self::internal(S3ErrorCode::InternalError, INTERNAL, error),
            objects::IndexError::Full(_) => Self::full(error),
            _ => Self::internal(S3ErrorCode::ServiceUnavailable, "The index is out of reach. Please try again.", error),
        }
    }
}

impl From<objects::KeysError> for Failure {
    fn from(error: objects::KeysError) -> Self {
        match error {
            objects::KeysError::Unavailable { .. } => {
                let message = "The keys of the object store are out of reach. Please try again.";
                Self::internal(S3ErrorCode::ServiceUnavailable, message, error)
            }
            _ => Self::internal(S3ErrorCode::InternalError, INTERNAL, error),
        }
    }
}

impl From<dataplane::Trouble> for Failure {
    fn from(trouble: dataplane::Trouble) -> Self {
        match trouble {
            dataplane::Trouble::Full { .. } => Self::full(trouble),
            dataplane::Trouble::Unavailable { .. } => {
                let message = "The storage does not answer. Please try again.";
                Self::internal(S3ErrorCode::ServiceUnavailable, message, trouble)
            }
        }
    }
}

impl From<objects::IngestError> for Failure {
    fn from(error: objects::IngestError) -> Self {
        use dataplane::{IngestError, Measure};
        match error {
            objects::IngestError::Refused(refusal) => refusal.into(),
            objects::IngestError::Keys(error) => error.into(),
            objects::IngestError::DataPlane(IngestError::Trouble(trouble)) => trouble.into(),
            objects::IngestError::DataPlane(IngestError::Mismatch(measure)) => match measure {
                Measure::Size => BodyError::Incomplete.into(),
                Measure::Sha256 => BodyError::Mismatch(Measured::SignedSha256).into(),
                Measure::Md5 => BodyError::Mismatch(Measured::Md5).into(),
            },
            objects::IngestError::DataPlane(IngestError::Source(error)) => match error.downcast::<BodyError>() {
                Ok(error) => (*error).into(),
                Err(error) => match error.downcast::<dataplane::ServeError>() {
                    // The source is an object of ours that is being copied.
                    Ok(error) => (*error).into(),
                    Err(error) => Self::new(S3ErrorCode::IncompleteBody, error.to_string()),
                },
            },
        }
    }
}

impl From<dataplane::ServeError> for Failure {
    fn from(error: dataplane::ServeError) -> Self {
        match error {
            dataplane::ServeError::Trouble(trouble) => trouble.into(),
            _ => Self::internal(S3ErrorCode::InternalError, INTERNAL, error),
        }
    }
}

impl From<objects::ReadError> for Failure {
    fn from(error: objects::ReadError) -> Self {
        match error {
            objects::ReadError::Refused(refusal) => refusal.into(),
            objects::ReadError::Index(error) => error.into(),
            objects::ReadError::Keys(error) => error.into(),
            objects::ReadError::DataPlane(error) => error.into(),
        }
    }
}

impl From<TagsError> for Failure {
    fn from(error: TagsError) -> Self {
        match error {
            TagsError::Form => Self::invalid_argument(error.to_string()),
            _ => Self::new(S3ErrorCode::InvalidTag, error.to_string()),
        }
    }
}

impl From<MetadataError> for Failure {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::TooLarge(_) => Self::new(S3ErrorCode::MetadataTooLarge, error.to_string()),
            MetadataError::Unprintable(_) => Self::invalid_argument(error.to_string()),
        }
    }
}

impl From<InvalidText> for Failure {
    fn from(error: InvalidText) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<InvalidKey> for Failure {
    fn from(error: InvalidKey) -> Self {
        match error {
            InvalidKey::TooLong(_) => Self::new(S3ErrorCode::KeyTooLongError, "Your key is too long"),
            InvalidKey::Empty | InvalidKey::Nul => Self::invalid_argument(error.to_string()),
        }
    }
}

impl From<InvalidChecksum> for Failure {
    fn from(error: InvalidChecksum) -> Self {
        Self::invalid_request(error.to_string())
    }
}

impl From<InvalidLock> for Failure {
    fn from(error: InvalidLock) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<MalformedPolicy> for Failure {
    fn from(error: MalformedPolicy) -> Self {
        Self::new(S3ErrorCode::MalformedPolicy, error.to_string())
    }
}
