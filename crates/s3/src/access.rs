//! Who may do what.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::header::IF_MATCH;
use hyper::{HeaderMap, Uri};
use mainstay_bucket::policy::{self, Action, Context, Request};
use mainstay_bucket::{BucketName, ObjectKey, Tags, VersionId};
use mainstay_listen::Peer;
use mainstay_objects::{AccessKeyId, Bucket, Objects};
use mainstay_types::{InstanceId, Timestamp};
use s3s::access::{S3Access, S3AccessContext};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result};

use crate::arrival::Arrival;
use crate::auth::known_key;
use crate::error::{Failure, Result};
use crate::refuse;

/// Lets requests through to the operations, or not.
pub struct Access(pub Objects);

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    Account { id: InstanceId, key: AccessKeyId },
}

/// What is known of a request once it was let through; s3s hands it on to the operation.
#[derive(Clone)]
pub struct Known {
    pub caller: Caller,
    /// None where the request names none, or makes it.
    bucket: Option<Arc<Bucket>>,
}

/// A request, as far as it matters for who may do what.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub caller: &'a Caller,
    peer: Peer,
    headers: &'a HeaderMap,
    /// What its body says that other requests have headers for, by their names.
    said: &'a [(&'a str, &'a str)],
    uri: &'a Uri,
}

/// What it asks to do.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    pub action: Action,
    pub bucket: &'a Bucket,
    pub key: Option<&'a ObjectKey>,
    pub version: Option<&'a str>,
    /// The tags that it brings, where the headers do not tell them.
    pub tags: Option<&'a Tags>,
}

impl Caller {
    /// The account, where there is one.
    pub fn account(&self) -> Result<&InstanceId> {
        match self {
            Self::Account { id, .. } => Ok(id),
            Self::Anonymous => Err(Failure::denied()),
        }
    }
}

impl Known {
    pub fn of<T>(request: &S3Request<T>) -> Result<&Self> {
        request.extensions.get().ok_or_else(Failure::denied)
    }

    pub fn bucket(&self) -> Result<&Arc<Bucket>> {
        self.bucket.as_ref().ok_or_else(Failure::no_such_bucket)
    }
}

impl<'a> Asking<'a> {
    pub fn of<T>(request: &'a S3Request<T>) -> Result<Self> {
        let arrival: &Arrival = request.extensions.get().ok_or_else(Failure::denied)?;
        let caller = &Known::of(request)?.caller;
        Ok(Self { caller, peer: arrival.peer, headers: &request.headers, said: &[], uri: &request.uri })
    }

    /// The same, with what its body says that conditions of policies ask for by the names of headers.
    pub fn saying(self, said: &'a [(&'a str, &'a str)]) -> Self {
        Self { said, ..self }
    }

