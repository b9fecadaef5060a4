//! The Vault HTTP API below `/v1`, where secrets, tokens and the seal are.

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::Body;
use ureq::http::{Response, StatusCode};

use super::{Client, LARGEST_ANSWER};
use crate::failure::{CustodyRefusal, Failure};
use crate::output;

/// The calls of `/v1`. Paths are given without it, as they are meant: what has to be escaped is escaped here.
#[derive(Clone, Copy)]
pub(crate) struct Vault<'a> {
    client: &'a Client,
}

/// What is around each answer.
#[derive(Deserialize)]
pub(crate) struct Envelope<T> {
    #[serde(default)]
    pub lease_id: String,
    #[serde(default)]
    pub lease_duration: u64,
    #[serde(default)]
    pub renewable: bool,
    pub data: Option<T>,
    pub auth: Option<Auth>,
    pub warnings: Option<Vec<String>>,
}

/// A token that was just made or renewed.
#[derive(Deserialize)]
pub(crate) struct Auth {
    pub client_token: SecretString,
    pub lease_duration: u64,
    pub renewable: bool,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl Client {
    pub fn vault(&self) -> Vault<'_> {
        Vault { client: self }
    }
}

// === impl Vault ===

impl Vault<'_> {
    pub fn read(self, path: &str, query: &[(&str, &str)]) -> Result<String, Failure> {
        let request = self.client.dress(self.client.agent.get(self.url(path)), query);
        self.answer(path, request.call())
    }

    /// The keys of a folder; nothing where there are none.
    pub fn list(self, path: &str) -> Result<Option<String>, Failure> {
        let folder = format!("{}/", path.trim_end_matches('/'));
        match self.read(&folder, &[("list", "true")]) {
            Err(Failure::Custody(refusal)) if refusal.is_not_found() => Ok(None),
            answer => answer.map(Some),
        }
    }

    pub fn write(self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        let body =
            serde_json::to_string(body).map_err(|error| Failure::local("the request cannot be written", error))?;
        let request = self.client.dress(self.client.agent.post(self.url(path)), &[]).content_type("application/json");
        self.answer(path, request.send(&body))
    }

    pub fn delete(self, path: &str) -> Result<String, Failure> {
        let request = self.client.dress(self.client.agent.delete(self.url(path)), &[]);
        self.answer(path, request.call())
    }

    fn url(self, path: &str) -> String {
        format!("{}/v1/{}", self.client.address, escaped(path))
    }

    fn answer(self, path: &str, result: Result<Response<Body>, ureq::Error>) -> Result<String, Failure> {
        let mut response = result.map_err(|error| self.client.not_reached(error))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
        let body = body.map_err(|error| self.client.not_reached(error))?;
        let not_the_api = || Failure::NotTheApi { address: self.client.address.to_string(), status: status.as_u16() };
        if status.is_success() {
            let fits = body.is_empty() || body.starts_with('{');
            return if fits { Ok(body) } else { Err(not_the_api()) };
        }
        // What is said of a version that was deleted comes with this status and with no errors.
        let gone = || (status == StatusCode::NOT_FOUND).then(|| CustodyRefusal::gone(path, &body)).flatten();
        let refusal = match serde_json::from_str::<Errors>(&body) {
            Ok(Errors { errors }) => CustodyRefusal::new(path, status.as_u16(), errors),
            Err(_) => gone().ok_or_else(not_the_api)?,
        };
        Err(Failure::Custody(refusal))
    }
}

// === impl Envelope ===

impl<T: DeserializeOwned> Envelope<T> {
    /// Reads an answer, and says on standard error what it warns of.
    pub fn read(answer: &str) -> Result<Self, Failure> {
        let envelope: Self = output::read(answer)?;
        for warning in envelope.warnings.iter().flatten() {
            output::message(&format!("warning: {warning}"));
        }
        Ok(envelope)
    }

    /// What the answer is about, which has to be there.
    pub fn data(answer: &str) -> Result<T, Failure> {
        let missing = || serde::de::Error::custom("it has no data");
        Self::read(answer)?.data.ok_or_else(|| Failure::NotUnderstood(missing()))
    }
}

impl Envelope<Value> {
    /// The token that an answer gives.
    pub fn auth(answer: &str) -> Result<Auth, Failure> {
        let missing = || serde::de::Error::custom("it has no auth");
        Self::read(answer)?.auth.ok_or_else(|| Failure::NotUnderstood(missing()))
    }
}

/// A path with all that could end it, or could be taken for an escape, as escapes (RFC 3986, section 3.3).
fn escaped(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_path_arrives_as_it_is_meant() {
        for (path, url) in [
            ("secret/data/app", "secret/data/app"),
            ("a b/c?d#e", "a%20b/c%3Fd%23e"),
            ("50%/%2e", "50%25/%252e"),
            ("ü", "%C3%BC"),
            ("a[0]\"", "a%5B0%5D%22"),
        ] {
            assert_eq!(escaped(path), url);
        }
    }
}
