//! Versions and delete markers.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use crate::server::{Server, error, get, refused};

async fn set(client: &Client, status: BucketVersioningStatus) {
    let configuration = VersioningConfiguration::builder().status(status).build();
    client.put_bucket_versioning().bucket("photos").versioning_configuration(configuration).send().await.unwrap();
}

async fn put(client: &Client, body: &str) -> Option<String> {
    let body = ByteStream::from(body.as_bytes().to_vec());
    client.put_object().bucket("photos").key("a").body(body).send().await.unwrap().version_id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_stays_until_it_is_named() {
    let server = Server::start().await;
    let client = server.client();
    assert_eq!(put(&client, "before").await, None);
    set(&client, BucketVersioningStatus::Enabled).await;
    let first = put(&client, "1").await.unwrap();
    let second = put(&client, "2").await.unwrap();
    assert_eq!(get(&client, "a").await, b"2");
    let read = |id: &str| client.get_object().bucket("photos").key("a").version_id(id).send();
    for (id, body) in [("null", "before"), (first.as_str(), "1"), (second.as_str(), "2")] {
        let output = read(id).await.unwrap();
        assert_eq!(output.version_id(), Some(id));
        assert_eq!(output.body.collect().await.unwrap().to_vec(), body.as_bytes());
    }
    let marked = client.delete_object().bucket("photos").key("a").send().await.unwrap();
    assert_eq!(marked.delete_marker(), Some(true));
    let marker = marked.version_id.unwrap();
    let hidden = client.get_object().bucket("photos").key("a").send().await;
    let answer = hidden.as_ref().err().and_then(|error| error.raw_response()).unwrap();
    assert_eq!(answer.headers().get("x-amz-delete-marker"), Some("true"));
    assert_eq!(answer.headers().get("content-type"), Some("application/xml"));
    assert_eq!(refused(hidden), error(404, "NoSuchKey"));
    assert_eq!(refused(read(&marker).await), error(405, "MethodNotAllowed"));
    let listed = client.list_object_versions().bucket("photos").send().await.unwrap();
    let ids: Vec<_> = listed.versions().iter().filter_map(|version| version.version_id()).collect();
    assert_eq!(ids, [second.as_str(), first.as_str(), "null"]);
    assert_eq!(listed.delete_markers()[0].is_latest(), Some(true));
    let removed = client.delete_object().bucket("photos").key("a").version_id(&marker).send().await.unwrap();
    assert_eq!((removed.delete_marker(), removed.version_id()), (Some(true), Some(marker.as_str())));
    assert_eq!(get(&client, "a").await, b"2");
    client.delete_object().bucket("photos").key("a").version_id(&second).send().await.unwrap();
    assert_eq!(get(&client, "a").await, b"1");
    assert_eq!(refused(read(&second).await), error(404, "NoSuchVersion"));
    assert_eq!(refused(read("no version").await), error(400, "InvalidArgument"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_versions() {
    let server = Server::start().await;
    let client = server.client();
    set(&client, BucketVersioningStatus::Enabled).await;
    let mut written = Vec::new();
    for number in 0..5 {
        written.push(put(&client, &number.to_string()).await.unwrap());
    }
    written.reverse();
    let (mut seen, mut key, mut id) = (Vec::new(), None, None);
    loop {
        let page = client
            .list_object_versions()
            .bucket("photos")
            .max_keys(2)
            .set_key_marker(key)
            .set_version_id_marker(id)
            .send()
            .await
            .unwrap();
        seen.extend(page.versions().iter().filter_map(|version| version.version_id().map(str::to_owned)));
        if page.is_truncated() != Some(true) {
            break;
        }
        key = page.next_key_marker().map(str::to_owned);
        id = page.next_version_id_marker().map(str::to_owned);
    }
    assert_eq!(seen, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_versioning_replaces_the_null_version() {
    let server = Server::start().await;
    let client = server.client();
    set(&client, BucketVersioningStatus::Enabled).await;
    let kept = put(&client, "kept").await.unwrap();
    set(&client, BucketVersioningStatus::Suspended).await;
    assert_eq!(put(&client, "1").await.as_deref(), Some("null"));
    assert_eq!(put(&client, "2").await.as_deref(), Some("null"));
    let listed = client.list_object_versions().bucket("photos").send().await.unwrap();
    let ids: Vec<_> = listed.versions().iter().filter_map(|version| version.version_id()).collect();
    assert_eq!(ids, ["null", kept.as_str()]);
}
