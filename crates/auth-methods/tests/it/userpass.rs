//! userpass: users and logins.

use mainstay_auth_methods::UserpassKind;
use mainstay_secrets_engine::Refusal;
use serde_json::{Value, json};

use crate::{Scene, invalid, is_not_found};

async fn scene() -> Scene {
    Scene::new(&UserpassKind::default()).await
}

fn password(text: &str) -> Value {
    json!({ "password": text })
}

#[tokio::test]
async fn a_user_is_made_shown_and_deleted() {
    let scene = scene().await;
    assert!(is_not_found(&scene.list("users").await));
    assert_eq!(invalid(scene.try_write("users/ada", json!({"policies": "a"})).await), "missing password");
    scene.write("users/Ada", json!({"password": "right", "policies": "a,b", "ttl": "1h"})).await;
    assert_eq!(
        scene.read("users/ADA").await.unwrap(),
        json!({
            "policies": ["a", "b"], "ttl": 3600, "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0,
            "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0, "token_policies": ["a", "b"],
            "token_type": "default", "token_ttl": 3600,
        })
    );
    assert_eq!(scene.list("users/").await.unwrap(), json!(["ada"]));
    scene.delete("users/ada").await.unwrap();
    assert!(is_not_found(&scene.read("users/ada").await) && scene.delete("users/ada").await.is_ok());
    assert!(matches!(scene.read("users/a@b").await, Err(Refusal::UnsupportedPath)));
    let imported = scene.try_write("users/ada", json!({"password_hash": "$2b$..."})).await;
    assert_eq!(invalid(imported), "'password_hash' is not supported: write the password itself");
}

#[tokio::test]
async fn a_login_is_what_its_user_says() {
    let scene = scene().await;
    scene.write("users/ada", json!({"password": "right", "token_policies": "a", "token_ttl": 60})).await;
    let login = scene.login("login/Ada", password("right")).await.unwrap();
    assert_eq!((login.display_name.as_str(), login.alias.as_str()), ("ada", "ada"));
    assert_eq!((login.metadata["username"].as_str(), login.metadata.len()), ("ada", 1));
    assert_eq!((login.policies.as_slice(), login.ttl_seconds), (&["a".to_owned()][..], 60));
    assert_eq!(invalid(scene.login("login/ada", json!({})).await), "missing password");
    for (name, given) in [("ada", "wrong"), ("ada", "Right"), ("nobody", "right")] {
        let login = scene.login(&format!("login/{name}"), password(given)).await;
        assert_eq!(invalid(login), "invalid username or password");
    }
    let long = scene.login("login/ada", password(&"x".repeat(5000))).await;
    assert_eq!(invalid(long), "password is longer than maximum of 4096 bytes");
}

#[tokio::test]
async fn a_password_and_policies_are_changed_on_their_own() {
    let scene = scene().await;
    for path in ["users/ada/password", "users/ada/policies"] {
        let changed = scene.try_write(path, json!({"password": "x", "policies": "x"})).await;
        assert_eq!(invalid(changed), "username does not exist");
    }
    scene.write("users/ada", json!({"password": "first", "token_policies": "a"})).await;
    scene.write("users/ada/password", password("second")).await;
    scene.write("users/ada/policies", json!({"token_policies": "b", "token_ttl": 5})).await;
    assert!(scene.login("login/ada", password("first")).await.is_err());
    let login = scene.login("login/ada", password("second")).await.unwrap();
    assert_eq!((login.policies.as_slice(), login.ttl_seconds), (&["b".to_owned()][..], 0));
    scene.write("users/ada", json!({"token_ttl": 7})).await;
    assert_eq!(scene.login("login/ada", password("second")).await.unwrap().ttl_seconds, 7);
    assert_eq!(invalid(scene.try_write("users/ada/password", json!({})).await), "missing password");
}

#[tokio::test]
async fn a_renewal_needs_the_user_with_the_same_policies() {
    let scene = scene().await;
    scene.write("users/ada", json!({"password": "right", "token_policies": "a,b", "token_ttl": 60})).await;
    let mut login = scene.login("login/ada", password("right")).await.unwrap();
    login.policies = vec!["default".to_owned(), "b".to_owned(), "a".to_owned()];
    scene.write("users/ada", json!({"token_ttl": 30, "token_period": 20})).await;
    let renewed = scene.backend.renew_login(login.clone(), scene.now).await.unwrap();
    assert_eq!((renewed.ttl_seconds, renewed.period_seconds), (30, 20));
    scene.write("users/ada", json!({"token_policies": "a"})).await;
    let changed = scene.backend.renew_login(login.clone(), scene.now).await;
    assert_eq!(invalid(changed), "policies have changed, not renewing");
    scene.delete("users/ada").await.unwrap();
    assert!(invalid(scene.backend.renew_login(login, scene.now).await).contains("does not exist"));
}

#[tokio::test]
async fn networks_are_kept_and_no_password_is_stored() {
    let scene = scene().await;
    scene.write("users/ada", json!({"password": "canary-password", "token_bound_cidrs": "10.0.0.0/8"})).await;
    assert!(matches!(scene.login("login/ada", password("canary-password")).await, Err(Refusal::Denied)));
    let login = scene.from("10.0.0.1").login("login/ada", password("canary-password")).await.unwrap();
    assert_eq!(login.bound_cidrs, ["10.0.0.0/8"]);
    let stored = format!("{:?}", scene.stored().await);
    assert!(stored.contains("$argon2id$") && !stored.contains("canary-password"));
}
