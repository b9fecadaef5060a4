//! What happens to every request before and after s3s.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue, ORIGIN, RANGE,
    SERVER,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use mainstay_bucket::BucketName;
use mainstay_listen::{Answers, Pace, Peer};
use mainstay_objects::{Bucket, Objects};
use s3s::config::StaticConfigProvider;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpRequest};
use tracing::Instrument;

use crate::access::Access;
use crate::amend::{amended, told};
use crate::arrival::{Arrival, RequestId};
use crate::auth::Auth;
use crate::body::{Digests, HeldLimits, Paced, Room, Slot, held};
use crate::config::S3Config;
use crate::error::{Failure, Result};
use crate::host::{Domains, Names};
use crate::ops::Api;
use crate::{cors, refuse};

/// Fields of a form, beside its file.
const FORM_FIELDS_BYTES: usize = 64 << 10;
const FORM_PARTS: usize = 100;
/// What is read of a body that nobody wanted, so that its sender reads the answer instead of a broken connection.
const DRAINED_BYTES: u64 = 256 << 10;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client is told while nobody is let in. Why that is, the layer's operators see in the cluster's state.
const CLOSED: &str = "The object store does not serve now. Please try again later.";

/// Answers requests. A clone is the same one.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

struct Inner {
    s3: S3Service,
    /// The same for forms, which are signed long before they are sent: their policies say until when they may be.
    forms: S3Service,
    objects: Objects,
    config: Arc<S3Config>,
    domains: Domains,
    room: Room,
    /// Whether requests are let in.
    open: Box<dyn Fn() -> bool + Send + Sync>,
}

/// What is needed of a request's head once s3s has it.
struct Sender {
    method: Method,
    uri: Uri,
    origin: Option<HeaderValue>,
    host: Option<HeaderValue>,
    /// Whether it waits to be told to go on before it sends its body.
    expects: bool,
    /// Whether what is left of the body comes whatever is answered.
    sends_on: bool,
}

