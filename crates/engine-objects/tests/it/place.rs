//! A directory with an object store in it, which can be closed, damaged and opened again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay_dataplane::{
    ContentKey, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, KeyId, Receipt, Serve,
    ServeError, Served, Source, Trouble, Verified, Verify,
};
use mainstay_dataplane_fs::{FsConfig, FsPlane};
use mainstay_engine::ClusterSpec;
use mainstay_engine_objects::{ObjectStoreConfig, ObjectStoreEngine, Service};
use mainstay_objects::{Feed, FeedError, Foundations, Keys, KeysError, ObjectEvent, Objects, ObjectsConfig};
use mainstay_storage::{Location, Service as StoreService, Store};
use mainstay_types::{NodeName, Parameters, Plan};
use tempfile::TempDir;
use tokio::sync::watch;
use zeroize::Zeroizing;

pub struct Place {
    directory: TempDir,
    open: Mutex<Option<Open>>,
    /// Whether the data plane answers.
    reachable: Arc<AtomicBool>,
}

/// What is open at a time.
#[derive(Clone)]
pub struct Open {
    pub objects: Objects,
    pub service: watch::Receiver<Service>,
    plane: Arc<FsPlane>,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, open: Mutex::new(None), reachable: Arc::new(AtomicBool::new(true)) }
    }

    /// What the next control plane would open. The one before is closed.
    pub async fn engine(&self) -> Arc<ObjectStoreEngine> {
        self.close().await;
        std::fs::create_dir_all(self.index()).unwrap();
        let location = Location::Directory(self.index());
        let store = Store::open(&location, StoreService::Objects, Objects::SCHEMA).await.unwrap();
        let plane = Arc::new(FsPlane::open(&self.data(), FsConfig::default()).await.unwrap());
        let reached = Arc::new(Reached { plane: plane.clone(), reachable: self.reachable.clone() });
        let (keys, feed) = (Arc::new(OneKey), Arc::new(Nobody));
        let foundations = Foundations { store, plane: reached, inventory: plane.clone(), keys, feed };
        let objects = Objects::open(foundations, ObjectsConfig::default()).await.unwrap();
        let config =
            ObjectStoreConfig { address: [127, 0, 0, 1].into(), port: 7401, tls: false, region: "mainstay".to_owned() };
        let engine = ObjectStoreEngine::new(objects.clone(), config);
        let service = engine.service();
        *self.open.lock().unwrap() = Some(Open { objects, service, plane });
        Arc::new(engine)
    }

    pub async fn close(&self) {
        let open = self.open.lock().unwrap().take();
        if let Some(open) = open {
            open.objects.close().await;
            open.plane.close().await;
        }
    }

    pub fn open(&self) -> Open {
        self.open.lock().unwrap().clone().unwrap()
    }

    /// Lets the data plane answer, or not.
    pub fn reach(&self, reachable: bool) {
        self.reachable.store(reachable, Ordering::SeqCst);
    }

    pub fn index(&self) -> PathBuf {
        self.directory.path().join("index")
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

pub fn cluster() -> ClusterSpec {
    ClusterSpec {
        name: "objectstore-shared".parse().unwrap(),
        node: NodeName::local(),
        plan: Plan::Shared,
        port: 7401,
        parameters: Parameters::default(),
        identity: None,
    }
}

/// A data plane that can be cut off, as a daemon that was killed.
struct Reached {
    plane: Arc<FsPlane>,
    reachable: Arc<AtomicBool>,
}

impl Reached {
    fn plane(&self) -> Result<&FsPlane, Trouble> {
        match self.reachable.load(Ordering::SeqCst) {
            true => Ok(&self.plane),
            false => Err(Trouble::unavailable("its daemon was killed")),
        }
    }
}

#[async_trait]
impl DataPlane for Reached {
    async fn ingest_stream(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        self.plane()?.ingest_stream(source, hints).await
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        self.plane()?.serve_object(request).await
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        self.plane()?.verify_object(request).await
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        self.plane()?.delete_object(request).await
    }

    async fn backend_health(&self) -> Health {
        self.plane.backend_health().await
    }
}

struct OneKey;

#[async_trait]
impl Keys for OneKey {
    async fn newest(&self) -> Result<ContentKey, KeysError> {
        self.get(KeyId(1)).await
    }

    async fn get(&self, id: KeyId) -> Result<ContentKey, KeysError> {
        Ok(ContentKey::new(id, Zeroizing::new([7; 32])))
    }
}

struct Nobody;

#[async_trait]
impl Feed for Nobody {
    async fn publish(&self, _: &[ObjectEvent]) -> Result<(), FeedError> {
        Ok(())
    }
}
