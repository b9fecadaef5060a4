//! A request that was let in, as the paths of custody itself see it.

use std::sync::Arc;

use mainstay_policy::Acl;
use mainstay_secrets_engine::{Fields, Operation};
use mainstay_types::Timestamp;
use serde_json::{Map, Value};

use crate::mount::Namespace;
use crate::open::Open;
use crate::token::Bearer;

/// A request that was let in.
pub(crate) struct Asked<'a> {
    pub(crate) open: &'a Arc<Open>,
    pub(crate) namespace: &'a Arc<Namespace>,
    pub(crate) bearer: &'a Bearer,
    /// The token as it was sent.
    pub(crate) token: &'a str,
    pub(crate) acl: &'a Acl,
    /// Whether the token's policies give `sudo` at this path.
    pub(crate) sudo: bool,
    pub(crate) operation: Operation,
    /// Whether the answer goes into a wrapping token.
    pub(crate) is_wrapped: bool,
    /// Below what the handler serves: `lookup-self` for `auth/token/lookup-self`.
    pub(crate) path: &'a str,
    pub(crate) data: &'a Map<String, Value>,
    pub(crate) now: Timestamp,
}

impl Asked<'_> {
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::new(self.data)
    }

    pub(crate) fn is_write(&self) -> bool {
        matches!(self.operation, Operation::Create | Operation::Update)
    }
}
