//! A small S3 client: requests signed with AWS Signature Version 4 by Amazon's own crate.

use std::io::Read;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use ureq::http::Request;
use ureq::{Agent, Body, SendBody};

use super::Bound;

/// Longer than the layer waits for anything that a client begins.
const TIMEOUT: Duration = Duration::from_secs(120);
const PRESIGNED_FOR: Duration = Duration::from_secs(600);

/// Names with their values: headers, or the parts of a query.
type Pairs = Vec<(String, String)>;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// S3's code of an error.
    pub fn code(&self) -> String {
        self.element("Code")
    }

    pub fn message(&self) -> String {
        self.element("Message")
    }

    /// What stands in the first element of a name.
    pub fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }

    /// What stands in each element of a name.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.body);
        let inner = |rest: &str| rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner.to_owned());
        text.split(&format!("<{name}>")).skip(1).filter_map(inner).collect()
    }

    /// The body of an answer that has to have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Vec<u8> {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.body
    }

    /// Has to be this refusal.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> String {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!((self.status, self.code().as_str()), (status, code), "{text}");
        self.message()
    }
}

impl Bound {
    pub fn put(&self, key: &str, body: &[u8]) -> Answer {
        self.call("PUT", &self.path(key), &[], body)
    }

    pub fn get(&self, key: &str) -> Answer {
        self.call("GET", &self.path(key), &[], b"")
    }

    pub fn delete(&self, key: &str) -> Answer {
        self.call("DELETE", &self.path(key), &[], b"")
    }

    /// Any request for a path and a query that are encoded already.
    pub fn call(&self, method: &str, path_and_query: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.attempt(method, path_and_query, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path_and_query}: {error}"))
    }

    /// The same, which may find nobody at home, or be cut off.
    pub fn attempt(
        &self,
        method: &str,
        path_and_query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let (url, headers) = self.signed_headers(method, path_and_query, headers);
        send(method, &url, &headers, body)
    }

    /// Sends as many bytes as they are read.
    pub fn upload(&self, path_and_query: &str, size: u64, body: &mut dyn Read) -> Result<Answer, ureq::Error> {
        let (url, headers) = self.signed_headers("PUT", path_and_query, &[("content-length", &size.to_string())]);
        let agent = agent(None);
        read(agent.run(request("PUT", &url, &headers).body(SendBody::from_reader(body)).unwrap())?)
    }

    /// The body of an object, to be read at any pace.
    pub fn download(&self, key: &str) -> Body {
        let (url, headers) = self.signed_headers("GET", &self.path(key), &[]);
        let response = agent(None).run(request("GET", &url, &headers).body(()).unwrap()).unwrap();
        assert_eq!(response.status(), 200, "GET {url}");
        response.into_body()
    }

    /// A URL with which whoever has it reads one object.
    pub fn presigned(&self, key: &str) -> String {
        let url = format!("{}{}", self.endpoint, self.path(key));
        let (_, query) = self.signed("GET", &url, &[], SignatureLocation::QueryParams);
        let mut pairs = form_of(&query);
        pairs.insert(0, '?');
        url + &pairs
    }

    pub fn path(&self, key: &str) -> String {
        format!("/{}/{key}", self.bucket)
    }

    /// The whole URL, and the headers with those of the signature.
    fn signed_headers(&self, method: &str, path_and_query: &str, headers: &[(&str, &str)]) -> (String, Pairs) {
        let url = format!("{}{path_and_query}", self.endpoint);
        let mut headers: Pairs =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (signed, _) = self.signed(method, &url, &headers, SignatureLocation::Headers);
        headers.extend(signed);
        (url, headers)
    }

    fn signed(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        location: SignatureLocation,
    ) -> (Pairs, Pairs) {
        let identity = Credentials::new(&self.access_key, &self.secret_key, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = match location {
            SignatureLocation::Headers => PayloadChecksumKind::XAmzSha256,
            _ => PayloadChecksumKind::NoHeader,
        };
        settings.expires_in = matches!(location, SignatureLocation::QueryParams).then_some(PRESIGNED_FOR);
        settings.signature_location = location;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let host = ("host", self.endpoint.strip_prefix("http://").unwrap());
        let headers = std::iter::once(host).chain(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let request = SignableRequest::new(method, url, headers, SignableBody::UnsignedPayload).unwrap();
        let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
        let (headers, query) = instructions.into_parts();
        let headers = headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect();
        (headers, query.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect())
    }
}

/// Fetches a URL as a browser does.
pub fn fetch(url: &str) -> Answer {
    send("GET", url, &[], b"").unwrap_or_else(|error| panic!("GET {url}: {error}"))
}

fn form_of(pairs: &[(String, String)]) -> String {
    let encoded = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let byte = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.bytes().map(byte).collect::<String>()
    };
    pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

fn send(method: &str, url: &str, headers: &[(String, String)], body: &[u8]) -> Result<Answer, ureq::Error> {
    let (agent, request) = (agent(Some(TIMEOUT)), request(method, url, headers));
    read(match body {
        b"" if method == "GET" || method == "HEAD" => agent.run(request.body(()).unwrap()),
        body => agent.run(request.body(body).unwrap()),
    }?)
}

fn agent(timeout: Option<Duration>) -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(timeout);
    config.allow_non_standard_methods(true).build().into()
}

fn request(method: &str, url: &str, headers: &[(String, String)]) -> ureq::http::request::Builder {
    headers
        .iter()
        .fold(Request::builder().method(method).uri(url), |request, (name, value)| request.header(name, value))
}

fn read(mut response: ureq::http::Response<Body>) -> Result<Answer, ureq::Error> {
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec()?;
    Ok(Answer { status, body })
}
