//! Checksums that clients send and ask for.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};

use crate::server::{Server, error, noise, refused};

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_is_verified_kept_and_told() {
    let server = Server::start().await;
    let client = server.client();
    let bytes = noise(200_000, 4);
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        // Bytes that are known have their checksum in the head, a stream has it in its trailer.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let stream = ByteStream::from_path(file.path()).await.unwrap();
        for body in [ByteStream::from(bytes.clone()), stream] {
            let put = client.put_object().bucket("photos").key("a").checksum_algorithm(algorithm.clone());
            put.body(body).send().await.unwrap();
            let read = client.get_object().bucket("photos").key("a").checksum_mode(ChecksumMode::Enabled);
            let read = read.send().await.unwrap();
            let told = [
                read.checksum_crc32(),
                read.checksum_crc32_c(),
                read.checksum_crc64_nvme(),
                read.checksum_sha1(),
                read.checksum_sha256(),
            ];
            assert_eq!(told.iter().flatten().count(), 1, "{algorithm:?}");
            // The client compares it too.
            assert!(read.body.collect().await.unwrap().to_vec() == bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_ones_keep_nothing() {
    let server = Server::start().await;
    let client = server.plain_client();
    let put = || client.put_object().bucket("photos").key("a").body(ByteStream::from_static(b"hello"));
    assert_eq!(refused(put().checksum_crc32("AAAAAA==").send().await), error(400, "BadDigest"));
    assert_eq!(refused(put().checksum_crc64_nvme("AAAAAAAAAAA=").send().await), error(400, "BadDigest"));
    let sha256 = "FeKw09z3wmLfmiz2vAdZ5b+tKLYZ8HAwQQyguKNYnPU=";
    assert_eq!(refused(put().checksum_sha256(sha256).send().await), error(400, "BadDigest"));
    assert_eq!(refused(put().checksum_crc32("not base64").send().await), error(400, "InvalidRequest"));
    assert_eq!(refused(put().content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").send().await), error(400, "BadDigest"));
    assert_eq!(refused(put().content_md5("AWS4 HAHAHA").send().await), error(400, "InvalidDigest"));
    let read = client.get_object().bucket("photos").key("a").send().await;
    assert_eq!(refused(read), error(404, "NoSuchKey"));
    assert!(put().content_md5("XUFAKrxLKna5cZ2REBfFkg==").send().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_one_gets_one() {
    let server = Server::start().await;
    let client = server.plain_client();
    crate::server::put(&client, "a", "123456789").await;
    let head = client.head_object().bucket("photos").key("a").checksum_mode(ChecksumMode::Enabled);
    assert_eq!(head.send().await.unwrap().checksum_crc64_nvme(), Some("rosUhgp5mIg="));
}
