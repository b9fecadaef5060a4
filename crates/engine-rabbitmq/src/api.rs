//! The way to a node: its management API, on loopback, as a user of ours.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use mainstay_engine::EngineError;
use mainstay_engine::supervise::listener_owner;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::names::ADMIN;

/// The longest that an answer takes. Deleting a virtual host removes files without end.
const PATIENCE: Duration = Duration::from_secs(120);
/// The largest answer that is read. The lists of a node with 10,000 users take some 3 MiB.
const LARGEST_ANSWER: usize = 64 << 20;

/// A node's management API. A connection for each request: on loopback one takes 50 µs, and none is left over when the
/// node or we end.
#[derive(Debug)]
pub(crate) struct Api {
    address: SocketAddr,
    /// Who the node runs as.
    uid: u32,
    authorization: HeaderValue,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the management API can not be reached")]
    Unreachable(#[source] std::io::Error),
    #[error("another user's program listens on port {0} instead of the node")]
    Stranger(u16),
    #[error("the management API broke off")]
    Broken(#[from] hyper::Error),
    #[error("the management API's answer could not be read")]
    Unread(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the management API did not answer within {PATIENCE:?}")]
    Silent,
    #[error("the management API answered {status} to {request}: {reason}")]
    Refused { request: String, status: StatusCode, reason: String },
    #[error("the management API's answer to {request} is another than expected")]
    Unexpected {
        request: String,
        #[source]
        source: serde_json::Error,
    },
}

/// What the management API says about a request that it refuses.
#[derive(Debug, Deserialize)]
struct Refusal {
    reason: Value,
}

impl Api {
    /// The API of the node that listens there, run by this user.
    pub fn new(address: SocketAddr, uid: u32, secret: &SecretString) -> Self {
        let credentials = STANDARD.encode(format!("{ADMIN}:{}", secret.expose_secret()));
        let mut authorization =
            HeaderValue::try_from(format!("Basic {credentials}")).expect("base64 is a header's value");
        // Keeps it out of debug output.
        authorization.set_sensitive(true);
        Self { address, uid, authorization }
    }

    /// What is there.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let body = self.send(Method::GET, path, None).await?;
        parse(path, &body)
    }

    /// What is there, and none where nothing is.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ApiError> {
        match self.send(Method::GET, path, None).await {
            Ok(body) => parse(path, &body).map(Some),
            Err(ApiError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does something that has an answer.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ApiError> {
        let answer = self.send(Method::POST, path, Some(body)).await?;
        parse(path, &answer)
    }

    /// Makes something, or does something.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(), ApiError> {
        self.send(Method::POST, path, Some(body)).await.map(drop)
    }

    /// Makes something what it should be; answers whether it is new.
    pub async fn put(&self, path: &str, body: &Value) -> Result<bool, ApiError> {
        match self.request(Method::PUT, path, Some(body)).await? {
            (status, _) if status.is_success() => Ok(status == StatusCode::CREATED),
            (status, body) => Err(refused(&Method::PUT, path, status, &body)),
        }
    }

    /// Removes something; that nothing is there is as good.
    pub async fn delete(&self, path: &str) -> Result<(), ApiError> {
        match self.send(Method::DELETE, path, None).await {
            Err(ApiError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Whether a check of the node's health is good, and if not, what it says.
    pub async fn check(&self, path: &str) -> Result<Result<(), Value>, ApiError> {
        let path = format!("health/checks/{path}");
        match self.request(Method::GET, &path, None).await? {
            (StatusCode::SERVICE_UNAVAILABLE, body) => parse(&path, &body).map(Err),
            (status, body) if !status.is_success() => Err(refused(&Method::GET, &path, status, &body)),
            _ => Ok(Ok(())),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Bytes, ApiError> {
        match self.request(method.clone(), path, body).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, body) => Err(refused(&method, path, status, &body)),
        }
    }

    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Bytes), ApiError> {
        let exchange = self.exchange(method, path, body);
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| ApiError::Silent)?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), ApiError> {
        let stream = TcpStream::connect(self.address).await.map_err(ApiError::Unreachable)?;
        // Looked at once the connection stands: whoever listens now has it.
        if listener_owner(self.address) != Some(self.uid) {
            return Err(ApiError::Stranger(self.address.port()));
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; what breaks it is told there too.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/{path}"))
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default()))
            .expect("our paths consist of what a path may hold");
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await.map_err(ApiError::Unread)?;
        Ok((status, body.to_bytes()))
    }
}

/// Says what was attempted when the node or the way to it failed. What was wrong may be right in a moment.
pub(crate) fn failed(attempt: impl Into<String>) -> impl FnOnce(ApiError) -> EngineError {
    move |error| EngineError::transient_from(attempt, error)
}

fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|source| ApiError::Unexpected { request: format!("GET {path}"), source })
}

fn refused(method: &Method, path: &str, status: StatusCode, body: &[u8]) -> ApiError {
    let reason = match serde_json::from_slice(body) {
        Ok(Refusal { reason: Value::String(reason) }) => reason,
        Ok(Refusal { reason }) => reason.to_string(),
        Err(_) => "no reason".to_owned(),
    };
    ApiError::Refused { request: format!("{method} {path}"), status, reason }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};

    use super::{Api, ApiError};

    #[tokio::test]
    async fn another_users_listener_is_told_nothing() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, uid) = (listener.local_addr().unwrap(), rustix::process::geteuid().as_raw());
        let api = Api::new(address, uid + 1, &"the secret".into());
        assert!(!format!("{api:?}").contains("dGhlIHNlY3JldA"), "{api:?}");
        let refused = api.check("anything").await;
        assert!(matches!(refused, Err(ApiError::Stranger(port)) if port == address.port()), "{refused:?}");
        let mut heard = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut heard).unwrap();
        assert!(heard.is_empty(), "{heard:?}");
    }
}
