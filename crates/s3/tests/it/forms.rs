//! Objects from HTML forms.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstay_s3::{Limits, S3Config};

use crate::raw::{Answer, amz_date, send, sign_policy};
use crate::server::{KEY, REGION, SECRET, Server, get};

/// A form that may put `uploads/...` of at most 1000 bytes for another hour.
struct Form {
    /// When it was signed, in seconds before now.
    age: i64,
    expires_in: i64,
    key: &'static str,
    fields: Vec<(&'static str, String)>,
    file: Vec<u8>,
    signature: Option<String>,
}

impl Form {
    fn new() -> Self {
        Self {
            age: 0,
            expires_in: 3600,
            key: "uploads/a",
            fields: Vec::new(),
            file: b"hello".to_vec(),
            signature: None,
        }
    }

    async fn send(self, server: &Server) -> Answer {
        let now = SystemTime::now();
        let date = amz_date(seconds_after(now, -self.age));
        let scope = format!("{}/{REGION}/s3/aws4_request", &date[..8]);
        let expires = amz_date(seconds_after(now, self.expires_in));
        let expiration = format!(
            "{}-{}-{}T{}:{}:{}Z",
            &expires[..4],
            &expires[4..6],
            &expires[6..8],
            &expires[9..11],
            &expires[11..13],
            &expires[13..15]
        );
        let credential = format!("{KEY}/{scope}");
        let policy = format!(
            r#"{{"expiration":"{expiration}","conditions":[{{"bucket":"photos"}},["starts-with","$key","uploads/"],
            ["content-length-range",0,1000],["starts-with","$x-amz-meta-colour",""],
            ["starts-with","$success_action_status",""],["starts-with","$tagging",""],["starts-with","$acl",""],
            {{"x-amz-algorithm":"AWS4-HMAC-SHA256"}},{{"x-amz-credential":"{credential}"}},{{"x-amz-date":"{date}"}}]}}"#
        );
        let policy = STANDARD.encode(policy);
        let signature = self.signature.unwrap_or_else(|| sign_policy(&policy, &scope));
        let mut fields = vec![
            ("key", self.key.to_owned()),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential", credential),
            ("x-amz-date", date),
            ("policy", policy),
            ("x-amz-signature", signature),
        ];
        fields.extend(self.fields);
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
            );
        }
        body.extend_from_slice(b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
        body.extend_from_slice(&self.file);
        body.extend_from_slice(b"\r\n--b--\r\n");
        let head = format!(
            "POST /photos HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
            server.address,
            body.len()
        );
        send(server.address, [head.into_bytes(), body].concat()).await
    }
}

fn seconds_after(moment: SystemTime, seconds: i64) -> SystemTime {
    let length = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { moment - length } else { moment + length }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_are_signed_put_objects() {
    let server = Server::start().await;
    let answer = Form::new().send(&server).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(get(&server.client(), "uploads/a").await, b"hello");
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>".to_owned();
    let fields =
        vec![("x-amz-meta-colour", "blue".to_owned()), ("success_action_status", "201".to_owned()), ("tagging", tags)];
    let answer = Form { fields, ..Form::new() }.send(&server).await;
    assert_eq!((answer.status, answer.element("Key").as_str()), (201, "uploads/a"), "{}", answer.text());
    let answer = Form { key: "uploads/${filename}", ..Form::new() }.send(&server).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(get(&server.client(), "uploads/f").await, b"hello");
    // A page can be open for hours before its form is sent.
    let answer = Form { age: 6 * 3600, key: "uploads/late", ..Form::new() }.send(&server).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let head = server.client().head_object().bucket("photos").key("uploads/a").send().await.unwrap();
    assert_eq!(head.metadata().unwrap().get("colour").map(String::as_str), Some("blue"));
    let tags = server.client().get_object_tagging().bucket("photos").key("uploads/a").send().await.unwrap();
    assert_eq!(tags.tag_set().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_are_refused() {
    let server = Server::start().await;
    for (form, status, code) in [
        (Form { expires_in: -10, ..Form::new() }, 403, "AccessDenied"),
        (Form { age: 3600, expires_in: -10, ..Form::new() }, 403, "AccessDenied"),
        (Form { age: 8 * 24 * 3600, ..Form::new() }, 403, "RequestTimeTooSkewed"),
        (Form { age: -3600, ..Form::new() }, 403, "RequestTimeTooSkewed"),
        (Form { key: "elsewhere/a", ..Form::new() }, 403, "AccessDenied"),
        (Form { file: vec![b'x'; 1001], ..Form::new() }, 400, "EntityTooLarge"),
        (Form { signature: Some("0".repeat(64)), ..Form::new() }, 403, "SignatureDoesNotMatch"),
        (Form { fields: vec![("acl", "public-read".to_owned())], ..Form::new() }, 400, "AccessControlListNotSupported"),
    ] {
        let answer = form.send(&server).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
    }
    let listed = server.client().list_objects_v2().bucket("photos").send().await.unwrap();
    assert_eq!(listed.key_count(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_without_a_signature_are_anonymous() {
    let server = Server::start().await;
    let body = "--b\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\na\r\n\
                --b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nx\r\n--b--\r\n";
    let head = format!(
        "POST /photos HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = send(server.address, format!("{head}{body}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_not_held_beyond_its_limit() {
    let limits = Limits { form_bytes: 100, ..Limits::default() };
    let server = Server::with(S3Config { limits, ..S3Config::default() }).await;
    let answer = Form { file: vec![b'x'; 500], ..Form::new() }.send(&server).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "EntityTooLarge"), "{}", answer.text());
    let answer = Form { file: vec![b'x'; 1 << 20], ..Form::new() }.send(&server).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_are_signed_in_the_old_way_are_refused() {
    let server = Server::start().await;
    let policy =
        r#"{"expiration":"2999-01-01T00:00:00Z","conditions":[{"bucket":"photos"},["starts-with","$key",""]]}"#;
    let policy = STANDARD.encode(policy);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, policy.as_bytes()));
    let fields = [("key", "a"), ("AWSAccessKeyId", KEY), ("policy", &policy), ("signature", &signature), ("file", "x")];
    let field = |(name, value): (&str, &str)| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = format!("{}--b--\r\n", fields.map(field).concat());
    let head = format!(
        "POST /photos HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = send(server.address, format!("{head}{body}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidRequest"), "{}", answer.text());
}
