//! How a body is framed and signed, as the head of its request says.

use aws_lc_rs::hmac;
use hyper::HeaderMap;
use mainstay_dataplane::Sha256;

use super::chunked::{Chunked, unhex};

/// What `x-amz-content-sha256` announces.
pub enum Framing {
    /// The bytes as they are, and their SHA-256 where the signature covers it.
    Plain {
        sha256: Option<Sha256>,
    },
    Chunked(Box<Chunked>),
}

/// The credential of `Authorization: AWS4-HMAC-SHA256 Credential=...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential<'a> {
    /// `date/region/service/aws4_request`.
    pub scope: &'a str,
    pub region: &'a str,
    /// Names of headers between semicolons.
    pub signed_headers: &'a str,
    pub signature: &'a str,
}

/// The key that a day's requests to a region are signed with, and what each signature names.
#[derive(Clone)]
pub struct SigningKey {
    key: hmac::Key,
    date: String,
    scope: String,
}

impl Framing {
    /// The framing of a request's body; none where chunks are to be signed and nobody has signed the request.
    pub fn of(headers: &HeaderMap, secret: Option<&str>) -> Option<Self> {
        let announced = headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
        match announced {
            Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Some(Self::Chunked(Box::new(Chunked::unsigned()))),
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD" | "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") => {
                let date = headers.get("x-amz-date")?.to_str().ok()?;
                let credential = Credential::parse(headers.get(hyper::header::AUTHORIZATION)?.to_str().ok()?)?;
                let key = SigningKey::derive(secret?, date, credential.scope)?;
                Some(Self::Chunked(Box::new(Chunked::signed(key, credential.signature.to_owned()))))
            }
            Some(digits) => Some(Self::Plain { sha256: unhex(digits.as_bytes()).map(Sha256) }),
            None => Some(Self::Plain { sha256: None }),
        }
    }
}

impl<'a> Credential<'a> {
    /// Reads the header, whose signature others verify.
    pub fn parse(header: &'a str) -> Option<Self> {
        let fields = header.strip_prefix("AWS4-HMAC-SHA256")?.trim();
        let field = |name: &str| {
            let named = |field: &'a str| field.trim().strip_prefix(name)?.strip_prefix('=');
            fields.split(',').find_map(named)
        };
        let (_, scope) = field("Credential")?.split_once('/')?;
        Some(Self {
            scope,
            region: region_of(scope)?,
            signed_headers: field("SignedHeaders")?,
            signature: field("Signature")?,
        })
    }
}

/// The region of `date/region/service/aws4_request`.
pub fn region_of(scope: &str) -> Option<&str> {
    let mut parts = scope.split('/');
    let region = parts.nth(1)?;
    (parts.count() == 2).then_some(region)
}

impl SigningKey {
    /// Derives the key of a scope; none where the scope is no such text.
    pub fn derive(secret: &str, date: &str, scope: &str) -> Option<Self> {
        if scope.split('/').count() != 4 {
            return None;
        }
        let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let mut parts = scope.split('/');
        let first = sign(format!("AWS4{secret}").as_bytes(), parts.next()?);
        let key = parts.fold(first, |key, part| sign(key.as_ref(), part));
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        Some(Self { key, date: date.to_owned(), scope: scope.to_owned() })
    }

    pub fn key(&self) -> &hmac::Key {
        &self.key
    }

    pub fn date(&self) -> &str {
        &self.date
    }

    pub fn scope(&self) -> &str {
        &self.scope
    }
}

#[cfg(test)]
mod tests {
    use super::Credential;

    #[test]
    fn credentials_of_a_header() {
        let header = "AWS4-HMAC-SHA256 Credential=key/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date,\
                      Signature=abc";
        let expected = Credential {
            scope: "20130524/us-east-1/s3/aws4_request",
            region: "us-east-1",
            signed_headers: "host;x-amz-date",
            signature: "abc",
        };
        assert_eq!(Credential::parse(header), Some(expected));
        for bad in ["", "AWS a:b", "AWS4-HMAC-SHA256 Credential=key/1/2/s3, SignedHeaders=host, Signature=a"] {
            assert_eq!(Credential::parse(bad), None, "{bad:?}");
        }
    }
}
