//! Who may do what.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;

use crate::raw::{Answer, Signed, send};
use crate::server::{KEY, SECRET, Server, error, get, put, refused};

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_their_own_accounts_buckets_only() {
    let server = Server::start().await;
    put(&server.client(), "a", "x").await;
    let stranger = server.other_client();
    let denied = error(403, "AccessDenied");
    assert_eq!(refused(stranger.get_object().bucket("photos").key("a").send().await), denied);
    assert_eq!(refused(stranger.put_object().bucket("photos").key("a").send().await), denied);
    assert_eq!(refused(stranger.delete_object().bucket("photos").key("a").send().await), denied);
    assert_eq!(refused(stranger.list_objects_v2().bucket("photos").send().await), denied);
    assert_eq!(refused(stranger.delete_bucket().bucket("photos").send().await), denied);
    let unknown = server.client_with("nobody", "secret", |config| config);
    assert_eq!(refused(unknown.list_buckets().send().await), error(403, "InvalidAccessKeyId"));
    let forger = server.client_with(KEY, "wrong", |config| config);
    assert_eq!(refused(forger.list_buckets().send().await), error(403, "SignatureDoesNotMatch"));
    let owner = server.client().get_object().bucket("photos").key("a").expected_bucket_owner("somebody").send().await;
    assert_eq!(refused(owner), denied);
    server.expire(KEY, SECRET).await;
    assert_eq!(refused(server.client().list_buckets().send().await), error(403, "InvalidAccessKeyId"));
}

#[tokio::test(flavor = "multi_thread")]
async fn regions() {
    use aws_sdk_s3::config::Region;
    let server = Server::start().await;
    let usual = server.client_with(KEY, SECRET, |config| config.region(Region::new("us-east-1")));
    assert!(usual.list_buckets().send().await.is_ok());
    let elsewhere = server.client_with(KEY, SECRET, |config| config.region(Region::new("eu-west-1")));
    assert_eq!(refused(elsewhere.list_buckets().send().await), error(400, "AuthorizationHeaderMalformed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_let_others_in_and_keep_the_owner_out() {
    let server = Server::start().await;
    let client = server.client();
    put(&client, "public/a", "x").await;
    put(&client, "private", "x").await;
    let anonymous = |path: &'static str| async move {
        send(server.address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
    };
    let set = |policy: &str| client.put_bucket_policy().bucket("photos").policy(policy);
    assert_eq!(anonymous("/photos/public/a").await.status, 403);
    let policy = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/public/*"},
        {"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::photos/*"}]}"#;
    set(policy).send().await.unwrap();
    assert_eq!(anonymous("/photos/public/a").await.status, 200);
    assert_eq!(anonymous("/photos/private").await.status, 403);
    assert_eq!(anonymous("/photos/public/a?response-content-type=text/html").await.code(), "InvalidRequest");
    let delete = client.delete_object().bucket("photos").key("private").send().await;
    assert_eq!(refused(delete), error(403, "AccessDenied"));
    let status = client.get_bucket_policy_status().bucket("photos").send().await.unwrap();
    assert_eq!(status.policy_status().and_then(|status| status.is_public()), Some(true));
    let told = client.get_bucket_policy().bucket("photos").send().await.unwrap();
    assert_eq!(told.policy(), Some(policy));
    assert_eq!(refused(set("{}").send().await), error(400, "MalformedPolicy"));
    client.delete_bucket_policy().bucket("photos").send().await.unwrap();
    let none = client.get_bucket_policy().bucket("photos").send().await;
    assert_eq!(refused(none), error(404, "NoSuchBucketPolicy"));
    assert_eq!(anonymous("/photos/public/a").await.status, 403);
}

fn path_of(url: &str) -> &str {
    let rest = url.strip_prefix("http://").unwrap();
    &rest[rest.find('/').unwrap()..]
}

async fn ask(server: &Server, method: &str, url: &str, extra: &str) -> Answer {
    let path = path_of(url);
    send(server.address, &format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{extra}\r\n", server.address)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn presigned_urls() {
    let server = Server::start().await;
    let client = server.plain_client();
    put(&client, "a", "hello").await;
    let hour = PresigningConfig::expires_in(Duration::from_secs(3600)).unwrap();
    let url = client.get_object().bucket("photos").key("a").presigned(hour.clone()).await.unwrap();
    let answer = ask(&server, "GET", url.uri(), "").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(ask(&server, "DELETE", url.uri(), "").await.code(), "SignatureDoesNotMatch");
    assert_eq!(ask(&server, "GET", &url.uri().replace("photos/a", "photos/b"), "").await.status, 403);
    let unsigned = ask(&server, "GET", url.uri(), "x-amz-checksum-mode: ENABLED\r\n").await;
    assert_eq!(unsigned.code(), "AccessDenied");
    let forever = url.uri().replace("X-Amz-Expires=3600", "X-Amz-Expires=604801");
    assert_eq!(ask(&server, "GET", &forever, "").await.status, 403);
    let past = PresigningConfig::builder()
        .expires_in(Duration::from_secs(60))
        .start_time(SystemTime::now() - Duration::from_secs(120))
        .build()
        .unwrap();
    let url = client.get_object().bucket("photos").key("a").presigned(past).await.unwrap();
    let expired = ask(&server, "GET", url.uri(), "").await;
    assert_eq!((expired.status, expired.code().as_str()), (403, "AccessDenied"));
    let url = client.put_object().bucket("photos").key("b").presigned(hour).await.unwrap();
    let answer = ask(&server, "PUT", url.uri(), "content-length: 5\r\n\r\nworld").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(get(&client, "b").await, b"world");
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_in_the_hosts_name() {
    let server = Server::start().await;
    // Not every resolver knows names below `localhost`, so that the test speaks to the address.
    let ask = |method: &'static str, host: &'static str, path: &'static str, body: &'static str| {
        let request = Signed::new(method, path, body.as_bytes()).header("content-length", body.len());
        let head = Signed { host: Some(host.to_owned()), ..request }.head(server.address);
        async move { send(server.address, format!("{head}{body}")).await }
    };
    assert_eq!(ask("PUT", "photos.localhost:7401", "/a/b", "x").await.status, 200);
    assert_eq!(get(&server.client(), "a/b").await, b"x");
    assert_eq!(ask("GET", "photos.s3.localhost", "/a/b", "").await.body, b"x");
    let listed = ask("GET", "photos.localhost", "/", "").await;
    assert_eq!((listed.status, listed.element("Key").as_str()), (200, "a/b"));
    let all = ask("GET", "s3.localhost", "/", "").await;
    assert_eq!(all.element("Name"), "photos");
    assert_eq!(ask("GET", "elsewhere.example.org", "/photos/a/b", "").await.body, b"x");
}
