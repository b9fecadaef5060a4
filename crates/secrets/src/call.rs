//! What comes over the Vault HTTP API, and what goes back.

use std::net::IpAddr;

use mainstay_secrets_engine::{Raw, Refusal};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

/// What a client did, in the words of HTTP; `LIST` may also come as `GET ...?list=true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    List,
}

/// One request as it came, parsed but not yet believed.
pub struct Call {
    pub method: Method,
    /// Below `/v1/`, decoded once: `secret/data/app`.
    pub path: String,
    pub token: Option<SecretString>,
    /// The tenant that it names.
    pub namespace: Option<String>,
    /// For how many seconds the answer is to be wrapped.
    pub wrap_seconds: Option<u64>,
    /// The body's JSON object, with the query's parameters for reads.
    pub data: Map<String, Value>,
    /// A body that is not JSON.
    pub raw_body: Vec<u8>,
    pub remote: Option<IpAddr>,
}

/// What is answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    Empty,
    Json(Value),
    Raw(Raw),
}

// === impl Call ===

impl Call {
    /// The operation, before it is known whether a write creates or updates.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.method, Method::Post | Method::Put)
    }
}

// === impl Reply ===

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, body: Body::Json(body) }
    }

    pub(crate) fn empty() -> Self {
        Self { status: 204, body: Body::Empty }
    }

    /// An error as Vault writes it: `{"errors": [...]}`, without a word where there is nothing to say.
    pub(crate) fn errors(status: u16, message: &str) -> Self {
        let errors: Vec<&str> = if message.is_empty() { Vec::new() } else { vec![message] };
        Self::json(status, json!({ "errors": errors }))
    }
}

impl From<&Refusal> for Reply {
    fn from(refusal: &Refusal) -> Self {
        Self::errors(status(refusal), &refusal.to_string())
    }
}

/// The status of a refusal, as Vault's API documents it.
fn status(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Invalid(_) => 400,
        Refusal::Denied | Refusal::Forbidden(_) => 403,
        Refusal::NotFound | Refusal::UnsupportedPath | Refusal::NoHandler(_) => 404,
        Refusal::UnsupportedOperation => 405,
        Refusal::TooMany(_) => 429,
        Refusal::Failed { .. } => 500,
        Refusal::Unavailable { .. } => 503,
    }
}
