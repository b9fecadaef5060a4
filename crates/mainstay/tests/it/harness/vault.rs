//! A small client of the Vault API, which asks as its stock clients do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Method;

use super::api::{Answer, Api};
use super::layer::Layer;

/// Longer than the layer waits for anything that a client begins.
const RAW_TIMEOUT: Duration = Duration::from_secs(60);

/// Calls the Vault API of a layer as the bearer of one token.
#[derive(Clone)]
pub struct Vault {
    api: Api,
    namespace: Option<String>,
}

impl Vault {
    /// The API with the first admin's token.
    pub fn of(layer: &Layer) -> Self {
        Self { api: layer.api(), namespace: None }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { api: self.api.with_token(token), ..self.clone() }
    }

    pub fn in_tenant(&self, name: &str) -> Self {
        Self { namespace: Some(name.to_owned()), ..self.clone() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").unwrap()
    }

    pub fn list(&self, path: &str) -> Answer {
        self.get(&format!("{path}?list=true"))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &[], &body.to_string()).unwrap()
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, &[], &body.to_string()).unwrap()
    }

    /// Any request below `/v1/`, which may find nobody at home.
    pub fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, ureq::Error> {
        let namespace = self.namespace.as_deref().map(|name| ("x-vault-namespace", name));
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain(namespace).collect();
        self.api.call(method, &format!("/v1/{path}"), &headers, body)
    }

    /// Makes a token.
    pub fn token(&self, wanted: &Value) -> String {
        let made = self.post("auth/token/create", wanted).expect(200);
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Writes a policy, and makes a token that has it and no other.
    pub fn bearer_of(&self, name: &str, policy: &str) -> Self {
        self.post(&format!("sys/policies/acl/{name}"), &serde_json::json!({ "policy": policy })).expect(204);
        self.with_token(&self.token(&serde_json::json!({ "policies": [name], "no_default_policy": true })))
    }
}

/// Sends bytes as they are, and gives the status and all that came back: what no client's library would send.
pub fn raw(layer: &Layer, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(layer.address().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(RAW_TIMEOUT)).unwrap();
    // Whoever refuses early may close before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}
