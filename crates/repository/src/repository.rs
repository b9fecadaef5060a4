//! The repository itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mainstay_dataplane::{
    Address, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Inventory, Owner, Receipt, Serve,
    ServeError, Served, Source, Stored, Trouble, Verified, Verify,
};
use mainstay_types::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::commit::{self, Commit};
use crate::files::Files;
use crate::format::{self, Format, Unreadable};
use crate::inner::Inner;
use crate::keys::Keys;
use crate::recipe::Recipe;
use crate::{
    Behind, Contender, Credentials, DocumentError, KeepError, Location, MirrorError, Mirrored, OpenError, Progress,
    RecoveryKey, Report, VerifyOptions, ingest, load, pack,
};

/// The published name of this backend.
const BACKEND: &str = "repository";

/// Whoever asks how things are wants to know within seconds.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);

/// Room that is kept on a disk for what makes room: records of what was given up, and summaries.
pub const DEFAULT_RESERVED: u64 = 64 << 20;

/// Which repository, and its promises.
#[derive(Debug, Clone)]
pub struct Config {
    pub location: Location,
    pub credentials: Credentials,
    /// No content, pack or document that is younger is removed, whoever asks for it. Index records are no information of
    /// their own: they are replaced by others that say the same.
    pub immutable_for: Duration,
    /// Bytes that are left free in a directory's file system when content is kept.
    pub reserved: u64,
}

/// An open repository. Clones are the same one.
///
/// Everything that it keeps is sealed with keys from the recovery key, so that it takes no key with content: an ingest that
/// brings one is refused. All content is compressed, whatever the hints say.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
    commits: mpsc::Sender<Commit>,
}

/// What a repository holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    pub contents: u64,
    /// Of all contents, as they were ingested.
    pub raw_bytes: u64,
    /// Of all packs and index records, as they lie there.
    pub stored_bytes: u64,
    pub packs: u64,
    pub chunks: u64,
    /// Memory that the index of chunks takes.
    pub index_memory_bytes: u64,
}

impl Config {
    /// With nothing immutable.
    pub fn new(location: Location, credentials: Credentials) -> Self {
        Self { location, credentials, immutable_for: Duration::ZERO, reserved: DEFAULT_RESERVED }
    }
}

impl Repository {
    /// Makes a repository in an empty place.
    pub async fn create(config: Config, key: &RecoveryKey) -> Result<Self, OpenError> {
        let location = config.location.clone();
        let failed = |failure| OpenError::of(&location, failure);
        let files = Files::at(&location, &config.credentials)?;
        if files.read(format::FILE, None).await.map_err(failed)?.is_some() {
            return Err(OpenError::Exists { location });
        }
        if let Some(found) = files.anything().await.map_err(failed)? {
            return Err(OpenError::NotEmpty { location, found });
        }
        let id = Uuid::new_v4();
        let format = Format::new(id, &Keys::derive(key, id), key.fingerprint(), Timestamp::now());
        files.write(format::FILE, format.to_text().into()).await.map_err(failed)?;
        Self::open(config, key).await
    }

    /// Opens a repository that is there. Any number of processes may read one at the same time, and write to it; room is
    /// given back while no other one writes.
    pub async fn open(config: Config, key: &RecoveryKey) -> Result<Self, OpenError> {
        let Config { location, credentials, immutable_for, reserved } = config;
        let failed = |failure| OpenError::of(&location, failure);
        let files = Files::at(&location, &credentials)?;
        let Some(text) = files.read(format::FILE, None).await.map_err(failed)? else {
            return Err(match files.anything().await.map_err(failed)? {
                Some(found) => OpenError::NotEmpty { location, found },
                None => OpenError::Absent { location },
            });
        };
        let format = match Format::parse(&text) {
            Ok(format) => format,
            Err(Unreadable::Version(found)) => {
                return Err(OpenError::Format { location, found, known: format::FORMAT });
            }
            Err(Unreadable::Other(reason)) => {
                return Err(OpenError::Damaged { location, name: format::FILE.into(), reason });
            }
        };
        let keys = Arc::new(Keys::derive(key, format.id));
        if !format.fits(&keys) {
            return Err(OpenError::WrongKey { location, given: key.fingerprint(), wanted: format.key_fingerprint });
        }
        let loaded = load::load(&files, &keys).await.map_err(failed)?;
        for (name, why) in &loaded.damaged {
            tracing::error!(name, why, %location, "an index record is damaged; what it listed was looked for in packs");
        }
        let pieces = ingest::pieces();
        let inner = Inner::new(format.id, location, files, keys, immutable_for, reserved, pieces, loaded.state);
        let inner = Arc::new(inner);
        let (commits, waiting) = mpsc::channel(commit::QUEUE);
        tokio::spawn(commit::run(Arc::downgrade(&inner), waiting));
        Ok(Self { inner, commits })
    }

    /// Opens the repository, or makes it where the place is empty.
    pub async fn open_or_create(config: Config, key: &RecoveryKey) -> Result<Self, OpenError> {
        match Self::open(config.clone(), key).await {
            Err(OpenError::Absent { .. }) => Self::create(config, key).await,
            opened => opened,
        }
    }

    /// Keeps the repository for a layer from now on: nobody else is to change it. Refused where another layer keeps it, or
    /// another process began to since this one did.
    ///
    /// Who finds out that another one keeps it writes and removes nothing any more. One that was not told whether it keeps it, as it was
    /// not answered, tries again as the same contender.
    pub async fn keep_for(&self, layer: Uuid, contender: &mut Contender) -> Result<(), KeepError> {
        self.inner.keep_for(layer, contender, false).await
    }

