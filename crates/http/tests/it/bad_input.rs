//! Whatever is wrong with a request is said: what, where, and what to do.

use serde_json::json;

use crate::server::Server;

const INSTANCES: &str = "/api/v1/instances";
const BINDINGS: &str = "/api/v1/instances/shop/bindings";

type Headers = &'static [(&'static str, &'static str)];
/// A method, a path and headers; the status, the code and the field that they are answered with.
type Case = (&'static str, &'static str, Headers, u16, &'static str, Option<&'static str>);

#[tokio::test]
async fn bodies() {
    let server = Server::start().await;
    server.create("shop").await;
    let id = server.bind("shop").await["id"].as_str().unwrap().to_owned();
    let rotate = format!("/api/v1/bindings/{id}/rotate");
    let renew = format!("/api/v1/bindings/{id}/renew");
    let long = "a".repeat(64);
    let large = format!("{{\"name\": \"{}\"}}", "a".repeat(64 << 10));
    let long_name = format!("{{\"name\":\"{long}\",\"contract\":\"postgresql/v1\"}}");
    let cases: &[(&str, &str, u16, &str, Option<&str>)] = &[
        (INSTANCES, "{", 400, "body_malformed", None),
        (INSTANCES, "name=shop", 400, "body_malformed", None),
        (INSTANCES, "{} {}", 400, "body_malformed", None),
        (INSTANCES, r#"{"name":"a","contract":"postgresql/v1"} x"#, 400, "body_malformed", None),
        (INSTANCES, "\u{0}", 400, "body_malformed", None),
        (INSTANCES, "", 422, "field_invalid", Some("name")),
        (INSTANCES, "null", 422, "field_invalid", None),
        (INSTANCES, "[]", 422, "field_invalid", None),
        (INSTANCES, "7", 422, "field_invalid", None),
        (INSTANCES, r#"{"name":"next"}"#, 422, "field_invalid", Some("contract")),
        (INSTANCES, &large, 413, "body_too_large", None),
        (INSTANCES, r#"{"name":"","contract":"postgresql/v1"}"#, 422, "field_invalid", Some("name")),
        (INSTANCES, r#"{"name":"Shop","contract":"postgresql/v1"}"#, 422, "field_invalid", Some("name")),
        (INSTANCES, r#"{"name":"shop_1","contract":"postgresql/v1"}"#, 422, "field_invalid", Some("name")),
        (INSTANCES, r#"{"name":"-shop","contract":"postgresql/v1"}"#, 422, "field_invalid", Some("name")),
        (INSTANCES, r#"{"name":"shop\n","contract":"postgresql/v1"}"#, 422, "field_invalid", Some("name")),
        (INSTANCES, r#"{"name":"../etc","contract":"postgresql/v1"}"#, 422, "field_invalid", Some("name")),
        (INSTANCES, r#"{"name":7,"contract":"postgresql/v1"}"#, 422, "field_invalid", Some("name")),
        (INSTANCES, r#"{"name":null,"contract":"postgresql/v1"}"#, 422, "field_invalid", Some("name")),
        (INSTANCES, &long_name, 422, "field_invalid", Some("name")),
        (INSTANCES, r#"{"name":"a","name":"b","contract":"postgresql/v1"}"#, 422, "field_invalid", Some("name")),
        (INSTANCES, r#"{"name":"next","contract":"postgresql"}"#, 422, "field_invalid", Some("contract")),
        (INSTANCES, r#"{"name":"next","contract":"mysql/v1"}"#, 422, "contract_unknown", Some("contract")),
        (INSTANCES, r#"{"name":"next","contract":"postgresql/v9"}"#, 422, "contract_unknown", Some("contract")),
        (INSTANCES, r#"{"name":"next","contract":"postgresql/v1","plan":"gold"}"#, 422, "field_invalid", Some("plan")),
        (
            INSTANCES,
            r#"{"name":"next","contract":"postgresql/v1","plan":["shared"]}"#,
            422,
            "field_invalid",
            Some("plan"),
        ),
        (
            INSTANCES,
            r#"{"name":"next","contract":"postgresql/v1","engine":"oracle"}"#,
            422,
            "engine_unknown",
            Some("engine"),
        ),
        (
            INSTANCES,
            r#"{"name":"next","contract":"postgresql/v1","environment":"No"}"#,
            422,
            "field_invalid",
            Some("environment"),
        ),
        (
            INSTANCES,
            r#"{"name":"next","contract":"postgresql/v1","colour":"red"}"#,
            422,
            "field_invalid",
            Some("colour"),
        ),
        (
            INSTANCES,
            r#"{"name":"next","contract":"postgresql/v1","parameters":{"colour":"red"}}"#,
            422,
            "parameter_unknown",
            Some("parameters.colour"),
        ),
        (
            INSTANCES,
            r#"{"name":"next","contract":"postgresql/v1","parameters":{"connection_limit":"0"}}"#,
            422,
            "parameter_invalid",
            Some("parameters.connection_limit"),
        ),
        (
            INSTANCES,
            r#"{"name":"next","contract":"postgresql/v1","parameters":{"connection_limit":"many"}}"#,
            422,
            "parameter_invalid",
            Some("parameters.connection_limit"),
        ),
        (
            INSTANCES,
            r#"{"name":"next","contract":"postgresql/v1","parameters":[]}"#,
            422,
            "field_invalid",
            Some("parameters"),
        ),
        (INSTANCES, r#"{"name":"shop","contract":"postgresql/v1"}"#, 409, "instance_exists", Some("name")),
        (BINDINGS, "{}", 422, "field_invalid", Some("consumer")),
        (BINDINGS, r#"{"consumer":"No Name"}"#, 422, "field_invalid", Some("consumer")),
        (BINDINGS, r#"{"consumer":"web","ttl":"soon"}"#, 422, "field_invalid", Some("ttl")),
        (BINDINGS, r#"{"consumer":"web","ttl":-1}"#, 422, "field_invalid", Some("ttl")),
        (BINDINGS, r#"{"consumer":"web","ttl":1.5}"#, 422, "field_invalid", Some("ttl")),
        (BINDINGS, r#"{"consumer":"web","ttl":{}}"#, 422, "field_invalid", Some("ttl")),
        (BINDINGS, r#"{"consumer":"web","ttl":0}"#, 422, "lease_invalid", Some("ttl")),
        (BINDINGS, r#"{"consumer":"web","ttl":"367d"}"#, 422, "lease_invalid", Some("ttl")),
        (BINDINGS, r#"{"consumer":"web","ttl":18446744073709551615}"#, 422, "lease_invalid", Some("ttl")),
        ("/api/v1/instances/blog/bindings", r#"{"consumer":"web"}"#, 404, "instance_not_found", None),
        ("/api/v1/instances/No/bindings", r#"{"consumer":"web"}"#, 422, "field_invalid", Some("name")),
        (&rotate, r#"{"overlap":"long"}"#, 422, "field_invalid", Some("overlap")),
        (&rotate, r#"{"overlap":"400d"}"#, 422, "overlap_invalid", Some("overlap")),
        (&renew, r#"{"ttl":"400d"}"#, 422, "lease_invalid", Some("ttl")),
        ("/api/v1/bindings/b-000000000000/renew", "{}", 404, "binding_not_found", None),
        ("/api/v1/bindings/b-000000000000/rotate", "{}", 404, "binding_not_found", None),
        ("/api/v1/tokens", "{}", 422, "field_invalid", Some("role")),
        ("/api/v1/tokens", r#"{"role":"king"}"#, 422, "field_invalid", Some("role")),
        ("/api/v1/tokens", r#"{"role":"viewer","tenant":"No"}"#, 422, "field_invalid", Some("tenant")),
        ("/api/v1/tokens", r#"{"role":"viewer","ttl":0}"#, 422, "lease_invalid", Some("ttl")),
    ];
    let before = server.control.view().sequence();
    for &(path, body, status, code, field) in cases {
        let answer = server.call("POST", path).body(body.to_owned()).send().await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!(answer.problem(), (status, code.to_owned(), field.map(str::to_owned)), "{path} {shown}: {answer:?}");
        assert!(answer.text.len() < 2000, "what was sent is not sent back at length: {shown}");
    }
    assert_eq!(server.control.view().sequence(), before, "nothing of it is on record");
}

#[tokio::test]
async fn paths_queries_and_headers() {
    let server = Server::start().await;
    let none: Headers = &[];
    let cases: &[Case] = &[
        ("GET", "/", none, 404, "route_not_found", None),
        ("GET", "/api/v1", none, 404, "route_not_found", None),
        ("GET", "/api/v2/instances", none, 404, "route_not_found", None),
        ("GET", "/api/v1/instances/", none, 404, "route_not_found", None),
        ("GET", "/api/v1/instances/shop/bindings/x", none, 404, "route_not_found", None),
        ("PUT", INSTANCES, none, 405, "method_not_allowed", None),
        ("BREW", "/api/v1/status", none, 405, "method_not_allowed", None),
        ("POST", "/metrics", none, 405, "method_not_allowed", None),
        ("GET", "/api/v1/instances/shop", none, 404, "instance_not_found", None),
        ("DELETE", "/api/v1/instances/shop", none, 404, "instance_not_found", None),
        ("GET", "/api/v1/instances/No_Name", none, 422, "field_invalid", Some("name")),
        ("GET", "/api/v1/instances/%ff", none, 422, "field_invalid", Some("path")),
        ("GET", "/api/v1/instances/%00", none, 422, "field_invalid", Some("name")),
        ("GET", "/api/v1/instances/..%2f..%2fetc", none, 422, "field_invalid", Some("name")),
        ("GET", "/api/v1/bindings/b-1", none, 422, "field_invalid", Some("id")),
        ("GET", "/api/v1/bindings/b-000000000000", none, 404, "binding_not_found", None),
        ("GET", "/api/v1/operations/b-000000000000", none, 422, "field_invalid", Some("id")),
        ("GET", "/api/v1/operations/op-000000000000", none, 404, "operation_not_found", None),
        ("DELETE", "/api/v1/tokens/t-000000000000", none, 404, "token_not_found", None),
        ("DELETE", "/api/v1/tokens/mine", none, 422, "field_invalid", Some("id")),
        ("GET", "/api/v1/instances?limit=many", none, 400, "query_invalid", Some("limit")),
        ("GET", "/api/v1/instances?limit=-1", none, 400, "query_invalid", Some("limit")),
        ("GET", "/api/v1/instances?limit=1&limit=2", none, 400, "query_invalid", Some("limit")),
        ("GET", "/api/v1/instances?colour=red", none, 400, "query_invalid", Some("colour")),
        ("GET", "/api/v1/instances?contract=postgresql", none, 400, "query_invalid", Some("contract")),
        ("GET", "/api/v1/operations?limit=many", none, 400, "query_invalid", Some("limit")),
        ("GET", "/api/v1/tokens?page=2", none, 400, "query_invalid", Some("page")),
        ("GET", "/api/v1/offerings?limit=x", none, 400, "query_invalid", Some("limit")),
        ("GET", "/api/v1/events?after=latest", none, 400, "query_invalid", Some("after")),
        ("GET", "/api/v1/events?after=-1", none, 400, "query_invalid", Some("after")),
        ("DELETE", "/api/v1/instances/shop?force=maybe", none, 400, "query_invalid", Some("force")),
        ("DELETE", "/api/v1/instances/shop?wait=soon", none, 400, "query_invalid", Some("wait")),
        ("GET", INSTANCES, &[("mainstay-tenant", "No Name")], 400, "header_invalid", Some("mainstay-tenant")),
        (
            "DELETE",
            "/api/v1/instances/shop",
            &[("idempotency-key", "")],
            400,
            "header_invalid",
            Some("idempotency-key"),
        ),
        (
            "GET",
            "/api/v1/events",
            &[("accept", "text/event-stream"), ("last-event-id", "x")],
            400,
            "header_invalid",
            Some("last-event-id"),
        ),
    ];
    for &(method, path, headers, status, code, field) in cases {
        let call = headers.iter().fold(server.call(method, path), |call, (name, value)| call.header(name, value));
        let answer = call.send().await;
        assert_eq!(
            answer.problem(),
            (status, code.to_owned(), field.map(str::to_owned)),
            "{method} {path}: {answer:?}"
        );
    }
    let key = "k".repeat(256);
    let answer = server.call("POST", INSTANCES).header("idempotency-key", &key).json(&json!({})).send().await;
    assert_eq!(answer.problem(), (400, "header_invalid".to_owned(), Some("idempotency-key".to_owned())));
}

#[tokio::test]
async fn a_method_that_is_not_taken_is_answered_with_those_that_are() {
    let server = Server::start().await;
    for (path, allowed) in [
        (INSTANCES, "GET,HEAD,POST"),
        ("/api/v1/instances/shop", "GET,HEAD,DELETE"),
        ("/api/v1/status", "GET,HEAD"),
        ("/api/v1/bindings/b-000000000000/renew", "POST"),
        ("/livez", "GET,HEAD"),
        ("/metrics", "GET,HEAD"),
        ("/openapi.json", "GET,HEAD"),
    ] {
        let answer = server.call("PATCH", path).send().await;
        assert_eq!(answer.problem().1, "method_not_allowed");
        let mut found: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        let mut allowed: Vec<_> = allowed.split(',').collect();
        found.sort_unstable();
        allowed.sort_unstable();
        assert_eq!(found, allowed, "{path}");
    }
    let head = server.call("HEAD", INSTANCES).send().await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
}
