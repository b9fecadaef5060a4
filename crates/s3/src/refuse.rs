//! What is refused before anybody looks further: headers that would otherwise be ignored to somebody's harm, and ways of
//! signing that are not safe.

use hyper::header::{AUTHORIZATION, HOST};
use hyper::{HeaderMap, Uri};
use mainstay_types::Timestamp;
use s3s::S3ErrorCode;

use crate::body::{Credential, region_of};
use crate::config::S3Config;
use crate::error::{Failure, Result};

/// The longest that a presigned URL is good for, in seconds, as in Amazon S3: a week.
const LONGEST_PRESIGNED: u64 = 7 * 24 * 60 * 60;

/// How long a form may be sent after it was signed, in seconds, where its policy does not end before: as long as a key that is
/// derived for a day's requests is good for.
pub const LONGEST_SIGNED: u32 = 7 * 24 * 60 * 60;
/// How far clocks may differ, in seconds, as in Amazon S3.
const MOST_AHEAD: f64 = 15.0 * 60.0;

/// Headers that a signature covers by other means than by naming them.
const COVERED: [&str; 2] = ["x-amz-content-sha256", "x-amz-date"];

/// Parameters of presigned URLs that are about their signatures.
const SIGNATURE_PARAMETERS: [&str; 7] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Parameters that clients add by themselves: what they are called, and checksums, which are of an empty body where it was
/// not known yet.
const IDLE_PARAMETERS: [&str; 3] = ["x-amz-checksum-", "x-amz-sdk-checksum-algorithm", "x-amz-user-agent"];

/// Calls that s3s would take for others, by a word in their query.
const FOREIGN_CALLS: [&str; 9] = [
    "abac",
    "annotation",
    "append",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "renameObject",
];

/// What s3s takes a writing request for whose query names no call that it knows.
const PLAIN_WRITES: [&str; 5] = ["CopyObject", "CreateBucket", "DeleteBucket", "DeleteObject", "PutObject"];

/// Looks at a request's head.
pub fn check(config: &S3Config, headers: &HeaderMap, uri: &Uri) -> Result<()> {
    let query = Query::of(uri);
    if let Some(call) = FOREIGN_CALLS.iter().find(|call| query.value(call).is_some()) {
        return Err(Failure::not_implemented(call));
    }
    let signed_headers = check_signature(config, headers, &query)?;
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") {
            continue;
        }
        if let Some(signed) = &signed_headers
            && !COVERED.contains(&name)
            && !signed.split(';').any(|signed| signed.eq_ignore_ascii_case(name))
        {
            let message = format!("There were headers present in the request which were not signed: {name}");
            return Err(Failure::new(S3ErrorCode::AccessDenied, message));
        }
        check_header(name, value.to_str().unwrap_or_default())?;
    }
    Ok(())
}

/// Looks at how a request is signed; answers the headers that are, where it is.
fn check_signature(config: &S3Config, headers: &HeaderMap, query: &Query<'_>) -> Result<Option<String>> {
    if query.value("X-Amz-Security-Token").is_some() {
        return Err(no_such_token());
    }
    if query.value("Signature").is_some() {
        return Err(old_signature());
    }
    if query.value("X-Amz-Signature").is_some() {
        let malformed = |message| Failure::new(S3ErrorCode::AuthorizationQueryParametersError, message);
        let expires = query.value("X-Amz-Expires").unwrap_or_default();
        if !expires.parse().is_ok_and(|seconds| (1..=LONGEST_PRESIGNED).contains(&seconds)) {
            // Ceph answers 403 here and Amazon 400; tests of S3's behaviour ask for the former.
            return Err(Failure::custom(
                "AuthorizationQueryParametersError",
                hyper::StatusCode::FORBIDDEN,
                "X-Amz-Expires must be a number between 1 and 604800 (a week in seconds)",
            ));
        }
        let credential = query.value("X-Amz-Credential").unwrap_or_default();
        let scope = credential.split_once('/').map(|(_, scope)| scope).unwrap_or_default();
        let region = region_of(scope).ok_or_else(|| malformed("X-Amz-Credential is malformed"))?;
        if !config.accepts_region(region) {
            return Err(malformed(&wrong_region(config, region)));
        }
        check_parameters(&query.names())?;
        let signed = query.value("X-Amz-SignedHeaders").unwrap_or_default();
        return signed_host(&signed).map(|()| Some(signed));
    }
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let header = header.to_str().unwrap_or_default();
    if header.trim().is_empty() {
        return Err(Failure::denied());
    }
    if header.starts_with("AWS ") {
        return Err(old_signature());
    }
    if !header.starts_with("AWS4-HMAC-SHA256") {
        return Err(Failure::invalid_argument("Unsupported Authorization Type"));
    }
    let malformed = |message: &str| Failure::new(S3ErrorCode::AuthorizationHeaderMalformed, message);
    let credential = Credential::parse(header).ok_or_else(|| {
        malformed("The authorization header is malformed: it has no credential, headers and signature")
    })?;
    if !config.accepts_region(credential.region) {
        return Err(malformed(&wrong_region(config, credential.region)));
    }
    signed_host(credential.signed_headers)?;
    Ok(Some(credential.signed_headers.to_owned()))
}