impl Front {
    pub fn new(config: S3Config, objects: Objects, open: Box<dyn Fn() -> bool + Send + Sync>) -> Self {
        let config = Arc::new(config);
        let domains = Domains::new(config.domains.clone());
        let api = Api::new(objects.clone(), config.clone());
        let service = |limits: s3s::config::S3Config| {
            let mut s3 = S3ServiceBuilder::new(api.clone());
            s3.set_auth(Auth(objects.clone()));
            s3.set_access(Access(objects.clone()));
            s3.set_host(domains.clone());
            s3.set_validation(Names);
            s3.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits))));
            s3.build()
        };
        let mut limits = s3s::config::S3Config::default();
        limits.xml_max_body_size = config.limits.xml_bytes;
        limits.post_object_max_file_size = config.limits.form_bytes as u64;
        limits.form_max_field_size = FORM_FIELDS_BYTES;
        limits.form_max_fields_size = FORM_FIELDS_BYTES;
        limits.form_max_parts = FORM_PARTS;
        let s3 = service(limits.clone());
        limits.presigned_url_max_skew_time_secs = refuse::LONGEST_SIGNED;
        let forms = service(limits);
        let room = Room::new(config.limits.held_bytes);
        Self(Arc::new(Inner { s3, forms, objects, config, domains, room, open }))
    }

    async fn admitted(
        &self,
        parts: Parts,
        slot: Option<Slot>,
        peer: Peer,
        id: RequestId,
        sender: &Sender,
    ) -> Result<Response<Body>> {
        if !(self.0.open)() {
            return Err(Failure::new(s3s::S3ErrorCode::ServiceUnavailable, CLOSED));
        }
        if parts.method == Method::OPTIONS {
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = cors::preflight(self.bucket(sender).as_deref(), &parts.headers)?;
            return Ok(response);
        }
        let answered = self.asked(parts, slot.clone(), peer, id).await;
        let Some(slot) = slot else { return answered };
        if sender.sends_on
            && let Some(body) = slot.take()
        {
            // Whether it comes to its end or not, there is nothing more to be done about it.
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, body.for_each(|_| std::future::ready(()))).await;
        }
        match slot.failure() {
            Some(failure) => Err(failure.into()),
            None => answered,
        }
    }

    /// Asks s3s.
    async fn asked(&self, mut parts: Parts, slot: Option<Slot>, peer: Peer, id: RequestId) -> Result<Response<Body>> {
        refuse::check(&self.0.config, &parts.headers, &parts.uri)?;
        let again = with_sensible_range(&mut parts);
        let form = is_form(&parts);
        let body = match &slot {
            None => Body::empty(),
            Some(slot) => held(slot.clone(), self.held_limits(&parts, form)?),
        };
        let service = if form { &self.0.forms } else { &self.0.s3 };
        let arrival = Arrival::new(peer, id, slot);
        let answer = ask(service, parts, body, &arrival).await?;
        match again {
            Some(parts) if answer.status() == StatusCode::BAD_REQUEST && arrival.known().is_some() => {
                ask(service, parts, Body::empty(), &arrival).await
            }
            _ => Ok(answer),
        }
    }

    fn held_limits(&self, parts: &Parts, form: bool) -> Result<HeldLimits> {
        let limits = &self.0.config.limits;
        // Completing an upload tells the checksum of its object.
        let completes =
            parts.uri.query().is_some_and(|query| query.split('&').any(|word| word.starts_with("uploadId=")));
        let digests = match form {
            true => None,
            false if completes => Some(Digests::of(&parts.headers)?.without_checksums()),
            false => Some(Digests::of(&parts.headers)?),
        };
        // s3s lets in a little more than the largest, so that it can tell what was too large.
        let bytes = if form { limits.form_bytes + 2 * FORM_FIELDS_BYTES } else { limits.xml_bytes };
        Ok(HeldLimits { bytes, room: self.0.room.clone(), digests })
    }

    /// What every answer has.
    fn finish(&self, response: &mut Response<Body>, sender: &Sender, id: &str) {
        if let Some(origin) = &sender.origin
            && sender.method != Method::OPTIONS
        {
            let headers = cors::besides(self.bucket(sender).as_deref(), origin, &sender.method);
            response.headers_mut().extend(headers);
        }
        let headers = response.headers_mut();
        headers.insert(SERVER, HeaderValue::from_static("Mainstay"));
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(HeaderName::from_static("x-amz-request-id"), id);
        }
    }

    /// The bucket that a request is about, found without s3s.
    fn bucket(&self, sender: &Sender) -> Option<Arc<Bucket>> {
        let host = sender.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match self.0.domains.bucket_of(host) {
            Some(name) => name.to_ascii_lowercase(),
            None => sender.uri.path().split('/').nth(1)?.to_owned(),
        };
        self.0.objects.bucket(&name.parse::<BucketName>().ok()?)
    }
}

