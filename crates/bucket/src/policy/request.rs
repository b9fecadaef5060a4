//! What a policy is asked about.

use std::net::IpAddr;

use mainstay_types::{InstanceId, Timestamp};

use super::Action;
use crate::{BucketName, ObjectKey, Tags};

/// A request, as far as policies look at it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub caller: Caller<'a>,
    pub action: Action,
    pub bucket: &'a BucketName,
    /// None where the request is about the bucket itself.
    pub key: Option<&'a ObjectKey>,
    pub context: &'a Context<'a>,
}

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'a> {
    Anonymous,
    /// Whoever has signed with an access key of an instance, which is the account.
    Account {
        instance: &'a InstanceId,
        access_key: &'a str,
    },
}

/// What the conditions of a policy can ask for.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub source_ip: IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
    pub now: Timestamp,
    /// A request's own headers, their names in lowercase: `x-amz-...`, `if-match`, `user-agent` and the like.
    /// `x-amz-copy-source` is decoded, and begins with the bucket.
    pub headers: &'a [(&'a str, &'a str)],
    /// Of a listing.
    pub prefix: Option<&'a str>,
    pub delimiter: Option<&'a str>,
    pub max_keys: Option<u32>,
    /// The version that the request names.
    pub version_id: Option<&'a str>,
    /// The tags of the object as it is; needed where [`super::Policy::asks_for_existing_tags`].
    pub existing_tags: Option<&'a Tags>,
    /// The tags that the request brings, in a header or in its body.
    pub request_tags: Option<&'a Tags>,
}

/// What a policy says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Whatever else allows it.
    Deny,
    /// Nothing: its owner may, nobody else.
    Silent,
}
