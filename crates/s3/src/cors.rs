//! Pages of other origins (Fetch standard, "CORS protocol"). s3s does not know `OPTIONS`.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::http::StatusCode;
use hyper::{HeaderMap, Method};
use mainstay_bucket::cors::Answer;
use mainstay_objects::Bucket;

use crate::error::{Failure, Result};

const VARIES: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// The answer to a browser that asks beforehand.
pub fn preflight(bucket: Option<&Bucket>, headers: &HeaderMap) -> Result<HeaderMap> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(ORIGIN).ok_or_else(|| {
        let message = "Insufficient information. Origin request header needed.";
        Failure::custom("BadRequest", StatusCode::BAD_REQUEST, message)
    })?;
    let method = text(ACCESS_CONTROL_REQUEST_METHOD).filter(|method| !method.is_empty()).ok_or_else(|| {
        let message = "Invalid Access-Control-Request-Method";
        Failure::custom("BadRequest", StatusCode::BAD_REQUEST, message)
    })?;
    let asked = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let asked: Vec<&str> = asked.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let bucket = bucket.ok_or_else(Failure::no_such_bucket)?;
    let answer = bucket.settings.cors.as_ref().and_then(|rules| rules.answer(origin, method, &asked));
    answer.map(|answer| told(&answer, true)).ok_or_else(|| {
        let message = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
                       request method / Access-Control-Request-Method or Access-Control-Request-Headers are not \
                       whitelisted by the resource's CORS spec.";
        Failure::custom("AccessForbidden", StatusCode::FORBIDDEN, message)
    })
}

/// What is added to the answer of any other request of a page's.
pub fn besides(bucket: Option<&Bucket>, origin: &HeaderValue, method: &Method) -> HeaderMap {
    let answer = bucket
        .and_then(|bucket| bucket.settings.cors.as_ref())
        .and_then(|rules| rules.answer(origin.to_str().ok()?, method.as_str(), &[]));
    answer.map(|answer| told(&answer, false)).unwrap_or_default()
}

fn told(answer: &Answer, preflight: bool) -> HeaderMap {
    let credentials = answer.allow_credentials.then(|| "true".to_owned());
    let age = answer.max_age_seconds.filter(|_| preflight).map(|seconds| seconds.to_string());
    let headers = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, Some(answer.allow_origin.clone())),
        (ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials),
        (ACCESS_CONTROL_ALLOW_METHODS, Some(answer.allow_methods.clone())),
        (ACCESS_CONTROL_ALLOW_HEADERS, answer.allow_headers.clone()),
        (ACCESS_CONTROL_EXPOSE_HEADERS, answer.expose_headers.clone()),
        (ACCESS_CONTROL_MAX_AGE, age),
        (VARY, Some(VARIES.to_owned())),
    ];
    let value = |text: Option<String>| HeaderValue::from_str(&text?).ok();
    headers.into_iter().filter_map(|(name, text)| Some((name, value(text)?))).collect()
}