    /// Whether it may do something.
    pub async fn may(&self, objects: &Objects, wish: Wish<'_>) -> Result<bool> {
        let bucket = wish.bucket;
        let Some(policy) = &bucket.settings.policy else {
            return Ok(matches!(self.caller, Caller::Account { id, .. } if *id == bucket.account));
        };
        let existing = match wish.key {
            Some(key) if policy.asks_for_existing_tags() => {
                let version = wish.version.and_then(|version| version.parse::<VersionId>().ok());
                objects.head(&bucket.name, key, version.as_ref()).await.ok()
            }
            _ => None,
        };
        let query: Vec<_> = form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes()).collect();
        let parameter = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref());
        let copy_source = self.header("x-amz-copy-source").map(decoded_copy_source);
        let headers = self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).map(
            |(name, value)| match (&copy_source, name) {
                (Some(source), "x-amz-copy-source") => (name, source.as_str()),
                _ => (name, value),
            },
        );
        // The first of a name counts: what the request means is what its body says.
        let headers: Vec<_> = self.said.iter().copied().chain(headers).collect();
        let header_tags = self.header("x-amz-tagging").and_then(|text| Tags::from_header(text).ok());
        let context = Context {
            source_ip: self.peer.ip,
            secure: self.peer.secure,
            now: Timestamp::now(),
            headers: &headers,
            prefix: parameter("prefix"),
            delimiter: parameter("delimiter"),
            max_keys: parameter("max-keys").and_then(|number| number.parse().ok()),
            version_id: wish.version,
            existing_tags: existing.as_ref().map(|version| &version.attributes.tags),
            request_tags: wish.tags.or(header_tags.as_ref()),
        };
        let caller = match self.caller {
            Caller::Anonymous => policy::Caller::Anonymous,
            Caller::Account { id, key } => policy::Caller::Account { instance: id, access_key: key.as_str() },
        };
        let request = Request { caller, action: wish.action, bucket: &bucket.name, key: wish.key, context: &context };
        Ok(policy::allows(&bucket.settings, &bucket.account, &request))
    }

    /// Fails where it may not do something.
    pub async fn must(&self, objects: &Objects, wish: Wish<'_>) -> Result<()> {
        if self.may(objects, wish).await? { Ok(()) } else { Err(Failure::denied()) }
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The source of a copy, decoded and beginning with the bucket.
fn decoded_copy_source(header: &str) -> String {
    let header = header.strip_prefix('/').unwrap_or(header);
    let path = header.split_once("?versionId=").map_or(header, |(path, _)| path);
    // What decodes form fields takes `+` for a space, which a path does not mean by it.
    let escaped = format!("p={}", path.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl Access {
    async fn known(&self, context: &S3AccessContext<'_>, arrival: &Arrival) -> Result<Known> {
        let caller = match context.credentials() {
            None => Caller::Anonymous,
            Some(credentials) => {
                let key = known_key(&self.0, &credentials.access_key).await?.key;
                Caller::Account { id: key.account, key: key.id }
            }
        };
        let operation = context.s3_op().name();
        let actions =
            actions(operation, context.headers(), context.uri()).ok_or_else(|| Failure::not_implemented(operation))?;
        if let Some(word) = refuse::foreign_word(operation, context.uri()) {
            return Err(Failure::not_implemented(&word));
        }
        let (name, key) = match context.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket), None),
            S3Path::Object { bucket, key } => (Some(bucket), Some(key.parse::<ObjectKey>()?)),
        };
        let named = match name {
            Some(name) if operation != "CreateBucket" => {
                let name = name.parse::<BucketName>()?;
                Some(self.0.bucket(&name).ok_or_else(Failure::no_such_bucket)?)
            }
            // Whose a bucket is going to be, and whose buckets are listed, says the key.
            _ => {
                caller.account()?;
                None
            }
        };
        if let Some(bucket) = &named {
            let asking = Asking {
                caller: &caller,
                peer: arrival.peer,
                headers: context.headers(),
                said: &[],
                uri: context.uri(),
            };
            expect_owner(asking.header("x-amz-expected-bucket-owner"), bucket)?;
            let version = version_of(context.uri());
            for action in actions {
                let wish = Wish { action, bucket, key: key.as_ref(), version: version.as_deref(), tags: None };
                asking.must(&self.0, wish).await?;
            }
        }
        Ok(Known { caller, bucket: named })
    }
}

/// Fails where a client takes a bucket for another's.
pub fn expect_owner(expected: Option<&str>, bucket: &Bucket) -> Result<()> {
    match expected {
        Some(expected) if expected != bucket.account.as_str() => Err(Failure::denied()),
        _ => Ok(()),
    }
}

fn version_of(uri: &Uri) -> Option<String> {
    // As s3s finds it: its name, too, can be percent-encoded.
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(name, _)| name == "versionId").map(|(_, value)| value.into_owned())
}

#[async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(arrival) = context.extensions_mut().get::<Arrival>().cloned() else {
            return Err(Failure::denied().into_s3());
        };
        let known = match arrival.known() {
            // It is asked again, without what it need not be carried out with.
            Some(known) => Ok(known.clone()),
            None => self.known(context, &arrival).await,
        };
        match known {
            Ok(known) => {
                arrival.let_in(known.clone());
                context.extensions_mut().insert(known);
                Ok(())
            }
            Err(failure) => {
                failure.log(context.s3_op().name(), Some(arrival.id));
                Err(failure.into_s3())
            }
        }
    }
}

