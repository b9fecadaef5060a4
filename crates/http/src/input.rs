//! What callers send, parsed once: bodies, durations, cursors, keys. Every mistake names the field and the remedy.

use std::str::FromStr;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use mainstay_domain::event::Idempotency;
use mainstay_types::{Digest, InvalidText};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use crate::api::Api;
use crate::problem::{Code, Problem};

/// The largest body that is read. The largest request, an instance with all its parameters, is under 4 KiB.
const LARGEST_BODY: usize = 64 << 10;
/// The longest `?wait=`: less than the idle limits of common proxies.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// The longest idempotency key: a UUID or a ULID with a prefix fits many times.
const LONGEST_KEY: usize = 255;
/// How many items a page has when the caller does not say, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// A JSON body, and the idempotency key that came with it.
pub(crate) struct Body<T> {
    pub(crate) value: T,
    pub(crate) idempotency: Option<Idempotency>,
}

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let arriving = tokio::time::timeout(api.body_timeout, to_bytes(body, LARGEST_BODY));
        let bytes = match arriving.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) => {
                let detail = format!("the body is larger than {LARGEST_BODY} bytes, or was cut off");
                return Err(Problem::new(Code::BodyTooLarge, detail).remedy("send less in one request"));
            }
            Err(_) => {
                let detail = format!("the body did not arrive within {} s", api.body_timeout.as_secs());
                return Err(Problem::new(Code::BodyTimeout, detail).remedy("send the request again"));
            }
        };
        let idempotency = idempotency(&parts, &bytes)?;
        Ok(Self { value: parse(&bytes)?, idempotency })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // A request without a body asks for nothing in particular.
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    // Whether it is JSON at all is asked first: further on, a value of another type can pass for a mistake of syntax.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| {
        Problem::new(Code::BodyMalformed, format!("the body is not JSON: {error}")).remedy("send one JSON object")
    })?;
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(bytes)).map_err(|error| {
        let path = error.path().to_string();
        // The place that serde appends is of no use to whoever wrote a one-line body; the field is named instead.
        let detail = error.into_inner().to_string();
        let detail = detail.split(" at line ").next().unwrap_or(&detail).to_owned();
        let field = field_at_fault(path, &detail);
        let problem = Problem::new(Code::FieldInvalid, detail);
        match field {
            None => problem.remedy("the fields are listed in /openapi.json"),
            Some(field) => problem.field(field).remedy("correct this field; its form is in /openapi.json"),
        }
    })
}

/// The field that an error of serde's is about, by its path or, where a field is missing or comes twice, by its words.
fn field_at_fault(path: String, detail: &str) -> Option<String> {
    if path != "." {
        return Some(path);
    }
    let rest = ["missing field `", "duplicate field `"].into_iter().find_map(|words| detail.strip_prefix(words))?;
    rest.split('`').next().map(str::to_owned)
}

/// The idempotency key of a request that has no body.
pub(crate) struct Key(pub(crate) Option<Idempotency>);

impl FromRequestParts<Api> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        idempotency(parts, b"").map(Self)
    }
}

/// The header with the idempotency key, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what `idempotency` reads")]
pub(crate) struct IdempotencyHeader {
    /// Makes it safe to send the request again: with the same key and the same request, the first one's operation
    /// answers. With the same key and another request it is refused. 1 to 255 visible ASCII characters.
    #[param(rename = "Idempotency-Key", value_type = String, required = false)]
    key: Option<String>,
}

/// What makes a repeated request the same request: the caller's key, and what was asked for.
fn idempotency(parts: &Parts, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
    let Some(value) = parts.headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len())).ok_or_else(|| {
        let detail = format!("the idempotency key must be 1 to {LONGEST_KEY} visible ASCII characters");
        Problem::new(Code::HeaderInvalid, detail).field("idempotency-key").remedy("use a UUID")
    })?;
    // The path alone: how long a caller waits does not make it another request.
    let path_and_force = format!("{} {}?{}", parts.method, parts.uri.path(), without_wait(parts.uri.query()));
    let fingerprint = Digest::of([path_and_force.as_bytes(), b"\n", body].concat().as_slice());
    Ok(Some(Idempotency { key: key.to_owned(), fingerprint }))
}

fn without_wait(query: Option<&str>) -> String {
    let kept = query.unwrap_or_default().split('&').filter(|pair| !pair.starts_with("wait="));
    kept.collect::<Vec<_>>().join("&")
}