impl Answers for Front {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let id = RequestId::next();
        let (parts, body) = request.into_parts();
        let sender = Sender::of(&parts);
        let text = id.to_string();
        let limits = &self.0.config.limits;
        let pace = Pace { bytes: limits.pace_bytes, within: limits.pace_within };
        let slot = (!body.is_end_stream()).then(|| Slot::new(Paced::new(body, pace)));
        let response = self.admitted(parts, slot.clone(), peer, id, &sender).await.unwrap_or_else(|failure| {
            failure.log(sender.method.as_str(), Some(id));
            told(failure)
        });
        let mut response = amended(response, sender.uri.path(), sender.uri.query(), &text);
        self.finish(&mut response, &sender, &text);
        let over = match &slot {
            // The rest of the body may still come, or may not where its sender waited to be told to go on: what follows on this
            // connection could be either, so that nothing may (RFC 9110, section 10.1.1).
            Some(slot) => !slot.is_at_end(),
            // Nobody is told to go on with nothing. botocore before 1.43.77, and so the AWS command line, waits for it all the
            // same, and takes the first line of this answer for that of the next one on the connection
            // (https://github.com/boto/botocore/issues/3755).
            None => sender.expects,
        };
        if over {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Asks s3s. Why it failed is in the log then: of ours it was told where they arose, and s3s tells its own.
async fn ask(service: &S3Service, parts: Parts, body: Body, arrival: &Arrival) -> Result<Response<Body>> {
    let mut request = HttpRequest::from_parts(parts, body);
    request.extensions_mut().insert(arrival.clone());
    // What s3s logs of an error of its own tells the request too.
    let span = tracing::error_span!("s3", request = %arrival.id);
    service.call(request).instrument(span).await.map_err(|error| {
        let error: Box<dyn std::error::Error + Send + Sync> = error.into();
        Failure::from(s3s::S3Error::with_source(s3s::S3ErrorCode::InternalError, error))
    })
}

/// Whether a request is a form as s3s sees it: anything else that looks alike is a body whose digests are to be verified.
fn is_form(parts: &Parts) -> bool {
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    parts.method == Method::POST && essence.eq_ignore_ascii_case("multipart/form-data")
}

/// Takes away a range that is none, or several: it counts as not there (RFC 9110, section 14.2), and s3s takes it for an
/// error. Where the signature may cover it, it stays; what is answered is what is to be asked once the signature was found
/// right, without both.
fn with_sensible_range(parts: &mut Parts) -> Option<Parts> {
    let range = parts.headers.get(RANGE)?.to_str().unwrap_or_default();
    if !matches!(parts.method, Method::GET | Method::HEAD) || s3s::dto::Range::parse(range).is_ok() {
        return None;
    }
    let range = sensible_range(range).and_then(|range| HeaderValue::from_str(&range).ok());
    let query = parts.uri.query().unwrap_or_default();
    let is_signature = |pair: &&str| pair.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
    let signed = parts.headers.contains_key(AUTHORIZATION) || query.split('&').any(|pair| is_signature(&pair));
    let unsigned: Vec<_> = query.split('&').filter(|pair| !is_signature(pair)).collect();
    let unsigned = if unsigned.is_empty() { String::new() } else { format!("?{}", unsigned.join("&")) };
    let set_range = |parts: &mut Parts| match range {
        Some(range) => drop(parts.headers.insert(RANGE, range)),
        None => drop(parts.headers.remove(RANGE)),
    };
    if !signed {
        set_range(parts);
        return None;
    }
    let mut sensible = parts.clone();
    set_range(&mut sensible);
    sensible.headers.remove(AUTHORIZATION);
    sensible.uri = format!("{}{unsigned}", parts.uri.path()).parse().ok()?;
    Some(sensible)
}

/// A single range as s3s reads it, which knows no numbers beyond those of files; none where it is no single range of bytes.
fn sensible_range(text: &str) -> Option<String> {
    const LAST: u64 = i64::MAX as u64;
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(first) || !is_number(last) {
        return None;
    }
    // Only a number that is too large is none.
    let number = |digits: &str| (!digits.is_empty()).then(|| digits.parse().unwrap_or(LAST).min(LAST));
    match (number(first), number(last)) {
        (None, None) => None,
        (Some(first), Some(last)) if first > last => None,
        (Some(first), Some(last)) => Some(format!("bytes={first}-{last}")),
        (Some(first), None) => Some(format!("bytes={first}-")),
        (None, Some(length)) => Some(format!("bytes=-{length}")),
    }
}

impl Sender {
    fn of(parts: &Parts) -> Self {
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let little = length.is_some_and(|length: u64| length <= DRAINED_BYTES);
        let expects = parts.headers.contains_key(EXPECT);
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            origin: parts.headers.get(ORIGIN).cloned(),
            host: parts.headers.get(HOST).cloned(),
            expects,
            // Whoever expects to be told to go on has not sent it yet.
            sends_on: little && !expects,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sensible_range;

    #[test]
    fn ranges_that_are_some() {
        for (text, read) in [
            ("bytes=99999999999999999999-", Some("bytes=9223372036854775807-")),
            ("bytes=0-99999999999999999999", Some("bytes=0-9223372036854775807")),
            ("bytes=-99999999999999999999", Some("bytes=-9223372036854775807")),
            ("Bytes=1-2", Some("bytes=1-2")),
            ("bytes=2-1", None),
            ("bytes=-", None),
            ("bytes=0-1,3-4", None),
            ("bytes=+1-2", None),
            ("bytes=1", None),
            ("lines=1-2", None),
            ("", None),
        ] {
            assert_eq!(sensible_range(text).as_deref(), read, "{text}");
        }
    }
}
