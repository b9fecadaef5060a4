//! Requests as text, and signatures of the test's own.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{KEY, REGION, SECRET};

/// How long an answer may take: longer than any limit of the server's in tests.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What stands between two tags.
    pub fn element(&self, name: &str) -> String {
        let text = self.text();
        let start = text.split_once(&format!("<{name}>")).map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        start.split_once(&format!("</{name}>")).map(|(value, _)| value.to_owned()).unwrap_or_default()
    }

    pub fn code(&self) -> String {
        self.element("Code")
    }
}

/// Sends bytes and reads one answer.
pub async fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(request.as_ref()).await;
    receive(&mut stream).await
}

/// Reads one answer, to its length or to the end.
pub async fn receive(stream: &mut TcpStream) -> Answer {
    tokio::time::timeout(DEADLINE, read(stream)).await.expect("an answer comes in time")
}

async fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        if let Some(answer) = parse(&bytes, false) {
            return answer;
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return parse(&bytes, true).expect("the connection ends with an answer"),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn parse(bytes: &[u8], ended: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let whole = length.is_some_and(|length: usize| body.len() >= length);
    (ended || whole || matches!(status, 204 | 304)).then_some(Answer { status, headers, body })
}

/// A request that is to be signed.
pub struct Signed<'a> {
    pub method: &'a str,
    /// Percent-encoded.
    pub path: &'a str,
    /// Sorted, encoded.
    pub query: &'a str,
    /// Lowercase names; all are signed.
    pub headers: Vec<(&'a str, String)>,
    /// What `x-amz-content-sha256` says.
    pub payload: String,
    pub at: SystemTime,
    /// Where it is not the address.
    pub host: Option<String>,
}

impl<'a> Signed<'a> {
    /// A request now, over a body that is known.
    pub fn new(method: &'a str, path: &'a str, body: &[u8]) -> Self {
        let payload = hex(digest::digest(&digest::SHA256, body).as_ref());
        Self { method, path, query: "", headers: Vec::new(), payload, at: SystemTime::now(), host: None }
    }

    pub fn header(mut self, name: &'a str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// The head, signed with the first account's key.
    pub fn head(self, address: SocketAddr) -> String {
        self.head_and_seed(address).0
    }

    /// The head, and its signature with what else the signatures of chunks need.
    pub fn head_and_seed(self, address: SocketAddr) -> (String, Seed) {
        let date = amz_date(self.at);
        let scope = format!("{}/{REGION}/s3/aws4_request", &date[..8]);
        let mut headers = self.headers.clone();
        headers.push(("host", self.host.clone().unwrap_or_else(|| address.to_string())));
        headers.push(("x-amz-content-sha256", self.payload.clone()));
        headers.push(("x-amz-date", date.clone()));
        headers.sort();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let canonical: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("{}\n{}\n{}\n{canonical}\n{names}\n{}", self.method, self.path, self.query, self.payload);
        let digest = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let key = signing_key(&scope);
        let signature = sign(&key, &format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}"));
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let head = format!(
            "{} {}{query} HTTP/1.1\r\n{lines}authorization: AWS4-HMAC-SHA256 Credential={KEY}/{scope}, \
             SignedHeaders={names}, Signature={signature}\r\n\r\n",
            self.method, self.path
        );
        (head, Seed { key, date, scope, previous: signature })
    }
}

/// What a chain of chunks goes on from.
pub struct Seed {
    key: hmac::Key,
    date: String,
    scope: String,
    previous: String,
}

impl Seed {
    /// A chunk with its signature.
    pub fn chunk(&mut self, data: &[u8]) -> Vec<u8> {
        let digest = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{}\n{}",
            self.date,
            self.scope,
            self.previous,
            digest(b""),
            digest(data)
        );
        self.previous = sign(&self.key, &text);
        let head = format!("{:x};chunk-signature={}\r\n", data.len(), self.previous);
        [head.as_bytes(), data, b"\r\n"].concat()
    }
}

fn signing_key(scope: &str) -> hmac::Key {
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in scope.split('/') {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    hmac::Key::new(hmac::HMAC_SHA256, &key)
}

/// The signature of a form's policy.
pub fn sign_policy(policy: &str, scope: &str) -> String {
    sign(&signing_key(scope), policy)
}

fn sign(key: &hmac::Key, text: &str) -> String {
    hex(hmac::sign(key, text.as_bytes()).as_ref())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20261121T120000Z`.
pub fn amz_date(at: SystemTime) -> String {
    let micros = at.duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    let text = mainstay_types::Timestamp::from_micros(micros).to_string();
    let digits: String = text[..19].chars().filter(|character| !matches!(character, '-' | ':')).collect();
    format!("{digits}Z")
}
