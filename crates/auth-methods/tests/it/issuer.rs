//! An issuer of tokens on a port of its own, with real keys.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use aws_lc_rs::{rand::SystemRandom, rsa, signature::KeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::NOW;

/// A key pair of an issuer.
pub struct Pair {
    pub algorithm: Algorithm,
    pub key: EncodingKey,
    /// The public key in PEM, where the test needs it.
    pub public_pem: String,
}

/// Made once: RSA keys take a while.
pub static RSA: LazyLock<Pair> = LazyLock::new(rsa_pair);
pub static OTHER_RSA: LazyLock<Pair> = LazyLock::new(rsa_pair);
pub static P256: LazyLock<Pair> = LazyLock::new(|| ec_pair(Algorithm::ES256));
pub static P384: LazyLock<Pair> = LazyLock::new(|| ec_pair(Algorithm::ES384));
pub static ED25519: LazyLock<Pair> = LazyLock::new(ed_pair);

/// An issuer that answers what the test tells it to.
#[derive(Clone)]
pub struct Issuer {
    pub url: String,
    state: Arc<Answers>,
}

#[derive(Default)]
struct Answers {
    keys: Mutex<Value>,
    document: Mutex<Value>,
    down: AtomicBool,
    asked: AtomicUsize,
}

impl Issuer {
    pub async fn start() -> Self {
        let state = Arc::new(Answers::default());
        let router = Router::new()
            .route("/keys", get(keys))
            .route("/.well-known/openid-configuration", get(document))
            .with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let issuer = Self { url, state };
        issuer.answer_document(json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url)}));
        issuer
    }

    /// Has these keys from now on.
    pub fn has_keys(&self, keys: &[(&str, &Pair)]) {
        self.answer_keys(json!({"keys": keys.iter().map(|(id, pair)| pair.jwk(id)).collect::<Vec<_>>()}));
    }

    pub fn answer_keys(&self, keys: Value) {
        *self.state.keys.lock().unwrap() = keys;
    }

    pub fn answer_document(&self, document: Value) {
        *self.state.document.lock().unwrap() = document;
    }

    pub fn is_down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
    }

    /// How often it was asked for its keys.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

async fn keys(State(state): State<Arc<Answers>>) -> Result<String, StatusCode> {
    state.asked.fetch_add(1, Ordering::SeqCst);
    answer(&state, &state.keys)
}

async fn document(State(state): State<Arc<Answers>>) -> Result<String, StatusCode> {
    answer(&state, &state.document)
}

fn answer(state: &Answers, value: &Mutex<Value>) -> Result<String, StatusCode> {
    if state.down.load(Ordering::SeqCst) {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    Ok(value.lock().unwrap().to_string())
}

impl Pair {
    pub fn jwk(&self, id: &str) -> Value {
        let mut jwk = json!(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap());
        jwk["kid"] = json!(id);
        jwk
    }

    /// A token, signed.
    pub fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        self.sign_as(self.algorithm, id, claims)
    }

    pub fn sign_as(&self, algorithm: Algorithm, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// The claims that the tests' role takes.
pub fn claims() -> Value {
    let now = NOW.as_micros() / 1_000_000;
    json!({"iss": "issuer", "sub": "ada", "aud": "app", "iat": now - 5, "exp": now + 300})
}

/// Claims with some of them changed; `null` takes one away.
pub fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// A part of a token.
pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn rsa_pair() -> Pair {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let private: aws_lc_rs::encoding::Pkcs8V1Der = pair.as_der().unwrap();
    let public: aws_lc_rs::encoding::PublicKeyX509Der = pair.public_key().as_der().unwrap();
    let key = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap();
    Pair { algorithm: Algorithm::RS256, key, public_pem: pem("PUBLIC KEY", public.as_ref()) }
}

fn ec_pair(algorithm: Algorithm) -> Pair {
    let signing =
        if algorithm == Algorithm::ES256 { &ECDSA_P256_SHA256_FIXED_SIGNING } else { &ECDSA_P384_SHA384_FIXED_SIGNING };
    let private = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(signing, private.as_ref()).unwrap();
    let public: aws_lc_rs::encoding::PublicKeyX509Der = pair.public_key().as_der().unwrap();
    let public_pem = pem("PUBLIC KEY", public.as_ref());
    Pair { algorithm, key: EncodingKey::from_ec_der(private.as_ref()), public_pem }
}

fn ed_pair() -> Pair {
    let pair = Ed25519KeyPair::generate().unwrap();
    let private = pair.to_pkcs8v1().unwrap();
    let public: aws_lc_rs::encoding::PublicKeyX509Der = pair.public_key().as_der().unwrap();
    let public_pem = pem("PUBLIC KEY", public.as_ref());
    Pair { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(private.as_ref()), public_pem }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
