//! The examples of Vault's documentation of policies, and what its rules say beyond them.

use mainstay_policy::Operation;
use serde_json::json;

use crate::{acl, allowed, object};

#[test]
fn the_patterns_match_what_the_documentation_says() {
    let table: [(&str, &[&str], &[&str]); 9] = [
        (
            "secret/foo",
            &["secret/foo", "/secret/foo"],
            &["secret/food", "secret/foo/bar", "secret/fo", "secret/foo/", ""],
        ),
        ("secret/bar/*", &["secret/bar/", "secret/bar/zip", "secret/bar/zip/zap"], &["secret/bar", "secret/bars/zip"]),
        ("secret/zip-*", &["secret/zip-", "secret/zip-zap", "secret/zip-zap/zong"], &["secret/zip/zap", "secret/zip"]),
        ("secret/+/teamb", &["secret/foo/teamb"], &["secret/foo/bar/teamb", "secret/teamb", "secret/foo/teambs"]),
        ("+/+/teamb", &["secret/foo/teamb", "a/b/teamb"], &["foo/teamb", "a/b/c/teamb"]),
        ("+", &["foo", ""], &["foo/bar"]),
        ("secret/+/+/b*", &["secret/a/c/bob", "secret/a/c/b", "secret/a/c/b/d"], &["secret/a/b", "secret/a/c/d"]),
        ("*", &["", "anything", "at/all/"], &[]),
        ("/secret/with/slash", &["secret/with/slash"], &["secret/with"]),
    ];
    for (pattern, inside, outside) in table {
        let acl = acl(&[&format!("path {pattern:?} {{ capabilities = [\"read\"] }}")]);
        for path in inside {
            assert!(allowed(&acl, Operation::Read, path), "{pattern} matches {path}");
        }
        for path in outside {
            assert!(!allowed(&acl, Operation::Read, path), "{pattern} does not match {path}");
        }
    }
}

/// Each path is decided by one pattern of its row, whatever the others say.
#[test]
fn the_pattern_of_the_highest_priority_counts() {
    let table: [(&[&str], &str, &str); 12] = [
        (&["secret/*", "secret/super-secret"], "secret/super-secret", "secret/super-secret"),
        (&["secret/*", "secret/super*"], "secret/super-secret", "secret/super*"),
        (&["secret/*", "secret/+/+/foo/*"], "secret/bar/baz/foo/x", "secret/*"),
        (&["secret/*", "secret/+/+/foo", "secret/+/bar/foo"], "secret/a/bar/foo", "secret/+/bar/foo"),
        (&["foo/a*", "foo/+"], "foo/ab", "foo/a*"),
        (&["foo/bar/+/baz", "foo/+/bar/baz"], "foo/bar/bar/baz", "foo/bar/+/baz"),
        (&["foo/+/bar", "foo/+/ba*"], "foo/x/bar", "foo/+/bar"),
        (&["foo/+", "foo/*"], "foo/x", "foo/+"),
        (&["foo/bar/+/baz", "foo/+/+/baz"], "foo/bar/x/baz", "foo/bar/+/baz"),
        (&["foo/+/bar/ba*", "foo/+/bar/b*"], "foo/x/bar/baz", "foo/+/bar/ba*"),
        (&["+/b", "a/+"], "a/b", "a/+"),
        (&["a/b/*", "a/*", "*"], "a/c", "a/*"),
    ];
    for (patterns, path, winner) in table {
        let rules = patterns.iter().map(|pattern| {
            let capability = if *pattern == winner { "read" } else { "delete" };
            format!("path {pattern:?} {{ capabilities = [{capability:?}] }}\n")
        });
        let acl = acl(&[&rules.collect::<String>()]);
        assert_eq!(acl.capabilities(path), ["read"], "{patterns:?} at {path}");
    }
}

