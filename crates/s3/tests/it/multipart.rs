//! Objects in parts.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};

use crate::server::{Server, error, get, noise, refused};

const PART: usize = 5 << 20;

async fn begin(client: &Client) -> String {
    client.create_multipart_upload().bucket("photos").key("a").send().await.unwrap().upload_id.unwrap()
}

async fn part(client: &Client, id: &str, number: i32, bytes: Vec<u8>) -> CompletedPart {
    let body = ByteStream::from(bytes);
    let part = client.upload_part().bucket("photos").key("a").upload_id(id).part_number(number).body(body);
    let output = part.send().await.unwrap();
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(output.e_tag)
        .set_checksum_crc32(output.checksum_crc32)
        .set_checksum_sha256(output.checksum_sha256)
        .build()
}

fn completion(
    client: &Client,
    id: &str,
    parts: Vec<CompletedPart>,
) -> aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    client.complete_multipart_upload().bucket("photos").key("a").upload_id(id).multipart_upload(parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_make_an_object() {
    let server = Server::start().await;
    let client = server.client();
    let bytes = noise(2 * PART + 1000, 5);
    let id = begin(&client).await;
    let mut parts = Vec::new();
    for (at, piece) in bytes.chunks(PART).enumerate() {
        parts.push(part(&client, &id, at as i32 + 1, piece.to_vec()).await);
    }
    let listed = client.list_parts().bucket("photos").key("a").upload_id(&id).max_parts(2).send().await.unwrap();
    assert_eq!((listed.parts().len(), listed.is_truncated()), (2, Some(true)));
    assert_eq!(listed.next_part_number_marker(), Some("2"));
    let uploads = client.list_multipart_uploads().bucket("photos").send().await.unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(id.as_str()));
    let completed = completion(&client, &id, parts.clone()).send().await.unwrap();
    assert!(completed.e_tag().unwrap().ends_with("-3\""));
    // The client sends CRC32 with its parts without having said so.
    assert!(completed.checksum_crc32().is_some());
    assert!(get(&client, "a").await == bytes);
    // The answer was lost, and the client asks again.
    let again = completion(&client, &id, parts).send().await.unwrap();
    assert_eq!(again.e_tag(), completed.e_tag());
    let range = format!("bytes={}-{}", PART - 10, PART + 9);
    let read = client.get_object().bucket("photos").key("a").range(range).send().await.unwrap();
    assert!(read.body.collect().await.unwrap().to_vec() == bytes[PART - 10..PART + 10]);
    let read = client.get_object().bucket("photos").key("a").part_number(3).send().await.unwrap();
    assert_eq!((read.parts_count(), read.content_length()), (Some(3), Some(1000)));
    let beyond = client.get_object().bucket("photos").key("a").part_number(4).send().await;
    assert_eq!(refused(beyond), error(400, "InvalidPart"));
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_that_are_refused() {
    let server = Server::start().await;
    let client = server.client();
    let id = begin(&client).await;
    let [one, two] = [part(&client, &id, 1, vec![1; PART]).await, part(&client, &id, 2, vec![2; 10]).await];
    let three = part(&client, &id, 3, vec![3; 10]).await;
    let complete = |parts| completion(&client, &id, parts).send();
    assert_eq!(refused(complete(vec![]).await), error(400, "MalformedXML"));
    assert_eq!(refused(complete(vec![two.clone(), one.clone()]).await), error(400, "InvalidPartOrder"));
    assert_eq!(refused(complete(vec![one.clone(), two.clone(), three]).await), error(400, "EntityTooSmall"));
    let missing = CompletedPart::builder().part_number(9).e_tag(one.e_tag().unwrap()).build();
    assert_eq!(refused(complete(vec![one.clone(), missing]).await), error(400, "InvalidPart"));
    let forged = CompletedPart::builder().part_number(1).e_tag("\"ffffffffffffffffffffffffffffffff\"").build();
    assert_eq!(refused(complete(vec![forged]).await), error(400, "InvalidPart"));
    let sized = completion(&client, &id, vec![one.clone()]).mpu_object_size(7).send().await;
    assert_eq!(refused(sized), error(400, "InvalidRequest"));
    completion(&client, &id, vec![one.clone(), two]).if_none_match("*").send().await.unwrap();
    let id = begin(&client).await;
    let other = part(&client, &id, 1, vec![7; 10]).await;
    let taken = completion(&client, &id, vec![other]).if_none_match("*").send().await;
    assert_eq!(refused(taken), error(412, "PreconditionFailed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_end() {
    let server = Server::start().await;
    let client = server.client();
    let id = begin(&client).await;
    part(&client, &id, 1, vec![1; 10]).await;
    client.abort_multipart_upload().bucket("photos").key("a").upload_id(&id).send().await.unwrap();
    let again = client.abort_multipart_upload().bucket("photos").key("a").upload_id(&id).send().await;
    assert_eq!(refused(again), error(404, "NoSuchUpload"));
    let late = client.upload_part().bucket("photos").key("a").upload_id(&id).part_number(1).send().await;
    assert_eq!(refused(late), error(404, "NoSuchUpload"));
    let forged = client.list_parts().bucket("photos").key("a").upload_id("../../etc").send().await;
    assert_eq!(refused(forged), error(404, "NoSuchUpload"));
    let id = begin(&client).await;
    for number in [0, 10_001] {
        let outside = client.upload_part().bucket("photos").key("a").upload_id(&id).part_number(number).send().await;
        assert_eq!(refused(outside), error(400, "InvalidArgument"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_of_parts_and_of_the_whole() {
    let server = Server::start().await;
    let client = server.client();
    for (algorithm, kind, composite) in [
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite, true),
        (ChecksumAlgorithm::Crc32, ChecksumType::Composite, true),
        (ChecksumAlgorithm::Crc32, ChecksumType::FullObject, false),
    ] {
        let begun = client.create_multipart_upload().bucket("photos").key("a").checksum_algorithm(algorithm.clone());
        let id = begun.checksum_type(kind.clone()).send().await.unwrap().upload_id.unwrap();
        let bytes = noise(PART + 7, 9);
        let mut parts = Vec::new();
        for (at, piece) in bytes.chunks(PART).enumerate() {
            let number = at as i32 + 1;
            let part = client.upload_part().bucket("photos").key("a").upload_id(&id).part_number(number);
            let part = part.checksum_algorithm(algorithm.clone()).body(piece.to_vec().into()).send().await.unwrap();
            let told = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag);
            parts.push(told.set_checksum_crc32(part.checksum_crc32).set_checksum_sha256(part.checksum_sha256).build());
        }
        let completed = completion(&client, &id, parts).send().await.unwrap();
        let value = completed.checksum_crc32().or(completed.checksum_sha256()).unwrap();
        assert_eq!(value.ends_with("-2"), composite, "{value}");
        assert_eq!(completed.checksum_type(), Some(&kind));
    }
    let begun = client.create_multipart_upload().bucket("photos").key("a");
    let begun = begun.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_type(ChecksumType::FullObject);
    assert_eq!(refused(begun.send().await), error(400, "InvalidRequest"));
}
