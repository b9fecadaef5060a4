//! The object store, put together: its bytes on a data plane, its index on storage, its keys in custody, its news in the
//! journal.

use std::sync::Arc;

use mainstay_custody::Custody;
use mainstay_engine_objects::{ObjectStoreConfig, ObjectStoreEngine, Service};
use mainstay_objects::{Foundations, Objects, ObjectsConfig, Scrubber};
use mainstay_s3::S3Config;
use mainstay_storage::{Claim, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::{self, Config};

use super::content_keys::CustodyKeys;
use super::data_plane::{Plane, PlaneError};
use super::feed::JournalFeed;

pub(super) struct ObjectStore {
    pub(super) objects: Objects,
    pub(super) scrubber: Scrubber,
    pub(super) plane: Plane,
    pub(super) feed: Arc<JournalFeed>,
    /// What holds the keys that access keys are sealed with.
    custody: Custody,
    /// What the control plane knows it as.
    pub(super) engine: Arc<ObjectStoreEngine>,
    /// Held so that no other control plane changes the same index.
    _claim: Claim,
}

/// Why there is no object store.
#[derive(Debug, thiserror::Error)]
pub enum ObjectStoreError {
    #[error(transparent)]
    Plane(#[from] PlaneError),
    #[error("the index of objects cannot be used")]
    Store(#[source] mainstay_storage::OpenError),
    #[error("the index of objects cannot be used")]
    Claim(#[source] mainstay_storage::ClaimError),
    #[error("the index of objects cannot be used")]
    Objects(#[source] mainstay_objects::OpenError),
}

impl ObjectStore {
    pub(super) async fn open(
        config: &Config,
        own: &config::ObjectStore,
        custody: &Custody,
        claimant: &str,
    ) -> Result<Self, ObjectStoreError> {
        let plane = Plane::of_layer(&config.data_plane, &own.backend).await?;
        let location = config.storage.location(mainstay_storage::Service::Objects);
        let store = Store::open(&location, mainstay_storage::Service::Objects, Objects::SCHEMA).await;
        let store = store.map_err(ObjectStoreError::Store)?;
        let claim = store.claim(claimant).await.map_err(ObjectStoreError::Claim)?;
        let feed = Arc::new(JournalFeed::default());
        let foundations = Foundations {
            store,
            plane: plane.plane.clone(),
            inventory: plane.inventory.clone(),
            keys: Arc::new(CustodyKeys::new(custody.clone())),
            feed: feed.clone(),
        };
        let settings = ObjectsConfig { grace: own.grace, ..ObjectsConfig::default() };
        let objects = Objects::open(foundations, settings).await.map_err(ObjectStoreError::Objects)?;
        let scrubber = Scrubber::new(objects.clone(), feed.clone());
        let engine = Arc::new(ObjectStoreEngine::new(objects.clone(), engine_config(config)));
        Ok(Self { objects, scrubber, plane, feed, custody: custody.clone(), engine, _claim: claim })
    }

    /// Answers S3 requests until `stop` turns true; while the engine is not started, with a word to try again later.
    pub(super) async fn serve(
        &self,
        config: &Config,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        stop: watch::Receiver<bool>,
    ) {
        let service = self.engine.service();
        let open = move || *service.borrow() == Service::Open;
        mainstay_s3::serve_while(open, listener, tls, s3_config(config), self.objects.clone(), stop).await;
    }

    /// Keeps the store in order for as long as it is polled. It can be dropped at any time.
    pub(super) async fn keep_on(&self) {
        tokio::join!(self.objects.keep_on(), self.scrubber.scrub_on(), self.forget_on());
    }

    /// Forgets what custody's keys opened whenever they are sealed.
    async fn forget_on(&self) {
        let mut seal = self.custody.follow_seal();
        loop {
            if *seal.borrow_and_update() {
                self.objects.forget_secrets();
            }
            if seal.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) async fn close(&self) {
        self.objects.close().await;
        self.plane.close().await;
    }
}

fn engine_config(config: &Config) -> ObjectStoreConfig {
    ObjectStoreConfig {
        address: config.listen.s3.ip(),
        port: config.listen.s3.port(),
        tls: config.listen.tls.is_some(),
        region: config.s3.region.clone(),
    }
}

fn s3_config(config: &Config) -> S3Config {
    S3Config { region: config.s3.region.clone(), domains: vec![config.s3.domain.clone()], ..S3Config::default() }
}
