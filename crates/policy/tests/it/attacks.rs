//! Tricks that have worked against others.

use mainstay_policy::{Acl, Operation, Policy, PolicyName};
use serde_json::{Map, Value, json};

use crate::{acl, allowed, object, policy};

/// Paths are compared as they are: what the server does not decode does not match either.
#[test]
fn paths_that_pretend_to_be_others_are_not_these() {
    let acl = acl(&[r#"
        path "secret/public/*" { capabilities = ["read"] }
        path "exact/path" { capabilities = ["read"] }
        path "team/+/notes" { capabilities = ["read"] }
    "#]);
    let refused = [
        "secret/../secret/private/x",
        "secret/public",
        "Secret/Public/x",
        "secret/PUBLIC/x",
        "secret%2fpublic%2fx",
        "secret/public%2fx",
        "secret//public/x",
        "secret\\public\\x",
        "secret/publi",
        "\u{200b}secret/public/x",
        "exact/path/",
        "exact/path\0",
        "exact/path ",
        "exact/./path",
        "exact/path?x",
        "team/a/b/notes",
        "team/notes",
        "team/../../notes",
        "",
        "/",
        "*",
        "+",
    ];
    for path in refused {
        assert!(!allowed(&acl, Operation::Read, path), "{path:?}");
    }
    // A prefix covers whatever begins so; hence a server must refuse dots before it asks.
    assert!(allowed(&acl, Operation::Read, "secret/public/../private"));
}

#[test]
fn a_star_ends_a_prefix_and_nothing_else() {
    let acl = acl(&[r#"
        path "secret*" { capabilities = ["read"] }
        path "mid/*/end" { capabilities = ["read"] }
        path "plus/a+b" { capabilities = ["read"] }
        path "two/**" { capabilities = ["read"] }
    "#]);
    assert!(allowed(&acl, Operation::Read, "secrets-of-others/x") && allowed(&acl, Operation::Read, "secret"));
    assert!(allowed(&acl, Operation::Read, "mid/*/end") && !allowed(&acl, Operation::Read, "mid/x/end"));
    assert!(allowed(&acl, Operation::Read, "plus/a+b") && !allowed(&acl, Operation::Read, "plus/axb"));
    assert!(allowed(&acl, Operation::Read, "two/*x") && !allowed(&acl, Operation::Read, "two/x"));
}

#[test]
fn a_list_does_not_get_past_a_denial() {
    let table = [
        // GHSA-xp3c-3jw3-4vcr: the folder itself, which the denied pattern names with its slash.
        ("kv/metadata/*", "kv/metadata/private/*"),
        ("+/metadata/*", "+/metadata/private/*"),
        ("*", "kv/metadata/private/*"),
        ("kv/*", "kv/metadata/+/*"),
        ("kv/metadata/*", "kv/metadata/private/"),
        ("kv/metadata/*", "kv/metadata/private"),
        ("kv/metadata/*", "kv/metadata/priv*"),
        ("kv/metadata/*", "kv/+/private"),
    ];
    for (wide, denied) in table {
        let rules =
            format!(r#"path "{wide}" {{ capabilities = ["read", "list"] }} path "{denied}" {{ policy = "deny" }}"#);
        let acl = acl(&[&rules]);
        // A pattern with an early + counts less than a long prefix: that row says so.
        let expected = denied == "kv/+/private";
        assert_eq!(allowed(&acl, Operation::List, "kv/metadata/private/"), expected, "{rules}");
        assert_eq!(acl.capabilities("kv/metadata/private/") == ["deny"], !expected, "{rules}");
        assert!(allowed(&acl, Operation::List, "other/") == (wide == "*"), "{rules}");
    }
}

#[test]
fn a_name_grants_nothing() {
    let root = PolicyName::parse("root").expect("a name");
    let named_root = Policy::parse(root, r#"path "a" { capabilities = ["read"] }"#).expect("a policy");
    let acl = Acl::new([&named_root]);
    assert!(!acl.is_root() && !allowed(&acl, Operation::Read, "b"));
    assert_eq!(acl.capabilities("a"), ["read"]);
    let acl = Acl::new([&named_root, &Policy::root()]);
    assert!(acl.is_root() && allowed(&acl, Operation::Delete, "sys/seal"));
    assert_eq!(acl.capabilities("anything"), ["root"]);
}

#[test]
fn nothing_is_allowed_where_there_is_no_policy() {
    let acl = Acl::new(std::iter::empty::<&Policy>());
    for path in ["", "a", "/", "sys/health"] {
        assert!(!allowed(&acl, Operation::Read, path) && !acl.reaches_below("a/"));
    }
}

#[test]
fn a_denied_parameter_stays_denied_in_whatever_case_and_form() {
    let rules = r#"path "x" { capabilities = ["update"] denied_parameters = { "Policies" = ["root*"], ttl = [0] } }"#;
    let acl = acl(&[rules]);
    let denied = [
        json!({"policies": "root"}),
        json!({"POLICIES": "root"}),
        json!({"policies": ["a", "rooted"]}),
        json!({"policies": "a,root"}),
        json!({"policies": " root"}),
        json!({"ttl": 0}),
        json!({"ttl": "0"}),
        json!({"ttl": 0.0}),
    ];
    for data in denied {
        assert!(!acl.check("x", Operation::Update, &object(data.clone()), None).allowed, "{data}");
    }
}

#[test]
fn long_paths_and_deep_parameters_are_no_trouble() {
    let long = "a/".repeat(100_000);
    let acl = Acl::new([
        policy(r#"path "a/*" { capabilities = ["read"] }"#),
        policy(r#"path "+/+/b" { capabilities = ["read"] allowed_parameters = { x = ["y"] } }"#),
        policy(&format!("path \"{}\" {{ policy = \"read\" }}", "+/".repeat(30_000))),
    ]);
    assert!(allowed(&acl, Operation::Read, &long) && !allowed(&acl, Operation::Read, &format!("b{long}")));
    let mut deep = json!("y");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let data: Map<String, Value> = object(json!({ "x": deep }));
    assert!(!acl.check("c/d/b", Operation::Read, &data, None).allowed);
}
