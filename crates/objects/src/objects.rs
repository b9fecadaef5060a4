//! The object store's handle.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mainstay_bucket::{BucketName, LegalHold, ObjectKey, Retention, Settings, Tags, VersionId};
use mainstay_dataplane::{Body, DataPlane, Inventory};
use mainstay_storage::Store;
use mainstay_types::{InstanceId, Timestamp};
use secrecy::SecretString;

use crate::access_key::{AccessKey, AccessKeyId, KnownKey};
use crate::account::{Account, Bucket, Limits, NewBucket, Usage};
use crate::error::{Error, IngestError, OpenError, ReadError, Refusal};
use crate::feed::Feed;
use crate::keeper::Kept;
use crate::keys::{Keys, KeysError};
use crate::request::{
    Complete, Content, Delete, Deleted, Ingest, ListQuery, NewUpload, Page, Part, Put, PutPart, Upload, UploadRef,
    UploadsPage, UploadsQuery, VersionsPage, VersionsQuery,
};
use crate::scrub::{ScrubProgress, ScrubReport};
use crate::version::{Manifest, Version};

/// The object store. A clone is another handle to the same one.
#[derive(Clone)]
pub struct Objects {
    pub(crate) inner: Arc<()>,
}

/// What the object store stands on.
pub struct Foundations {
    /// The index, claimed for this process.
    pub store: Store,
    pub plane: Arc<dyn DataPlane>,
    pub inventory: Arc<dyn Inventory>,
    pub keys: Arc<dyn Keys>,
    pub feed: Arc<dyn Feed>,
}

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct ObjectsConfig {
    /// How long content that nothing refers to is kept. Readers that have found an object go on reading it for so long.
    pub grace: Duration,
    /// How much memory records of objects may take that were asked for lately.
    pub cache_bytes: u64,
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(3600), cache_bytes: 16 << 20 }
    }
}

/// A change of a bucket's settings, decided on the newest ones; it can run more than once.
pub type SettingsChange = Box<dyn Fn(&mut Settings) -> Result<(), Refusal> + Send + Sync>;

impl Objects {
    /// Opens the object store on its index, whose schema is brought up to date.
    pub async fn open(foundations: Foundations, config: ObjectsConfig) -> Result<Self, OpenError> {
        todo!()
    }

    /// Finishes what was begun and takes nothing more. The index's store is closed too.
    pub async fn close(&self) {
        todo!()
    }

    // --- accounts and buckets ---

    /// Lets an instance in, or changes its limits.
    pub async fn put_account(&self, id: &InstanceId, limits: Limits) -> Result<(), Error> {
        todo!()
    }

    /// An instance; from memory.
    pub fn account(&self, id: &InstanceId) -> Option<Account> {
        todo!()
    }

    /// Deletes an instance's access keys, its buckets with everything in them, whatever protects it, and the instance.
    /// Where it breaks off, it goes on when it is called again; nothing new comes in meanwhile.
    pub async fn remove_account(&self, id: &InstanceId) -> Result<(), Error> {
        todo!()
    }

    /// What all buckets of an instance hold; from memory.
    pub fn account_usage(&self, id: &InstanceId) -> Usage {
        todo!()
    }

    pub async fn create_bucket(&self, new: NewBucket) -> Result<Arc<Bucket>, Error> {
        todo!()
    }

    /// A bucket; from memory.
    pub fn bucket(&self, name: &BucketName) -> Option<Arc<Bucket>> {
        todo!()
    }

    /// The buckets of an instance by name; from memory.
    pub fn buckets(&self, account: &InstanceId) -> Vec<Arc<Bucket>> {
        todo!()
    }

    /// What a bucket holds; from memory.
    pub fn usage(&self, name: &BucketName) -> Option<Usage> {
        todo!()
    }

    pub async fn change_settings(&self, name: &BucketName, change: SettingsChange) -> Result<Arc<Bucket>, Error> {
        todo!()
    }

