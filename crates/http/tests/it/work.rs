//! Long work: waited for or not, asked for once or again, listed a page at a time.

use std::collections::BTreeSet;

use mainstay_engine::EngineError;
use mainstay_engine::fake::Operation;
use serde_json::{Value, json};

use crate::server::Server;

#[tokio::test]
async fn work_is_waited_for_or_watched() {
    let server = Server::start().await;
    let mut hold = server.fake.hold(Operation::Provision);
    let body = json!({"name": "shop", "contract": "postgresql/v1"});
    let accepted = server.call("POST", "/api/v1/instances").json(&body).send().await;
    assert_eq!(accepted.status, 202);
    let operation = accepted.json();
    let location = accepted.header("location").to_owned();
    assert_eq!(location, format!("/api/v1/operations/{}", operation["id"].as_str().unwrap()));
    assert_eq!((&operation["kind"], &operation["state"]), (&json!("create-instance"), &json!("in progress")));
    assert_eq!(operation["subject"], json!({"kind": "instance", "id": "shop"}));

    hold.reached(1).await;
    let watched = server.get(&location).await.json();
    assert_eq!(
        watched["steps"],
        json!([{"name": "start the cluster", "state": "succeeded"}, {"name": "make the instance", "state": "in progress"}])
    );
    assert_eq!(watched["progress"], 50);
    assert_eq!(server.get("/api/v1/instances/shop").await.json()["state"], "provisioning");
    let bind = || server.call("POST", "/api/v1/instances/shop/bindings?wait=50ms").json(&json!({"consumer": "web"}));
    let not_yet = bind().header("idempotency-key", "one").send().await;
    assert_eq!(not_yet.status, 202);
    assert_eq!(not_yet.json()["kind"], "create-binding");
    assert!(not_yet.header("location").starts_with("/api/v1/operations/op-"));

    drop(hold);
    // Asked for again with the same key, the credentials of the first request come.
    let path = "/api/v1/instances/shop/bindings?wait=30s";
    let again = server.call("POST", path).json(&json!({"consumer": "web"})).header("idempotency-key", "one");
    let bound = again.send().await;
    assert_eq!(bound.status, 201);
    assert!(server.connects(&bound.json()["credentials"]));
    let listed = server.get("/api/v1/instances/shop/bindings").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let finished = server.get(&location).await.json();
    assert_eq!((&finished["state"], &finished["progress"]), (&json!("succeeded"), &json!(100)));

    let deleted = server.call("DELETE", "/api/v1/instances/shop?wait=30s").send().await;
    assert_eq!(deleted.problem().1, "instance_has_bindings");
    let deleted = server.call("DELETE", "/api/v1/instances/shop?wait=30s&force=true").send().await;
    assert_eq!((deleted.status.as_u16(), &deleted.json()["state"]), (200, &json!("succeeded")));
    assert_eq!(server.get("/api/v1/instances/shop").await.problem().1, "instance_not_found");
}

#[tokio::test]
async fn a_request_that_is_repeated_is_the_same_request() {
    let server = Server::start().await;
    let body = json!({"name": "shop", "contract": "postgresql/v1"});
    let create = |body: Value, path: &str, key: &str| {
        server.call("POST", path).json(&body).header("idempotency-key", key).send()
    };
    let first = create(body.clone(), "/api/v1/instances?wait=30s", "k").await.json();
    let again = create(body.clone(), "/api/v1/instances?wait=30s", "k").await.json();
    assert_eq!(first, again);
    // How long a caller waits does not make it another request.
    assert_eq!(create(body.clone(), "/api/v1/instances", "k").await.json()["id"], first["id"]);
    let other = json!({"name": "blog", "contract": "postgresql/v1"});
    let reused = create(other.clone(), "/api/v1/instances", "k").await;
    assert_eq!(reused.problem(), (422, "idempotency_key_reused".to_owned(), None));
    assert_eq!(create(body, "/api/v1/instances", "another").await.problem().1, "instance_exists");

    // A key is its tenant's own.
    let elsewhere = server.call("POST", "/api/v1/instances?wait=30s").json(&other).header("mainstay-tenant", "other");
    let elsewhere = elsewhere.header("idempotency-key", "k").send().await.json();
    assert_eq!(elsewhere["state"], "succeeded");
    assert_ne!(elsewhere["id"], first["id"]);

    let bind = |consumer: &str| {
        let call = server.call("POST", "/api/v1/instances/shop/bindings").json(&json!({"consumer": consumer}));
        call.header("idempotency-key", "b").send()
    };
    let bound = bind("web").await.json();
    assert_eq!(bind("web").await.json(), bound, "the credentials too");
    assert_eq!(bind("mail").await.problem().1, "idempotency_key_reused");
    let id = bound["id"].as_str().unwrap();
    let rotate = || {
        let call = server.call("POST", &format!("/api/v1/bindings/{id}/rotate")).body("{}");
        call.header("idempotency-key", "r").send()
    };
    let rotated = rotate().await.json();
    assert_ne!(rotated["credentials"]["password"], bound["credentials"]["password"]);
    assert_eq!(rotate().await.json(), rotated, "it is not rotated twice");
    let delete =
        || server.call("DELETE", &format!("/api/v1/bindings/{id}?wait=30s")).header("idempotency-key", "d").send();
    let deleted = delete().await.json();
    assert_eq!(deleted["state"], "succeeded");
    assert_eq!(delete().await.json(), deleted, "what is gone already is not missed");
}