/// The query of a request.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(pairs).map(Self).map_err(|error| {
            let path = error.path().to_string();
            let detail = error.into_inner().to_string();
            let field = field_at_fault(path, &detail);
            let problem = Problem { field, ..Problem::new(Code::QueryInvalid, detail) };
            problem.remedy("correct this parameter; its form is in /openapi.json")
        })
    }
}

/// The one parameter of a path, a name or an id, parsed.
pub(crate) struct At<T>(pub(crate) T);

impl<T: FromStr<Err = InvalidText>> FromRequestParts<Api> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let invalid = |field: &str, detail: String| {
            let remedy = format!("correct the {field} in the path");
            Problem::new(Code::FieldInvalid, detail).field(field).remedy(remedy)
        };
        let segments = RawPathParams::from_request_parts(parts, api).await;
        let segments = segments.map_err(|_| invalid("path", "the path is not UTF-8".to_owned()))?;
        // A route without a parameter has no handler that asks for one.
        let (field, text) = segments.iter().next().unwrap_or_default();
        text.parse().map(Self).map_err(|error: InvalidText| invalid(field, error.to_string()))
    }
}

/// How long a caller wants to wait for the end of long work.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitParams {
    /// How long to wait for the end of the work: `30s`, or a number of seconds, five minutes at most.
    #[param(value_type = Option<String>, example = "30s")]
    pub(crate) wait: Option<Seconds>,
}

impl WaitParams {
    pub(crate) fn duration(&self) -> Option<Duration> {
        self.wait.map(|wait| wait.0.min(LONGEST_WAIT))
    }
}

/// Which part of a list a caller wants.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// How many items to answer at most: 100 where nothing is said, never more than 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
    /// Only items after this one: the `next` of the page before.
    pub(crate) after: Option<String>,
}

/// How many items a page is to have.
pub(crate) fn page_size(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE)
}

/// A duration as people write it (`24h`, `30s`, `7d`) or as a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl Seconds {
    pub(crate) fn whole(self) -> u64 {
        self.0.as_secs()
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = match text.parse::<u64>() {
            Ok(seconds) => Ok(Duration::from_secs(seconds)),
            Err(_) => humantime::parse_duration(text),
        };
        duration
            .map(Self)
            .map_err(|_| format!("{text:?} is not a duration: write it as 24h, 30s or a number of seconds"))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a duration: write it as \"24h\", \"30s\" or a number of seconds")]
        enum Form {
            Number(u64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(seconds) => Ok(Self(Duration::from_secs(seconds))),
            Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::{Seconds, parse, without_wait};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        name: mainstay_types::InstanceName,
        ttl: Option<Seconds>,
    }

    #[test]
    fn bodies_are_parsed_or_refused_with_the_field() {
        assert_eq!(
            parse::<Sample>(br#"{"name":"shop","ttl":"2h"}"#).unwrap().ttl,
            Some(Seconds(Duration::from_secs(7200)))
        );
        assert_eq!(parse::<Sample>(br#"{"name":"shop","ttl":5}"#).unwrap().ttl, Some(Seconds(Duration::from_secs(5))));
        for (body, code, field) in [
            ("{", "body_malformed", None),
            ("", "field_invalid", Some("name")),
            ("[]", "field_invalid", None),
            ("{\"name\":\"a\"} x", "body_malformed", None),
            ("{\"name\":\"Shop\"}", "field_invalid", Some("name")),
            ("{\"name\":7}", "field_invalid", Some("name")),
            ("{\"name\":\"a\",\"ttl\":\"soon\"}", "field_invalid", Some("ttl")),
            ("{\"name\":\"a\",\"ttl\":-1}", "field_invalid", Some("ttl")),
            ("{\"name\":\"a\",\"tll\":1}", "field_invalid", Some("tll")),
        ] {
            let problem = parse::<Sample>(body.as_bytes()).unwrap_err();
            assert_eq!((problem.code.as_str(), problem.field.as_deref()), (code, field), "{body}: {problem:?}");
            assert!(problem.remedy.is_some(), "{problem:?}");
            assert!(field.is_none() || !problem.detail.contains("line"), "{problem:?}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("30s", 30), ("24h", 86_400), ("7d", 604_800), ("90", 90), ("1h 30m", 5400)] {
            assert_eq!(text.parse::<Seconds>().unwrap().whole(), seconds);
        }
        for bad in ["", "soon", "-5s", "5 parsecs"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn waiting_does_not_make_another_request() {
        assert_eq!(without_wait(Some("force=true&wait=30s")), "force=true");
        assert_eq!(without_wait(None), "");
    }
}