/// Amazon S3 reads parameters of a presigned URL as the headers of the same names, s3s does not: what somebody has signed
/// as a condition, or for his object, would be forgotten.
fn check_parameters(names: &[String]) -> Result<()> {
    let is_idle =
        |name: &str| SIGNATURE_PARAMETERS.contains(&name) || IDLE_PARAMETERS.iter().any(|idle| name.starts_with(idle));
    match names.iter().find(|name| name.starts_with("x-amz-") && !is_idle(name)) {
        Some(name) => Err(Failure::not_implemented(&format!("{name} in a URL; sign it as a header, and send it"))),
        None => Ok(()),
    }
}

/// A signature that does not cover the host is good for any.
fn signed_host(signed: &str) -> Result<()> {
    if signed.split(';').any(|name| name.eq_ignore_ascii_case(HOST.as_str())) {
        return Ok(());
    }
    Err(Failure::new(S3ErrorCode::AccessDenied, "The host header must be signed"))
}

/// The word in the query of a plain write that makes it another call: one that S3 gets tomorrow must not overwrite or delete
/// the object that it is about. What begins with `x-` is the signature's, or the client's own.
pub fn foreign_word(operation: &str, uri: &Uri) -> Option<String> {
    let query = uri.query().filter(|_| PLAIN_WRITES.contains(&operation))?;
    let known = |name: &str| {
        name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"))
            || (operation == "DeleteObject" && name == "versionId")
    };
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    names.find(|name| !known(name)).map(std::borrow::Cow::into_owned)
}

pub fn check_header(name: &str, value: &str) -> Result<()> {
    match name {
        "x-amz-security-token" => Err(no_such_token()),
        "x-amz-acl" if !matches!(value, "private" | "bucket-owner-full-control" | "bucket-owner-read") => {
            Err(no_acls())
        }
        "x-amz-storage-class" if value != "STANDARD" => Err(Failure::new(
            S3ErrorCode::InvalidStorageClass,
            "The storage class you specified is not valid: use STANDARD",
        )),
        "x-amz-server-side-encryption" => match value {
            "AES256" => Ok(()),
            "aws:kms" | "aws:kms:dsse" => Err(Failure::not_implemented("encryption with keys of KMS; use AES256")),
            _ => Err(Failure::invalid_argument("The encryption method specified is not supported: use AES256")),
        },
        "x-amz-server-side-encryption-aws-kms-key-id" | "x-amz-server-side-encryption-context" => {
            Err(Failure::not_implemented("encryption with keys of KMS; use AES256"))
        }
        "x-amz-write-offset-bytes" | "x-amz-rename-source" | "x-amz-object-lambda" | "x-amz-mfa" => {
            Err(Failure::not_implemented(name))
        }
        _ if name.starts_with("x-amz-grant-") => Err(no_acls()),
        _ if name.contains("-server-side-encryption-customer-") => {
            Err(Failure::not_implemented("encryption with keys of the client (SSE-C); use AES256"))
        }
        _ => Ok(()),
    }
}

