//! Who is let in, to what, and in which tenant.

use mainstay_domain::command::RevokeToken;
use mainstay_domain::event::Actor;
use mainstay_types::{Role, TenantScope, Timestamp};
use serde_json::{Value, json};

use crate::server::{PATIENCE, Server};

/// Every route behind a token, and the least role that it takes.
const ROUTES: [(&str, &str, Role, &str); 30] = [
    ("GET", "/api/v1/offerings", Role::Viewer, ""),
    ("GET", "/api/v1/instances", Role::Viewer, ""),
    ("POST", "/api/v1/instances", Role::Operator, r#"{"name":"x","contract":"none/v1"}"#),
    ("GET", "/api/v1/instances/none", Role::Viewer, ""),
    ("DELETE", "/api/v1/instances/none", Role::Operator, ""),
    ("POST", "/api/v1/instances/none/move", Role::Operator, "{}"),
    ("GET", "/api/v1/instances/none/backups", Role::Viewer, ""),
    ("POST", "/api/v1/instances/none/backups", Role::Operator, "{}"),
    ("POST", "/api/v1/instances/none/restores", Role::Operator, "{}"),
    ("GET", "/api/v1/instances/none/drills", Role::Viewer, ""),
    ("POST", "/api/v1/instances/none/drills", Role::Operator, "{}"),
    ("GET", "/api/v1/drills", Role::Viewer, ""),
    ("GET", "/api/v1/drills/evidence", Role::Viewer, ""),
    ("GET", "/api/v1/drills/keys", Role::Viewer, ""),
    ("GET", "/api/v1/instances/none/recovery", Role::Viewer, ""),
    ("PUT", "/api/v1/instances/none/recovery", Role::Operator, "{}"),
    ("GET", "/api/v1/instances/none/bindings", Role::Viewer, ""),
    ("POST", "/api/v1/instances/none/bindings", Role::Operator, r#"{"consumer":"web"}"#),
    ("GET", "/api/v1/bindings/b-000000000000", Role::Viewer, ""),
    ("DELETE", "/api/v1/bindings/b-000000000000", Role::Operator, ""),
    ("POST", "/api/v1/bindings/b-000000000000/renew", Role::Operator, "{}"),
    ("POST", "/api/v1/bindings/b-000000000000/rotate", Role::Operator, "{}"),
    ("GET", "/api/v1/clusters", Role::Viewer, ""),
    ("GET", "/api/v1/operations", Role::Viewer, ""),
    ("GET", "/api/v1/operations/op-000000000000", Role::Viewer, ""),
    ("GET", "/api/v1/events", Role::Viewer, ""),
    ("GET", "/api/v1/status", Role::Viewer, ""),
    ("GET", "/api/v1/tokens", Role::Admin, ""),
    ("POST", "/api/v1/tokens", Role::Admin, r#"{"role":"viewer","ttl":0}"#),
    ("DELETE", "/api/v1/tokens/t-000000000000", Role::Admin, ""),
];

/// Routes that take an admin of every tenant, and what they answer where there are neither secrets, nor objects, nor backups.
const ROUTES_OF_ALL: [(&str, &str, u16); 12] = [
    ("GET", "/api/v1/custody/snapshot", 404),
    ("POST", "/api/v1/custody/restore", 404),
    ("GET", "/api/v1/scrub", 404),
    ("POST", "/api/v1/scrub", 404),
    ("GET", "/api/v1/recovery", 200),
    ("POST", "/api/v1/drills/keys", 204),
    ("GET", "/api/v1/recovery/key", 409),
    ("POST", "/api/v1/recovery/key/shares", 409),
    ("POST", "/api/v1/recovery/key/acknowledge", 409),
    ("POST", "/api/v1/recovery/take-over", 409),
    ("GET", "/api/v1/recovery/verify", 409),
    ("POST", "/api/v1/recovery/verify", 409),
];

#[test]
fn the_table_has_every_route_of_the_contract() {
    let document = serde_json::to_value(mainstay_http::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let routes = paths.flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method, path)));
    let behind_token = routes.filter(|(_, path)| path.starts_with("/api/")).count();
    assert_eq!(behind_token, ROUTES.len() + ROUTES_OF_ALL.len(), "a route is missing from the table of this test");
}

#[tokio::test]
async fn each_route_takes_its_role_and_more() {
    let server = Server::start().await;
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let token = server.token(role, "default").await;
        for (method, path, least, body) in ROUTES {
            let answer = server.call(method, path).token(&token).body(body).send().await;
            let refused = answer.status == 403 && answer.problem().1 == "role_insufficient";
            assert_eq!(refused, role < least, "{role} {method} {path}: {answer:?}");
            assert!(refused || answer.status != 403, "{role} {method} {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_belongs_to_every_tenant_takes_a_token_for_every_one() {
    let server = Server::start().await;
    for (method, path, status) in ROUTES_OF_ALL {
        for (role, code) in [(Role::Operator, "role_insufficient"), (Role::Admin, "tenant_forbidden")] {
            let token = server.token(role, "default").await;
            let answer = server.call(method, path).token(&token).send().await;
            assert_eq!((answer.status.as_u16(), answer.problem().1.as_str()), (403, code), "{role} {method} {path}");
        }
        // What this server does not keep it tells only now.
        assert_eq!(server.call(method, path).send().await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_that_is_accepted() {
    let server = Server::start().await;
    let (head, secret) = server.admin.rsplit_once('_').unwrap();
    let flipped: String = secret.chars().rev().collect();
    let other = server.token(Role::Viewer, "default").await;
    let other_secret = other.rsplit_once('_').unwrap().1;
    let forged = [
        String::new(),
        "mst_".to_owned(),
        "admin".to_owned(),
        head.to_owned(),
        format!("{head}_"),
        format!("{head}_{flipped}"),
        format!("{head}_{other_secret}"),
        server.admin.to_uppercase(),
        format!("{}x", server.admin),
        "mst_000000000000_abc".to_owned(),
    ];
    let extra = [("GET", "/metrics"), ("GET", "/openapi.json")];
    for (method, path) in ROUTES.iter().map(|(method, path, ..)| (*method, *path)).chain(extra) {
        let answer = server.call(method, path).without_token().send().await;
        assert_eq!(answer.problem(), (401, "token_missing".to_owned(), None), "{method} {path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"mainstay\"");
        let answer = server.call(method, path).token(&forged[5]).send().await;
        assert_eq!(answer.problem(), (401, "token_refused".to_owned(), None), "{method} {path}");
    }
    for token in &forged {
        let answer = server.call("GET", "/api/v1/status").token(token).send().await;
        assert!(matches!(answer.problem().1.as_str(), "token_refused" | "token_missing"), "{token:?}: {answer:?}");
        assert!(token.len() < 10 || !answer.text.contains(token.as_str()), "{token:?} is sent back");
    }
    for value in ["Basic YWRtaW46YWRtaW4=", "Bearer", "\u{e9}"] {
        let answer = server.call("GET", "/api/v1/status").without_token().header("authorization", value).send().await;
        assert_eq!(answer.problem().1, "token_missing", "{value}");
    }
    let answer = server.call("GET", "/api/v1/status").without_token();
    let answer = answer.header("authorization", &format!("bearer   {} ", server.admin)).send().await;
    assert_eq!(answer.status, 200, "the scheme is not case-sensitive");
}

#[tokio::test]
async fn a_token_ends() {
    let server = Server::start().await;
    let made = server.call("POST", "/api/v1/tokens").json(&json!({"role": "viewer", "ttl": "1s"})).send().await.json();
    let short = made["token"].as_str().unwrap();
    let expires_at: Timestamp = made["expires_at"].as_str().unwrap().parse().unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let refused = loop {
        let answer = server.call("GET", "/api/v1/status").token(short).send().await;
        if answer.status != 200 {
            break answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never ends");
    };
    assert_eq!(refused.problem(), (401, "token_expired".to_owned(), None));
    assert!(Timestamp::now() >= expires_at);

    let made = server.call("POST", "/api/v1/tokens").json(&json!({"role": "admin"})).send().await.json();
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert_eq!(server.call("GET", "/api/v1/status").token(token).send().await.status, 200);
    assert_eq!(server.call("DELETE", &format!("/api/v1/tokens/{id}")).send().await.status, 204);
    let answer = server.call("GET", "/api/v1/status").token(token).send().await;
    assert_eq!(answer.problem().1, "token_refused");
    let answer = server.call("DELETE", &format!("/api/v1/tokens/{id}")).send().await;
    assert_eq!(answer.problem().1, "token_not_found");
}

#[tokio::test]
async fn to_one_tenant_the_things_of_another_do_not_exist() {
    let server = Server::start().await;
    server.create("shop").await;
    let bound = server.bind("shop").await;
    let id = bound["id"].as_str().unwrap();
    let operations = server.get("/api/v1/operations").await.json();
    let operation = operations["items"][0]["id"].as_str().unwrap();
    let stranger = server.token(Role::Admin, "other").await;
    let ask = |method: &'static str, path: String| server.call(method, &path).token(&stranger).body("{}").send();

    for (method, path, code) in [
        ("GET", "/api/v1/instances/shop".to_owned(), "instance_not_found"),
        ("DELETE", "/api/v1/instances/shop?force=true".to_owned(), "instance_not_found"),
        ("POST", "/api/v1/instances/shop/move".to_owned(), "instance_not_found"),
        ("GET", "/api/v1/instances/shop/backups".to_owned(), "instance_not_found"),
        ("POST", "/api/v1/instances/shop/backups".to_owned(), "instance_not_found"),
        ("POST", "/api/v1/instances/shop/restores".to_owned(), "instance_not_found"),
        ("GET", "/api/v1/instances/shop/drills".to_owned(), "instance_not_found"),
        ("POST", "/api/v1/instances/shop/drills".to_owned(), "instance_not_found"),
        ("GET", "/api/v1/instances/shop/recovery".to_owned(), "instance_not_found"),
        ("PUT", "/api/v1/instances/shop/recovery".to_owned(), "instance_not_found"),
        ("GET", "/api/v1/instances/shop/bindings".to_owned(), "instance_not_found"),
        ("GET", format!("/api/v1/bindings/{id}"), "binding_not_found"),
        ("DELETE", format!("/api/v1/bindings/{id}"), "binding_not_found"),
        ("POST", format!("/api/v1/bindings/{id}/renew"), "binding_not_found"),
        ("POST", format!("/api/v1/bindings/{id}/rotate"), "binding_not_found"),
        ("GET", format!("/api/v1/operations/{operation}"), "operation_not_found"),
    ] {
        let answer = ask(method, path).await;
        assert_eq!(answer.problem(), (404, code.to_owned(), None));
        assert!(!answer.text.contains("default"), "{answer:?}");
    }
    for list in ["instances", "operations", "drills", "drills/evidence"] {
        assert_eq!(ask("GET", format!("/api/v1/{list}")).await.json()["items"], json!([]));
    }
    let events = ask("GET", "/api/v1/events".to_owned()).await.json();
    for event in events["items"].as_array().unwrap() {
        assert!(event["tenant"] == "other" || event["subject"]["kind"] == "cluster", "{event}");
    }
    let clusters = ask("GET", "/api/v1/clusters".to_owned()).await.json();
    assert_eq!(clusters["items"][0]["instances"], 0, "not even how many there are: {clusters}");
    let tokens = ask("GET", "/api/v1/tokens".to_owned()).await.json();
    assert!(tokens["items"].as_array().unwrap().iter().all(|token| token["tenant"] == "other"), "{tokens}");

    // It may name its own tenant, and no other; and give away no more than it has.
    let named = |tenant: &str| server.call("GET", "/api/v1/status").token(&stranger).header("mainstay-tenant", tenant);
    assert_eq!(named("other").send().await.status, 200);
    let answer = named("default").send().await;
    assert_eq!(answer.problem(), (403, "tenant_forbidden".to_owned(), Some("mainstay-tenant".to_owned())));
    for tenant in ["default", "*"] {
        let body = json!({"role": "viewer", "tenant": tenant});
        let answer = server.call("POST", "/api/v1/tokens").token(&stranger).json(&body).send().await;
        assert_eq!(answer.problem(), (403, "tenant_forbidden".to_owned(), Some("tenant".to_owned())));
    }
    assert_eq!(ask("GET", "/metrics".to_owned()).await.problem().1, "tenant_forbidden");

    // The same names in another tenant are other things.
    let body = json!({"name": "shop", "contract": "postgresql/v1"});
    let made = server.call("POST", "/api/v1/instances?wait=30s").token(&stranger).json(&body).send().await;
    assert_eq!(made.json()["state"], "succeeded");
    let both = [ask("GET", "/api/v1/instances/shop".to_owned()).await, server.get("/api/v1/instances/shop").await];
    let [theirs, ours]: [Value; 2] = both.map(|answer| answer.json());
    assert_ne!(theirs["id"], ours["id"]);
    assert_eq!((&theirs["tenant"], &ours["tenant"]), (&json!("other"), &json!("default")));
    let theirs = server.call("GET", "/api/v1/instances/shop").header("mainstay-tenant", "other").send().await.json();
    assert_eq!(theirs["tenant"], "other", "a token of every tenant acts where it says");
}

#[tokio::test]
async fn who_may_not_be_let_in_any_more_follows_nothing_any_more() {
    let server = Server::start().await;
    let token = server.token(Role::Viewer, "default").await;
    let follow = server.call("GET", "/api/v1/events").token(&token).header("accept", "text/event-stream");
    let (head, body) = follow.open().await.into_parts();
    assert_eq!(head.status, 200);
    let id = format!("t-{}", token.split('_').nth(1).unwrap()).parse().unwrap();
    let revoke = RevokeToken { by: TenantScope::Any, id, cause: "it leaked".to_owned() };
    server.control.submit(Actor::System, revoke).await.unwrap();
    server.create("shop").await;
    let read = tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, 1 << 20)).await.expect("the stream ends");
    let text = String::from_utf8(read.unwrap().to_vec()).unwrap();
    assert!(!text.contains("v1.instance"), "{text}");
}
