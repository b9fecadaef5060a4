//! A password is in the answer that made it, and in no other.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn secrets_are_in_the_answers_that_made_them_only() {
    let server = Server::start().await;
    server.create("shop").await;
    let key = |call: crate::server::Call| call.header("idempotency-key", "k-1");
    let bind = || key(server.call("POST", "/api/v1/instances/shop/bindings")).json(&json!({"consumer": "web"})).send();
    let bound = bind().await;
    assert_eq!((bound.status.as_u16(), bound.header("cache-control")), (201, "no-store"));
    let id = bound.json()["id"].as_str().unwrap().to_owned();
    let first = bound.json()["credentials"]["password"].as_str().unwrap().to_owned();
    let rotate = format!("/api/v1/bindings/{id}/rotate");
    let rotated = server.call("POST", &rotate).json(&json!({"overlap": "1h"})).send().await;
    assert_eq!((rotated.status.as_u16(), rotated.header("cache-control")), (200, "no-store"));
    let second = rotated.json()["credentials"]["password"].as_str().unwrap().to_owned();
    let made = server.call("POST", "/api/v1/tokens").json(&json!({"role": "viewer"})).send().await;
    assert_eq!((made.status.as_u16(), made.header("cache-control")), (201, "no-store"));
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let renewed = server.call("POST", &format!("/api/v1/bindings/{id}/renew")).body("{}").send().await;
    assert_eq!(renewed.status, 200);

    let secrets = [&first, &second, &token, &server.admin];
    let halves: Vec<&str> = secrets.iter().map(|secret| secret.rsplit('_').next().unwrap()).collect();
    let mut answers = vec![renewed];
    for path in [
        "/api/v1/offerings",
        "/api/v1/instances",
        "/api/v1/instances/shop",
        "/api/v1/instances/shop/bindings",
        "/api/v1/clusters",
        "/api/v1/operations",
        "/api/v1/events?limit=1000",
        "/api/v1/status",
        "/api/v1/tokens",
        "/metrics",
        "/readyz",
        &format!("/api/v1/bindings/{id}"),
    ] {
        answers.push(server.get(path).await);
    }
    answers.push(server.call("DELETE", "/api/v1/instances/shop").send().await);
    answers.push(server.call("DELETE", &format!("/api/v1/bindings/{id}?wait=30s")).send().await);
    for answer in answers {
        for secret in &halves {
            assert!(!answer.text.contains(secret), "{secret} is in {answer:?}");
        }
    }
    // The request that made it is answered as before only while there is something to answer.
    assert_eq!(bind().await.problem(), (409, "credential_gone".to_owned(), None));
}
