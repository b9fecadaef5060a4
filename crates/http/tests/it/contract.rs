//! `contracts/openapi.json` is what this version serves, and says what its reader needs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::server::Server;

const CHECKED_IN: &str = include_str!("../../../../contracts/openapi.json");
const REMEDY: &str = "write it anew with: cargo run -p mainstay-http --example openapi";

#[test]
fn the_contract_is_the_one_that_is_checked_in() {
    let mut generated = serde_json::to_string_pretty(&mainstay_http::openapi()).unwrap();
    generated.push('\n');
    let differs = CHECKED_IN.lines().zip(generated.lines()).enumerate().find(|(_, (old, new))| old != new);
    if let Some((line, (old, new))) = differs {
        panic!("contracts/openapi.json differs in line {}:\n- {old}\n+ {new}\n{REMEDY}", line + 1);
    }
    assert_eq!(CHECKED_IN.len(), generated.len(), "contracts/openapi.json is not whole; {REMEDY}");
}

#[tokio::test]
async fn the_contract_is_served() {
    let server = Server::start().await;
    let served = server.get("/openapi.json").await.json();
    assert_eq!(served, serde_json::from_str::<Value>(CHECKED_IN).unwrap());
    let refused = server.call("GET", "/openapi.json").without_token().send().await;
    assert_eq!(refused.problem().1, "token_missing");
}

#[test]
fn every_route_says_what_its_reader_needs() {
    let document: Value = serde_json::from_str(CHECKED_IN).unwrap();
    let mut ids = BTreeSet::new();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let route = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{route}: {id} is taken");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.contains('\n')), "{route} has no summary");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{route} has no tag");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{route}: {} is not described", parameter["name"]);
            }
            let behind_token = path.starts_with("/api/");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let described = answer["description"].as_str().is_some_and(|text| !text.is_empty());
                assert!(described || answer["$ref"] == "#/components/responses/Problem", "{route}: {status}");
            }
            assert_eq!(operation["responses"].get("default").is_some(), behind_token, "{route}");
        }
    }
    assert!(ids.len() >= 21, "{ids:?}");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphabetic()), "{name} is no name for a type");
        assert!(schema["description"].is_string(), "{name} is not described");
    }
    let problem = &document["components"]["responses"]["Problem"]["content"]["application/problem+json"];
    assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem");
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect_references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}
