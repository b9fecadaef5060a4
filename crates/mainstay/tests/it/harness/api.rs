//! A small client of the native API.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request};

/// Longer than the longest `wait` that a test asks for.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Calls the API of a layer as the bearer of one token. A clone shares its connections.
#[derive(Clone)]
pub struct Api {
    agent: Agent,
    address: String,
    token: String,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub text: String,
    /// The text as JSON; null where it is none.
    pub body: Value,
}

impl Api {
    pub fn new(address: String, token: String) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(Some(TIMEOUT));
        Self { agent: config.build().into(), address, token }
    }

    /// The same API with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// `GET` of a whole path: `/readyz`, `/api/v1/instances`.
    pub fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").unwrap()
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &[], &body.to_string()).unwrap()
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], "").unwrap()
    }

    /// Any request, which may find nobody at home.
    pub fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let mut response = self.agent.run(request.body(body.to_owned()).unwrap())?;
        let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let text = response.body_mut().read_to_string()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status: response.status().as_u16(), content_type: content_type.unwrap_or_default(), text, body })
    }

    /// Everything in a list, page by page.
    pub fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.get(&format!("{path}?limit=1000{after}")).expect(200);
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match &page["next"] {
                Value::Null => return items,
                Value::String(next) => after = format!("&after={next}"),
                next => after = format!("&after={next}"),
            }
        }
    }
}

impl Answer {
    /// The body of an answer that has to have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }
}
