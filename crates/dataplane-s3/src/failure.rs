//! What an answer of the store means.

use mainstay_dataplane::Trouble;
use opendal::ErrorKind;

/// The most of a store's own words that is passed on: it fits on two lines, and keeps its XML and HTML out of logs.
const MAX_REASON_CHARS: usize = 240;

/// Codes and statuses with which stores say that there is no room: MinIO and RustFS, Ceph, WebDAV's status 507, Garage.
const FULL: [&str; 6] = [
    "XMinioStorageFull",
    "QuotaExceeded",
    "InsufficientStorage",
    "status: 507",
    "No space left on device",
    "quota is reached",
];

/// Why the store did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The condition of a write does not hold.
    Unmet,
    Full(String),
    Denied(String),
    NoBucket,
    /// Where nothing is known of it: the request may have been carried out, or may yet be.
    Unavailable(String),
}

/// Whether a request that failed so may be sent again.
pub(crate) fn may_pass(error: &opendal::Error) -> bool {
    error.is_temporary() && !is_full(error)
}

impl Failure {
    pub(crate) fn of(request: &str, error: &opendal::Error) -> Self {
        let reason = || format!("{request}: {}", words(error));
        match error.kind() {
            ErrorKind::ConditionNotMatch => Self::Unmet,
            _ if is_full(error) => Self::Full(reason()),
            ErrorKind::PermissionDenied => Self::Denied(reason()),
            // OpenDAL's classification of the code NoSuchBucket.
            ErrorKind::ConfigInvalid => Self::NoBucket,
            _ => Self::Unavailable(reason()),
        }
    }
}

impl Failure {
    /// Of the last attempt of several: that it was turned down says nothing of those before, one of which may have been
    /// carried out. A condition that does not hold is looked into by whoever made it.
    pub(crate) fn after_others(self) -> Self {
        match self {
            Self::Full(reason) | Self::Denied(reason) => Self::Unavailable(reason),
            Self::NoBucket => Self::Unavailable("the store's bucket is gone".into()),
            Self::Unmet | Self::Unavailable(_) => self,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unmet => {
                Self::unavailable("something else than this process changes the same content in the store")
            }
            Failure::Full(reason) => Self::Full { reason },
            Failure::Denied(reason) => Self::unavailable(format!("the store refuses this access key: {reason}")),
            Failure::NoBucket => Self::unavailable("the store's bucket is gone"),
            Failure::Unavailable(reason) => Self::Unavailable { reason },
        }
    }
}

/// The store's own words, or those of whatever could not reach it.
fn words(error: &opendal::Error) -> String {
    let message = error.message();
    let mut words = match (field(message, "code"), field(message, "message")) {
        (Some(code), Some(text)) => format!("{code}: {text}"),
        _ if message.is_empty() => error.kind().to_string(),
        _ => message.to_owned(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_REASON_CHARS).collect()
}

/// OpenDAL hands on the store's XML as the debug text of a structure; there is no other way to the code.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let rest = message.strip_prefix("S3Error {")?;
    let value = rest.split_once(&format!("{name}: \""))?.1;
    value.split_once('"').map(|(value, _)| value).filter(|value| !value.is_empty())
}

fn is_full(error: &opendal::Error) -> bool {
    let text = error.to_string();
    FULL.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use mainstay_dataplane::Trouble;
    use opendal::{Error, ErrorKind};

    use super::{Failure, may_pass};

    fn xml(code: &str) -> String {
        format!("S3Error {{ code: \"{code}\", message: \"so it is\", resource: \"\", request_id: \"\" }}")
    }

    #[test]
    fn what_the_store_says_is_sorted() {
        let sorted = |kind, message: String| Failure::of("PUT x", &Error::new(kind, message));
        assert_eq!(sorted(ErrorKind::ConditionNotMatch, xml("PreconditionFailed")), Failure::Unmet);
        assert_eq!(
            sorted(ErrorKind::PermissionDenied, xml("SignatureDoesNotMatch")),
            Failure::Denied("PUT x: SignatureDoesNotMatch: so it is".into())
        );
        assert_eq!(sorted(ErrorKind::ConfigInvalid, xml("NoSuchBucket")), Failure::NoBucket);
        assert!(matches!(sorted(ErrorKind::PermissionDenied, xml("QuotaExceeded")), Failure::Full(_)));
        assert!(matches!(sorted(ErrorKind::Unexpected, xml("XMinioStorageFull")), Failure::Full(_)));
        assert!(
            matches!(sorted(ErrorKind::Unexpected, "<html>\n".repeat(500)), Failure::Unavailable(text) if text.len() < 300)
        );
    }

    #[test]
    fn a_full_store_is_not_asked_again() {
        assert!(may_pass(&Error::new(ErrorKind::Unexpected, xml("SlowDown")).set_temporary()));
        assert!(!may_pass(&Error::new(ErrorKind::Unexpected, xml("XMinioStorageFull")).set_temporary()));
        assert!(!may_pass(&Error::new(ErrorKind::PermissionDenied, xml("AccessDenied"))));
    }

    #[test]
    fn trouble_says_what_kind_it_is() {
        assert!(matches!(Trouble::from(Failure::Full("x".into())), Trouble::Full { .. }));
        assert!(matches!(Trouble::from(Failure::Unmet), Trouble::Unavailable { .. }));
    }
}
