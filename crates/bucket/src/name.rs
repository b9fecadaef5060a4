//! Names of buckets.

use std::sync::Arc;

use mainstay_types::{InvalidText, encode_as_text};

/// A bucket's name: 3 to 63 lowercase letters, digits, dots and hyphens, so that it can be a host's name
/// ("General purpose bucket naming rules" of Amazon S3). Unique within this installation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(Arc<str>);

const RULE: &str = "use 3 to 63 lowercase letters, digits, '.' and '-', with a letter or digit at its beginning, at its \
                    end and beside each dot, and not written as an IP address";

/// What Amazon keeps for its own access points and table buckets; clients route such names elsewhere.
const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
const RESERVED: &str = "its beginning or end is reserved by clients of S3 for other things; choose another";

impl BucketName {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    let fits = (3..=63).contains(&text.len()) && text.split('.').all(is_label);
    if !fits || looks_like_an_address(text) {
        return Err(RULE);
    }
    let reserved = RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        || RESERVED_SUFFIXES.iter().any(|suffix| text.ends_with(suffix));
    if reserved { Err(RESERVED) } else { Ok(()) }
}

/// A part of a host's name (RFC 1123, section 2.1), so that two dots do not stand side by side either.
fn is_label(text: &str) -> bool {
    let outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.iter().all(|byte| outer(byte) || *byte == b'-')
        && bytes.first().is_some_and(outer)
        && bytes.last().is_some_and(outer)
}

/// Four numbers between dots, also where they are too large for an address: a browser would take them for one.
fn looks_like_an_address(text: &str) -> bool {
    text.split('.').count() == 4
        && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

impl std::str::FromStr for BucketName {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match check(text) {
            Ok(()) => Ok(Self(text.into())),
            Err(rule) => Err(InvalidText::new("bucket name", text, rule)),
        }
    }
}

impl std::fmt::Display for BucketName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::fmt::Debug for BucketName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BucketName({})", self.0)
    }
}

impl std::borrow::Borrow<str> for BucketName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

encode_as_text!(BucketName);

#[cfg(test)]
mod tests {
    use super::BucketName;

    #[test]
    fn names_are_those_that_can_be_hosts() {
        for good in ["abc", "a.b", "my-bucket", "1bucket", "a--b", &"x".repeat(63), "192.168.5", "256x.1.1.1"] {
            assert!(good.parse::<BucketName>().is_ok(), "{good:?} should be taken");
        }
        let long = "x".repeat(64);
        for bad in [
            "",
            "ab",
            &long,
            "Abc",
            "a_bc",
            "a..b",
            "foo-.bar",
            "foo.-bar",
            ".abc",
            "abc.",
            "-abc",
            "abc-",
            "192.168.5.4",
            "999.1.1.1",
            "ä-bucket",
            "a/b",
            "a b",
            "xn--abc",
            "my-s3alias",
            "abc--x-s3",
            "a\0b",
            "../x",
        ] {
            assert!(bad.parse::<BucketName>().is_err(), "{bad:?} should be refused");
        }
    }
}