    /// Deletes an empty bucket, and the uploads to it that were not completed.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), Error> {
        todo!()
    }

    // --- objects ---

    /// Takes bytes in, durably. They become visible with [`Objects::put`] or [`Objects::put_part`].
    pub async fn ingest(&self, bucket: &BucketName, ingest: Ingest) -> Result<Content, IngestError> {
        todo!()
    }

    /// The content of a version, for a copy that moves no bytes.
    pub async fn content_of(&self, version: &Version) -> Result<Content, ReadError> {
        todo!()
    }

    pub async fn put(&self, put: Put) -> Result<Arc<Version>, Error> {
        todo!()
    }

    /// What is known of an object, or of a version of it.
    pub async fn head(&self, bucket: &BucketName, key: &ObjectKey, id: Option<&VersionId>) -> Result<Arc<Version>, Error> {
        todo!()
    }

    /// The parts of an object that was put in parts.
    pub async fn manifest(&self, version: &Version) -> Result<Option<Arc<Manifest>>, ReadError> {
        todo!()
    }

    /// An object's bytes, or a range of them that lies within it.
    pub async fn read(&self, version: &Version, range: Option<Range<u64>>) -> Result<Body, ReadError> {
        todo!()
    }

    pub async fn delete(&self, delete: Delete) -> Result<Deleted, Error> {
        todo!()
    }

    /// Replaces the tags of an object, or of a version of it.
    pub async fn set_tags(&self, bucket: &BucketName, key: &ObjectKey, id: Option<&VersionId>, tags: Tags) -> Result<Arc<Version>, Error> {
        todo!()
    }

    /// Sets how long a version is retained. `bypass` says that the caller may, and asks to, weaken governance mode.
    pub async fn set_retention(&self, bucket: &BucketName, key: &ObjectKey, id: Option<&VersionId>, retention: Option<Retention>, bypass: bool) -> Result<Arc<Version>, Error> {
        todo!()
    }

    pub async fn set_legal_hold(&self, bucket: &BucketName, key: &ObjectKey, id: Option<&VersionId>, hold: LegalHold) -> Result<Arc<Version>, Error> {
        todo!()
    }

    pub async fn list(&self, bucket: &BucketName, query: ListQuery) -> Result<Page, Error> {
        todo!()
    }

    pub async fn list_versions(&self, bucket: &BucketName, query: VersionsQuery) -> Result<VersionsPage, Error> {
        todo!()
    }

    // --- uploads ---

    pub async fn create_upload(&self, new: NewUpload) -> Result<Upload, Error> {
        todo!()
    }

    pub async fn upload(&self, upload: &UploadRef) -> Result<Upload, Error> {
        todo!()
    }

    pub async fn put_part(&self, part: PutPart) -> Result<Part, Error> {
        todo!()
    }

    /// The parts of an upload behind a number, by their numbers; at most `limit`.
    pub async fn parts(&self, upload: &UploadRef, after: u32, limit: usize) -> Result<Vec<Part>, Error> {
        todo!()
    }

    /// Makes an upload an object. Done again, it answers the same while the object is the newest of its key.
    pub async fn complete(&self, complete: Complete) -> Result<Arc<Version>, Error> {
        todo!()
    }

    pub async fn abort(&self, upload: &UploadRef) -> Result<(), Error> {
        todo!()
    }

    pub async fn uploads(&self, bucket: &BucketName, query: UploadsQuery) -> Result<UploadsPage, Error> {
        todo!()
    }

    // --- access keys ---

    /// Keeps an access key, in place of one of the same id.
    pub async fn put_access_key(&self, key: AccessKey, secret: &SecretString) -> Result<(), AccessKeyError> {
        todo!()
    }

    /// Where there is none, that is well too.
    pub async fn remove_access_key(&self, id: &AccessKeyId) -> Result<(), Error> {
        todo!()
    }

    /// An access key with its secret, also one whose time is over. From memory, once it was asked for.
    pub async fn access_key(&self, id: &str) -> Result<Option<KnownKey>, KeysError> {
        todo!()
    }

    /// The access keys of an instance by id; from memory.
    pub fn access_keys(&self, account: &InstanceId) -> Vec<AccessKey> {
        todo!()
    }

    // --- keeping ---

    /// Does whatever is due: expires objects and uploads, collects content, tells notifications.
    pub async fn keep(&self, now: Timestamp) -> Result<Kept, Error> {
        todo!()
    }

    /// Keeps the object store in order for as long as it is polled. It can be dropped at any time.
    pub async fn keep_on(&self) {
        todo!()
    }

    /// Reads all content, at most so many bytes each second, and says what is damaged and whose it is.
    pub async fn scrub(&self, bytes_per_second: Option<u64>, progress: &(dyn Fn(ScrubProgress) + Sync)) -> Result<ScrubReport, Error> {
        todo!()
    }
}

/// Why an access key was not kept.
#[derive(Debug, thiserror::Error)]
pub enum AccessKeyError {
    #[error(transparent)]
    Index(#[from] Error),
    #[error(transparent)]
    Keys(#[from] KeysError),
}
