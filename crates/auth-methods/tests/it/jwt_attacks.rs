//! JWT: tokens that an attacker makes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::invalid;
use crate::issuer::{ED25519, Issuer, OTHER_RSA, P256, P384, RSA, claims, claims_with, part};
use crate::jwt::{configured, credentials};

/// A token with a header of one's own and somebody's signature.
fn forged(header: &Value, payload: &Value, signature: &[u8]) -> String {
    format!("{}.{}.{}", part(header), part(payload), URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn no_forged_token_gets_in() {
    let issuer = Issuer::start().await;
    issuer.has_keys(&[("rsa", &RSA), ("ec", &P256), ("ed", &ED25519)]);
    let scenes = [
        configured(&[&RSA, &P256, &ED25519], json!({})).await,
        configured(&[], json!({"jwks_url": format!("{}/keys", issuer.url)})).await,
    ];
    let good = RSA.sign(Some("rsa"), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let with_public_key_as_secret = |algorithm, secret: &[u8]| {
        let header = Header { kid: Some("rsa".to_owned()), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let modulus = URL_SAFE_NO_PAD.decode(RSA.jwk("rsa")["n"].as_str().unwrap()).unwrap();
    let attacks = [
        ("no algorithm", forged(&json!({"alg": "none"}), &claims(), b"")),
        ("no algorithm, spelled otherwise", forged(&json!({"alg": "nOnE", "kid": "rsa"}), &claims(), b"")),
        ("no algorithm, with a signature", forged(&json!({"alg": "none"}), &claims(), b"signature")),
        ("no algorithm at all", forged(&json!({"typ": "JWT"}), &claims(), b"x")),
        ("a public key as a shared secret", with_public_key_as_secret(Algorithm::HS256, RSA.public_pem.as_bytes())),
        ("its modulus as a shared secret", with_public_key_as_secret(Algorithm::HS512, &modulus)),
        ("another's key", OTHER_RSA.sign(Some("rsa"), &claims())),
        ("another's key without a name", OTHER_RSA.sign(None, &claims())),
        ("another's key by an unknown name", OTHER_RSA.sign(Some("unknown"), &claims())),
        ("the key of another curve", P384.sign(Some("ec"), &claims())),
        ("another payload", format!("{header}.{}.{signature}", part(&claims_with(json!({"sub": "root"}))))),
        (
            "another header",
            format!("{}.{}", part(&json!({"alg": "RS512", "kid": "rsa"})), good.split_once('.').unwrap().1),
        ),
        ("no signature", format!("{message}.")),
        ("half a signature", format!("{message}.{}", &signature[..signature.len() / 2])),
        ("half a token", message.to_owned()),
        ("one part too many", format!("{good}.{signature}")),
        ("a key of one's own in the header", {
            let header = json!({"alg": "RS256", "jwk": OTHER_RSA.jwk("x"), "jku": "http://127.0.0.1:1/"});
            let own = OTHER_RSA.sign(None, &claims());
            let message = format!("{}.{}", part(&header), own.split('.').nth(1).unwrap());
            format!("{message}.{}", own.rsplit_once('.').unwrap().1)
        }),
        ("a signature of zeros", forged(&json!({"alg": "ES256", "kid": "ec"}), &claims(), &[0; 64])),
        ("zeros for Ed25519", forged(&json!({"alg": "EdDSA", "kid": "ed"}), &claims(), &[0; 64])),
        ("nothing", "..".to_owned()),
        ("no token", "password".to_owned()),
        ("not ASCII", "ä.ö.ü".to_owned()),
        ("too long a token", RSA.sign(Some("rsa"), &claims_with(json!({"x": "y".repeat(70_000)})))),
        ("a deep header", format!("{}.{}.x", URL_SAFE_NO_PAD.encode("[".repeat(10_000)), part(&claims()))),
        ("a bomb of objects", format!("{}.{}.x", URL_SAFE_NO_PAD.encode("{\"a\":".repeat(5_000)), part(&claims()))),
    ];
    for scene in &scenes {
        for (name, token) in &attacks {
            let login = scene.login("login", credentials(token)).await;
            assert!(login.is_err(), "{name}: {token}");
            let refused = invalid(login);
            assert!(refused.starts_with("error validating token"), "{name}: {refused}");
            assert!(!refused.contains("root") && refused.len() < 300, "{name}: {refused}");
        }
        assert!(scene.login("login", credentials(&good)).await.is_ok());
    }
}

#[tokio::test]
async fn a_signature_is_not_enough() {
    let scene = configured(&[&RSA], json!({})).await;
    let now = scene.now.as_micros() / 1_000_000;
    let deep = (0..500).fold(json!(1), |value, _| json!([value]));
    let table = [
        (json!({}), None),
        (json!({"aud": ["other", "app"]}), None),
        (
            json!({"aud": "other"}),
            Some(
                "error validating token: invalid audience (aud) claim: audience claim does not match any expected audience",
            ),
        ),
        (
            json!({"aud": ["other"]}),
            Some(
                "error validating token: invalid audience (aud) claim: audience claim does not match any expected audience",
            ),
        ),
        (
            json!({"aud": null}),
            Some(
                "error validating token: invalid audience (aud) claim: audience claim does not match any expected audience",
            ),
        ),
        (
            json!({"aud": ["app", {}]}),
            Some("error validating token: the audience (aud) claim holds something that is not a string"),
        ),
        (json!({"iss": "other"}), Some("error validating token: invalid issuer (iss) claim")),
        (json!({"iss": null}), Some("error validating token: invalid issuer (iss) claim")),
        (json!({"iss": ["issuer"]}), Some("error validating token: invalid issuer (iss) claim")),
        (
            json!({"exp": now - 61}),
            Some("error validating token: invalid expiration time (exp) claim: token is expired"),
        ),
        (json!({"exp": now - 30}), None),
        (json!({"nbf": now + 61}), Some("error validating token: invalid not before (nbf) claim: token not yet valid")),
        (json!({"nbf": now + 30}), None),
        (
            json!({"iat": now + 61, "nbf": now}),
            Some("error validating token: invalid issued at (iat) claim: token issued in the future"),
        ),
        (
            json!({"iat": null, "exp": null}),
            Some(
                "error validating token: no issued at (iat), not before (nbf), or expiration time (exp) claims in token",
            ),
        ),
        (json!({"exp": "tomorrow"}), Some("error validating token: the claim \"exp\" is not a number")),
        (json!({"sub": null}), Some("claim \"sub\" not found in token")),
        (json!({"sub": ["ada"]}), Some("error validating token: invalid subject (sub) claim")),
        (
            json!({"deep": deep}),
            Some("error validating token: its claims are not a JSON object, or one that is nested too deeply"),
        ),
    ];
    for (changes, refusal) in table {
        let login = scene.login("login", credentials(&RSA.sign(None, &claims_with(changes.clone())))).await;
        match refusal {
            None => assert!(login.is_ok(), "{changes}: {login:?}"),
            Some(refusal) => assert_eq!(invalid(login), refusal),
        }
    }
    // Without an audience of its own, a role takes no token that is for somebody: neither in a list nor as a text.
    scene.write("role/open", json!({"role_type": "jwt", "user_claim": "sub", "bound_subject": "ada"})).await;
    for (audience, taken) in [(json!("app"), false), (json!(["app"]), false), (json!(null), true), (json!([]), true)] {
        let token = RSA.sign(None, &claims_with(json!({ "aud": audience })));
        let login = scene.login("login", json!({"role": "open", "jwt": token})).await;
        assert_eq!(login.is_ok(), taken, "{audience}");
    }
}

#[tokio::test]
async fn what_is_critical_and_not_understood_is_refused() {
    let scene = configured(&[&RSA], json!({})).await;
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::RS256) };
    let token = jsonwebtoken::encode(&header, &claims(), &RSA.key).unwrap();
    let refused = invalid(scene.login("login", credentials(&token)).await);
    assert_eq!(refused, "error validating token: unsupported critical (crit) header parameter");
}
