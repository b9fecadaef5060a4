//! Paths that are written so that a policy and an engine could take them for two different ones.

use mainstay_secrets::Method;
use serde_json::json;

use crate::core::{Client, Core};

const METHODS: [Method; 6] = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete, Method::List];

#[tokio::test]
async fn a_slash_at_the_end_opens_nothing() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/mounts/transit", json!({ "type": "transit" })).await.expect(204);
    core.post(&admin, "transit/keys/k", json!({})).await.expect(200);
    core.post(&admin, "secret/data/closed", json!({ "data": { "a": "b" } })).await.expect(200);
    let policy = r#"
        path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
        path "secret/data/closed" { capabilities = ["deny"] }
        path "transit/keys/k" { capabilities = ["deny"] }
        path "auth/token/lookup-self" { capabilities = ["deny"] }
    "#;
    let client = core.client_with(&admin, "slash", policy).await;
    for path in ["secret/data/closed", "transit/keys/k", "auth/token/lookup-self"] {
        for slash in ["", "/"] {
            core.get(&client, &format!("{path}{slash}")).await.refused(403);
            core.call(&client, Method::Delete, &format!("{path}{slash}"), json!({})).await.refused(403);
        }
    }
    // What needs sudo needs it with a slash too. Writing to such a path is nothing at all, as in Vault.
    for path in ["sys/audit", "sys/key-status", "sys/leases", "auth/token/accessors"] {
        for slash in ["", "/"] {
            core.get(&client, &format!("{path}{slash}")).await.refused(403);
            core.call(&client, Method::List, &format!("{path}{slash}"), json!({})).await.refused(403);
        }
    }
    for path in ["sys/seal", "sys/rotate", "sys/remount", "auth/token/create-orphan", "auth/token/revoke-orphan"] {
        core.post(&client, path, json!({})).await.refused(403);
        let text = core.post(&client, &format!("{path}/"), json!({})).await.refused(400);
        assert_eq!(text, "cannot write to a path ending in '/'");
    }
}

#[tokio::test]
async fn there_is_one_way_to_write_a_path() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "secret/data/a/b", json!({ "data": { "k": "v" } })).await.expect(200);
    let policy =
        r#"path "secret/data/open/*" { capabilities = ["create", "read", "update", "delete", "list", "patch"] }"#;
    let client = core.client_with(&admin, "one-way", policy).await;
    let long = format!("secret/data/open/{}", "a".repeat(4096));
    let ways = [
        "secret/data/open/../a/b",
        "secret/data/open/./../a/b",
        "secret/data/open/..",
        "secret//data/a/b",
        "/secret/data/a/b",
        "secret/data//a/b",
        "secret/data/a/b\0",
        "secret/data/a\n/b",
        "secret/data/open/\u{85}",
        ".",
        "..",
        "",
        "/",
        "//",
        "./secret/data/a/b",
        &long,
    ];
    for path in ways {
        for method in METHODS {
            for caller in [&client, &admin, &Client::default()] {
                let answer = core.call(caller, method, path, json!({})).await;
                assert_eq!(answer.status, 400, "{method:?} {path:?}: {}", answer.body);
            }
        }
    }
    // What only looks like another path is a path of its own, which is closed or empty.
    for path in [
        "SECRET/data/a/b",
        "Secret/data/a/b",
        "secret/DATA/a/b",
        "secret/data/A/b",
        "secret/data/a%2fb",
        "secret/data/a%2Fb",
        "secret/data/open%2f..%2fa/b",
        "secret/data/open/%2e%2e/a/b",
        "secret/data/open/%252e%252e/a/b",
        "secret\\data\\a\\b",
        "secret/data/\u{ff0f}a/b",
        "secret/data/\u{2024}\u{2024}/a/b",
        "secret/data/a\u{200b}/b",
        "sys/../secret/data/a",
    ] {
        for caller in [&client, &Client::default()] {
            let answer = core.get(caller, path).await;
            assert!(matches!(answer.status, 400 | 403 | 404), "{path:?}: {answer:?}");
            assert!(answer.body["data"].is_null(), "{path:?}: {answer:?}");
        }
        let answer = core.get(&admin, path).await;
        assert!(matches!(answer.status, 400 | 404), "{path:?}: {answer:?}");
    }
}

#[tokio::test]
async fn patterns_match_no_more_than_they_say() {
    let (core, admin) = (Core::new().await, Client::admin());
    for path in ["app", "app/db", "app/db/x", "application", "app2/db", "team/a/db", "team/a/b/db", "team/db"] {
        core.post(&admin, &format!("secret/data/{path}"), json!({ "data": { "at": path } })).await.expect(200);
    }
    for (number, (pattern, open)) in [
        ("secret/data/app", vec!["app"]),
        ("secret/data/app/*", vec!["app/db", "app/db/x"]),
        ("secret/data/app*", vec!["app", "app/db", "app/db/x", "application", "app2/db"]),
        ("secret/data/+/db", vec!["app/db", "app2/db", "team/db"]),
        ("secret/data/team/+/db", vec!["team/a/db"]),
        ("secret/data/+", vec!["app", "application"]),
        ("+/data/app", vec!["app"]),
        ("secret/+", vec![]),
        ("secret/data/", vec![]),
        ("ecret/data/app", vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let policy = format!("path \"{pattern}\" {{ capabilities = [\"read\"] }}");
        let client = core.client_with(&admin, &format!("pattern-{number}"), &policy).await;
        for path in ["app", "app/db", "app/db/x", "application", "app2/db", "team/a/db", "team/a/b/db", "team/db"] {
            let answer = core.get(&client, &format!("secret/data/{path}")).await;
            assert_eq!(answer.status == 200, open.contains(&path), "{pattern} at {path}: {answer:?}");
            let written = core.post(&client, &format!("secret/data/{path}"), json!({ "data": {} })).await;
            assert_eq!(written.status, 403, "{pattern} at {path} allows reading only");
        }
    }
}
