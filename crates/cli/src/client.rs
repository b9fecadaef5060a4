//! The HTTP API, as this command line calls it.

mod authorities;
mod pages;
mod stream;
mod transfer;
mod vault;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use mainstay_types::TenantName;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body, Proxy, RequestBuilder, Timeout};

pub(crate) use authorities::Authorities;
pub(crate) use pages::Pages;
pub(crate) use vault::{Envelope, Vault};

use crate::failure::{Failure, Problem};
use crate::operation;

/// A connection on a local network is there within milliseconds; one across the world within a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than the API blocks for `?wait=`, which is the slowest thing that it does before it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// An answer that has begun comes without a pause.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read: a page of the longest things is some 100 KiB.
const LARGEST_ANSWER: u64 = 16 << 20;

/// Where the API is: `http://HOST:PORT`, without a path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(String);

pub(crate) struct Client {
    agent: Agent,
    address: Address,
    /// Nothing where a verb needs none, as those that unseal do.
    token: Option<SecretString>,
    tenant: Option<TenantName>,
}

// === impl Address ===

impl Address {
    /// Whether it is this machine's, so that a proxy must not be asked.
    fn is_loopback(&self) -> bool {
        let host = self.0.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "write it as http://HOST:PORT, for example http://127.0.0.1:7400";
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = full.parse().map_err(|_| rule)?;
        let authority = uri.authority().ok_or(rule)?;
        let plain = matches!(uri.scheme_str(), Some("http" | "https")) && !authority.as_str().contains('@');
        let whole = uri.path() == "/" && uri.query().is_none() && !authority.host().is_empty();
        if plain && whole { Ok(Self(full.trim_end_matches('/').to_owned())) } else { Err(rule) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

// === impl Client ===

impl Client {
    pub fn new(
        address: Address,
        authorities: Option<Authorities>,
        token: Option<SecretString>,
        tenant: Option<TenantName>,
    ) -> Self {
        let proxy = if address.is_loopback() { None } else { Proxy::try_from_env() };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would carry the token to where nobody meant it to go.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .tls_config(authorities.map(Authorities::into_tls).unwrap_or_default())
            .user_agent(concat!("mainstay/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), address, token, tenant }
    }

    /// The same API, asked with another token or with none.
    pub fn with_token(&self, token: Option<SecretString>) -> Self {
        Self { agent: self.agent.clone(), address: self.address.clone(), token, tenant: self.tenant.clone() }
    }

    pub fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    /// The tenant that the user named.
    pub fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_ref()
    }

    /// The answer to a question, as JSON text.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, Failure> {
        let request = self.dress(self.agent.get(self.url(path)), query).header("accept", "application/json");
        self.answer(request.call()).map(|(_, answer)| answer)
    }

    /// The answer to a command, as JSON text. It carries an idempotency key of its own: a network that delivers it
    /// twice does it once.
    pub fn post(&self, path: &str, query: &[(&str, &str)], body: &impl Serialize) -> Result<String, Failure> {
        self.send(path, query, body, &random_word()?).map(|(_, answer)| answer)
    }

    /// The answer to a command that answers when its work is done: while it is not, the same command is sent again.
    pub fn post_until_done(&self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        let (key, begun) = (random_word()?, Instant::now());
        loop {
            match self.send(path, &[], body, &key)? {
                (StatusCode::ACCEPTED, answer) if begun.elapsed() > operation::PATIENCE => {
                    return Err(operation::still_in_progress("the credentials", &answer)?);
                }
                // The API has blocked for as long as it does, so that this is no busy loop.
                (StatusCode::ACCEPTED, _) => continue,
                (_, answer) => return Ok(answer),
            }
        }
    }

    /// The answer to a replacement, as JSON text. Sent twice it does the same as once.
    pub fn put(&self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        let request = self.dress(self.agent.put(self.url(path)), &[]).header("accept", "application/json");
        let body = serialised(body)?;
        self.answer(request.content_type("application/json").send(&body)).map(|(_, answer)| answer)
    }

    /// The answer to a removal, as JSON text.
    pub fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<String, Failure> {
        let request = self.dress(self.agent.delete(self.url(path)), query).header("accept", "application/json");
        self.answer(request.call()).map(|(_, answer)| answer)
    }

    fn send(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &impl Serialize,
        key: &str,
    ) -> Result<(StatusCode, String), Failure> {
        let body = serialised(body)?;
        let request = self
            .dress(self.agent.post(self.url(path)), query)
            .header("accept", "application/json")
            .header("idempotency-key", key)
            .content_type("application/json");
        self.answer(request.send(&body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.address)
    }

    fn dress<B>(&self, request: RequestBuilder<B>, query: &[(&str, &str)]) -> RequestBuilder<B> {
        let request = request.query_pairs(query.iter().copied());
        let request = match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.expose_secret())),
            None => request,
        };
        match &self.tenant {
            Some(tenant) => request.header("mainstay-tenant", tenant.as_str()),
            None => request,
        }
    }

    fn answer(&self, result: Result<Response<Body>, ureq::Error>) -> Result<(StatusCode, String), Failure> {
        let mut response = result.map_err(|error| self.not_reached(error))?;
        let status = response.status();
        let is_json = media_type(&response).ends_with("json");
        let body = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
        let body = body.map_err(|error| self.not_reached(error))?;
        if status.is_success() && (is_json || body.is_empty()) {
            return Ok((status, body));
        }
        Err(self.refused(status, &body))
    }

    fn refused(&self, status: StatusCode, body: &str) -> Failure {
        match serde_json::from_str::<Problem>(body) {
            Ok(problem) if !status.is_success() => Failure::Refused(Problem { status: status.as_u16(), ..problem }),
            _ => Failure::NotTheApi { address: self.address.to_string(), status: status.as_u16() },
        }
    }

    fn not_reached(&self, error: ureq::Error) -> Failure {
        let address = self.address.to_string();
        match error {
            ureq::Error::Timeout(Timeout::Connect) => Failure::NotRunning { address },
            ureq::Error::Timeout(what) => Failure::Timeout { address, what: what.to_string() },
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Failure::NotRunning { address }
            }
            ureq::Error::ConnectionFailed => Failure::NotRunning { address },
            source => Failure::Transport { address, source },
        }
    }
}

fn media_type(response: &Response<Body>) -> String {
    let header = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    header.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
}

fn serialised(body: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(body).map_err(|error| Failure::local("the request cannot be written", error))
}

/// 128 bits from the operating system, as hexadecimal digits.
pub(crate) fn random_word() -> Result<String, Failure> {
    let mut bits = [0u8; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| Failure::local("the operating system gives no random bytes", io::Error::other(error)))?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
