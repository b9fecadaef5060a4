//! Uploads in parts.

use std::num::NonZeroU32;

use mainstay_bucket::conditions::EntityTags;
use mainstay_bucket::{BucketName, Conditions, ETag, Versioning};
use mainstay_objects::{
    Complete, CompletePart, Error, NewUpload, Part, PutPart, Refusal, UploadAttributes, UploadRef, UploadsQuery,
};
use mainstay_types::Timestamp;
use md5::{Digest, Md5};

use crate::harness::{Fixture, etag, ingest, put};
use crate::on_both;

const LEAST: usize = 5 << 20;

pub async fn begin(fixture: &Fixture, bucket: &BucketName, key: &str) -> UploadRef {
    let attributes = UploadAttributes {
        metadata: Default::default(),
        tags: Default::default(),
        retention: None,
        legal_hold: Default::default(),
        encrypted: false,
        checksum: None,
    };
    let new = NewUpload { bucket: bucket.clone(), key: key.parse().unwrap(), attributes };
    let upload = fixture.objects.create_upload(new).await.unwrap();
    assert_eq!(upload.id.to_string().parse(), Ok(upload.id));
    UploadRef { bucket: bucket.clone(), key: upload.key, id: upload.id }
}

pub async fn part(fixture: &Fixture, upload: &UploadRef, number: u32, bytes: &[u8]) -> Result<Part, Error> {
    let content = ingest(&fixture.objects, &upload.bucket, bytes).await;
    let part = PutPart { upload: upload.clone(), number, content, etag: etag(bytes), checksum: None };
    fixture.objects.put_part(part).await
}

pub fn complete(upload: &UploadRef, parts: &[(u32, &[u8])]) -> Complete {
    let parts = parts.iter().map(|(number, bytes)| CompletePart { number: *number, etag: etag(bytes) }).collect();
    Complete { upload: upload.clone(), parts, checksum: None, conditions: Conditions::default() }
}

