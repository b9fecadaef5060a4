//! An object store of a test's own.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mainstay_bucket::{
    BucketName, Conditions, ETag, LegalHold, Metadata, ObjectKey, Settings, Tags, VersionId, Versioning,
};
use mainstay_dataplane::{Address, Claim, Compression, ContentKey, DataPlane, Expect, Inventory, KeyId, Owner, Source};
use mainstay_dataplane_fs::{FsConfig, FsPlane};
use mainstay_objects::{
    Attributes, Content, CreatedBy, Delete, Deleted, Error, Feed, FeedError, Foundations, Ingest, Keys, KeysError,
    Limits, NewBucket, ObjectEvent, Objects, ObjectsConfig, Put, Version,
};
use mainstay_storage::scratch::ScratchPostgres;
use mainstay_storage::{Location, Row, Service, Statement, Store};
use mainstay_types::InstanceId;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::plane::{MemoryPlane, bytes_of};

/// One server for all tests, which ends with their process.
static POSTGRES: LazyLock<ScratchPostgres> = LazyLock::new(ScratchPostgres::start);

pub struct Fixture {
    pub objects: Objects,
    pub plane: Plane,
    pub keys: Arc<TestKeys>,
    pub feed: Arc<TestFeed>,
    pub place: Place,
    store: Store,
}

/// Where an index is kept in tests: in a directory that goes with the value, or in a server that goes with the process.
#[derive(Clone)]
pub struct Place {
    pub location: Location,
    directory: Option<Arc<TempDir>>,
}

/// Where content is kept: beside an index in files, and otherwise in memory.
#[derive(Clone)]
pub struct Plane {
    plane: Arc<dyn DataPlane>,
    inventory: Arc<dyn Inventory>,
    memory: Option<Arc<MemoryPlane>>,
}

impl Place {
    pub fn in_files() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::Directory(directory.path().to_owned());
        Self { location, directory: Some(Arc::new(directory)) }
    }

    /// The index, where it is in files.
    pub fn file(&self) -> PathBuf {
        self.directory.as_ref().unwrap().path().join("objects.sqlite")
    }

    pub fn in_postgres() -> Self {
        Self { location: Location::Postgres(POSTGRES.new_database()), directory: None }
    }
}

impl Plane {
    fn of<P: DataPlane + Inventory>(plane: Arc<P>, memory: Option<Arc<MemoryPlane>>) -> Self {
        Self { plane: plane.clone(), inventory: plane, memory }
    }
}

/// Makes a test run on SQLite, with content on the file system, and on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($(async fn $name:ident($fixture:ident: Fixture) $body:block)*) => {
        $(mod $name {
            #[allow(unused_imports, reason = "not every test needs everything")]
            use super::*;

            async fn test($fixture: $crate::harness::Fixture) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                test($crate::harness::Fixture::new($crate::harness::Place::in_files()).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                test($crate::harness::Fixture::new($crate::harness::Place::in_postgres()).await).await;
            }
        })*
    };
}

/// Keys 1, 2, 3, ... of which the newest can be raised, and which can be out of reach.
pub struct TestKeys {
    pub newest: Mutex<u32>,
    pub reachable: Mutex<bool>,
}

#[derive(Default)]
pub struct TestFeed {
    pub told: Mutex<Vec<ObjectEvent>>,
    pub broken: Mutex<bool>,
}

impl Default for TestKeys {
    fn default() -> Self {
        Self { newest: Mutex::new(1), reachable: Mutex::new(true) }
    }
}

#[async_trait]
impl Keys for TestKeys {
    async fn newest(&self) -> Result<ContentKey, KeysError> {
        let newest = *self.newest.lock().unwrap();
        self.get(KeyId(newest)).await
    }

    async fn get(&self, id: KeyId) -> Result<ContentKey, KeysError> {
        if !*self.reachable.lock().unwrap() {
            return Err(KeysError::Unavailable { reason: "sealed".to_owned() });
        }
        Ok(ContentKey::new(id, Zeroizing::new([id.0 as u8; 32])))
    }

    fn at_hand(&self) -> Result<(), KeysError> {
        match *self.reachable.lock().unwrap() {
            true => Ok(()),
            false => Err(KeysError::Unavailable { reason: "sealed".to_owned() }),
        }
    }
}

#[async_trait]
impl Feed for TestFeed {
    async fn publish(&self, events: &[ObjectEvent]) -> Result<(), FeedError> {
        if *self.broken.lock().unwrap() {
            return Err(FeedError("the journal is away".into()));
        }
        self.told.lock().unwrap().extend_from_slice(events);
        Ok(())
    }
}

impl Fixture {
    pub async fn new(place: Place) -> Self {
        let plane = match &place.directory {
            Some(directory) => {
                let plane = FsPlane::open(&directory.path().join("content"), FsConfig::default()).await.unwrap();
                Plane::of(Arc::new(plane), None)
            }
            None => {
                let memory = Arc::new(MemoryPlane::default());
                Plane::of(memory.clone(), Some(memory))
            }
        };
        Self::with(place, plane, Arc::default(), Duration::ZERO).await
    }

