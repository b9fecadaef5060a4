//! What somebody tries who knows how S3 works: ways around policies, and requests that take more than they give.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, Delete, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, ObjectIdentifier, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention,
    ObjectLockRetentionMode, Tag, Tagging, VersioningConfiguration,
};

use crate::raw::{Signed, send};
use crate::server::{Server, error, put, refused};

fn denied() -> (u16, String) {
    error(403, "AccessDenied")
}

async fn allow(client: &Client, bucket: &str, statement: &str) {
    let policy = format!(r#"{{"Statement":[{statement}]}}"#);
    client.put_bucket_policy().bucket(bucket).policy(policy).send().await.unwrap();
}

fn tagging() -> Tagging {
    let tag = Tag::builder().key("class").value("public").build().unwrap();
    Tagging::builder().tag_set(tag).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_one_however_its_parameter_is_written() {
    let server = Server::start().await;
    let client = server.client();
    let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.put_bucket_versioning().bucket("photos").versioning_configuration(versioning).send().await.unwrap();
    put(&client, "a", "old").await;
    let old = client.head_object().bucket("photos").key("a").send().await.unwrap().version_id.unwrap();
    put(&client, "a", "new").await;
    let statement = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}"#;
    allow(&client, "photos", statement).await;
    let get = |query: String| async move {
        send(server.address, format!("GET /photos/a{query} HTTP/1.1\r\nhost: x\r\n\r\n")).await
    };
    assert_eq!(get(String::new()).await.body, b"new");
    for name in ["versionId", "version%49d", "%76ersionId"] {
        assert_eq!(get(format!("?{name}={old}")).await.status, 403, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_carries_no_tags_past_a_policy() {
    let server = Server::start().await;
    let (client, stranger) = (server.client(), server.other_client());
    stranger.create_bucket().bucket("theirs").send().await.unwrap();
    let tagged = |client: &Client, bucket: &'static str| {
        client.put_object().bucket(bucket).key("tagged").tagging("class=public").body(ByteStream::from_static(b"x"))
    };
    tagged(&stranger, "theirs").send().await.unwrap();
    tagged(&client, "photos").send().await.unwrap();
    put(&client, "bare", "x").await;
    let statement = r#"{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],
        "Resource":"arn:aws:s3:::photos/*"}"#;
    allow(&client, "photos", statement).await;
    let copy = |source: &str, bucket: &str| stranger.copy_object().copy_source(source).bucket(bucket).key("copy");
    assert_eq!(refused(copy("theirs/tagged", "photos").send().await), denied());
    assert_eq!(refused(copy("photos/tagged", "theirs").send().await), denied());
    copy("photos/bare", "theirs").send().await.unwrap();
    let replace = aws_sdk_s3::types::TaggingDirective::Replace;
    copy("photos/tagged", "theirs").tagging_directive(replace).send().await.unwrap();
    client.copy_object().copy_source("photos/tagged").bucket("photos").key("copy").send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_look_into_bodies_as_into_headers() {
    let server = Server::start().await;
    let client = server.client();
    client.create_bucket().bucket("vault").object_lock_enabled_for_bucket(true).send().await.unwrap();
    client.put_object().bucket("vault").key("a").body(ByteStream::from_static(b"x")).send().await.unwrap();
    let deny = |condition: &str| {
        format!(
            r#"{{"Effect":"Deny","Principal":"*","Action":"s3:PutObject*","Resource":"arn:aws:s3:::vault/*",
                "Condition":{condition}}}"#
        )
    };
    let statements = [
        deny(r#"{"StringEquals":{"s3:RequestObjectTag/class":"public"}}"#),
        deny(r#"{"NumericGreaterThan":{"s3:object-lock-remaining-retention-days":"10"}}"#),
        deny(r#"{"StringEquals":{"s3:object-lock-mode":"COMPLIANCE"}}"#),
        deny(r#"{"StringEquals":{"s3:object-lock-legal-hold":"ON"}}"#),
    ];
    allow(&client, "vault", &statements.join(",")).await;
    let tag = client.put_object_tagging().bucket("vault").key("a").tagging(tagging()).send().await;
    assert_eq!(refused(tag), denied());
    let retain = |mode: ObjectLockRetentionMode, days: u64| {
        let until = DateTime::from(SystemTime::now() + Duration::from_secs(days * 24 * 3600));
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(until).build();
        client.put_object_retention().bucket("vault").key("a").retention(retention).send()
    };
    assert_eq!(refused(retain(ObjectLockRetentionMode::Governance, 20).await), denied());
    assert_eq!(refused(retain(ObjectLockRetentionMode::Compliance, 1).await), denied());
    retain(ObjectLockRetentionMode::Governance, 1).await.unwrap();
    let hold = |status| {
        let hold = ObjectLockLegalHold::builder().status(status).build();
        client.put_object_legal_hold().bucket("vault").key("a").legal_hold(hold).send()
    };
    assert_eq!(refused(hold(ObjectLockLegalHoldStatus::On).await), denied());
    hold(ObjectLockLegalHoldStatus::Off).await.unwrap();
    let stranger = server.other_client();
    let tag = stranger.put_object_tagging().bucket("vault").key("a").tagging(tagging()).send().await;
    assert_eq!(refused(tag), denied());
}

#[tokio::test(flavor = "multi_thread")]
async fn xml_of_many_tags_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let body = format!("<Delete>{}</Delete>", "<Object><Key/></Object>".repeat(40_000));
    let head = format!("POST /photos?delete HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let answer = send(server.address, format!("{head}{body}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "MalformedXML"));
    assert!(answer.text().contains("tags"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_looks_like_a_forms_hides_no_body() {
    let server = Server::start().await;
    put(&server.client(), "a", "x").await;
    let body = "<Delete><Object><Key>a</Key></Object></Delete>";
    let signed = Signed { query: "delete=", ..Signed::new("POST", "/photos", b"another body") };
    let head = signed.header("content-length", body.len()).head(server.address);
    let unsigned = "content-type: multipart/form-datax; boundary=b\r\n\r\n";
    let head = head.strip_suffix("\r\n").unwrap();
    let answer = send(server.address, format!("{head}{unsigned}{body}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "XAmzContentSHA256Mismatch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_may_be_called_as_it_likes() {
    let server = Server::start().await;
    let client = server.client();
    let rule = LifecycleRule::builder()
        .id("é\" \n")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .expiration(LifecycleExpiration::builder().days(3).build())
        .build()
        .unwrap();
    let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
    let set = client.put_bucket_lifecycle_configuration().bucket("photos").lifecycle_configuration(rules);
    set.send().await.unwrap();
    put(&client, "a", "x").await;
    let told = client.head_object().bucket("photos").key("a").send().await.unwrap();
    assert!(told.expiration().unwrap().ends_with("rule-id=\"%C3%A9%22%20%0A\""), "{:?}", told.expiration());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_only_with_what_it_began_with() {
    let server = Server::start().await;
    let etag = put(&server.client(), "a", "hello").await;
    let modified = server.client().head_object().bucket("photos").key("a").send().await.unwrap();
    let modified = modified.last_modified().unwrap().fmt(aws_sdk_s3::primitives::DateTimeFormat::HttpDate).unwrap();
    for (validator, status, body) in [
        (etag.clone(), 206, "lo"),
        (modified, 206, "lo"),
        (format!("W/{etag}"), 200, "hello"),
        ("\"another\"".to_owned(), 200, "hello"),
        ("Sat, 21 Nov 2020 12:00:00 GMT".to_owned(), 200, "hello"),
    ] {
        let signed = Signed::new("GET", "/photos/a", b"").header("range", "bytes=3-").header("if-range", &validator);
        let answer = send(server.address, signed.head(server.address)).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{validator}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_under_a_condition_that_is_not_looked_at() {
    let server = Server::start().await;
    put(&server.client(), "a", "x").await;
    for (name, value) in [
        ("if-none-match", "*"),
        ("if-modified-since", "Sat, 21 Nov 2099 12:00:00 GMT"),
        ("if-unmodified-since", "Sat, 21 Nov 2020 12:00:00 GMT"),
    ] {
        let head = Signed::new("DELETE", "/photos/a", b"").header(name, value).head(server.address);
        let answer = send(server.address, head).await;
        assert_eq!((answer.status, answer.code().as_str()), (501, "NotImplemented"), "{name}");
    }
    server.client().head_object().bucket("photos").key("a").send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_learns_no_etag_by_guessing() {
    let server = Server::start().await;
    let (client, stranger) = (server.client(), server.other_client());
    let etag = put(&client, "a", "hello").await;
    let may = |actions: &str| {
        format!(r#"{{"Effect":"Allow","Principal":"*","Action":[{actions}],"Resource":"arn:aws:s3:::photos/*"}}"#)
    };
    allow(&client, "photos", &may(r#""s3:PutObject","s3:DeleteObject""#)).await;
    let write = || stranger.put_object().bucket("photos").key("a").body(ByteStream::from_static(b"x"));
    let delete = || stranger.delete_object().bucket("photos").key("a");
    for guess in [etag.as_str(), "\"0123456789abcdef0123456789abcdef\""] {
        assert_eq!(refused(write().if_match(guess).send().await), denied());
        assert_eq!(refused(delete().if_match(guess).send().await), denied());
        let object = ObjectIdentifier::builder().key("a").e_tag(guess).build().unwrap();
        let all = Delete::builder().objects(object).build().unwrap();
        let answer = stranger.delete_objects().bucket("photos").delete(all).send().await.unwrap();
        assert_eq!(answer.errors()[0].code(), Some("AccessDenied"));
    }
    // That something is there is told, as in Amazon S3.
    assert_eq!(refused(write().if_none_match("*").send().await), error(412, "PreconditionFailed"));
    allow(&client, "photos", &may(r#""s3:PutObject","s3:GetObject""#)).await;
    let wrong = write().if_match("\"0123456789abcdef0123456789abcdef\"").send().await;
    assert_eq!(refused(wrong), error(412, "PreconditionFailed"));
    write().if_match(etag).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_none_counts_as_not_there() {
    let server = Server::start().await;
    put(&server.client(), "a", "hello").await;
    let signed = |range: &str| Signed::new("GET", "/photos/a", b"").header("range", range);
    for range in ["bytes=3-1", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=--1", "3"] {
        let answer = send(server.address, signed(range).head(server.address)).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{range}");
        let head = Signed::new("HEAD", "/photos/a", b"").header("range", range).head(server.address);
        let head = format!("{}connection: close\r\n\r\n", head.strip_suffix("\r\n").unwrap());
        assert_eq!(send(server.address, head).await.header("content-length"), Some("5"), "{range}");
        // Where it came with a wrong signature, or to what one may not read, nothing is told.
        let forged = signed(range).head(server.address).replace("Signature=", "Signature=0");
        assert_eq!(send(server.address, forged).await.status, 403, "{range}");
        let anonymous = format!("GET /photos/a HTTP/1.1\r\nhost: x\r\nrange: {range}\r\n\r\n");
        assert_eq!(send(server.address, anonymous).await.status, 403, "{range}");
    }
    for range in ["bytes=5-", "bytes=99999999999999999999-"] {
        let answer = send(server.address, signed(range).head(server.address)).await;
        assert_eq!((answer.status, answer.code().as_str()), (416, "InvalidRange"));
        assert_eq!(answer.header("content-range"), Some("bytes */5"));
    }
    let answer = send(server.address, signed("bytes=3-99999999999999999999").head(server.address)).await;
    assert_eq!((answer.status, answer.text().as_str()), (206, "lo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_looked_at_before_the_body_is_sent() {
    let server = Server::start().await;
    let client = server.client();
    put(&client, "a", vec![1; 1000]).await;
    let limits = mainstay_objects::Limits { buckets: 20, bytes: Some(1500), objects: None };
    server.objects.put_account(&server.alpha, limits).await.unwrap();
    let announced = |key: &'static str, size: usize| {
        let signed = Signed { payload: "UNSIGNED-PAYLOAD".to_owned(), ..Signed::new("PUT", key, b"") };
        let head = signed.header("content-length", size).head(server.address);
        format!("{}expect: 100-continue\r\n\r\n", head.strip_suffix("\r\n").unwrap())
    };
    let answer = send(server.address, announced("/photos/b", 501)).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "QuotaExceeded"));
    // What it takes the place of counts no more.
    put(&client, "a", vec![1; 1500]).await;
    assert_eq!(send(server.address, announced("/photos/a", 1501)).await.code(), "QuotaExceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_all_before_it_reads_gets_the_answer() {
    let server = Server::start().await;
    // More than the system holds for both ends.
    let body = vec![7; 32 << 20];
    let limits = mainstay_objects::Limits { buckets: 20, bytes: Some(1500), objects: None };
    server.objects.put_account(&server.alpha, limits).await.unwrap();
    let signed = Signed { payload: "UNSIGNED-PAYLOAD".to_owned(), ..Signed::new("PUT", "/photos/a", b"") };
    let head = signed.header("content-length", body.len()).head(server.address);
    let answer = send(server.address, [head.as_bytes(), &body].concat()).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "QuotaExceeded"));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_to_be_told_to_go_on_with_nothing_is_told_that_nothing_follows() {
    let server = Server::start().await;
    let head = Signed::new("PUT", "/photos/a", b"").header("content-length", 0).head(server.address);
    let kept = send(server.address, &head).await;
    assert_eq!((kept.status, kept.header("connection")), (200, None));
    let expecting = format!("{}expect: 100-continue\r\n\r\n", head.strip_suffix("\r\n").unwrap());
    let answer = send(server.address, expecting).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
}
