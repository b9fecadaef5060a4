//! What people write, and what they are told when it is wrong.

use std::error::Error;

use mainstay_policy::{Operation, Policy, PolicyName};

use crate::{acl, allowed};

/// The error and its causes, as they are printed.
fn refusal(text: &str) -> String {
    let name = PolicyName::parse("test").expect("a name");
    let error = Policy::parse(name, text).expect_err(text);
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

#[test]
fn all_ways_to_write_a_policy_mean_the_same() {
    let texts = [
        r#"path "secret/*" { policy = "read" }"#,
        r#"path "secret/*" { capabilities = ["read", "list"] }"#,
        "path \"secret/*\" {\n  capabilities = [\n    \"read\",\n    \"list\", # and no more\n  ]\n}\n",
        r#"path "/secret/*" { "capabilities" = ["read"] } path "secret/*" { capabilities = ["list"], comment = "x" }"#,
        r#""path" "secret/*" { capabilities = ["read", "list"] } name = "anything""#,
        r#"path = { "secret/*" = { capabilities = ["read", "list"] } }"#,
        r#"path { "secret/*" { /* old */ policy = "read" } // said
           }"#,
        r#"{"path": {"secret/*": {"capabilities": ["read", "list"]}}}"#,
        r#"  {"name": "x", "path": {"secret/*": [{"capabilities": ["read"]}, {"capabilities": ["list"]}]}}"#,
        r#"{"path": [{"secret/*": {"capabilities": ["read"]}}, {"secret/*": {"capabilities": ["list"]}}]}"#,
        r#"{"path": {"secret/*": {"capabilities": ["read"]}, "secret/*": {"policy": "read"}}}"#,
    ];
    for text in texts {
        let acl = acl(&[text]);
        assert_eq!(acl.capabilities("secret/x"), ["list", "read"], "{text}");
        assert_eq!(acl.capabilities("secre"), ["deny"], "{text}");
    }
}

#[test]
fn the_policies_that_hvac_writes_are_read() {
    let prepared = "
        path \"sys\" {
            policy = \"deny\"
        }
            path \"secret\" {
        policy = \"write\"
        }
        ";
    let prepared = acl(&[prepared]);
    assert!(!allowed(&prepared, Operation::Read, "sys") && allowed(&prepared, Operation::Create, "secret"));
    let health = acl(&[r#"path "sys/health" { capabilities = ["read", "sudo"]}"#]);
    assert_eq!(health.capabilities("sys/health"), ["read", "sudo"]);
    let json = acl(&[
        "{\n    \"path\": {\n        \"test-path\": {\n            \"capabilities\": [\n                \"read\"\n            ]\n        }\n    }\n}",
    ]);
    assert_eq!(json.capabilities("test-path"), ["read"]);
}

#[test]
fn a_wrong_policy_is_refused_with_the_place_and_the_reason() {
    let table = [
        ("name = \"x\"\npaths \"a\" {}", "failed to parse policy: invalid key \"paths\" on line 2"),
        (
            "path \"a\" {\n capability = []\n}",
            "failed to parse policy: path \"a\": invalid key \"capability\" on line 2",
        ),
        (r#"path "a" { capabilities = ["read", "write"] }"#, "path \"a\": invalid capability \"write\""),
        (r#"path "a" { capabilities = ["root"] }"#, "path \"a\": invalid capability \"root\""),
        (r#"path "a" { capabilities = "read" }"#, "path \"a\": capabilities has to be a list of texts"),
        (r#"path "a" { policy = "admin" }"#, "path \"a\": invalid policy \"admin\""),
        (r#"path "a/+*" { policy = "read" }"#, "path \"a/+*\": invalid use of wildcards ('+*' is forbidden)"),
        (r#"path "id/{{identity.entity.id}}" { policy = "read" }"#, "templates ({{...}}) need identities"),
        (r#"path "a" { capabilities = [] capabilities = ["read"] }"#, "path \"a\": capabilities is set twice"),
        (r#"path "a" { min_wrapping_ttl = "2m" max_wrapping_ttl = 60 }"#, "cannot be less than min_wrapping_ttl"),
        (r#"path "a" { max_wrapping_ttl = "soon" }"#, "path \"a\": max_wrapping_ttl has to be a duration"),
        (r#"path "a" { allowed_parameters = ["x"] }"#, "allowed_parameters has to be a map of lists"),
        (r#"path "a" { allowed_parameters = { x = "y" } }"#, "allowed_parameters has to be a map of lists"),
        (r#"path "a" { denied_parameters = { x = [], X = [1] } }"#, "denied_parameters.X is set twice"),
        (r#"path "a" { control_group = {} }"#, "control_group is not supported"),
        (r#"path "a" { expiration = "2030-01-01T00:00:00Z" }"#, "expiration is not supported"),
        (r#"path { capabilities = ["read"] }"#, "path \"capabilities\": it has to be a block"),
        (r#"path = "a""#, "failed to parse policy: path takes rules by pattern"),
        ("path \"a\" {", "failed to parse policy: line 1: a closing } is missing"),
        ("{\"path\": ", "failed to parse policy: EOF while parsing"),
        ("{\"policy\": {}}", "failed to parse policy: invalid key \"policy\" on line 0"),
    ];
    for (text, expected) in table {
        let told = refusal(text);
        assert!(told.contains(expected), "{text}: {told}");
    }
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    assert!(refusal(&" ".repeat((64 << 10) + 1)).contains("may have 65536"));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = |levels| format!("{{\"path\": {}1{}}}", open.repeat(levels), close.repeat(levels));
        assert!(refusal(&deep(40)).contains("nests deeper than 32 levels"));
        refusal(&deep(8_000));
    }
    assert!(refusal(&format!("path {}", "{ a ".repeat(8_000))).contains("nests deeper than 32 levels"));
    assert!(refusal(&format!("path {} {{}}", "\"a\" ".repeat(8_000))).contains("there has to be = or {"));
}