    pub async fn with(place: Place, plane: Plane, keys: Arc<TestKeys>, grace: Duration) -> Self {
        let feed = Arc::new(TestFeed::default());
        let (objects, store) =
            open(&place.location, plane.plane.clone(), plane.inventory.clone(), keys.clone(), feed.clone(), grace)
                .await;
        Self { objects, plane, keys, feed, place, store }
    }

    /// The same place, opened anew.
    pub async fn reopen(self) -> Self {
        self.objects.close().await;
        Self::with(self.place, self.plane, self.keys, Duration::ZERO).await
    }

    pub async fn bucket(&self, name: &str, versioning: Versioning) -> BucketName {
        self.bucket_with(name, Settings { versioning, ..Settings::default() }).await
    }

    pub async fn bucket_with(&self, name: &str, settings: Settings) -> BucketName {
        let limits = Limits { buckets: 10, ..Limits::default() };
        if self.objects.account(&account()).is_none() {
            self.objects.put_account(&account(), limits).await.unwrap();
        }
        let name: BucketName = name.parse().unwrap();
        let new = NewBucket { name: name.clone(), account: account(), settings };
        self.objects.create_bucket(new).await.unwrap();
        name
    }

    pub async fn put(&self, bucket: &BucketName, key: &str, bytes: &[u8]) -> Arc<Version> {
        put(&self.objects, bucket, key, bytes, Conditions::default()).await.unwrap()
    }

    pub async fn get(&self, bucket: &BucketName, key: &str) -> Option<Vec<u8>> {
        self.get_version(bucket, key, None).await
    }

    pub async fn get_version(&self, bucket: &BucketName, key: &str, id: Option<&VersionId>) -> Option<Vec<u8>> {
        let version = match self.objects.head(bucket, &key.parse().unwrap(), id).await {
            Ok(version) => version,
            Err(Error::Refused(_)) => return None,
            Err(error) => panic!("{error}"),
        };
        Some(self.read(&version, None).await)
    }

    pub async fn read(&self, version: &Version, range: Option<Range<u64>>) -> Vec<u8> {
        bytes_of(self.objects.read(version, range).await.unwrap()).await.unwrap()
    }

    pub async fn delete(&self, bucket: &BucketName, key: &str, version: Option<VersionId>) -> Deleted {
        self.objects.delete(deletion(bucket, key, version)).await.unwrap()
    }

    pub async fn rows(&self, sql: &'static str) -> Vec<Row> {
        self.store.read(Statement::new(sql, [])).await.unwrap()
    }

    /// Changes the index behind the object store's back.
    pub async fn alter(&self, sql: &'static str) {
        self.store.write(vec![Statement::new(sql, [])]).await.unwrap();
    }

    /// What the data plane keeps.
    pub async fn held(&self) -> Vec<Address> {
        let stored = self.plane.inventory.contents(Owner::Objects, None, 1_000_000).await.unwrap();
        stored.into_iter().map(|stored| stored.address).collect()
    }

    /// Flips a bit of stored content.
    pub fn damage(&self, bytes: &[u8]) {
        if let Some(memory) = &self.plane.memory {
            return memory.damage(Address::of(bytes));
        }
        let directory = self.place.directory.as_ref().unwrap().path().join("content");
        assert!(flip(&directory, bytes), "the content lies somewhere as it is");
    }

    pub async fn lose(&self, bytes: &[u8]) {
        let delete =
            mainstay_dataplane::Delete { owner: Owner::Objects, address: Address::of(bytes), claim: Claim(u64::MAX) };
        self.plane.plane.delete_object(delete).await.unwrap();
    }

    /// Holds the index and the data plane against one another: every reference is counted, nothing that is referred to is
    /// gone, and usage is the sum.
    pub async fn check(&self) {
        check(&self.store, &self.objects, self.held().await).await;
    }
}

pub async fn open(
    location: &Location,
    plane: Arc<dyn DataPlane>,
    inventory: Arc<dyn Inventory>,
    keys: Arc<dyn Keys>,
    feed: Arc<dyn Feed>,
    grace: Duration,
) -> (Objects, Store) {
    let store = Store::open(location, Service::Objects, Objects::SCHEMA).await.unwrap();
    let foundations = Foundations { store: store.clone(), plane, inventory, keys, feed };
    let config = ObjectsConfig { grace, ..ObjectsConfig::default() };
    (Objects::open(foundations, config).await.unwrap(), store)
}

/// Flips a bit of the first place below a directory where some bytes stand.
fn flip(directory: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return flip(&path, bytes);
        }
        let mut found = std::fs::read(&path).unwrap();
        let Some(place) = found.windows(bytes.len()).position(|window| window == bytes) else { return false };
        found[place] ^= 1;
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &found[place..=place], place as u64).unwrap();
        true
    })
}

