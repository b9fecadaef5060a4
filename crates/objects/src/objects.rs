//! The object store's handle.

use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mainstay_bucket::{BucketName, LegalHold, ObjectKey, Retention, Settings, Tags, VersionId, Versioning};
use mainstay_dataplane::{Body, DataPlane, Inventory};
use mainstay_storage::{Migration, Statement, Store};
use mainstay_types::InstanceId;
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};

use crate::access_key::{AccessKey, AccessKeyId, HeldKey, KnownKey};
use crate::account::{Account, Bucket, Limits, NewBucket, Usage};
use crate::directory::Directory;
use crate::error::{Error, IndexError, IngestError, OpenError, ReadError, Refusal};
use crate::feed::Feed;
use crate::fetch;
use crate::inner::Inner;
use crate::keys::{Keys, KeysError};
use crate::mutation::{
    AbortUpload, Amend, Amendment, BeginUpload, ChangeSettings, CloseAccount, CompleteUpload, CreateBucket,
    DeleteObject, DropAccount, DropBucket, ExchangeBuckets, ImportEntry, KeepPart, Mutation, PutAccount, PutObject,
    Reason,
};
use crate::read::Hold;
use crate::request::{
    Complete, Content, Delete, Deleted, Import, Ingest, ListQuery, NewUpload, Page, Part, Put, PutPart, Upload,
    UploadRef, UploadsPage, UploadsQuery, VersionsPage, VersionsQuery,
};
use crate::schema::SCHEMA;
use crate::stage::{integer, sequence_of};
use crate::stored;
use crate::version::{Contents, Manifest, Piece, Version, VersionEntry};
use crate::writer::{self, Request, Writer};

/// The object store. A clone is another handle to the same one.
#[derive(Clone)]
pub struct Objects {
    pub(crate) inner: Arc<Inner>,
    queue: mpsc::Sender<Request>,
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
    /// The tables of the index, for [`Store::open`].
    pub const SCHEMA: &[Migration] = SCHEMA;

    /// Opens the object store on its index, whose schema is [`Objects::SCHEMA`].
    pub async fn open(foundations: Foundations, config: ObjectsConfig) -> Result<Self, OpenError> {
        let store = &foundations.store;
        let sequence = fetch::head(store).await?;
        let (directory, usages) = Directory::load(store).await?;
        let access_keys = HeldKey::load(store).await?;
        let inner = Arc::new(Inner::new(foundations, config, directory, usages));
        *inner.access_keys.write().unwrap_or_else(PoisonError::into_inner) = access_keys;
        let (queue, requests) = mpsc::channel(writer::QUEUE);
        tokio::spawn(Writer::new(inner.clone(), sequence).run(requests));
        Ok(Self { inner, queue })
    }

