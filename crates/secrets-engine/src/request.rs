//! What a backend is asked.

use std::net::IpAddr;
use std::sync::Arc;

use mainstay_types::{TenantName, Timestamp};
use serde_json::{Map, Value};

use crate::fields::Fields;

/// What is to be done at a path.
///
/// A `POST` or `PUT` is `Create` where [`Backend::exists`](crate::Backend::exists) says that there is nothing yet, and
/// `Update` otherwise; policies tell the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Read,
    Update,
    Patch,
    Delete,
    List,
}

/// A request to a backend.
pub struct Request {
    pub operation: Operation,
    /// Below the mount, without a slash at the beginning: `data/app/database`. Decoded once; holds no empty, `.` or
    /// `..` segment, but may end with a slash where the client's did.
    pub path: String,
    /// The body's JSON object, or the query parameters of a read.
    pub data: Map<String, Value>,
    /// The body as it came where it is not JSON, and not longer than the API takes: an OCSP request in DER. Empty
    /// everywhere else.
    pub raw_body: Vec<u8>,
    pub mount: Arc<Mount>,
    /// Whose token it is; none where the path needs none.
    pub caller: Option<Caller>,
    pub tenant: TenantName,
    /// The address it came from, where it came over a network.
    pub remote: Option<IpAddr>,
    /// The time that counts for the whole request.
    pub now: Timestamp,
}

/// Whoever bears the token of a request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub accessor: String,
    pub display_name: String,
    /// The entity that the token stands for; empty where there is none.
    pub entity_id: String,
    pub policies: Vec<String>,
}

/// Where a backend is mounted, and with which settings.
#[derive(Debug, Clone)]
pub struct Mount {
    /// With a slash at the end: `secret/`, `auth/approle/`.
    pub path: String,
    pub accessor: String,
    pub uuid: String,
    /// `version: 2` and the like.
    pub options: std::collections::BTreeMap<String, String>,
    /// The lease where nobody says another, and the longest one.
    pub default_lease_seconds: u64,
    pub max_lease_seconds: u64,
}

impl Request {
    /// The body's fields, read as Vault reads them.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.data)
    }

    /// Whether something is to be written: create and update are one to most paths.
    pub fn is_write(&self) -> bool {
        matches!(self.operation, Operation::Create | Operation::Update)
    }
}

impl Operation {
    /// The name that audit logs and errors use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }
}
