//! A store in memory that does what a test tells it to: as much of S3 as the data plane uses, and every failure.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use mainstay_dataplane_s3::{Patience, S3Config, S3Plane};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fault {
    None,
    /// It is neither carried out nor answered.
    Stall,
    /// It is carried out and not answered.
    LoseAnswer,
    /// It is answered with an error, and not carried out.
    Answer(u16, &'static str),
    /// The answer breaks off after some bytes of its body.
    BreakOff(usize),
    /// A bit of the answer's body is another one.
    Flip,
    /// It is carried out, but what comes in is thrown away: the object is there and empty.
    Forget,
}

type Script = Box<dyn FnMut(&Method, &str) -> Fault + Send>;

pub struct Fake {
    endpoint: String,
    state: Arc<State>,
    _server: AbortOnDropHandle<()>,
}

struct State {
    objects: Mutex<BTreeMap<String, Bytes>>,
    script: Mutex<Script>,
    honours_conditions: bool,
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl Fake {
    pub async fn start(honours_conditions: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            objects: Mutex::default(),
            script: Mutex::new(Box::new(|_, _| Fault::None)),
            honours_conditions,
        });
        let server = AbortOnDropHandle::new(tokio::spawn(serve(listener, Arc::clone(&state))));
        Self { endpoint, state, _server: server }
    }

    /// From now on.
    pub fn script(&self, script: impl FnMut(&Method, &str) -> Fault + Send + 'static) {
        *self.state.script.lock().unwrap() = Box::new(script);
    }

    pub fn config(&self) -> S3Config {
        S3Config {
            endpoint: self.endpoint.clone(),
            region: "fake".into(),
            bucket: "bucket".into(),
            prefix: String::new(),
            access_key_id: "key".into(),
            secret_access_key: "a-secret-nobody-may-see".to_owned().into(),
            patience: Patience {
                request: Duration::from_millis(300),
                attempts: 3,
                pause: Duration::from_millis(5),
                health: Duration::from_millis(300),
            },
        }
    }

    pub async fn open(&self) -> S3Plane {
        S3Plane::open(self.config()).await.unwrap()
    }

    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.state.objects.lock().unwrap().keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    pub fn remove(&self, key: &str) {
        self.state.objects.lock().unwrap().remove(key).unwrap();
    }

    pub fn change(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.state.objects.lock().unwrap();
        let mut object = objects[key].to_vec();
        change(&mut object);
        objects.insert(key.to_owned(), object.into());
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        connection.set_nodelay(true).unwrap();
        let state = Arc::clone(&state);
        let service = hyper::service::service_fn(move |request| answer(Arc::clone(&state), request));
        connections.spawn(async move {
            let _ =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let key = head.uri.path().strip_prefix("/bucket").unwrap().trim_start_matches('/').to_owned();
    let fault = (state.script.lock().unwrap())(&head.method, &key);
    // Too much is never kept in memory at once: what is forgotten is not collected.
    let body = match fault {
        Fault::Forget => {
            let mut body = body;
            while let Some(Ok(_)) = body.frame().await {}
            Bytes::new()
        }
        _ => match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Ok(error(400, "IncompleteBody")),
        },
    };
    match fault {
        Fault::Stall => std::future::pending().await,
        Fault::Answer(status, code) => Ok(error(status, code)),
        Fault::LoseAnswer => {
            carry_out(&state, &head, &key, body);
            std::future::pending().await
        }
        Fault::None | Fault::Forget => Ok(carry_out(&state, &head, &key, body)),
        Fault::BreakOff(after) => {
            let (head, body) = carry_out(&state, &head, &key, body).into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let first = bytes.slice(..after.min(bytes.len()));
            // What was sent is on its way before the connection is reset.
            let frames = stream::iter([Ok(Frame::data(first))]).chain(stream::once(async {
                tokio::task::yield_now().await;
                Err(io::Error::other("reset"))
            }));
            let mut broken = Response::from_parts(head, BodyExt::boxed(StreamBody::new(frames)));
            broken.headers_mut().insert(header::CONTENT_LENGTH, bytes.len().into());
            Ok(broken)
        }
        Fault::Flip => {
            let (head, body) = carry_out(&state, &head, &key, body).into_parts();
            let mut bytes = body.collect().await.unwrap().to_bytes().to_vec();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            Ok(Response::from_parts(head, full(bytes)))
        }
    }
}

fn carry_out(state: &State, head: &hyper::http::request::Parts, key: &str, body: Bytes) -> Answer {
    let query = head.uri.query().unwrap_or_default();
    let mut objects = state.objects.lock().unwrap();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    match head.method {
        Method::PUT => {
            let there = objects.get(key).map(etag);
            let unmet = header("if-none-match").is_some_and(|_| there.is_some())
                || header("if-match").is_some_and(|wanted| there != Some(wanted));
            if state.honours_conditions && unmet {
                return error(412, "PreconditionFailed");
            }
            let etag = etag(&body);
            objects.insert(key.to_owned(), body);
            Response::builder().header(header::ETAG, etag).body(full("")).unwrap()
        }
        Method::GET if key.is_empty() => list(&objects, query),
        Method::GET => match objects.get(key) {
            None => error(404, "NoSuchKey"),
            Some(object) => {
                let range = header("range").map(|range| parse_range(&range, object.len()));
                let (status, bytes) = match range {
                    None => (StatusCode::OK, object.clone()),
                    Some(range) if range.start >= object.len() => return error(416, "InvalidRange"),
                    Some(range) => (StatusCode::PARTIAL_CONTENT, object.slice(range)),
                };
                Response::builder().status(status).header(header::ETAG, etag(object)).body(full(bytes)).unwrap()
            }
        },
        Method::DELETE => {
            objects.remove(key);
            Response::builder().status(StatusCode::NO_CONTENT).body(full("")).unwrap()
        }
        Method::POST if query == "delete" => {
            let text = String::from_utf8(body.to_vec()).unwrap();
            for key in text.split("<Key>").skip(1) {
                objects.remove(key.split("</Key>").next().unwrap());
            }
            Response::new(full("<DeleteResult></DeleteResult>"))
        }
        _ => error(501, "NotImplemented"),
    }
}

fn list(objects: &BTreeMap<String, Bytes>, query: &str) -> Answer {
    let parameter = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.replace("%2F", "/")).next()
    };
    let prefix = parameter("prefix").unwrap_or_default();
    let after = parameter("continuation-token").or(parameter("start-after")).unwrap_or_default();
    let limit = parameter("max-keys").map_or(1000, |limit| limit.parse().unwrap());
    let mut found = objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let truncated = found.next().is_some();
    let mut xml = format!("<ListBucketResult><IsTruncated>{truncated}</IsTruncated>");
    if let (true, Some((last, _))) = (truncated, page.last()) {
        write!(xml, "<NextContinuationToken>{last}</NextContinuationToken>").unwrap();
    }
    for (key, object) in page {
        write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>2026-11-21T12:00:00.000Z</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
            etag(object),
            object.len()
        )
        .unwrap();
    }
    xml.push_str("</ListBucketResult>");
    Response::new(full(xml))
}

fn parse_range(text: &str, len: usize) -> std::ops::Range<usize> {
    let (start, end) = text.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    start..end.parse::<usize>().map_or(len, |end| (end + 1).min(len))
}

fn etag(object: &Bytes) -> String {
    format!("\"{}\"", &mainstay_types::Digest::of(object).to_string()[..32])
}

fn error(status: u16, code: &str) -> Answer {
    let xml = format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    Response::builder().status(status).body(full(xml)).unwrap()
}

fn full(bytes: impl Into<Bytes>) -> BoxBody<Bytes, io::Error> {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}
