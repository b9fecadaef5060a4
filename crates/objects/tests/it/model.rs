//! Random operations against a model that a reader can hold in mind.

use std::collections::BTreeMap;

use mainstay_bucket::{Settings, VersionId, Versioning};
use mainstay_objects::{Error, ListQuery, Refusal, VersionEntry, VersionsQuery};
use mainstay_types::Timestamp;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::harness::{Fixture, attributes};
use crate::on_both;
use crate::uploads::{begin, complete, part};

#[derive(Debug, Clone)]
enum Operation {
    Put(usize, u8),
    Delete(usize),
    /// Deletes the version of a key that stands at some place, the newest first.
    DeleteVersion(usize, usize),
    Copy(usize, usize),
    Upload(usize, u8, u8),
    Abandon(usize, u8),
    Versioning(Versioning),
    Keep,
    Reopen,
}

/// The id, and the bytes where it is no delete marker.
type Known = (VersionId, Option<Vec<u8>>);

/// The versions of each key, the newest first.
#[derive(Default)]
struct Model {
    versioning: Versioning,
    keys: BTreeMap<usize, Vec<Known>>,
}

impl Model {
    fn put(&mut self, key: usize, id: VersionId, bytes: Option<Vec<u8>>) {
        let versions = self.keys.entry(key).or_default();
        if self.versioning != Versioning::Enabled {
            assert_eq!(id, VersionId::Null);
            versions.retain(|(id, _)| *id != VersionId::Null);
        }
        versions.insert(0, (id, bytes));
    }

    fn delete(&mut self, key: usize, marker: Option<VersionId>) {
        match marker {
            Some(id) => self.put(key, id, None),
            None => drop(self.keys.remove(&key)),
        }
    }

    fn current(&self, key: usize) -> Option<&Vec<u8>> {
        self.keys.get(&key)?.first()?.1.as_ref()
    }
}

const KEYS: [&str; 5] = ["a", "a/b", "a/c", "b", "ü"];

fn operation() -> impl Strategy<Value = Operation> {
    let (key, content) = (0..KEYS.len(), 0u8..4);
    prop_oneof![
        6 => (key.clone(), content.clone()).prop_map(|(key, content)| Operation::Put(key, content)),
        3 => key.clone().prop_map(Operation::Delete),
        4 => (key.clone(), 0usize..4).prop_map(|(key, place)| Operation::DeleteVersion(key, place)),
        3 => (key.clone(), key.clone()).prop_map(|(from, to)| Operation::Copy(from, to)),
        2 => (key.clone(), content.clone(), content.clone()).prop_map(|(key, one, two)| Operation::Upload(key, one, two)),
        1 => (key, content).prop_map(|(key, content)| Operation::Abandon(key, content)),
        1 => prop_oneof![Just(Versioning::Enabled), Just(Versioning::Suspended)].prop_map(Operation::Versioning),
        1 => Just(Operation::Keep),
        1 => Just(Operation::Reopen),
    ]
}

fn content(number: u8) -> Vec<u8> {
    vec![number; usize::from(number) * 10]
}

async fn carry_out(mut fixture: Fixture, model: &mut Model, operation: Operation) -> Fixture {
    let bucket = "model".parse().unwrap();
    match operation {
        Operation::Put(key, number) => {
            let version = fixture.put(&bucket, KEYS[key], &content(number)).await;
            model.put(key, version.id, Some(content(number)));
        }
        Operation::Delete(key) => {
            let deleted = fixture.delete(&bucket, KEYS[key], None).await;
            model.delete(key, deleted.version);
        }
        Operation::DeleteVersion(key, place) => {
            let versions = model.keys.entry(key).or_default();
            if place < versions.len() {
                let (id, bytes) = versions.remove(place);
                let deleted = fixture.delete(&bucket, KEYS[key], Some(id)).await;
                assert_eq!(deleted.marker, bytes.is_none());
            }
        }
        Operation::Copy(from, to) => {
            if let Some(bytes) = model.current(from).cloned() {
                let source = fixture.objects.head(&bucket, &KEYS[from].parse().unwrap(), None).await.unwrap();
                let put = mainstay_objects::Put {
                    bucket,
                    key: KEYS[to].parse().unwrap(),
                    content: fixture.objects.content_of(&source).await.unwrap(),
                    attributes: attributes(&bytes),
                    conditions: Default::default(),
                    by: mainstay_objects::CreatedBy::Copy,
                };
                let version = fixture.objects.put(put).await.unwrap();
                model.put(to, version.id, Some(bytes));
            }
        }
        Operation::Upload(key, one, two) => {
            let upload = begin(&fixture, &bucket, KEYS[key]).await;
            part(&fixture, &upload, 1, &content(one)).await.unwrap();
            part(&fixture, &upload, 1, &content(two)).await.unwrap();
            part(&fixture, &upload, 2, &content(one)).await.unwrap();
            let version = fixture.objects.complete(complete(&upload, &[(1, &content(two))])).await.unwrap();
            model.put(key, version.id, Some(content(two)));
        }
        Operation::Abandon(key, number) => {
            let upload = begin(&fixture, &bucket, KEYS[key]).await;
            part(&fixture, &upload, 1, &content(number)).await.unwrap();
            fixture.objects.abort(&upload).await.unwrap();
        }
        Operation::Versioning(versioning) => {
            let change = move |settings: &mut Settings| {
                settings.versioning = versioning;
                Ok(())
            };
            fixture.objects.change_settings(&bucket, Box::new(change)).await.unwrap();
            model.versioning = versioning;
        }
        Operation::Keep => {
            fixture.objects.keep(Timestamp::now()).await.unwrap();
            let rows = fixture.rows("SELECT count(*) FROM contents WHERE refs = 0").await;
            assert_eq!(rows[0].integer(0).unwrap(), 0);
            let rows = fixture.rows("SELECT count(*) FROM contents").await;
            assert_eq!(rows[0].integer(0).unwrap() as usize, fixture.held().await.len());
        }
        Operation::Reopen => fixture = fixture.reopen().await,
    }
    fixture
}