/// The consistency of an index with what the data plane holds.
pub async fn check(store: &Store, objects: &Objects, held: Vec<Address>) {
    use std::collections::BTreeMap;

    use mainstay_objects::{Contents, ListQuery, Manifest, Piece, VersionEntry, VersionsQuery};

    let mut referred: BTreeMap<Address, u64> = BTreeMap::new();
    let mut refer = |pieces: &[Piece]| {
        pieces.iter().for_each(|piece| *referred.entry(piece.address).or_default() += 1);
    };
    let mut manifests = 0;
    for bucket in objects.buckets(&account()) {
        let mut usage = mainstay_objects::Usage::default();
        let all = VersionsQuery { limit: usize::MAX >> 33, ..VersionsQuery::default() };
        for listed in objects.list_versions(&bucket.name, all).await.unwrap().entries {
            let VersionEntry::Version(version) = &listed.entry else {
                usage.markers += 1;
                continue;
            };
            usage.objects += 1;
            usage.bytes += version.size;
            match &version.content {
                Contents::One(piece) => refer(std::slice::from_ref(piece)),
                Contents::Many { .. } => {
                    manifests += 1;
                    let manifest: Arc<Manifest> = objects.manifest(version).await.unwrap().unwrap();
                    assert_eq!(manifest.pieces.iter().map(|piece| piece.size).sum::<u64>(), version.size);
                    refer(&manifest.pieces);
                }
            }
        }
        let all = mainstay_objects::UploadsQuery { limit: 10_000, ..Default::default() };
        for upload in objects.uploads(&bucket.name, all).await.unwrap().uploads {
            usage.uploads += 1;
            let named =
                mainstay_objects::UploadRef { bucket: bucket.name.clone(), key: upload.key.clone(), id: upload.id };
            let parts = objects.parts(&named, 0, 10_000).await.unwrap();
            usage.uploading_bytes += parts.iter().map(|part| part.size).sum::<u64>();
        }
        assert_eq!(objects.usage(&bucket.name), Some(usage), "usage of {}", bucket.name);
        let listed = objects.list(&bucket.name, ListQuery { limit: 1_000_000, ..ListQuery::default() }).await.unwrap();
        for (key, version) in listed.objects {
            assert_eq!(objects.head(&bucket.name, &key, None).await.unwrap(), version);
        }
    }
    let parts = store.read(Statement::new("SELECT count(*) FROM upload_parts", [])).await.unwrap();
    let parts = parts[0].integer(0).unwrap();
    let rows = store.read(Statement::new("SELECT address, refs, unused_since FROM contents", [])).await.unwrap();
    for row in &rows {
        let bytes: [u8; 32] = row.blob(0).unwrap().try_into().unwrap();
        let address = Address::from_digest(mainstay_types::Digest::from_bytes(bytes));
        let count = row.integer(1).unwrap() as u64;
        assert_eq!(count == 0, !row.is_null(2), "what is unused has a time");
        let of_versions = referred.remove(&address).unwrap_or_default();
        assert!(count >= of_versions, "{address} is counted {count} times and referred to {of_versions} times");
        assert!(held.contains(&address), "{address} is in the index, with {count} references, and gone");
        if parts == 0 {
            assert_eq!(count, of_versions, "references to {address}");
        }
    }
    assert!(referred.is_empty(), "not counted: {referred:?}");
    let counted = store.read(Statement::new("SELECT count(*) FROM manifests", [])).await.unwrap();
    assert_eq!(counted[0].integer(0).unwrap(), manifests, "manifests belong to versions");
}

pub async fn put(
    objects: &Objects,
    bucket: &BucketName,
    key: &str,
    bytes: &[u8],
    conditions: Conditions,
) -> Result<Arc<Version>, Error> {
    let content = ingest(objects, bucket, bytes).await;
    let put = Put {
        bucket: bucket.clone(),
        key: key.parse().unwrap(),
        content,
        attributes: attributes(bytes),
        conditions,
        by: CreatedBy::Put,
    };
    objects.put(put).await
}

pub async fn ingest(objects: &Objects, bucket: &BucketName, bytes: &[u8]) -> Content {
    let ingest = Ingest {
        source: source(bytes),
        expect: Expect::default(),
        md5: false,
        encrypt: false,
        compression: Compression::None,
    };
    objects.ingest(bucket, ingest).await.unwrap()
}

pub fn source(bytes: &[u8]) -> Source {
    let pieces: Vec<_> = bytes.chunks(64 << 10).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(futures::stream::iter(pieces))
}

pub fn attributes(bytes: &[u8]) -> Attributes {
    Attributes {
        etag: etag(bytes),
        metadata: Metadata::default(),
        tags: Tags::default(),
        checksum: None,
        retention: None,
        legal_hold: LegalHold::Off,
        encrypted: false,
    }
}

/// No MD5, but other for other bytes, which is all that it needs to be here.
pub fn etag(bytes: &[u8]) -> ETag {
    ETag::md5(Address::of(bytes).digest().as_bytes()[..16].try_into().unwrap())
}

pub fn deletion(bucket: &BucketName, key: &str, version: Option<VersionId>) -> Delete {
    let key: ObjectKey = key.parse().unwrap();
    Delete { bucket: bucket.clone(), key, version, conditions: Conditions::default(), bypass_governance: false }
}

pub fn account() -> InstanceId {
    InstanceId::from_random(7)
}