    /// Finishes what was begun and takes nothing more. The index's store is closed too.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Request::Close(done)).await.is_ok() {
            // The writer drops the sender when it has ended.
            let _ = closed.await;
        }
        self.inner.store.close().await;
    }

    // --- accounts and buckets ---

    /// Lets an instance in, or changes its limits.
    pub async fn put_account(&self, id: &InstanceId, limits: Limits) -> Result<(), Error> {
        self.submit(PutAccount { id: id.clone(), limits }).await
    }

    /// An instance; from memory.
    pub fn account(&self, id: &InstanceId) -> Option<Account> {
        self.inner.directory().account(id).cloned()
    }

    /// All instances by id; from memory.
    pub fn accounts(&self) -> Vec<Account> {
        self.inner.directory().accounts().cloned().collect()
    }

    /// Deletes an instance's access keys, its buckets with everything in them, whatever protects it, and the instance.
    /// Where it breaks off, it goes on when it is called again; nothing new comes in meanwhile.
    pub async fn remove_account(&self, id: &InstanceId) -> Result<(), Error> {
        self.submit(CloseAccount(id.clone())).await?;
        for key in self.access_keys(id) {
            self.remove_access_key(&key.id).await?;
        }
        for bucket in self.buckets(id) {
            self.empty(&bucket).await?;
            match self.delete_bucket(&bucket.name).await {
                Ok(()) | Err(Error::Refused(Refusal::NoSuchBucket)) => {}
                Err(error) => return Err(error),
            }
        }
        self.submit(DropAccount(id.clone())).await
    }

    /// What all buckets of an instance hold; from memory.
    pub fn account_usage(&self, id: &InstanceId) -> Usage {
        let mut all = Usage::default();
        self.inner.directory().buckets_of(id).for_each(|bucket| all += self.inner.usage(bucket.id));
        all
    }

    /// Makes a bucket. Its name is unique among all instances' buckets.
    pub async fn create_bucket(&self, new: NewBucket) -> Result<Arc<Bucket>, Error> {
        self.submit(CreateBucket(new)).await
    }

    /// A bucket; from memory.
    pub fn bucket(&self, name: &BucketName) -> Option<Arc<Bucket>> {
        self.inner.directory().bucket(name).cloned()
    }

    /// The buckets of an instance by name; from memory.
    pub fn buckets(&self, account: &InstanceId) -> Vec<Arc<Bucket>> {
        self.inner.directory().buckets_of(account).cloned().collect()
    }

    /// What a bucket holds; from memory.
    pub fn usage(&self, name: &BucketName) -> Option<Usage> {
        self.bucket(name).map(|bucket| self.inner.usage(bucket.id))
    }

    /// Changes a bucket's settings.
    pub async fn change_settings(&self, name: &BucketName, change: SettingsChange) -> Result<Arc<Bucket>, Error> {
        self.submit(ChangeSettings { name: name.clone(), change }).await
    }

    /// Deletes a bucket without objects, and the uploads to it that were not completed.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), Error> {
        let bucket = self.known(name)?;
        let usage = self.inner.usage(bucket.id);
        if usage.objects + usage.markers == 0 && usage.uploads > 0 {
            self.abort_all(&bucket).await?;
        }
        self.submit(DropBucket(name.clone())).await
    }

    // --- objects ---

    /// Takes bytes in, durably. They become visible with [`Objects::put`] or [`Objects::put_part`].
    pub async fn ingest(&self, bucket: &BucketName, ingest: Ingest) -> Result<Content, IngestError> {
        self.inner.ingest(bucket, ingest).await
    }

    /// The content of a version, for a copy that moves no bytes.
    pub async fn content_of(&self, version: &Version) -> Result<Content, ReadError> {
        self.inner.content_of(version).await
    }

    /// Keeps all content from being given up that is referred to now, also where its objects are deleted.
    pub fn hold(&self) -> Hold {
        self.inner.hold()
    }

    /// A content of an object, as its own bytes.
    pub async fn read_piece(&self, piece: &Piece) -> Result<Body, ReadError> {
        self.inner.read_piece(piece).await
    }

    /// Content that is there already, read in full and found whole; none where it is not.
    pub async fn content_at_hand(&self, piece: &Piece) -> Result<Option<Content>, ReadError> {
        self.inner.content_at_hand(piece).await
    }

    /// Makes a version what it was in a snapshot: its id, its times and all that was said of it.
    pub async fn import(&self, import: Import) -> Result<(), Error> {
        self.submit(ImportEntry(import)).await
    }

    /// Puts buckets of one instance in the place of all that another one has, in one step. `names` says what they are called, and what
    /// they are to be called; those that were there belong to the first one then.
    pub async fn exchange(
        &self,
        account: &InstanceId,
        other: &InstanceId,
        names: Vec<(BucketName, BucketName)>,
    ) -> Result<(), Error> {
        self.submit(ExchangeBuckets { account: account.clone(), other: other.clone(), names }).await
    }

    /// Makes content an object: the newest version of its key.
    pub async fn put(&self, put: Put) -> Result<Arc<Version>, Error> {
        self.submit(PutObject(put)).await
    }

    /// What is known of an object, or of a version of it.
    pub async fn head(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: Option<&VersionId>,
    ) -> Result<Arc<Version>, Error> {
        let bucket = self.known(bucket)?;
        let place = (bucket.id, key.clone());
        let current = match self.inner.cache.get_or_ask(&place).await {
            Ok(known) => known,
            Err(asking) => {
                let known = fetch::object(&self.inner.store, &place).await?;
                // The writer may have published a newer one meanwhile; what was read was true when it was asked.
                let _ = asking.insert(known.clone());
                known
            }
        };
        let versioned = bucket.settings.versioning != Versioning::Unversioned;
        let Some(id) = id else {
            if let Some(version) = current {
                return Ok(version);
            }
            let hidden = if versioned { fetch::newest(&self.inner.store, &place).await? } else { Vec::new() };
            return Err(Refusal::NoSuchKey { marker: hidden.first().map(VersionEntry::id) }.into());
        };
        if let Some(version) = current.filter(|version| version.id == *id) {
            return Ok(version);
        }
        let found = match id {
            _ if !versioned => Vec::new(),
            VersionId::Null => fetch::null_version(&self.inner.store, &place).await?,
            VersionId::Numbered(number) => fetch::version(&self.inner.store, &place, sequence_of(*number)).await?,
        };
        match found.into_iter().next().filter(|entry| entry.id() == *id) {
            Some(VersionEntry::Version(version)) => Ok(version),
            Some(VersionEntry::Marker { id, .. }) => Err(Refusal::IsMarker { id }.into()),
            None => Err(Refusal::NoSuchVersion.into()),
        }
    }

    /// The parts of an object that was put in parts.
    pub async fn manifest(&self, version: &Version) -> Result<Option<Arc<Manifest>>, ReadError> {
        match version.content {
            Contents::One(_) => Ok(None),
            Contents::Many { manifest, .. } => self.inner.manifest(manifest).await.map(Some),
        }
    }

    /// An object's bytes, or a range of them that lies within it.
    pub async fn read(&self, version: &Version, range: Option<Range<u64>>) -> Result<Body, ReadError> {
        self.inner.read(version, range).await
    }

    /// Deletes an object, or a version of one.
    pub async fn delete(&self, delete: Delete) -> Result<Deleted, Error> {
        self.submit(DeleteObject { delete, reason: Reason::Request }).await
    }

    /// Replaces the tags of an object, or of a version of it.
    pub async fn set_tags(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: Option<&VersionId>,
        tags: Tags,
    ) -> Result<Arc<Version>, Error> {
        self.amend(bucket, key, id, Amendment::Tags(tags)).await
    }

    /// Sets how long a version is retained. `bypass` says that the caller may, and asks to, weaken governance mode.
    pub async fn set_retention(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: Option<&VersionId>,
        retention: Option<Retention>,
        bypass: bool,
    ) -> Result<Arc<Version>, Error> {
        self.amend(bucket, key, id, Amendment::Retention { retention, bypass }).await
    }

    /// Puts a version under legal hold, or takes it from there.
    pub async fn set_legal_hold(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: Option<&VersionId>,
        hold: LegalHold,
    ) -> Result<Arc<Version>, Error> {
        self.amend(bucket, key, id, Amendment::LegalHold(hold)).await
    }

    /// A page of objects.
    pub async fn list(&self, bucket: &BucketName, query: ListQuery) -> Result<Page, Error> {
        Ok(self.inner.list(&*self.known(bucket)?, &query).await?)
    }

    /// A page of versions and delete markers.
    pub async fn list_versions(&self, bucket: &BucketName, query: VersionsQuery) -> Result<VersionsPage, Error> {
        Ok(self.inner.list_versions(&*self.known(bucket)?, &query).await?)
    }

    // --- uploads ---

    /// Begins an upload.
    pub async fn create_upload(&self, new: NewUpload) -> Result<Upload, Error> {
        // Where the system has no randomness, the number alone is unique too, and who may use it is asked all the same.
        let random = getrandom::u64().unwrap_or_default();
        self.submit(BeginUpload { new, random }).await
    }

    /// An upload that is not completed.
    pub async fn upload(&self, upload: &UploadRef) -> Result<Upload, Error> {
        let bucket = self.known(&upload.bucket)?;
        let row = fetch::upload(&self.inner.store, upload.id.sequence).await?;
        let its_own = row.filter(|row| row.id == upload.id && row.bucket == bucket.id && row.key == upload.key);
        Ok(its_own.ok_or(Refusal::NoSuchUpload)?.upload())
    }

    /// Makes content a part of an upload.
    pub async fn put_part(&self, part: PutPart) -> Result<Part, Error> {
        self.submit(KeepPart(part)).await
    }

    /// The parts of an upload behind a number, by their numbers; at most `limit`.
    pub async fn parts(&self, upload: &UploadRef, after: u32, limit: usize) -> Result<Vec<Part>, Error> {
        self.upload(upload).await?;
        let sql = "SELECT number, record FROM upload_parts WHERE upload = $1 AND number > $2 ORDER BY number LIMIT $3";
        let asked = [integer(upload.id.sequence), after.into(), integer(limit as u64)];
        let rows = fetch::parts(&self.inner.store, Statement::new(sql, asked)).await?;
        Ok(rows.iter().map(|(number, part)| part.part(*number)).collect())
    }

    /// Makes an upload an object. Done again, it answers the same while the object is the newest of its key.
    pub async fn complete(&self, complete: Complete) -> Result<Arc<Version>, Error> {
        self.submit(CompleteUpload(complete)).await
    }

    /// Gives an upload up.
    pub async fn abort(&self, upload: &UploadRef) -> Result<(), Error> {
        self.submit(AbortUpload(upload.clone())).await
    }

    /// A page of uploads that are not completed.
    pub async fn uploads(&self, bucket: &BucketName, query: UploadsQuery) -> Result<UploadsPage, Error> {
        Ok(self.inner.uploads(&*self.known(bucket)?, &query).await?)
    }

    // --- access keys ---

    /// Keeps an access key, in place of one of the same id.
    pub async fn put_access_key(&self, key: AccessKey, secret: &SecretString) -> Result<(), AccessKeyError> {
        let held = HeldKey::seal(&key, secret, &self.inner.keys.newest().await?)?;
        let sql = "INSERT INTO access_keys (id, record) VALUES ($1, $2) \
                   ON CONFLICT (id) DO UPDATE SET record = excluded.record";
        let record = stored::encode(&held.stored);
        self.write(Statement::new(sql, [key.id.as_str().into(), record.into()])).await?;
        self.inner.access_keys.write().unwrap_or_else(PoisonError::into_inner).insert(key.id, held);
        Ok(())
    }

    /// Where there is none, that is well too.
    pub async fn remove_access_key(&self, id: &AccessKeyId) -> Result<(), Error> {
        // It opens nothing from now on, also where the index does not answer and this is tried again.
        self.inner.access_keys.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.write(Statement::new("DELETE FROM access_keys WHERE id = $1", [id.as_str().into()])).await
    }

    /// An access key with its secret, also one whose time is over. From memory, once it was asked for.
    pub async fn access_key(&self, id: &str) -> Result<Option<KnownKey>, KeysError> {
        let held = {
            let keys = self.inner.access_keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.get_key_value(id).map(|(id, held)| (id.clone(), held.clone()))
        };
        let Some((id, held)) = held else { return Ok(None) };
        self.inner.keys.at_hand()?;
        let secret = match &held.secret {
            Some(secret) => secret.clone(),
            None => {
                let secret = held.open(&id, &self.inner.keys.get(held.key_id()).await?)?;
                let mut keys = self.inner.access_keys.write().unwrap_or_else(PoisonError::into_inner);
                // Unless it was replaced meanwhile, or all are to be forgotten.
                if let Some(now) = keys.get_mut(&id)
                    && now.stored.nonce == held.stored.nonce
                    && self.inner.keys.at_hand().is_ok()
                {
                    now.secret = Some(secret.clone());
                }
                secret
            }
        };
        Ok(Some(KnownKey { key: held.access_key(&id), secret }))
    }

    /// Forgets the secrets of all access keys, as when what they were opened with is sealed. The next request opens its own again,
    /// once that can be done.
    pub fn forget_secrets(&self) {
        let mut keys = self.inner.access_keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.values_mut().for_each(|held| held.secret = None);
    }

    /// The access keys of an instance by id; from memory.
    pub fn access_keys(&self, account: &InstanceId) -> Vec<AccessKey> {
        let keys = self.inner.access_keys.read().unwrap_or_else(PoisonError::into_inner);
        let own = keys.iter().filter(|(_, held)| held.stored.account == *account);
        let mut own: Vec<_> = own.map(|(id, held)| held.access_key(id)).collect();
        own.sort_by(|one, other| one.id.cmp(&other.id));
        own
    }

    // --- shared by the above and by what runs beside requests ---

    pub(crate) async fn submit<M: Mutation>(&self, mutation: M) -> Result<M::Answer, Error> {
        writer::submit(&self.queue, mutation).await
    }

    pub(crate) fn known(&self, name: &BucketName) -> Result<Arc<Bucket>, Refusal> {
        self.bucket(name).ok_or(Refusal::NoSuchBucket)
    }

    async fn amend(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: Option<&VersionId>,
        amendment: Amendment,
    ) -> Result<Arc<Version>, Error> {
        self.submit(Amend { bucket: bucket.clone(), key: key.clone(), id: id.copied(), amendment }).await
    }

    async fn write(&self, statement: Statement) -> Result<(), Error> {
        Ok(self.inner.store.write(vec![statement]).await.map_err(IndexError::from)?)
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
