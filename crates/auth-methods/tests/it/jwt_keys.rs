//! JWT: the issuer's keys, asked for and kept.

use futures::future::join_all;
use mainstay_secrets_engine::Refusal;
use serde_json::{Value, json};

use crate::issuer::{Issuer, OTHER_RSA, P256, RSA, claims_with};
use crate::jwt::{configured, credentials};
use crate::{Scene, invalid};

/// A token that is valid for long: these tests let days go by.
fn token(id: &str, pair: &crate::issuer::Pair) -> Value {
    credentials(&pair.sign(Some(id), &claims_with(json!({"exp": 4_000_000_000_u64}))))
}

async fn with_issuer() -> (Issuer, Scene) {
    let issuer = Issuer::start().await;
    issuer.has_keys(&[("a", &RSA)]);
    let scene = configured(&[], json!({"jwks_url": format!("{}/keys", issuer.url)})).await;
    (issuer, scene)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_asked_for_once() {
    let (issuer, scene) = with_issuer().await;
    assert_eq!(issuer.asked(), 1, "when it was configured");
    issuer.has_keys(&[("a", &RSA), ("b", &P256)]);
    let scene = scene.later(10);
    let logins = (0..20).map(|_| scene.login("login", token("b", &P256)));
    assert!(join_all(logins).await.iter().all(Result::is_ok));
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_key_ids_do_not_flood_the_issuer() {
    let (issuer, scene) = with_issuer().await;
    for second in 0..30 {
        let scene = scene.later(second);
        let logins = (0..20).map(|number| {
            let (scene, id) = (scene.clone(), format!("{second}-{number}"));
            async move { scene.login("login", token(&id, &OTHER_RSA)).await }
        });
        let refused = join_all(logins).await.into_iter().map(invalid);
        assert!(refused.into_iter().all(|why| why.ends_with("failed to verify id token signature")));
        assert!(scene.login("login", token("a", &RSA)).await.is_ok());
    }
    assert_eq!(issuer.asked(), 3, "once when it was configured, and then every ten seconds at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgery_by_a_known_name_asks_nobody() {
    let (issuer, scene) = with_issuer().await;
    assert!(scene.later(60).login("login", token("a", &OTHER_RSA)).await.is_err());
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_key_is_not_trusted_for_long() {
    let (issuer, scene) = with_issuer().await;
    issuer.has_keys(&[("b", &P256)]);
    assert!(scene.later(299).login("login", token("a", &RSA)).await.is_ok());
    assert!(scene.later(300).login("login", token("a", &RSA)).await.is_err());
    assert!(scene.later(301).login("login", token("b", &P256)).await.is_ok());
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_down_keeps_nobody_out_for_a_day() {
    let (issuer, scene) = with_issuer().await;
    issuer.is_down(true);
    for seconds in [0, 300, 3_600, 86_399] {
        assert!(scene.later(seconds).login("login", token("a", &RSA)).await.is_ok(), "{seconds}");
    }
    let late = scene.later(86_400);
    assert!(matches!(late.login("login", token("a", &RSA)).await, Err(Refusal::Unavailable { .. })));
    issuer.is_down(false);
    let unavailable = late.login("login", token("a", &RSA)).await;
    assert!(matches!(unavailable, Err(Refusal::Unavailable { .. })), "it is not asked again at once");
    assert!(scene.later(86_410).login("login", token("a", &RSA)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_finds_the_keys_of_the_issuer_that_it_says_it_is() {
    let issuer = Issuer::start().await;
    issuer.has_keys(&[("a", &RSA)]);
    let scene = Scene::new(&mainstay_auth_methods::JwtKind::Jwt).await;
    let config = json!({"oidc_discovery_url": issuer.url});
    issuer.answer_document(json!({"issuer": format!("{}/", issuer.url), "jwks_uri": format!("{}/keys", issuer.url)}));
    let refused = invalid(scene.try_write("config", config.clone()).await);
    assert!(refused.starts_with("error checking oidc discovery URL: the discovery document of"), "{refused}");
    issuer.answer_document(json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url)}));
    scene.write("config", config).await;
    scene.write("role/web", json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": "app"})).await;
    assert!(scene.login("login", token("a", &RSA)).await.is_ok());

    let whole = json!({"oidc_discovery_url": format!("{}/.well-known/openid-configuration", issuer.url)});
    let answer = scene.try_write("config", whole.clone()).await;
    // What is left ends with a slash, and is another issuer.
    assert!(invalid(answer).contains("the two have to be the same"));
    let skipped = scene
        .try_write("config", json!({"oidc_discovery_url": whole["oidc_discovery_url"], "skip_jwks_validation": true}));
    assert_eq!(skipped.await.unwrap().warnings.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_misbehaves_is_refused() {
    let issuer = Issuer::start().await;
    let scene = Scene::new(&mainstay_auth_methods::JwtKind::Jwt).await;
    let config = json!({"jwks_url": format!("{}/keys", issuer.url)});
    let many: Vec<Value> = (0..101).map(|number| RSA.jwk(&number.to_string())).collect();
    for (keys, why) in [
        (json!({"keys": {}}), "is not the JSON that it should be"),
        (json!("nothing"), "is not the JSON that it should be"),
        (json!({"keys": many}), "has 101 keys and may have 100"),
        (json!({"keys": [], "padding": "x".repeat(2 << 20)}), "cannot be fetched"),
    ] {
        issuer.answer_keys(keys);
        let refused = invalid(scene.try_write("config", config.clone()).await);
        assert!(refused.starts_with("error checking jwks URL") && refused.contains(why), "{refused}");
    }
    issuer.is_down(true);
    assert!(invalid(scene.try_write("config", config).await).contains("cannot be fetched"));
}
