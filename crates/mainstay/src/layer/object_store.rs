//! The object store, put together: its bytes on a data plane, its index on storage, its keys in custody, its news in the
//! journal.

use std::sync::Arc;

use mainstay_custody::Custody;
use mainstay_objects::{Foundations, Objects, ObjectsConfig, Scrubber};
use mainstay_storage::{Claim, Service, Store};

use crate::config::{Config, ObjectStore as ObjectStoreConfig};

use super::content_keys::CustodyKeys;
use super::data_plane::{Plane, PlaneError};
use super::feed::JournalFeed;

pub(super) struct ObjectStore {
    pub(super) objects: Objects,
    pub(super) scrubber: Scrubber,
    pub(super) plane: Plane,
    pub(super) feed: Arc<JournalFeed>,
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
        own: &ObjectStoreConfig,
        custody: &Custody,
        claimant: &str,
    ) -> Result<Self, ObjectStoreError> {
        let plane = Plane::of_layer(&config.data_plane, &own.backend).await?;
        let location = config.storage.location(Service::Objects);
        let store = Store::open(&location, Service::Objects, Objects::SCHEMA).await;
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
        Ok(Self { objects, scrubber, plane, feed, _claim: claim })
    }

    /// Keeps the store in order for as long as it is polled. It can be dropped at any time.
    pub(super) async fn keep_on(&self) {
        tokio::join!(self.objects.keep_on(), self.scrubber.scrub_on());
    }

    pub(super) async fn close(&self) {
        self.objects.close().await;
        self.plane.close().await;
    }
}