#[test]
fn policies_are_added_up_and_deny_stands_alone() {
    let read = r#"path "secret/*" { capabilities = ["read", "list"] }"#;
    let write = r#"path "secret/*" { capabilities = ["create", "update"] }"#;
    let deny = r#"path "secret/*" { capabilities = ["deny", "read"] }"#;
    let below = r#"path "secret/open" { policy = "write" }"#;
    assert_eq!(acl(&[read, write]).capabilities("secret/x"), ["create", "list", "read", "update"]);
    for order in [[read, deny, write], [deny, read, write], [write, read, deny]] {
        assert_eq!(acl(&order).capabilities("secret/x"), ["deny"]);
    }
    assert_eq!(acl(&[deny, below]).capabilities("secret/open"), ["create", "delete", "list", "read", "update"]);
    assert_eq!(acl(&[read]).capabilities("elsewhere"), ["deny"]);
    assert_eq!(acl(&[]).capabilities("secret/x"), ["deny"]);
    assert_eq!(acl(&[r#"path "secret/x" { capabilities = [] }"#, read]).capabilities("secret/x"), ["deny"]);
}

#[test]
fn each_operation_needs_its_capability() {
    let table = [
        (Operation::Create, "create"),
        (Operation::Read, "read"),
        (Operation::Update, "update"),
        (Operation::Patch, "patch"),
        (Operation::Delete, "delete"),
        (Operation::List, "list"),
    ];
    for (_, capability) in table {
        let acl = acl(&[&format!(r#"path "x" {{ capabilities = ["{capability}", "sudo"] }}"#)]);
        for (operation, needed) in table {
            let decision = acl.check("x", operation, &object(json!({})), None);
            assert_eq!((decision.allowed, decision.sudo), (needed == capability, true));
        }
    }
}

#[test]
fn a_list_s_path_may_end_with_a_slash_where_the_rule_s_does_not() {
    let acl = acl(&[r#"
        path "auth/approle/role" { capabilities = ["list"] }
        path "kv/metadata/+" { capabilities = ["list", "read"] }
        path "kv/both" { capabilities = ["read"] }
        path "kv/both/" { capabilities = ["list"] }
    "#]);
    for path in ["auth/approle/role", "auth/approle/role/", "kv/metadata/app/", "kv/metadata/app", "kv/both/"] {
        assert!(allowed(&acl, Operation::List, path), "{path}");
    }
    assert!(!allowed(&acl, Operation::List, "kv/both"));
    assert!(!allowed(&acl, Operation::Read, "kv/metadata/app/x") && !allowed(&acl, Operation::Read, "kv/both/"));
}

#[test]
fn parameters_are_held_to_what_the_rules_say() {
    let table = [
        // Rule, parameters, allowed?
        (r#"allowed_parameters = { "bar" = [] }"#, json!({"bar": "anything"}), true),
        (r#"allowed_parameters = { "bar" = [] }"#, json!({"bar": 1, "foo": 2}), false),
        (r#"allowed_parameters = { "bar" = [] }"#, json!({}), true),
        (r#"allowed_parameters = { "bar" = ["zip", "zap"] }"#, json!({"bar": "zip"}), true),
        (r#"allowed_parameters = { "bar" = ["zip", "zap"] }"#, json!({"BAR": "zop"}), false),
        (r#"allowed_parameters = { "bar" = ["zip", "zap"], "*" = [] }"#, json!({"bar": "zap", "foo": "x"}), true),
        (r#"allowed_parameters = { "bar" = ["zip", "zap"], "*" = [] }"#, json!({"bar": "x"}), false),
        (r#"allowed_parameters = { "*" = [] }"#, json!({"any": "thing"}), true),
        (r#"allowed_parameters = { "bar" = ["foo-*", "*-end", "*mid*"] }"#, json!({"bar": "foo-1"}), true),
        (r#"allowed_parameters = { "bar" = ["foo-*", "*-end", "*mid*"] }"#, json!({"bar": "the-end"}), true),
        (r#"allowed_parameters = { "bar" = ["foo-*", "*-end", "*mid*"] }"#, json!({"bar": "a mid b"}), true),
        (r#"allowed_parameters = { "bar" = ["foo-*", "*-end", "*mid*"] }"#, json!({"bar": "foo"}), false),
        (r#"allowed_parameters = { "n" = [5, true] }"#, json!({"n": 5.0}), true),
        (r#"allowed_parameters = { "n" = [5, true] }"#, json!({"n": 6}), false),
        (r#"allowed_parameters = { "p" = ["a", "b"] }"#, json!({"p": ["a", "b"]}), true),
        (r#"allowed_parameters = { "p" = ["a", "b"] }"#, json!({"p": "b, a"}), true),
        (r#"allowed_parameters = { "p" = ["a", "b"] }"#, json!({"p": ["a", "c"]}), false),
        (r#"allowed_parameters = { "p" = ["a", "b"] }"#, json!({"p": []}), false),
        (r#"denied_parameters = { "bar" = [] }"#, json!({"bar": "x"}), false),
        (r#"denied_parameters = { "bar" = [] }"#, json!({"foo": "x"}), true),
        (r#"denied_parameters { bar = ["zip"] }"#, json!({"bar": "zip"}), false),
        (r#"denied_parameters { bar = ["zip"] }"#, json!({"bar": "zap"}), true),
        (r#"denied_parameters = { "*" = [] }"#, json!({"bar": "x"}), false),
        (r#"denied_parameters = { "*" = [] }"#, json!({}), true),
        (r#"denied_parameters = { "p" = ["root"] }"#, json!({"p": ["a", "root"]}), false),
        (r#"denied_parameters = { "p" = ["root"] }"#, json!({"p": "a, root"}), false),
        (r#"denied_parameters = { "n" = ["5"] }"#, json!({"n": 5}), false),
        (r#"denied_parameters = { "n" = [5] }"#, json!({"n": "5"}), false),
        (r#"denied_parameters = { "n" = ["*"] }"#, json!({"n": "any"}), false),
        (r#"allowed_parameters = { "a" = [] } denied_parameters = { "a" = ["x"] }"#, json!({"a": "x"}), false),
        (r#"required_parameters = ["A", "b"]"#, json!({"a": 1, "b": null}), true),
        (r#"required_parameters = ["A", "b"]"#, json!({"a": 1}), false),
        (r#"required_parameters = ["A", "b"]"#, json!({}), false),
    ];
    for (rule, data, expected) in table {
        let capabilities = r#"capabilities = ["create", "read", "update", "patch", "delete", "list"]"#;
        let acl = acl(&[&format!("path \"x\" {{ {capabilities} {rule} }}")]);
        for operation in [Operation::Create, Operation::Read, Operation::Update, Operation::Patch] {
            let decision = acl.check("x", operation, &object(data.clone()), None);
            assert_eq!(decision.allowed, expected, "{rule} with {data}");
        }
        for operation in [Operation::Delete, Operation::List] {
            assert!(acl.check("x", operation, &object(data.clone()), None).allowed, "{rule} with {data}");
        }
    }
}

#[test]
fn conditions_of_several_policies_are_added_up() {
    let one =
        r#"path "x" { capabilities = ["update"] allowed_parameters = { a = ["1"] b = [] } max_wrapping_ttl = 90 }"#;
    let other = r#"path "x" { capabilities = ["update"] allowed_parameters = { a = ["2"] b = ["y"] c = [] }
                   max_wrapping_ttl = "1m" required_parameters = ["a"] }"#;
    let free = r#"path "x" { capabilities = ["update"] }"#;
    for policies in [[one, other, free], [free, other, one]] {
        let acl = acl(&policies);
        let check = |data, ttl| acl.check("x", Operation::Update, &object(data), ttl).allowed;
        assert!(check(json!({"a": "1", "b": "z"}), Some(60)) && check(json!({"a": "2", "c": 0}), Some(1)));
        assert!(!check(json!({"a": "3"}), Some(60)) && !check(json!({"b": "z"}), Some(60)));
        assert!(!check(json!({"a": "1"}), Some(61)) && !check(json!({"a": "1"}), None));
    }
}

#[test]
fn answers_are_wrapped_for_as_long_as_the_rules_say() {
    let table = [
        (
            "min_wrapping_ttl = \"1s\" max_wrapping_ttl = \"90s\"",
            [(None, false), (Some(1), true), (Some(90), true), (Some(91), false)],
        ),
        ("min_wrapping_ttl = 60", [(None, false), (Some(59), false), (Some(60), true), (Some(1 << 40), true)]),
        ("max_wrapping_ttl = \"1h30m\"", [(None, false), (Some(0), true), (Some(5400), true), (Some(5401), false)]),
        ("", [(None, true), (Some(1), true), (Some(5), true), (Some(500), true)]),
    ];
    for (rule, cases) in table {
        let acl = acl(&[&format!("path \"x\" {{ capabilities = [\"read\"] {rule} }}")]);
        for (ttl, expected) in cases {
            assert_eq!(acl.check("x", Operation::Read, &object(json!({})), ttl).allowed, expected, "{rule} {ttl:?}");
        }
    }
}

#[test]
fn a_mount_shows_itself_to_those_who_may_do_something_there() {
    let table: [(&str, &[&str], &[&str]); 6] = [
        ("secret/data/app", &["secret/", "secret/data/"], &["secre/", "kv/", "secret/data/other/"]),
        ("secret/*", &["secret/", "secret/below/"], &["kv/"]),
        ("se*", &["secret/"], &["kv/"]),
        ("+/data/x", &["secret/", "kv/"], &["team/kv/"]),
        ("team/+/data/*", &["team/kv/", "team/"], &["kv/"]),
        ("*", &["secret/", "a/b/"], &[]),
    ];
    for (pattern, seen, hidden) in table {
        let reading = acl(&[&format!("path {pattern:?} {{ capabilities = [\"read\"] }}")]);
        let denied = acl(&[&format!("path {pattern:?} {{ capabilities = [\"deny\"] }}")]);
        seen.iter().for_each(|mount| assert!(reading.reaches_below(mount), "{pattern} at {mount}"));
        hidden.iter().for_each(|mount| assert!(!reading.reaches_below(mount), "{pattern} at {mount}"));
        seen.iter().for_each(|mount| assert!(!denied.reaches_below(mount), "{pattern} denied at {mount}"));
    }
}
