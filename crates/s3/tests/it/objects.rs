//! Putting, reading and deleting one object.

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{Delete, ObjectAttributes, ObjectIdentifier, ServerSideEncryption};

use crate::server::{Server, error, get, noise, put, refused};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_is_read_at_every_size() {
    let server = Server::start().await;
    for client in [server.client(), server.plain_client()] {
        for size in [0, 1, 4096, 65_536, 65_537, 3 << 20, (8 << 20) + 1] {
            let bytes = noise(size, size as u64);
            let key = format!("size {size}/ä+%");
            put(&client, &key, bytes.clone()).await;
            assert!(get(&client, &key).await == bytes, "{size} bytes come back");
            let head = client.head_object().bucket("photos").key(&key).send().await.unwrap();
            assert_eq!(head.content_length(), Some(size as i64));
            assert_eq!(head.content_type(), Some("application/octet-stream"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_etag_is_an_md5_but_of_what_is_large_and_proven_otherwise() {
    let server = Server::start().await;
    let etag = put(&server.client(), "small", "hello").await;
    assert_eq!(etag, "\"5d41402abc4b2a76b9719d911017c592\"");
    let large = put(&server.plain_client(), "large", vec![0; 8 << 20]).await;
    assert_eq!(large, "\"96995b58d4cbf6aaa9041b4f00c7f6ae\"");
    let proven = put(&server.client(), "proven", vec![0; 8 << 20]).await;
    assert!(proven.ends_with("-1\""), "{proven}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_metadata_come_back() {
    let server = Server::start().await;
    let client = server.client();
    client
        .put_object()
        .bucket("photos")
        .key("a")
        .body(ByteStream::from_static(b"x"))
        .content_type("text/plain; charset=utf-8")
        .cache_control("max-age=60")
        .content_disposition("attachment")
        .content_encoding("gzip")
        .content_language("de")
        .expires(DateTime::from_secs(1_900_000_000))
        .website_redirect_location("/elsewhere")
        .metadata("Colour", "blue")
        .tagging("a=1&b=two%20words")
        .send()
        .await
        .unwrap();
    let read = client.get_object().bucket("photos").key("a").send().await.unwrap();
    assert_eq!(read.content_type(), Some("text/plain; charset=utf-8"));
    assert_eq!(read.cache_control(), Some("max-age=60"));
    assert_eq!(read.content_disposition(), Some("attachment"));
    assert_eq!(read.content_encoding(), Some("gzip"));
    assert_eq!(read.content_language(), Some("de"));
    assert_eq!(read.expires_string(), Some("Sun, 17 Mar 2030 17:46:40 GMT"));
    assert_eq!(read.website_redirect_location(), Some("/elsewhere"));
    assert_eq!(read.metadata().unwrap().get("colour").map(String::as_str), Some("blue"));
    assert_eq!(read.tag_count(), Some(2));
    assert_eq!(read.accept_ranges(), Some("bytes"));
    let changed = client.get_object().bucket("photos").key("a").response_content_type("image/png").send().await;
    assert_eq!(changed.unwrap().content_type(), Some("image/png"));
    let too_much = client.put_object().bucket("photos").key("b").metadata("a", "x".repeat(2048)).send().await;
    assert_eq!(refused(too_much), error(400, "MetadataTooLarge"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges() {
    let server = Server::start().await;
    let client = server.client();
    let bytes = noise(300_000, 1);
    put(&client, "a", bytes.clone()).await;
    put(&client, "empty", "").await;
    for (range, expected, told) in [
        ("bytes=0-0", 0..1, "bytes 0-0/300000"),
        ("bytes=65535-65536", 65_535..65_537, "bytes 65535-65536/300000"),
        ("bytes=299999-", 299_999..300_000, "bytes 299999-299999/300000"),
        ("bytes=10-9999999", 10..300_000, "bytes 10-299999/300000"),
        ("bytes=-7", 299_993..300_000, "bytes 299993-299999/300000"),
        ("bytes=-9999999", 0..300_000, "bytes 0-299999/300000"),
    ] {
        let read = client.get_object().bucket("photos").key("a").range(range).send().await.unwrap();
        assert_eq!(read.content_range(), Some(told));
        assert_eq!(read.content_length(), Some(expected.len() as i64));
        assert!(read.body.collect().await.unwrap().to_vec() == bytes[expected], "{range}");
    }
    for (key, range) in [("a", "bytes=300000-"), ("a", "bytes=-0"), ("empty", "bytes=0-0"), ("empty", "bytes=40-50")] {
        let read = client.get_object().bucket("photos").key(key).range(range).send().await;
        assert_eq!(refused(read), error(416, "InvalidRange"), "{key} {range}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_reads() {
    let server = Server::start().await;
    let client = server.client();
    let etag = put(&client, "a", "hello").await;
    let read = || client.get_object().bucket("photos").key("a");
    let past = DateTime::from_secs(1_000_000_000);
    let future = DateTime::from_secs(4_000_000_000);
    assert!(read().if_match(&etag).send().await.is_ok());
    assert_eq!(refused(read().if_match("\"ABCORZ\"").send().await), error(412, "PreconditionFailed"));
    assert!(read().if_none_match("\"ABCORZ\"").send().await.is_ok());
    assert_eq!(refused(read().if_none_match(&etag).send().await).0, 304);
    assert!(read().if_modified_since(past).send().await.is_ok());
    assert_eq!(refused(read().if_modified_since(future).send().await).0, 304);
    assert!(read().if_unmodified_since(future).send().await.is_ok());
    assert_eq!(refused(read().if_unmodified_since(past).send().await), error(412, "PreconditionFailed"));
    let head = client.head_object().bucket("photos").key("a").if_none_match(&etag).send().await;
    assert_eq!(refused(head).0, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_writes() {
    let server = Server::start().await;
    let client = server.client();
    let put = |body: &'static str| {
        client.put_object().bucket("photos").key("a").body(ByteStream::from_static(body.as_bytes()))
    };
    assert_eq!(refused(put("x").if_match("\"abc\"").send().await), error(404, "NoSuchKey"));
    let etag = put("1").if_none_match("*").send().await.unwrap().e_tag.unwrap();
    assert_eq!(refused(put("2").if_none_match("*").send().await), error(412, "PreconditionFailed"));
    assert_eq!(refused(put("2").if_match("\"abc\"").send().await), error(412, "PreconditionFailed"));
    let newer = put("2").if_match(&etag).send().await.unwrap().e_tag.unwrap();
    assert_eq!(refused(put("3").if_match(&etag).send().await), error(412, "PreconditionFailed"));
    assert_eq!(refused(put("3").if_none_match("\"abc\"").send().await), error(501, "NotImplemented"));
    let delete = |etag: &str| client.delete_object().bucket("photos").key("a").if_match(etag);
    assert_eq!(refused(delete(&etag).send().await), error(412, "PreconditionFailed"));
    assert!(delete(&newer).send().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there() {
    let server = Server::start().await;
    let client = server.client();
    let read = client.get_object().bucket("photos").key("none").send().await;
    assert_eq!(refused(read), error(404, "NoSuchKey"));
    let head = client.head_object().bucket("photos").key("none").send().await;
    assert_eq!(refused(head).0, 404);
    let nowhere = client.get_object().bucket("nowhere").key("none").send().await;
    assert_eq!(refused(nowhere), error(404, "NoSuchBucket"));
    assert!(client.delete_object().bucket("photos").key("none").send().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_many() {
    let server = Server::start().await;
    let client = server.client();
    let keys: Vec<String> = (0..200).map(|number| format!("k/{number}")).collect();
    for key in &keys {
        put(&client, key, "x").await;
    }
    let named = |key: &String| ObjectIdentifier::builder().key(key).build().unwrap();
    let objects = keys.iter().map(named).chain([named(&"not there".to_owned())]).collect();
    let delete = Delete::builder().set_objects(Some(objects)).build().unwrap();
    let output = client.delete_objects().bucket("photos").delete(delete).send().await.unwrap();
    assert_eq!((output.deleted().len(), output.errors().len()), (201, 0));
    let left = client.list_objects_v2().bucket("photos").send().await.unwrap();
    assert_eq!(left.key_count(), Some(0));
    let many = (0..1001).map(|number| named(&number.to_string())).collect();
    let delete = Delete::builder().set_objects(Some(many)).build().unwrap();
    let output = client.delete_objects().bucket("photos").delete(delete).send().await;
    assert_eq!(refused(output), error(400, "MalformedXML"));
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_at_rest_is_told_and_other_kinds_are_refused() {
    let server = Server::start().await;
    let client = server.client();
    let put = || client.put_object().bucket("photos").key("a").body(ByteStream::from_static(b"secret"));
    let output = put().server_side_encryption(ServerSideEncryption::Aes256).send().await.unwrap();
    assert_eq!(output.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    let read = client.get_object().bucket("photos").key("a").send().await.unwrap();
    assert_eq!(read.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    assert_eq!(read.body.collect().await.unwrap().to_vec(), b"secret");
    let kms = put().server_side_encryption(ServerSideEncryption::AwsKms).send().await;
    assert_eq!(refused(kms), error(501, "NotImplemented"));
    let own = put()
        .sse_customer_algorithm("AES256")
        .sse_customer_key("pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=")
        .sse_customer_key_md5("DWygnHRtgiJ77HCm+1rvHw==")
        .send()
        .await;
    assert_eq!(refused(own), error(501, "NotImplemented"));
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes() {
    let server = Server::start().await;
    let client = server.client();
    let etag = put(&client, "a", "hello").await;
    let output = client
        .get_object_attributes()
        .bucket("photos")
        .key("a")
        .object_attributes(ObjectAttributes::Etag)
        .object_attributes(ObjectAttributes::ObjectSize)
        .object_attributes(ObjectAttributes::Checksum)
        .send()
        .await
        .unwrap();
    assert_eq!(output.e_tag(), Some(etag.trim_matches('"')));
    assert_eq!(output.object_size(), Some(5));
    assert!(output.checksum().is_some_and(|checksum| checksum.checksum_crc32().is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_objects() {
    let server = Server::start().await;
    let client = server.client();
    put(&client, "a", "x").await;
    let tag = |key: &str, value: &str| aws_sdk_s3::types::Tag::builder().key(key).value(value).build().unwrap();
    let tagging = |tags: Vec<_>| aws_sdk_s3::types::Tagging::builder().set_tag_set(Some(tags)).build().unwrap();
    let set = |tags| client.put_object_tagging().bucket("photos").key("a").tagging(tagging(tags));
    set(vec![tag("b", "2"), tag("a", "1")]).send().await.unwrap();
    let told = client.get_object_tagging().bucket("photos").key("a").send().await.unwrap();
    assert_eq!(told.tag_set(), [tag("a", "1"), tag("b", "2")]);
    let many = (0..11).map(|number| tag(&number.to_string(), "")).collect();
    assert_eq!(refused(set(many).send().await), error(400, "InvalidTag"));
    assert_eq!(refused(set(vec![tag(&"k".repeat(129), "")]).send().await), error(400, "InvalidTag"));
    client.delete_object_tagging().bucket("photos").key("a").send().await.unwrap();
    let told = client.get_object_tagging().bucket("photos").key("a").send().await.unwrap();
    assert!(told.tag_set().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_to_whoever_wants_it() {
    use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
    let server = Server::start().await;
    let client = server.client();
    let wish = |arn: &str| {
        let queue = QueueConfiguration::builder().queue_arn(arn).events(Event::from("s3:ObjectCreated:*"));
        let configuration = NotificationConfiguration::builder().queue_configurations(queue.build().unwrap());
        client
            .put_bucket_notification_configuration()
            .bucket("photos")
            .notification_configuration(configuration.build())
    };
    assert_eq!(refused(wish("arn:aws:sqs:us-east-1:1:x").send().await), error(400, "InvalidArgument"));
    wish("arn:mainstay:journal:::events").send().await.unwrap();
    put(&client, "a", "x").await;
    server.objects.keep(mainstay_types::Timestamp::now()).await.unwrap();
    let told = server.feed.0.lock().unwrap().clone();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].event.as_str(), told[0].key.as_str()), ("s3:ObjectCreated:Put", "a"));
}
