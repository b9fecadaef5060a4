//! The two lines that the log has of each request.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mainstay_secrets_engine::{Class, Operation};
use mainstay_types::{TenantName, Timestamp};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::audit::hasher::{Hash, HashedFields, HashedObject, Hasher};
use crate::call::{Body, Call, Reply};
use crate::mount::Mounted;
use crate::token::Bearer;

/// What a request is about.
pub(crate) struct Subject<'a> {
    pub(crate) id: String,
    pub(crate) call: &'a Call,
    pub(crate) tenant: &'a TenantName,
    pub(crate) operation: Operation,
    pub(crate) bearer: Option<&'a Bearer>,
    pub(crate) mounted: Option<&'a Mounted>,
}

/// What both lines say of a request. It is written once: hashing and writing it is most of what a line costs.
pub(crate) struct Told<'a> {
    hasher: &'a Hasher,
    readable_answers: &'a [String],
    auth: Box<RawValue>,
    request: Box<RawValue>,
}

/// One line.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    time: Timestamp,
    #[serde(rename = "type")]
    kind: &'static str,
    auth: &'a RawValue,
    request: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Auth<'a> {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    bearer: Option<AuthBearer<'a>>,
    token_type: &'static str,
}

#[derive(Serialize)]
struct AuthBearer<'a> {
    accessor: Hash,
    display_name: &'a str,
    policies: &'a [String],
    token_policies: &'a [String],
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_token: Option<Hash>,
    operation: &'static str,
    path: &'a str,
    namespace: Namespace<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_point: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_class: Option<&'static str>,
    remote_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrap_ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<HashedObject<'a>>,
}

#[derive(Serialize)]
struct Namespace<'a> {
    id: &'a TenantName,
}

#[derive(Default, Serialize)]
struct Response<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<HashedObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<HashedFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrap_info: Option<HashedFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Secret<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
}

#[derive(Serialize)]
struct Secret<'a> {
    lease_id: &'a str,
}

// === impl Told ===

impl<'a> Told<'a> {
    pub(crate) fn new(hasher: &'a Hasher, subject: &Subject<'a>) -> Self {
        let raw = "what is told of a request has string keys and no failing serializer";
        let config = subject.mounted.map(|mounted| &mounted.record.config);
        let readable = config.and_then(|config| config.audit_non_hmac_response_keys.as_deref());
        Self {
            hasher,
            readable_answers: readable.unwrap_or_default(),
            auth: to_raw_value(&Auth::new(hasher, subject.bearer)).expect(raw),
            request: to_raw_value(&Request::new(hasher, subject)).expect(raw),
        }
    }

    /// The line that is written before a request is carried out, or where it is refused.
    pub(crate) fn request_line<'b>(&'b self, error: Option<&'b str>) -> Line<'b> {
        let (auth, request) = (&*self.auth, &*self.request);
        Line { time: Timestamp::now(), kind: "request", auth, request, response: None, error }
    }

    /// The line that is written before an answer is sent.
    pub(crate) fn answer_line<'b>(&'b self, reply: &'b Reply) -> Line<'b> {
        let (auth, request) = (&*self.auth, &*self.request);
        let error = match &reply.body {
            Body::Json(body) => body["errors"][0].as_str(),
            Body::Empty | Body::Raw(_) => None,
        };
        let response = Some(self.response(reply));
        Line { time: Timestamp::now(), kind: "response", auth, request, response, error }
    }

    fn response<'b>(&'b self, reply: &'b Reply) -> Response<'b> {
        let status = reply.status;
        match &reply.body {
            Body::Empty => Response { status, ..Response::default() },
            Body::Raw(raw) => {
                let (content_type, bytes) = (Some(raw.content_type), Some(raw.body.len()));
                Response { status, content_type, bytes, ..Response::default() }
            }
            Body::Json(body) => Response {
                status,
                data: self.data(body),
                auth: self.fields(&body["auth"], &["client_token", "accessor"]),
                wrap_info: self.fields(&body["wrap_info"], &["token", "accessor", "wrapped_accessor"]),
                secret: lease(body),
                ..Response::default()
            },
        }
    }

    fn data<'b>(&'b self, body: &'b Value) -> Option<HashedObject<'b>> {
        let object = body["data"].as_object()?;
        Some(HashedObject { hasher: self.hasher, object, readable: self.readable_answers })
    }

    fn fields<'b>(&'b self, value: &'b Value, hashed: &'static [&'static str]) -> Option<HashedFields<'b>> {
        let object = value.as_object()?;
        Some(HashedFields { hasher: self.hasher, object, hashed })
    }
}

fn lease(body: &Value) -> Option<Secret<'_>> {
    let lease_id = body["lease_id"].as_str().filter(|lease| !lease.is_empty())?;
    Some(Secret { lease_id })
}

// === impl Auth ===

impl<'a> Auth<'a> {
    fn new(hasher: &Hasher, bearer: Option<&'a Bearer>) -> Self {
        let Some(entry) = bearer.map(|bearer| &*bearer.entry) else {
            return Self { bearer: None, token_type: "default" };
        };
        let bearer = AuthBearer {
            accessor: hasher.text(entry.accessor.as_str()),
            display_name: &entry.display_name,
            policies: &entry.policies,
            token_policies: &entry.policies,
            metadata: &entry.meta,
        };
        Self { bearer: Some(bearer), token_type: "service" }
    }
}

// === impl Request ===

impl<'a> Request<'a> {
    fn new(hasher: &'a Hasher, subject: &'a Subject<'_>) -> Self {
        let call = subject.call;
        let record = subject.mounted.map(|mounted| &mounted.record);
        let readable = record.and_then(|record| record.config.audit_non_hmac_request_keys.as_deref());
        let data = HashedObject { hasher, object: &call.data, readable: readable.unwrap_or_default() };
        Self {
            id: &subject.id,
            client_token: call.token.as_ref().map(|token| hasher.text(token.expose_secret())),
            operation: subject.operation.as_str(),
            path: &call.path,
            namespace: Namespace { id: subject.tenant },
            mount_type: record.map(|record| record.kind.as_str()),
            mount_point: record.map(|record| record.path.as_str()),
            mount_class: record.map(|record| if record.class() == Class::Auth { "auth" } else { "secret" }),
            remote_address: call.remote,
            wrap_ttl: call.wrap_seconds,
            data: Some(data).filter(|data| !data.object.is_empty()),
        }
    }
}
