//! A small S3 client: requests signed with AWS Signature Version 4 by Amazon's own crate.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use ureq::Agent;
use ureq::http::Request;

use super::Bound;

/// Longer than the layer waits for anything that a client begins.
const TIMEOUT: Duration = Duration::from_secs(60);
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

    fn element(&self, name: &str) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let inner = text.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
        inner.map(|(inner, _)| inner.to_owned()).unwrap_or_default()
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

    /// Any request for a path and a query that are encoded already.
    pub fn call(&self, method: &str, path_and_query: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let url = format!("{}{path_and_query}", self.endpoint);
        let mut headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (signed, _) = self.signed(method, &url, &headers, SignatureLocation::Headers);
        headers.extend(signed);
        send(method, &url, &headers, body)
    }

    /// A URL with which whoever has it reads one object.
    pub fn presigned(&self, key: &str) -> String {
        let url = format!("{}{}", self.endpoint, self.path(key));
        let (_, query) = self.signed("GET", &url, &[], SignatureLocation::QueryParams);
        let mut pairs = form_of(&query);
        pairs.insert(0, '?');
        url + &pairs
    }

    fn path(&self, key: &str) -> String {
        format!("/{}/{key}", self.bucket)
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
    send("GET", url, &[], b"")
}

fn form_of(pairs: &[(String, String)]) -> String {
    let encoded = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let byte = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.bytes().map(byte).collect::<String>()
    };
    pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

fn send(method: &str, url: &str, headers: &[(String, String)], body: &[u8]) -> Answer {
    let config = Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(Some(TIMEOUT));
    let agent: Agent = config.allow_non_standard_methods(true).build().into();
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = match body {
        b"" if method == "GET" || method == "HEAD" => agent.run(request.body(()).unwrap()),
        body => agent.run(request.body(body).unwrap()),
    }
    .unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec().unwrap();
    Answer { status, body }
}
