//! Vault's envelope.

use serde_json::{Map, Value, json};

use crate::call::{Body, Reply};
use crate::mount::Mounted;
use crate::outcome::Outcome;

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
