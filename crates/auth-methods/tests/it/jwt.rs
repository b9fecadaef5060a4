//! JWT: configuration, roles, logins.

use mainstay_auth_methods::JwtKind;
use mainstay_secrets_engine::{Kind, Operation, Refusal};
use serde_json::{Value, json};

use crate::issuer::{ED25519, Issuer, OTHER_RSA, P256, P384, Pair, RSA, claims, claims_with};
use crate::{Scene, invalid, is_not_found};

/// A mount that takes tokens of the tests' keys, with a role `web`.
pub async fn configured(pairs: &[&Pair], config: Value) -> Scene {
    let scene = Scene::new(&JwtKind::Jwt).await;
    let pems: Vec<&str> = pairs.iter().map(|pair| pair.public_pem.as_str()).collect();
    let mut whole = json!({"jwt_validation_pubkeys": pems, "bound_issuer": "issuer"});
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    scene.write("config", whole).await;
    scene.write("role/web", json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": "app"})).await;
    scene
}

pub fn credentials(token: &str) -> Value {
    json!({"role": "web", "jwt": token})
}

#[tokio::test]
async fn a_configuration_is_kept_and_its_secret_is_not_shown() {
    assert_eq!((JwtKind::Jwt.name(), JwtKind::Oidc.name()), ("jwt", "oidc"));
    let issuer = Issuer::start().await;
    issuer.has_keys(&[("a", &RSA)]);
    let scene = Scene::new(&JwtKind::Oidc).await;
    assert!(is_not_found(&scene.read("config").await));
    assert_eq!(invalid(scene.login("login", credentials("x")).await), "could not load configuration");
    let config = json!({
        "oidc_discovery_url": issuer.url, "oidc_client_id": "hvac-client-id", "oidc_client_secret": "canary-secret",
        "oidc_response_mode": "form_post", "oidc_response_types": ["code"], "default_role": "Web",
    });
    assert!(scene.try_write("config", config).await.unwrap().data.is_none());
    assert_eq!(
        scene.read("config").await.unwrap(),
        json!({
            "oidc_discovery_url": issuer.url, "oidc_discovery_ca_pem": "", "oidc_client_id": "hvac-client-id",
            "oidc_response_mode": "form_post", "oidc_response_types": ["code"], "jwks_url": "", "jwks_ca_pem": "",
            "jwt_validation_pubkeys": [], "jwt_supported_algs": [], "bound_issuer": "", "default_role": "web",
            "provider_config": {}, "namespace_in_state": true,
        })
    );
    for path in ["oidc/auth_url", "oidc/callback"] {
        let refused = invalid(scene.try_write(path, json!({"role": "web"})).await);
        assert!(refused.starts_with("the OIDC browser flow is not offered here"), "{refused}");
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused() {
    let scene = Scene::new(&JwtKind::Jwt).await;
    let one = "exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set";
    let pem = RSA.public_pem.as_str();
    for (config, message) in [
        (json!({}), one),
        (json!({"jwks_url": "http://x", "jwt_validation_pubkeys": pem}), one),
        (
            json!({"oidc_discovery_url": "http://x", "oidc_client_id": "x"}),
            "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC",
        ),
        (
            json!({"jwks_url": "http://x", "oidc_client_id": "x", "oidc_client_secret": "y"}),
            "'oidc_discovery_url' must be set for OIDC",
        ),
        (
            json!({"jwt_validation_pubkeys": "nonsense"}),
            "error parsing public key: data does not contain any valid public keys",
        ),
        (
            json!({"jwt_validation_pubkeys": pem, "jwt_supported_algs": "RS256,none"}),
            "invalid jwt_supported_algs: unsupported signing algorithm \"none\"",
        ),
        (
            json!({"jwt_validation_pubkeys": pem, "jwt_supported_algs": ["HS256"]}),
            "invalid jwt_supported_algs: unsupported signing algorithm \"HS256\"",
        ),
        (json!({"jwt_validation_pubkeys": pem, "oidc_response_mode": "x"}), "invalid response_mode: \"x\""),
        (
            json!({"jwt_validation_pubkeys": pem, "oidc_response_types": "x"}),
            "invalid response_types [x]. 'code' and 'id_token' are allowed",
        ),
        (
            json!({"jwks_url": "http://x", "jwks_ca_pem": "nonsense"}),
            "error checking jwks_ca_pem: could not parse CA PEM value successfully",
        ),
        (
            json!({"jwks_url": "file:///etc/passwd"}),
            "error checking jwks URL: \"file:///etc/passwd\" is not an http or https URL",
        ),
    ] {
        assert_eq!(invalid(scene.try_write("config", config).await), message);
    }
    assert!(is_not_found(&scene.read("config").await));
}

#[tokio::test]
async fn a_role_is_answered_as_vault_does() {
    let scene = Scene::new(&JwtKind::Jwt).await;
    assert!(is_not_found(&scene.list("role").await) && is_not_found(&scene.read("role/hvac").await));
    let role = json!({
        "role_type": "jwt", "allowed_redirect_uris": ["http://x/jwt-test/callback"], "user_claim": "https://vault/user",
        "bound_audiences": ["1234"], "bound_claims_type": "string", "verbose_oidc_logging": false, "name": "hvac",
        "expiration_leeway": "-1", "clock_skew_leeway": "1m", "policies": "a", "num_uses": 5,
    });
    assert!(scene.try_write("role/Hvac", role).await.unwrap().warnings.is_empty());
    assert_eq!(
        scene.read("role/hvac").await.unwrap(),
        json!({
            "role_type": "jwt", "expiration_leeway": -1, "not_before_leeway": 0, "clock_skew_leeway": 60,
            "bound_audiences": ["1234"], "bound_subject": "", "bound_claims_type": "string", "bound_claims": null,
            "claim_mappings": null, "user_claim": "https://vault/user", "user_claim_json_pointer": false,
            "groups_claim": "", "allowed_redirect_uris": ["http://x/jwt-test/callback"], "oidc_scopes": null,
            "verbose_oidc_logging": false, "max_age": 0, "policies": ["a"], "num_uses": 5, "token_bound_cidrs": [],
            "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false, "token_num_uses": 5,
            "token_period": 0, "token_policies": ["a"], "token_type": "default", "token_ttl": 0,
        })
    );
    assert_eq!(scene.list("role").await.unwrap(), json!(["hvac"]));
    assert!(scene.delete("role/hvac").await.unwrap().data.is_none() && is_not_found(&scene.read("role/hvac").await));
}

#[tokio::test]
async fn a_role_that_cannot_work_is_refused() {
    let scene = Scene::new(&JwtKind::Jwt).await;
    for (role, message) in [
        (json!({"role_type": "x"}), "invalid 'role_type': x"),
        (json!({"role_type": "jwt", "bound_subject": "x"}), "a user claim must be defined on the role"),
        (
            json!({"role_type": "jwt", "user_claim": "sub"}),
            "must have at least one bound constraint when creating/updating a role",
        ),
        (json!({"user_claim": "sub"}), "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified."),
        (json!({"role_type": "jwt", "bound_claims_type": "x"}), "invalid 'bound_claims_type': x"),
        (
            json!({"role_type": "jwt", "bound_claims_type": "glob", "bound_claims": {"a": ["x", 5]}}),
            "claim is not a string: 5",
        ),
        (
            json!({"role_type": "jwt", "claim_mappings": {"a": "role"}}),
            "metadata key \"role\" is reserved and may not be a mapping destination",
        ),
        (
            json!({"role_type": "jwt", "claim_mappings": {"a": "x", "b": "x"}}),
            "multiple keys are mapped to metadata key \"x\"",
        ),
    ] {
        assert_eq!(invalid(scene.try_write("role/web", role).await), message);
    }
    assert!(matches!(scene.call(Operation::Patch, "role/web", json!({})).await, Err(Refusal::UnsupportedOperation)));
}

#[tokio::test]
async fn a_login_is_what_its_token_and_role_say() {
    let scene = configured(&[&RSA], json!({"default_role": "web"})).await;
    let role = json!({
        "role_type": "jwt", "user_claim": "/user/name", "user_claim_json_pointer": true, "bound_audiences": "app",
        "claim_mappings": {"/user/mail": "mail", "missing": "nothing"}, "groups_claim": "groups", "token_policies": "a",
        "bound_claims": {"groups": ["admins", "team"], "/user/level": 5}, "bound_subject": "ada", "token_ttl": 60,
    });
    scene.write("role/web", role).await;
    let user = json!({"name": "Ada", "mail": "ada@example.com", "level": 5});
    let token = RSA.sign(None, &claims_with(json!({"user": user, "groups": ["x", "team"]})));
    let login = scene.login("login", json!({"jwt": token, "role": ""})).await.unwrap();
    assert_eq!((login.alias.as_str(), login.display_name.as_str()), ("Ada", "Ada"));
    let metadata: Vec<String> = login.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(metadata, ["mail=ada@example.com", "role=web"]);
    assert_eq!((login.policies.as_slice(), login.ttl_seconds), (&["a".to_owned()][..], 60));

    for (changes, message) in [
        (json!({"user": {"mail": "x", "level": 5}, "groups": "team"}), "claim \"/user/name\" not found in token"),
        (
            json!({"user": {"name": 5, "level": 5}, "groups": "team"}),
            "claim \"/user/name\" could not be converted to string",
        ),
        (
            json!({"user": {"name": "Ada", "level": 6}, "groups": "team"}),
            "error validating claims: claim \"/user/level\" does not match any associated bound claim values",
        ),
        (
            json!({"user": user, "groups": "x"}),
            "error validating claims: claim \"groups\" does not match any associated bound claim values",
        ),
        (json!({"user": user}), "error validating claims: claim \"groups\" is missing"),
        (
            json!({"user": {"name": "Ada", "mail": 5, "level": 5}, "groups": "team"}),
            "error converting claim '/user/mail' to string",
        ),
        (json!({"user": user, "groups": "team", "sub": "bob"}), "error validating token: invalid subject (sub) claim"),
    ] {
        let token = RSA.sign(None, &claims_with(changes));
        assert_eq!(invalid(scene.login("login", credentials(&token)).await), message);
    }

    scene.write("role/web", json!({"role_type": "jwt", "token_ttl": 30, "token_policies": "b"})).await;
    let renewed = scene.backend.renew_login(login.clone(), scene.now).await.unwrap();
    assert_eq!((renewed.ttl_seconds, renewed.policies.as_slice()), (30, &["a".to_owned()][..]));
    scene.delete("role/web").await.unwrap();
    assert_eq!(invalid(scene.backend.renew_login(login, scene.now).await), "role web does not exist during renewal");
}

#[tokio::test]
async fn a_login_needs_a_role_that_takes_it() {
    let scene = configured(&[&RSA], json!({})).await;
    let token = RSA.sign(None, &claims());
    scene.write("role/flow", json!({"user_claim": "sub", "allowed_redirect_uris": "http://x"})).await;
    for (data, message) in [
        (json!({"jwt": token}), "missing role"),
        (json!({"jwt": token, "role": "Nobody"}), "role \"nobody\" could not be found"),
        (json!({"jwt": token, "role": "../config"}), "role \"../config\" could not be found"),
        (json!({"jwt": token, "role": "flow"}), "role with oidc role_type is not allowed"),
        (json!({"role": "web"}), "missing token"),
        (json!({"role": "web", "jwt": ""}), "missing token"),
    ] {
        assert_eq!(invalid(scene.login("login", data).await), message);
    }
    let bound = json!({"role_type": "jwt", "token_bound_cidrs": "10.0.0.0/8"});
    scene.write("role/web", bound).await;
    assert!(matches!(scene.login("login", credentials(&token)).await, Err(Refusal::Denied)));
    assert_eq!(scene.from("10.0.0.1").login("login", credentials(&token)).await.unwrap().bound_cidrs, ["10.0.0.0/8"]);
}

#[tokio::test]
async fn each_kind_of_key_verifies_what_it_signed() {
    let pairs: [&Pair; 5] = [&OTHER_RSA, &RSA, &P256, &P384, &ED25519];
    let scene = configured(&pairs, json!({})).await;
    let issuer = Issuer::start().await;
    issuer.has_keys(&[("other", &OTHER_RSA), ("rsa", &RSA), ("p256", &P256), ("p384", &P384), ("ed", &ED25519)]);
    let remote = configured(&[], json!({"jwks_url": format!("{}/keys", issuer.url)})).await;
    for (id, pair) in [("rsa", &*RSA), ("p256", &*P256), ("p384", &*P384), ("ed", &*ED25519)] {
        for id in [None, Some(id)] {
            let token = pair.sign(id, &claims());
            assert!(scene.login("login", credentials(&token)).await.is_ok(), "{:?}", pair.algorithm);
            assert!(remote.login("login", credentials(&token)).await.is_ok(), "{:?}", pair.algorithm);
        }
    }
    assert_eq!(issuer.asked(), 1);
    let narrow = configured(&pairs, json!({"jwt_supported_algs": "ES256"})).await;
    assert!(narrow.login("login", credentials(&P256.sign(None, &claims()))).await.is_ok());
    let refused = invalid(narrow.login("login", credentials(&RSA.sign(None, &claims()))).await);
    assert!(refused.ends_with("token signed with unexpected algorithm"), "{refused}");
}