/// The answer to whoever wants other rights than the owner's on one object.
pub fn no_acls() -> Failure {
    let message = "The bucket does not allow ACLs; use a bucket policy instead";
    Failure::new(S3ErrorCode::AccessControlListNotSupported, message)
}

/// Refuses what was signed for a time to come, further ahead than clocks differ: `20261121T120000Z`. s3s lets forms be as far
/// off as [`LONGEST_SIGNED`].
pub fn signed_ahead(date: &str) -> Result<()> {
    let part = |range| date.get(range).unwrap_or_default();
    let [day, time] = [part(0..8), part(9..15)];
    let text = |digits: &str, sign: &str, at: [usize; 2]| {
        Some(format!("{}{sign}{}{sign}{}", digits.get(..at[0])?, digits.get(at[0]..at[1])?, digits.get(at[1]..)?))
    };
    let moment = text(day, "-", [4, 6]).zip(text(time, ":", [2, 4]));
    let moment = moment.and_then(|(day, time)| format!("{day}T{time}Z").parse::<Timestamp>().ok());
    match moment {
        Some(moment) if moment.seconds_since(Timestamp::now()) <= MOST_AHEAD => Ok(()),
        _ => Err(Failure::new(S3ErrorCode::RequestTimeTooSkewed, "The form was signed for a time to come")),
    }
}

fn no_such_token() -> Failure {
    let message = "The provided token is malformed or otherwise invalid: access keys here have none";
    Failure::new(S3ErrorCode::InvalidToken, message)
}

pub fn old_signature() -> Failure {
    let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
    Failure::invalid_request(message)
}

pub fn wrong_region(config: &S3Config, region: &str) -> String {
    let region: String = region.chars().take(40).collect();
    format!("The authorization header is malformed; the region '{region}' is wrong; expecting '{}'", config.region)
}

/// The query of a request, looked up a few times.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn of(uri: &'a Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    fn value(&self, name: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// The names of all parameters, in lowercase.
    fn names(&self) -> Vec<String> {
        form_urlencoded::parse(self.0.as_bytes()).map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{check_parameters, foreign_word, signed_ahead};

    #[test]
    fn parameters_of_presigned_urls() {
        let check = |name: &str| check_parameters(&[name.to_owned()]).is_ok();
        for idle in ["x-amz-signature", "x-id", "versionid", "response-expires", "x-amz-checksum-crc32"] {
            assert!(check(idle), "{idle}");
        }
        for meant in ["x-amz-expected-bucket-owner", "x-amz-server-side-encryption", "x-amz-meta-a", "x-amz-acl"] {
            assert!(!check(meant), "{meant}");
        }
    }

    #[test]
    fn forms_of_a_time_to_come() {
        assert!(signed_ahead("20201121T120000Z").is_ok());
        for bad in ["29991121T120000Z", "", "20201121", "2020-11-21T12:00:00Z", "é", "20201121T12000é"] {
            assert!(signed_ahead(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_that_make_a_plain_write_another_call() {
        for (operation, query, foreign) in [
            ("PutObject", "encryption=", Some("encryption")),
            ("PutObject", "X-Amz-Signature=0&x-id=PutObject", None),
            ("PutObject", "annotation=a&x-id=PutObjectAnnotation", Some("annotation")),
            ("PutObject", "versionId=1", Some("versionId")),
            ("DeleteObject", "versionId=1", None),
            ("DeleteObject", "tomorrow", Some("tomorrow")),
            ("DeleteBucket", "analytics=&id=1", Some("analytics")),
            // A page adds such words so that no cache answers.
            ("GetObject", "v=123", None),
            ("PutObjectTagging", "tagging=", None),
        ] {
            let uri = format!("/bucket/key?{query}").parse().unwrap();
            assert_eq!(foreign_word(operation, &uri).as_deref(), foreign, "{operation} {query}");
        }
    }
}
