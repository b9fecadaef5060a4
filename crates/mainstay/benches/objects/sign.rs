//! Requests as S3 wants them, signed with AWS Signature Version 4; the payload is left unsigned, as most clients do.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;

/// Who asks, and whom.
#[derive(Debug, Clone)]
pub struct Account {
    pub port: u16,
    pub bucket: String,
    pub access_key: String,
    pub secret: String,
}

impl Account {
    /// The head of a request, and all of it where it has no body.
    pub fn head(&self, method: &str, path_and_query: &str, body: Option<usize>) -> Vec<u8> {
        self.head_with(method, path_and_query, body, &[])
    }

    /// The same with further headers, which are signed.
    pub fn head_with(
        &self,
        method: &str,
        path_and_query: &str,
        body: Option<usize>,
        further: &[(&str, String)],
    ) -> Vec<u8> {
        let host = format!("127.0.0.1:{}", self.port);
        let url = format!("http://{host}{path_and_query}");
        let identity = Credentials::new(&self.access_key, &self.secret, None, None, "bench").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let further = further.iter().map(|(name, value)| (*name, value.as_str()));
        let headers = [("host", host.as_str())].into_iter().chain(further.clone());
        let request = SignableRequest::new(method, &url, headers, SignableBody::UnsignedPayload).unwrap();
        let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
        let (signed, _) = instructions.into_parts();
        let mut head = format!("{method} {path_and_query} HTTP/1.1\r\nhost: {host}\r\n");
        let signed: Vec<_> = signed.iter().map(|header| (header.name(), header.value())).collect();
        for (name, value) in signed.into_iter().chain(further) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = body {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub fn path(&self, key: &str) -> String {
        format!("/{}/{key}", self.bucket)
    }
}
