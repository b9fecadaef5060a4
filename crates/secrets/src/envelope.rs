//! Vault's envelope, and the two lines that the audit log has of each request.

use mainstay_secrets_engine::{Class, Operation};
use mainstay_types::{TenantName, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use crate::audit::Hasher;
use crate::call::{Body, Call, Reply};
use crate::mount::Mounted;
use crate::outcome::Outcome;
use crate::token::Bearer;

/// What a request is about.
pub(crate) struct Context<'a> {
    pub(crate) id: String,
    pub(crate) call: &'a Call,
    pub(crate) tenant: Option<&'a TenantName>,
    pub(crate) operation: Operation,
    pub(crate) bearer: Option<&'a Bearer>,
    pub(crate) mounted: Option<&'a Mounted>,
}

/// Writes an outcome as Vault does.
pub(crate) fn reply(request_id: &str, mounted: Option<&Mounted>, outcome: Outcome) -> Reply {
    if let Some(mut envelope) = outcome.unwrapped {
        envelope["request_id"] = request_id.into();
        for field in ["data", "auth", "wrap_info", "warnings"] {
            if envelope.get(field).is_none() {
                envelope[field] = Value::Null;
            }
        }
        for (field, value) in [("lease_id", json!("")), ("renewable", json!(false)), ("lease_duration", json!(0))] {
            if envelope.get(field).is_none() {
                envelope[field] = value;
            }
        }
        return Reply::json(200, envelope);
    }
    let answer = outcome.answer;
    if let Some(raw) = answer.raw {
        let status = answer.status.unwrap_or(200);
        return Reply { status, body: Body::Raw(raw) };
    }
    let says_something =
        answer.data.is_some() || outcome.auth.is_some() || outcome.lease.is_some() || !answer.warnings.is_empty();
    if !says_something {
        return match answer.status {
            Some(status) if status != 204 => Reply::json(status, json!({ "errors": [] })),
            _ => Reply::empty(),
        };
    }
    let (lease_id, renewable, seconds) = outcome.lease.map_or_else(
        || (String::new(), false, answer.keep_seconds.unwrap_or(0)),
        |lease| (lease.id, lease.renewable, lease.seconds),
    );
    let mut envelope = Map::new();
    if let (true, Some(data)) = (outcome.inject, &answer.data) {
        envelope.extend(data.clone());
    }
    let mut add = |name: &str, value: Value| drop(envelope.insert(name.to_owned(), value));
    add("request_id", request_id.into());
    add("lease_id", lease_id.into());
    add("renewable", renewable.into());
    add("lease_duration", seconds.into());
    add("data", answer.data.map_or(Value::Null, Value::Object));
    add("wrap_info", Value::Null);
    add("warnings", if answer.warnings.is_empty() { Value::Null } else { json!(answer.warnings) });
    add("auth", outcome.auth.unwrap_or(Value::Null));
    if let Some(mounted) = mounted {
        add("mount_type", mounted.record.kind.as_str().into());
    }
    Reply::json(answer.status.unwrap_or(200), Value::Object(envelope))
}

/// The line that is written before a request is carried out, or where it is refused.
pub(crate) fn request_line(hasher: &Hasher, context: &Context<'_>, error: Option<&str>) -> Value {
    let mut line = json!({
        "time": Timestamp::now(),
        "type": "request",
        "auth": auth(hasher, context.bearer),
        "request": request(hasher, context),
    });
    if let Some(error) = error {
        line["error"] = error.into();
    }
    line
}

/// The line that is written before an answer is sent.
pub(crate) fn answer_line(hasher: &Hasher, context: &Context<'_>, reply: &Reply) -> Value {
    let readable = context.mounted.and_then(|mounted| mounted.record.config.audit_non_hmac_response_keys.as_deref());
    let mut response = json!({ "status": reply.status });
    let mut error = None;
    match &reply.body {
        Body::Empty => {}
        Body::Raw(raw) => {
            response["content_type"] = raw.content_type.into();
            response["bytes"] = raw.body.len().into();
        }
        Body::Json(body) => {
            error = body["errors"].as_array().and_then(|errors| errors.first()).cloned();
            if let Some(data) = body["data"].as_object() {
                response["data"] = hasher.object(data, readable.unwrap_or_default());
            }
            if let Some(auth) = body["auth"].as_object() {
                let mut shown = auth.clone();
                hash_fields(hasher, &mut shown, &["client_token", "accessor"]);
                response["auth"] = Value::Object(shown);
            }
            if let Some(info) = body["wrap_info"].as_object() {
                let mut shown = info.clone();
                hash_fields(hasher, &mut shown, &["token", "accessor", "wrapped_accessor"]);
                response["wrap_info"] = Value::Object(shown);
            }
            if let Some(lease) = body["lease_id"].as_str().filter(|lease| !lease.is_empty()) {
                response["secret"] = json!({ "lease_id": lease });
            }
        }
    }
    let mut line = json!({
        "time": Timestamp::now(),
        "type": "response",
        "auth": auth(hasher, context.bearer),
        "request": request(hasher, context),
        "response": response,
    });
    if let Some(error) = error {
        line["error"] = error;
    }
    line
}

fn auth(hasher: &Hasher, bearer: Option<&Bearer>) -> Value {
    let Some(bearer) = bearer else { return json!({ "token_type": "default" }) };
    let entry = &bearer.entry;
    json!({
        "accessor": hasher.text(entry.accessor.as_str()),
        "display_name": entry.display_name,
        "policies": entry.policies,
        "token_policies": entry.policies,
        "metadata": entry.meta,
        "token_type": "service",
    })
}

fn request(hasher: &Hasher, context: &Context<'_>) -> Value {
    let call = context.call;
    let config = context.mounted.map(|mounted| &mounted.record.config);
    let readable = config.and_then(|config| config.audit_non_hmac_request_keys.as_deref()).unwrap_or_default();
    let mut request = json!({
        "id": context.id,
        "operation": context.operation.as_str(),
        "path": call.path,
        "namespace": { "id": context.tenant },
        "remote_address": call.remote,
    });
    if let Some(token) = &call.token {
        request["client_token"] = hasher.text(token.expose_secret()).into();
    }
    if !call.data.is_empty() {
        request["data"] = hasher.object(&call.data, readable);
    }
    if let Some(seconds) = call.wrap_seconds {
        request["wrap_ttl"] = seconds.into();
    }
    if let Some(mounted) = context.mounted {
        request["mount_type"] = mounted.record.kind.as_str().into();
        request["mount_point"] = mounted.record.path.as_str().into();
        request["mount_class"] = if mounted.record.class() == Class::Auth { "auth" } else { "secret" }.into();
    }
    request
}

fn hash_fields(hasher: &Hasher, object: &mut Map<String, Value>, fields: &[&str]) {
    for field in fields {
        if let Some(Value::String(text)) = object.get_mut(*field) {
            *text = hasher.text(text);
        }
    }
}
