//! Copies.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{MetadataDirective, ServerSideEncryption, TaggingDirective};

use crate::server::{Server, error, get, noise, put, refused};

fn copy(
    client: &Client,
    from: &str,
    to: &str,
) -> aws_sdk_s3::operation::copy_object::builders::CopyObjectFluentBuilder {
    client.copy_object().bucket("photos").key(to).copy_source(from)
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_carry_what_their_source_has_or_what_replaces_it() {
    let server = Server::start().await;
    let client = server.client();
    let bytes = noise(100_000, 2);
    client
        .put_object()
        .bucket("photos")
        .key("a b+c")
        .body(bytes.clone().into())
        .content_type("image/png")
        .metadata("colour", "blue")
        .tagging("k=v")
        .send()
        .await
        .unwrap();
    let copied = copy(&client, "photos/a%20b%2Bc", "copy").send().await.unwrap();
    let head = client.head_object().bucket("photos").key("copy").send().await.unwrap();
    assert_eq!(copied.copy_object_result().and_then(|result| result.e_tag()), head.e_tag());
    assert_eq!(head.metadata().unwrap().get("colour").map(String::as_str), Some("blue"));
    assert!(get(&client, "copy").await == bytes);
    let tags = client.get_object_tagging().bucket("photos").key("copy").send().await.unwrap();
    assert_eq!(tags.tag_set().len(), 1);
    copy(&client, "photos/copy", "copy")
        .metadata_directive(MetadataDirective::Replace)
        .metadata("shape", "round")
        .tagging_directive(TaggingDirective::Replace)
        .send()
        .await
        .unwrap();
    let head = client.head_object().bucket("photos").key("copy").send().await.unwrap();
    assert_eq!(head.metadata().unwrap().len(), 1);
    assert_eq!(head.content_type(), Some("binary/octet-stream"));
    let encrypted = copy(&client, "photos/copy", "secret").server_side_encryption(ServerSideEncryption::Aes256);
    encrypted.send().await.unwrap();
    let head = client.head_object().bucket("photos").key("secret").send().await.unwrap();
    assert_eq!(head.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    assert!(get(&client, "secret").await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_refused() {
    let server = Server::start().await;
    let client = server.client();
    let etag = put(&client, "a", "hello").await;
    assert_eq!(refused(copy(&client, "photos/a", "a").send().await), error(400, "InvalidRequest"));
    assert_eq!(refused(copy(&client, "photos/none", "b").send().await), error(404, "NoSuchKey"));
    assert_eq!(refused(copy(&client, "nowhere/a", "b").send().await), error(404, "NoSuchBucket"));
    let when = |client: &Client| copy(client, "photos/a", "b");
    assert_eq!(refused(when(&client).copy_source_if_match("\"x\"").send().await), error(412, "PreconditionFailed"));
    assert_eq!(refused(when(&client).copy_source_if_none_match(&etag).send().await), error(412, "PreconditionFailed"));
    assert!(when(&client).copy_source_if_match(&etag).send().await.is_ok());
    assert_eq!(refused(when(&client).if_none_match("*").send().await), error(412, "PreconditionFailed"));
    let stranger = server.other_client();
    stranger.create_bucket().bucket("theirs").send().await.unwrap();
    let stolen = stranger.copy_object().bucket("theirs").key("a").copy_source("photos/a").send().await;
    assert_eq!(refused(stolen), error(403, "AccessDenied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_from_objects() {
    use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
    let server = Server::start().await;
    let client = server.client();
    let bytes = noise(6 << 20, 3);
    put(&server.plain_client(), "source", bytes.clone()).await;
    let begun = client.create_multipart_upload().bucket("photos").key("target").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let part = |number, range: Option<&str>| {
        let part = client.upload_part_copy().bucket("photos").key("target").upload_id(id).part_number(number);
        part.copy_source("photos/source").set_copy_source_range(range.map(str::to_owned))
    };
    assert_eq!(refused(part(1, Some("bytes=0-99999999")).send().await), error(416, "InvalidRange"));
    assert_eq!(refused(part(1, Some("0-2")).send().await), error(400, "InvalidArgument"));
    let mut parts = Vec::new();
    for (number, range) in [(1, Some("bytes=100-5300000")), (2, None)] {
        let copied = part(number, range).send().await.unwrap();
        let etag = copied.copy_part_result().and_then(|result| result.e_tag()).unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(etag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket("photos").key("target").upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();
    assert!(get(&client, "target").await == [&bytes[100..5_300_001], &bytes].concat());
}
