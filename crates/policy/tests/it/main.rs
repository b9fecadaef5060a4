//! Policies as those who write them and those who attack them see them.

mod attacks;
mod built_in;
mod documented;
mod reference;
mod texts;

use std::sync::Arc;

use mainstay_policy::{Acl, Operation, Policy, PolicyName};
use serde_json::{Map, Value};

/// A policy with a name that does not matter.
fn policy(text: &str) -> Arc<Policy> {
    let name = PolicyName::parse("test").expect("a name");
    Arc::new(Policy::parse(name, text).unwrap_or_else(|error| panic!("{text}: {error:?}")))
}

fn acl(texts: &[&str]) -> Acl {
    Acl::new(texts.iter().map(|text| policy(text)))
}

/// Whether an operation without parameters is allowed.
fn allowed(acl: &Acl, operation: Operation, path: &str) -> bool {
    acl.check(path, operation, &Map::new(), None).allowed
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}