    /// The same, whoever kept it until now.
    pub async fn take_over_for(&self, layer: Uuid, contender: &mut Contender) -> Result<(), KeepError> {
        self.inner.keep_for(layer, contender, true).await
    }

    /// Whether it has to be opened anew: another process has removed something, keeps it now, or the place was away.
    pub fn is_outdated(&self) -> bool {
        self.inner.is_outdated()
    }

    /// Its copies have the same.
    pub fn id(&self) -> Uuid {
        self.inner.id
    }

    pub fn location(&self) -> &Location {
        &self.inner.location
    }

    pub fn statistics(&self) -> Statistics {
        let state = self.inner.state();
        Statistics {
            contents: state.contents.len() as u64,
            raw_bytes: state.raw_bytes,
            stored_bytes: state.stored_bytes(),
            packs: state.packs.len(),
            chunks: state.index.len(),
            index_memory_bytes: state.index.bytes(),
        }
    }

    /// Keeps a document, in place of the one that had its name. It is durable when this returns, and there is always one of
    /// the two. Names are not sealed.
    pub async fn put_document(&self, kind: &str, name: &str, bytes: Bytes) -> Result<(), DocumentError> {
        self.inner.put_document(kind, name, bytes).await
    }

    pub async fn document(&self, kind: &str, name: &str) -> Result<Option<Bytes>, DocumentError> {
        Ok(self.inner.document(kind, name).await?.map(|document| document.bytes))
    }

    /// The names of a kind, in order.
    pub async fn documents(&self, kind: &str) -> Result<Vec<String>, DocumentError> {
        self.inner.documents(kind).await
    }

    /// Whether there was one. One that is damaged is removed as well.
    pub async fn remove_document(&self, kind: &str, name: &str) -> Result<bool, DocumentError> {
        self.inner.remove_document(kind, name).await
    }

    /// Reads everything and names what is damaged.
    pub async fn verify(
        &self,
        options: VerifyOptions,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Report, Trouble> {
        self.inner.verify_all(options, progress).await
    }

    /// Makes another location a copy of this repository, or brings the copy there up to date. It may be interrupted and
    /// repeated at any time.
    pub async fn mirror(
        &self,
        to: &Location,
        credentials: &Credentials,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Mirrored, MirrorError> {
        self.inner.mirror(to, credentials, progress).await
    }

    /// How far a copy is behind, without copying anything.
    pub async fn behind(&self, to: &Location, credentials: &Credentials) -> Result<Behind, MirrorError> {
        self.inner.behind(to, credentials).await
    }

    /// Ends its writing, so that another process need not wait for it to be forgotten.
    pub async fn close(self) -> Result<(), Trouble> {
        Ok(self.inner.lock.release().await?)
    }

    /// Where the chunks of content lie: pack files and ranges in them. For tests that damage them.
    #[doc(hidden)]
    pub async fn places_of(&self, address: Address) -> Vec<(String, std::ops::Range<u64>)> {
        let content = self.inner.state().contents.get(&address).map(|entry| Arc::clone(&entry.content));
        let mut chunks = Vec::new();
        match content.as_deref().map(|content| &content.recipe) {
            Some(Recipe::Direct(direct)) => chunks.extend_from_slice(direct),
            Some(Recipe::Lists(lists)) => {
                for list in lists {
                    chunks.extend(self.inner.read_list(address, list).await.unwrap_or_default());
                }
            }
            None => {}
        }
        let state = self.inner.state();
        let located = chunks.iter().filter_map(|chunk| state.locate(&chunk.id));
        located
            .map(|(pack, at)| (pack::path(&pack), u64::from(at.offset)..u64::from(at.offset + at.stored_len)))
            .collect()
    }
}

#[async_trait]
impl DataPlane for Repository {
    async fn ingest_stream(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        self.inner.ingest(&self.commits, source, hints).await
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        self.inner.serve(request).await
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        self.inner.verify_content(request).await
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        let Delete { owner, address, claim } = request;
        let (reply, given_up) = oneshot::channel();
        let gone = |_| Trouble::unavailable("the repository is being closed");
        self.commits.send(Commit::GiveUp { owner, address, claim, reply }).await.map_err(|_| gone(()))?;
        Ok(given_up.await.map_err(|_| gone(()))??)
    }

    async fn backend_health(&self) -> Health {
        let look = async {
            match self.inner.files.read(format::FILE, None).await? {
                Some(_) => self.inner.still_keeps().await,
                None => Err(self.inner.is_away()),
            }
        };
        let trouble = match tokio::time::timeout(HEALTH_PATIENCE, look).await {
            Ok(looked) => looked.err().map(|trouble| trouble.to_string()),
            Err(_) => Some(format!("{} does not answer within {} s", self.inner.location, HEALTH_PATIENCE.as_secs())),
        };
        let free_bytes = self.inner.files.free_bytes().await;
        let state = self.inner.state();
        Health {
            backend: BACKEND.into(),
            trouble,
            contents: state.contents.len() as u64,
            stored_bytes: state.stored_bytes(),
            free_bytes,
        }
    }
}

#[async_trait]
impl Inventory for Repository {
    async fn contents(&self, owner: Owner, after: Option<Address>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.inner.state();
        let from = after.map_or(Unbounded, Excluded);
        let stored = state.contents.range((from, Unbounded)).filter_map(|(address, entry)| {
            let held = entry.held(owner)?;
            Some(Stored { address: *address, size: entry.content.size, claim: held.claim, claimed_at: held.at })
        });
        Ok(stored.take(limit).collect())
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        self.inner.reclaim().await
    }
}
