//! Wrapped answers: seen once, by whoever comes first.

use std::sync::Arc;

use mainstay_secrets::Method;
use serde_json::json;

use crate::core::{Client, Core};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrapped_answer_is_seen_once() {
    let (core, admin) = (Arc::new(Core::new().await), Client::admin());
    core.post(&admin, "secret/data/x", json!({ "data": { "a": "once" } })).await.expect(200);
    let other = core.token(&admin, json!({ "policies": ["default"] })).await;
    for round in 0..6 {
        let wrapped = core.call_wrapped(&admin, Method::Get, "secret/data/x", json!({}), Some(60)).await.expect(200);
        assert!(wrapped["data"].is_null() && wrapped["auth"].is_null(), "{wrapped}");
        let token = wrapped["wrap_info"]["token"].as_str().unwrap().to_owned();
        core.post(&other, "sys/wrapping/lookup", json!({ "token": token })).await.expect(200);
        let calls = (0..16).map(|number| {
            let (core, token) = (core.clone(), token.clone());
            // Some bear it as their own, some name it in the body, some read the cubbyhole as older clients do.
            let (client, path, body) = match (number + round) % 3 {
                0 => (admin.bearing(&token), "sys/wrapping/unwrap", json!({})),
                1 => (other.clone(), "sys/wrapping/unwrap", json!({ "token": token })),
                _ => (admin.bearing(&token), "cubbyhole/response", json!({})),
            };
            let method = if path == "cubbyhole/response" { Method::Get } else { Method::Put };
            tokio::spawn(async move { core.call(&client, method, path, body).await })
        });
        let calls: Vec<_> = calls.collect();
        let mut seen = 0;
        for call in calls {
            let answer = call.await.unwrap();
            match answer.status {
                200 => {
                    assert!(answer.body.to_string().contains("once"), "{answer:?}");
                    seen += 1;
                }
                400 | 403 => {}
                _ => panic!("{answer:?}"),
            }
        }
        assert_eq!(seen, 1);
        core.post(&other, "sys/wrapping/lookup", json!({ "token": token })).await.refused(400);
    }
}

#[tokio::test]
async fn a_wrapping_token_opens_nothing_else() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "secret/data/x", json!({ "data": { "a": "b" } })).await.expect(200);
    for (method, path) in [
        (Method::Get, "secret/data/x"),
        (Method::Post, "auth/token/create"),
        (Method::Post, "auth/token/renew-self"),
        (Method::Get, "auth/token/lookup-self"),
        (Method::Post, "sys/wrapping/wrap"),
        (Method::Get, "cubbyhole/wrapinfo"),
    ] {
        let wrapped = core.call_wrapped(&admin, Method::Get, "secret/data/x", json!({}), Some(60)).await.expect(200);
        let bearer = admin.bearing(wrapped["wrap_info"]["token"].as_str().unwrap());
        core.call(&bearer, method, path, json!({})).await.refused(403);
        // And that was its one use.
        core.post(&bearer, "sys/wrapping/unwrap", json!({})).await.refused(400);
    }
}
