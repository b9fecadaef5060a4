//! What consumers may rely on, contract by contract and whatever the engine: stock clients find it out.
//!
//! The Python clients ask for all that a contract promises of data, limits, tenancy and delivery: the cases are in
//! `tests/contracts`. What holds of every contract (credentials that overlap and end, data that outlives processes) is in
//! [`lifecycle`], and asked for by the Rust clients.

mod amqp;
mod lifecycle;
mod nats;
mod postgresql;
mod redis;
mod suite;

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::harness::{Api, Layer};

/// Part of a contract as it is offered: what an instance is asked for with.
#[derive(Clone, Copy)]
struct Asked {
    name: &'static str,
    contract: &'static str,
    plan: &'static str,
    engine: &'static str,
    parameters: &'static [(&'static str, &'static str)],
}

impl Asked {
    /// Makes the instance, of the tenant that an API is called for.
    fn create(self, api: &Api) {
        let wanted = json!({
            "name": self.name, "contract": self.contract, "plan": self.plan, "engine": self.engine,
            "parameters": self.parameters(),
        });
        let operation = api.post("/api/v1/instances?wait=60s", &wanted).expect(200);
        assert_eq!(operation["state"], "succeeded", "{operation}");
    }

    fn parameters(self) -> Map<String, Value> {
        self.parameters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }

    /// One more binding, with its credentials.
    fn bind(self, api: &Api, consumer: &str) -> Value {
        let path = format!("/api/v1/instances/{}/bindings?wait=60s", self.name);
        api.post(&path, &json!({ "consumer": consumer })).expect(201)
    }

    fn delete(self, layer: &Layer) {
        layer.cli(&["delete", self.name, "--yes", "--force"]).succeed();
    }
}

/// A value of a binding.
#[track_caller]
fn text<'a>(given: &'a Value, key: &str) -> &'a str {
    given[key].as_str().unwrap_or_else(|| panic!("a binding should have {key}"))
}

/// The file that a binding's certificates are written to.
fn certificates(layer: &Layer, given: &Value) -> PathBuf {
    let path = layer.scratch().join(format!("{}.pem", text(given, "username")));
    std::fs::write(&path, text(given, "certificates")).unwrap();
    path
}