async fn compare(fixture: &Fixture, model: &Model) {
    let bucket = "model".parse().unwrap();
    for (number, key) in KEYS.iter().enumerate() {
        assert_eq!(fixture.get(&bucket, key).await.as_ref(), model.current(number), "{key}");
        let head = fixture.objects.head(&bucket, &key.parse().unwrap(), None).await;
        let newest = model.keys.get(&number).and_then(|versions| versions.first());
        match (head, newest) {
            (Ok(version), Some((id, Some(_)))) => assert_eq!(version.id, *id),
            (Err(Error::Refused(Refusal::NoSuchKey { marker })), newest) => assert_eq!(marker, newest.map(|of| of.0)),
            (head, newest) => panic!("{head:?} {newest:?}"),
        }
    }
    let query = VersionsQuery { limit: 1000, ..VersionsQuery::default() };
    let listed = fixture.objects.list_versions(&bucket, query).await.unwrap().entries;
    let mut expected = Vec::new();
    for (key, versions) in &model.keys {
        for (place, (id, bytes)) in versions.iter().enumerate() {
            expected.push((KEYS[*key].to_owned(), *id, bytes.clone(), place == 0));
        }
    }
    assert_eq!(listed.len(), expected.len());
    for (listed, (key, id, bytes, latest)) in listed.into_iter().zip(expected) {
        assert_eq!((listed.key.as_str(), listed.latest), (key.as_str(), latest));
        match (listed.entry, bytes) {
            (VersionEntry::Version(version), Some(bytes)) => {
                assert_eq!(version.id, id);
                assert_eq!(fixture.get_version(&bucket, &key, Some(&id)).await, Some(bytes));
            }
            (VersionEntry::Marker { id: found, .. }, None) => assert_eq!(found, id),
            (entry, bytes) => panic!("{entry:?} {bytes:?}"),
        }
    }
    let listed = fixture.objects.list(&bucket, ListQuery { limit: 1000, ..ListQuery::default() }).await.unwrap();
    let visible = (0..KEYS.len()).filter(|key| model.current(*key).is_some()).count();
    assert_eq!(listed.objects.len(), visible);
    fixture.check().await;
}

on_both! {
    async fn random_operations_do_what_the_model_does(fixture: Fixture) {
        let seed: [u8; 32] = *blake3::hash(&Timestamp::now().as_micros().to_le_bytes()).as_bytes();
        println!("seed {seed:?}");
        let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
        fixture.bucket("model", Versioning::Unversioned).await;
        let mut fixture = fixture;
        let mut model = Model::default();
        for round in 0..300 {
            let operation = operation().new_tree(&mut runner).unwrap().current();
            // Versions come once there is something that has none.
            if round < 60 && matches!(operation, Operation::Versioning(_)) {
                continue;
            }
            println!("{operation:?}");
            fixture = carry_out(fixture, &mut model, operation).await;
            model.keys.retain(|_, versions| !versions.is_empty());
            if round % 4 == 0 {
                compare(&fixture, &model).await;
            }
        }
        compare(&fixture, &model).await;
    }
}