#[tokio::test]
async fn work_that_fails_says_why() {
    let server = Server::start().await;
    server.fake.fail_next(Operation::Start, EngineError::permanent("port 7432 is taken", "end what uses it"));
    let body = json!({"name": "shop", "contract": "postgresql/v1"});
    let failed = server.call("POST", "/api/v1/instances?wait=30s").json(&body).send().await;
    assert_eq!((failed.status.as_u16(), &failed.json()["state"]), (200, &json!("failed")));
    let error = json!({"code": "cluster_failed", "detail": "port 7432 is taken; end what uses it"});
    assert_eq!(failed.json()["error"], error);

    server.create("blog").await;
    server.fake.fail_next(Operation::Bind, EngineError::permanent("roles are limited to 100", "unbind some"));
    let refused = server.call("POST", "/api/v1/instances/blog/bindings").json(&json!({"consumer": "web"})).send().await;
    assert_eq!(refused.problem(), (409, "binding_failed".to_owned(), None));
    assert_eq!(refused.json()["detail"], "roles are limited to 100; unbind some");
    let listed = server.get("/api/v1/instances/blog/bindings").await.json();
    assert_eq!((&listed["items"][0]["state"], &listed["items"][0]["generation"]), (&json!("failed"), &Value::Null));
}

#[tokio::test]
async fn every_list_comes_a_page_at_a_time() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        let body = json!({"name": name, "contract": "postgresql/v1", "plan": "dedicated"});
        let made = server.call("POST", "/api/v1/instances?wait=30s").json(&body).send().await;
        assert_eq!(made.json()["state"], "succeeded", "{made:?}");
        server.bind("a").await;
        server.call("POST", "/api/v1/tokens").json(&json!({"role": "viewer"})).send().await;
    }
    for (path, key, least) in [
        ("/api/v1/instances", "name", 3),
        ("/api/v1/instances/a/bindings", "id", 3),
        ("/api/v1/operations", "id", 6),
        ("/api/v1/clusters", "name", 3),
        ("/api/v1/tokens", "id", 4),
        ("/api/v1/offerings", "engine", 1),
        ("/api/v1/events", "sequence", 20),
    ] {
        let all = server.get(path).await.json();
        assert_eq!(all["next"], Value::Null, "{path}");
        let all = all["items"].as_array().unwrap().clone();
        assert!(all.len() >= least, "{path}: {all:?}");
        let mut paged = Vec::new();
        let mut after = String::new();
        loop {
            let page = server.get(&format!("{path}?limit=2{after}")).await.json();
            let items = page["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()), "{path}: {page}");
            paged.extend(items.iter().map(|item| item[key].clone()));
            match &page["next"] {
                Value::Null => break,
                Value::String(next) => after = format!("&after={next}"),
                next => after = format!("&after={next}"),
            }
        }
        let keys: Vec<_> = all.iter().map(|item| item[key].clone()).collect();
        assert_eq!(paged, keys, "{path}");
        assert_eq!(keys.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(), keys.len(), "{path}");
    }
    // A cursor need not be that of an item that is still there.
    let rest = server.get("/api/v1/instances?after=aa").await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    let none = server.get("/api/v1/events?after=18446744073709551615").await;
    assert_eq!((none.status.as_u16(), none.json()["items"].clone()), (200, json!([])), "{none:?}");
    let filtered = server.get("/api/v1/instances?contract=postgresql/v1&environment=dev").await.json();
    assert_eq!(filtered["items"], json!([]));
}