/// What an operation must be allowed to do; none where it is not there. Operations on several objects, or on such that only
/// their bodies name, ask for each by themselves; so do those whose bodies say what conditions of policies ask for.
fn actions(operation: &str, headers: &HeaderMap, uri: &Uri) -> Option<Vec<Action>> {
    let versioned = version_of(uri).is_some();
    let of_version = |plain, version| if versioned { version } else { plain };
    let one = match operation {
        "ListBuckets" | "CreateBucket" | "DeleteObjects" | "PostObject" => return Some(Vec::new()),
        "PutObjectLegalHold" | "PutObjectRetention" | "PutObjectTagging" => return Some(Vec::new()),
        "AbortMultipartUpload" => Action::AbortMultipartUpload,
        "DeleteBucket" => Action::DeleteBucket,
        "DeleteBucketCors" | "PutBucketCors" => Action::PutBucketCORS,
        "DeleteBucketEncryption" | "PutBucketEncryption" => Action::PutEncryptionConfiguration,
        "DeleteBucketLifecycle" | "PutBucketLifecycleConfiguration" => Action::PutLifecycleConfiguration,
        "DeleteBucketOwnershipControls" | "PutBucketOwnershipControls" => Action::PutBucketOwnershipControls,
        "DeleteBucketPolicy" => Action::DeleteBucketPolicy,
        "DeleteBucketTagging" | "PutBucketTagging" => Action::PutBucketTagging,
        "DeletePublicAccessBlock" | "PutPublicAccessBlock" => Action::PutBucketPublicAccessBlock,
        "DeleteObject" => {
            let asked = names_content(headers).then(|| of_version(Action::GetObject, Action::GetObjectVersion));
            let deletes = of_version(Action::DeleteObject, Action::DeleteObjectVersion);
            return Some(std::iter::once(deletes).chain(asked).collect());
        }
        "DeleteObjectTagging" => of_version(Action::DeleteObjectTagging, Action::DeleteObjectVersionTagging),
        "GetBucketAcl" => Action::GetBucketAcl,
        "GetBucketCors" => Action::GetBucketCORS,
        "GetBucketEncryption" => Action::GetEncryptionConfiguration,
        "GetBucketLifecycleConfiguration" => Action::GetLifecycleConfiguration,
        "GetBucketLocation" => Action::GetBucketLocation,
        "GetBucketNotificationConfiguration" => Action::GetBucketNotification,
        "GetBucketOwnershipControls" => Action::GetBucketOwnershipControls,
        "GetBucketPolicy" => Action::GetBucketPolicy,
        "GetBucketPolicyStatus" => Action::GetBucketPolicyStatus,
        "GetBucketTagging" => Action::GetBucketTagging,
        "GetBucketVersioning" => Action::GetBucketVersioning,
        "GetObject" | "HeadObject" => of_version(Action::GetObject, Action::GetObjectVersion),
        "GetObjectAcl" => of_version(Action::GetObjectAcl, Action::GetObjectVersionAcl),
        "GetObjectAttributes" if versioned => {
            return Some(vec![Action::GetObjectVersion, Action::GetObjectVersionAttributes]);
        }
        "GetObjectAttributes" => return Some(vec![Action::GetObject, Action::GetObjectAttributes]),
        "GetObjectLegalHold" => Action::GetObjectLegalHold,
        "GetObjectLockConfiguration" => Action::GetBucketObjectLockConfiguration,
        "GetObjectRetention" => Action::GetObjectRetention,
        "GetObjectTagging" => of_version(Action::GetObjectTagging, Action::GetObjectVersionTagging),
        "GetPublicAccessBlock" => Action::GetBucketPublicAccessBlock,
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => Action::ListBucket,
        "ListMultipartUploads" => Action::ListBucketMultipartUploads,
        "ListObjectVersions" => Action::ListBucketVersions,
        "ListParts" => Action::ListMultipartUploadParts,
        "PutBucketAcl" => Action::PutBucketAcl,
        "PutBucketNotificationConfiguration" => Action::PutBucketNotification,
        "PutBucketPolicy" => Action::PutBucketPolicy,
        "PutBucketVersioning" => Action::PutBucketVersioning,
        "PutObject" | "CopyObject" | "CreateMultipartUpload" | "CompleteMultipartUpload" => {
            return Some(putting(headers));
        }
        "UploadPart" | "UploadPartCopy" => Action::PutObject,
        "PutObjectAcl" => of_version(Action::PutObjectAcl, Action::PutObjectVersionAcl),
        "PutObjectLockConfiguration" => Action::PutBucketObjectLockConfiguration,
        _ => return None,
    };
    Some(vec![one])
}

/// What a put does beside putting.
fn putting(headers: &HeaderMap) -> Vec<Action> {
    let asked = [
        ("x-amz-tagging", Action::PutObjectTagging),
        ("x-amz-object-lock-mode", Action::PutObjectRetention),
        ("x-amz-object-lock-legal-hold", Action::PutObjectLegalHold),
    ];
    let besides = asked.into_iter().filter(|(header, _)| headers.contains_key(*header)).map(|(_, action)| action);
    // Whoever may not read would learn ETags by guessing; that something is there, `If-None-Match: *` tells as in Amazon S3.
    let reads = headers.contains_key(IF_MATCH).then_some(Action::GetObject);
    std::iter::once(Action::PutObject).chain(besides).chain(reads).collect()
}

/// Whether a deletion has a condition on what is deleted, and not only on that it is there.
fn names_content(headers: &HeaderMap) -> bool {
    let etag = headers.get(IF_MATCH).is_some_and(|value| value.as_bytes().trim_ascii() != b"*");
    etag || ["x-amz-if-match-size", "x-amz-if-match-last-modified-time"].iter().any(|name| headers.contains_key(*name))
}