on_both! {
    async fn an_id_that_no_upload_can_have_harms_nobody(fixture: Fixture) {
        let bucket = fixture.bucket("films", Versioning::Unversioned).await;
        for id in ["ffffffffffffffff0000000000000000", "80000000000000000000000000000000"] {
            // It names nothing, and is refused as such at the latest when something is asked of it.
            let Ok(id) = id.parse() else { continue };
            let upload = UploadRef { bucket: bucket.clone(), key: "film".parse().unwrap(), id };
            let aborted = fixture.objects.abort(&upload).await;
            assert!(matches!(aborted, Err(Error::Refused(Refusal::NoSuchUpload))), "{aborted:?}");
        }
        let highest = "7fffffffffffffff0000000000000000".parse().unwrap();
        let upload = UploadRef { bucket: bucket.clone(), key: "film".parse().unwrap(), id: highest };
        assert!(matches!(fixture.objects.abort(&upload).await, Err(Error::Refused(Refusal::NoSuchUpload))));
        fixture.put(&bucket, "film", b"content").await;
    }

    async fn parts_become_an_object_and_those_not_listed_go(fixture: Fixture) {
        let bucket = fixture.bucket("films", Versioning::Unversioned).await;
        let upload = begin(&fixture, &bucket, "film").await;
        let (large, small) = (vec![1; LEAST], vec![2; 1000]);
        part(&fixture, &upload, 3, &small).await.unwrap();
        part(&fixture, &upload, 1, b"replaced").await.unwrap();
        part(&fixture, &upload, 1, &large).await.unwrap();
        part(&fixture, &upload, 2, b"not listed").await.unwrap();
        fixture.check().await;
        let listed = fixture.objects.parts(&upload, 0, 2).await.unwrap();
        assert_eq!(listed.iter().map(|part| (part.number, part.size)).collect::<Vec<_>>(), [(1, LEAST as u64), (2, 10)]);
        assert_eq!(fixture.objects.parts(&upload, 2, 2).await.unwrap().len(), 1);
        assert_eq!(fixture.get(&bucket, "film").await, None);

        let asked = complete(&upload, &[(1, &large), (3, &small)]);
        let version = fixture.objects.complete(asked.clone()).await.unwrap();
        let whole = [large.as_slice(), &small].concat();
        assert_eq!(version.size, whole.len() as u64);
        let digest = Md5::new().chain_update(etag(&large).digest()).chain_update(etag(&small).digest()).finalize();
        assert_eq!(version.attributes.etag, ETag::composite(digest.into(), NonZeroU32::new(2).unwrap()));
        assert!(fixture.get(&bucket, "film").await.unwrap() == whole);
        let edge = LEAST as u64;
        assert_eq!(fixture.read(&version, Some(edge - 2..edge + 2)).await, [1, 1, 2, 2]);
        let manifest = fixture.objects.manifest(&version).await.unwrap().unwrap();
        assert_eq!(manifest.parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 3]);
        // The answer may have been lost, and it is asked again.
        assert_eq!(fixture.objects.complete(asked).await.unwrap(), version);
        assert!(matches!(fixture.objects.abort(&upload).await, Err(Error::Refused(Refusal::NoSuchUpload))));
        fixture.check().await;
        assert_eq!(fixture.objects.keep(Timestamp::now()).await.unwrap().collected, 2);

        let copied = fixture.objects.content_of(&version).await.unwrap();
        let copy = mainstay_objects::Put {
            bucket: bucket.clone(),
            key: "copy".parse().unwrap(),
            content: copied,
            attributes: version.attributes.clone(),
            conditions: Conditions::default(),
            by: mainstay_objects::CreatedBy::Copy,
        };
        fixture.objects.put(copy).await.unwrap();
        fixture.delete(&bucket, "film", None).await;
        fixture.objects.keep(Timestamp::now()).await.unwrap();
        assert!(fixture.get(&bucket, "copy").await.unwrap() == whole);
        fixture.check().await;
        fixture.delete(&bucket, "copy", None).await;
        fixture.objects.keep(Timestamp::now()).await.unwrap();
        assert!(fixture.held().await.is_empty());
        fixture.check().await;
    }

    async fn an_upload_keeps_to_the_rules(fixture: Fixture) {
        let bucket = fixture.bucket("films", Versioning::Unversioned).await;
        let upload = begin(&fixture, &bucket, "film").await;
        for number in [0, 10_001] {
            let refused = part(&fixture, &upload, number, b"").await;
            assert!(matches!(refused, Err(Error::Refused(Refusal::InvalidPartNumber))));
        }
        part(&fixture, &upload, 1, b"small").await.unwrap();
        part(&fixture, &upload, 10_000, b"last").await.unwrap();
        let complete = |parts: &[(u32, &'static [u8])]| fixture.objects.complete(complete(&upload, parts));
        let refused = complete(&[(1, b"small"), (10_000, b"last")]).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::PartTooSmall { number: 1, size: 5, .. }))));
        let refused = complete(&[(10_000, b"last"), (1, b"small")]).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::InvalidPartOrder))));
        let refused = complete(&[(1, b"other")]).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::InvalidPart { number: 1 }))));
        assert!(matches!(complete(&[(2, b"small")]).await, Err(Error::Refused(Refusal::InvalidPart { number: 2 }))));
        assert!(matches!(complete(&[]).await, Err(Error::Refused(Refusal::InvalidPart { .. }))));
        let elsewhere = UploadRef { key: "other".parse().unwrap(), ..upload.clone() };
        assert!(matches!(part(&fixture, &elsewhere, 1, b"").await, Err(Error::Refused(Refusal::NoSuchUpload))));
        fixture.check().await;
        complete(&[(1, b"small")]).await.unwrap();
        assert_eq!(fixture.get(&bucket, "film").await.unwrap(), b"small");
        fixture.check().await;
    }

    async fn a_completed_upload_has_conditions_too(fixture: Fixture) {
        let bucket = fixture.bucket("films", Versioning::Unversioned).await;
        let upload = begin(&fixture, &bucket, "film").await;
        part(&fixture, &upload, 1, b"new").await.unwrap();
        fixture.put(&bucket, "film", b"old").await;
        let conditions = Conditions { if_none_match: Some(EntityTags::Any), ..Conditions::default() };
        let asked = Complete { conditions, ..complete(&upload, &[(1, b"new")]) };
        let refused = fixture.objects.complete(asked.clone()).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::PreconditionFailed))));
        fixture.delete(&bucket, "film", None).await;
        fixture.objects.complete(asked).await.unwrap();
        fixture.check().await;
    }

    async fn an_aborted_upload_leaves_nothing(fixture: Fixture) {
        let bucket = fixture.bucket("films", Versioning::Enabled).await;
        let upload = begin(&fixture, &bucket, "film").await;
        part(&fixture, &upload, 1, b"one").await.unwrap();
        part(&fixture, &upload, 2, b"one").await.unwrap();
        assert_eq!(fixture.objects.keep(Timestamp::now()).await.unwrap().collected, 0);
        fixture.objects.abort(&upload).await.unwrap();
        assert!(matches!(part(&fixture, &upload, 1, b"x").await, Err(Error::Refused(Refusal::NoSuchUpload))));
        assert!(matches!(fixture.objects.parts(&upload, 0, 9).await, Err(Error::Refused(Refusal::NoSuchUpload))));
        fixture.check().await;
        fixture.objects.keep(Timestamp::now()).await.unwrap();
        assert!(fixture.held().await.is_empty());
        fixture.objects.delete_bucket(&bucket).await.unwrap();
    }

    async fn uploads_are_listed_by_key_and_age(fixture: Fixture) {
        let bucket = fixture.bucket("films", Versioning::Unversioned).await;
        let mut begun = Vec::new();
        for key in ["b", "a/2", "a/1", "a/1", "c"] {
            begun.push(begin(&fixture, &bucket, key).await);
        }
        put(&fixture.objects, &bucket, "a/1", b"", Conditions::default()).await.unwrap();
        let expected = [2, 3, 1, 0, 4].map(|place: usize| begun[place].id);
        let mut walked = Vec::new();
        let mut after = None;
        loop {
            let query = UploadsQuery { limit: 1, after: after.take(), ..UploadsQuery::default() };
            let page = fixture.objects.uploads(&bucket, query).await.unwrap();
            walked.extend(page.uploads.iter().map(|upload| upload.id));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(walked, expected);
        let query = UploadsQuery { delimiter: Some("/".to_owned()), limit: 10, ..UploadsQuery::default() };
        let page = fixture.objects.uploads(&bucket, query).await.unwrap();
        assert_eq!(page.prefixes, ["a/"]);
        assert_eq!(page.uploads.len(), 2);
    }

    async fn parts_count_towards_the_quota(fixture: Fixture) {
        use mainstay_objects::Limits;

        let bucket = fixture.bucket("films", Versioning::Unversioned).await;
        let limits = Limits { buckets: 1, bytes: Some(10), objects: None };
        fixture.objects.put_account(&crate::harness::account(), limits).await.unwrap();
        let upload = begin(&fixture, &bucket, "film").await;
        part(&fixture, &upload, 1, b"12345678").await.unwrap();
        assert!(matches!(part(&fixture, &upload, 2, b"123").await, Err(Error::Refused(Refusal::OutOfBytes { .. }))));
        part(&fixture, &upload, 1, b"1234567890").await.unwrap();
        fixture.objects.complete(complete(&upload, &[(1, b"1234567890")])).await.unwrap();
        fixture.check().await;
    }
}
