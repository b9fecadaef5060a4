//! The Vault HTTP API on `/v1`: from HTTP to a call of secret custody, and back. Everything else is custody's.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method as HttpMethod, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstay_listen::Peer;
use mainstay_secrets::{Body as ReplyBody, Call, Method, Reply};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;

use crate::api::{Api, ApiState};
use crate::caller::token_text;
use crate::finish::Finish;

/// The largest body: a secret of the largest size in base64, with its envelope. Vault takes 32 MiB, which it has to
/// defend with other limits; nothing that its clients send by themselves comes near this.
const LARGEST_BODY: usize = 2 << 20;

/// Bodies up to this size are taken from everybody at once; those above wait for one of a few places, since JSON of many
/// small values takes twenty times its size in memory.
const SMALL_BODY: u64 = 64 << 10;

/// How long a large body waits for its place.
const PLACE_TIMEOUT: Duration = Duration::from_secs(10);

/// What means yes in a query, as Go reads it: Python's clients write `?list=True`.
const TRUE: [&str; 6] = ["true", "True", "TRUE", "1", "t", "T"];

/// Content types of bodies that are not JSON.
const RAW_TYPES: [&str; 2] = ["application/ocsp-request", "application/octet-stream"];

/// Why a request did not become a call.
struct Refused(StatusCode, String);

/// Serves every method of every path below `/v1/`.
pub(crate) async fn handle(State(api): ApiState, request: Request) -> Response {
    let head_only = request.method() == HttpMethod::HEAD;
    let response = match answer(&api, request).await {
        Ok(response) => response,
        Err(Refused(status, message)) => {
            let errors = serde_json::json!({ "errors": [message] });
            (status, axum::Json(errors)).into_response()
        }
    };
    if head_only { response.map(|_| Body::empty()) } else { response }
}

async fn answer(api: &Api, request: Request) -> Result<Response, Refused> {
    let secrets = api.secrets.as_ref().ok_or_else(|| Refused(StatusCode::NOT_FOUND, String::new()))?;
    let (parts, body) = request.into_parts();
    let bad = |message: &str| Refused(StatusCode::BAD_REQUEST, message.to_owned());
    let path = decoded(parts.uri.path().strip_prefix("/v1/").unwrap_or_default())
        .ok_or_else(|| bad("the path is not UTF-8, or has a '%' that begins no escape"))?;
    let query: Vec<(String, String)> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let lists = query.iter().any(|(name, value)| name == "list" && TRUE.contains(&value.as_str()));
    let method = match parts.method {
        HttpMethod::GET if lists => Method::List,
        HttpMethod::GET | HttpMethod::HEAD => Method::Get,
        HttpMethod::POST => Method::Post,
        HttpMethod::PUT => Method::Put,
        HttpMethod::PATCH => Method::Patch,
        HttpMethod::DELETE => Method::Delete,
        ref other if other.as_str() == "LIST" => Method::List,
        _ => return Err(Refused(StatusCode::METHOD_NOT_ALLOWED, "unsupported operation".to_owned())),
    };
    let mut call = Call {
        method,
        path,
        token: token(&parts.headers),
        namespace: match meant(&parts.headers, "x-vault-namespace")? {
            Some(namespace) => Some(namespace),
            None => meant(&parts.headers, crate::caller::TENANT_HEADER)?,
        },
        wrap_seconds: wrap_seconds(&parts.headers)?,
        data: Map::new(),
        raw_body: Vec::new(),
        remote: parts.extensions.get::<Peer>().map(|peer| peer.ip),
    };
    let mut held = None;
    match method {
        Method::Get | Method::List | Method::Delete => {
            call.data =
                query.into_iter().filter(|(name, _)| name != "list").map(|(k, v)| (k, Value::String(v))).collect();
        }
        Method::Post | Method::Put | Method::Patch => {
            let kind = text(&parts.headers, "content-type").unwrap_or_default();
            // Held until the answer is there: what the body was read into lives as long.
            held = place(api, &parts.headers).await?;
            let bytes = arrived(api, body).await?;
            if RAW_TYPES.iter().any(|raw| kind.starts_with(raw)) {
                call.raw_body = bytes;
            } else {
                call.data = object(&bytes)?;
            }
        }
    }
    if call.token.is_none() {
        return Ok(response(secrets.handle(&call).await));
    }
    let secrets = secrets.clone();
    let handled = Finish::new(&api.left_alone, async move {
        let reply = secrets.handle(&call).await;
        drop(held);
        reply
    });
    Ok(response(handled.await))
}

fn response(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match reply.body {
        ReplyBody::Empty => status.into_response(),
        ReplyBody::Json(body) => (status, axum::Json(body)).into_response(),
        ReplyBody::Raw(raw) => (status, [(header::CONTENT_TYPE, raw.content_type)], raw.body).into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A path with its escapes taken out, once: what looks like an escape afterwards is a letter of the path.
fn decoded(path: &str) -> Option<String> {
    if !path.contains('%') {
        return Some(path.to_owned());
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (escape, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = digit(escape[0])? * 16 + digit(escape[1])?;
        bytes.push(byte as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// `X-Vault-Token`, or the bearer token of `Authorization`.
fn token(headers: &HeaderMap) -> Option<SecretString> {
    token_text(headers).map(SecretString::from)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// A header without which the request would mean something else: one that cannot be read is not passed over.
fn meant(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refused> {
    let unreadable = || Refused(StatusCode::BAD_REQUEST, format!("the header {name} is not visible ASCII"));
    headers.get(name).map(|value| value.to_str().map(str::to_owned).map_err(|_| unreadable())).transpose()
}

fn wrap_seconds(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    let Some(text) = meant(headers, "x-vault-wrap-ttl")?.filter(|text| !text.is_empty()) else { return Ok(None) };
    mainstay_secrets::parse_duration(&text).map(Some).ok_or_else(|| {
        Refused(StatusCode::BAD_REQUEST, "error parsing X-Vault-Wrap-TTL: write it as 60 or 60s".to_owned())
    })
}

async fn place(api: &Api, headers: &HeaderMap) -> Result<Option<OwnedSemaphorePermit>, Refused> {
    let length = text(headers, "content-length").and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length <= SMALL_BODY) {
        return Ok(None);
    }
    match tokio::time::timeout(PLACE_TIMEOUT, api.large_bodies.clone().acquire_owned()).await {
        Ok(Ok(place)) => Ok(Some(place)),
        _ => Err(Refused(StatusCode::SERVICE_UNAVAILABLE, "too many large requests at once; try again".to_owned())),
    }
}

async fn arrived(api: &Api, body: Body) -> Result<Vec<u8>, Refused> {
    match tokio::time::timeout(api.body_timeout, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(_)) => {
            let message = format!("the body is larger than {LARGEST_BODY} bytes, or was cut off");
            Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Err(_) => Err(Refused(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
    }
}

/// The body's JSON object; no body is an empty one. How deep it may be nested is serde_json's own bound of 128.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refused> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let failed = |what: &str| Refused(StatusCode::BAD_REQUEST, format!("failed to parse JSON input: {what}"));
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(failed("it is no object")),
        // The message could repeat a part of the body: only its place is told.
        Err(error) => Err(failed(&format!("line {}, column {}", error.line(), error.column()))),
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn escapes_are_taken_out_once() {
        for (path, meant) in
            [("a/b", Some("a/b")), ("a%2Fb", Some("a/b")), ("%252e", Some("%2e")), ("%C3%A4", Some("ä"))]
        {
            assert_eq!(decoded(path).as_deref(), meant, "{path}");
        }
        for path in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(decoded(path), None, "{path}");
        }
    }
}
