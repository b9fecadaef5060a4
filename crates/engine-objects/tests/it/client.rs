//! What a consumer does, without the S3 API in between.

use bytes::Bytes;
use futures::TryStreamExt;
use mainstay_bucket::{Conditions, ETag, LegalHold, Metadata, Tags};
use mainstay_dataplane::{Body, Compression, Expect};
use mainstay_objects::{Attributes, Content, CreatedBy, Delete, Ingest, Objects, Put, Version};

pub async fn ingest(objects: &Objects, bucket: &str, bytes: &[u8], encrypt: bool) -> Content {
    let source = Box::pin(futures::stream::iter([Ok(Bytes::copy_from_slice(bytes))]));
    let ingest = Ingest { source, expect: Expect::default(), md5: true, encrypt, compression: Compression::None };
    objects.ingest(&bucket.parse().unwrap(), ingest).await.unwrap()
}

pub fn attributes(content: &Content) -> Attributes {
    Attributes {
        etag: ETag::md5(content.md5.unwrap().0),
        metadata: Metadata::default(),
        tags: Tags::default(),
        checksum: None,
        retention: None,
        legal_hold: LegalHold::Off,
        encrypted: content.encrypted,
    }
}

pub async fn put_content(objects: &Objects, bucket: &str, key: &str, content: Content, attributes: Attributes) {
    let (bucket, key) = (bucket.parse().unwrap(), key.parse().unwrap());
    let put = Put { bucket, key, content, attributes, conditions: Conditions::default(), by: CreatedBy::Put };
    objects.put(put).await.unwrap();
}

pub async fn put(objects: &Objects, bucket: &str, key: &str, bytes: &[u8]) {
    let content = ingest(objects, bucket, bytes, false).await;
    let attributes = attributes(&content);
    put_content(objects, bucket, key, content, attributes).await;
}

pub async fn delete(objects: &Objects, bucket: &str, key: &str) {
    let (bucket, key) = (bucket.parse().unwrap(), key.parse().unwrap());
    let delete = Delete { bucket, key, version: None, conditions: Conditions::default(), bypass_governance: false };
    objects.delete(delete).await.unwrap();
}

pub async fn read(objects: &Objects, version: &Version) -> Vec<u8> {
    match objects.read(version, None).await.unwrap() {
        Body::Whole(bytes) => bytes.to_vec(),
        Body::Stream(stream) => stream.try_collect::<Vec<_>>().await.unwrap().concat(),
    }
}
