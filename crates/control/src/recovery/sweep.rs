//! What nothing refers to any more is given up.
//!
//! Contents that are referred to are known by the first bytes of their names, so that a million of them take some 20 MB; where
//! two begin alike, one stays that might go. Documents that are written once are read once, as far as [`REMEMBERED`] goes.
//!
//! What a document refers to that cannot be read is not known. It was there when the damage was found, so all that was there then
//! stays until the document is whole again or gone, and what has come since is swept as ever.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use mainstay_dataplane::{Address, DataPlane, Delete, Deletion, Inventory, Owner};
use mainstay_engine::EngineError;
use mainstay_types::{ClusterName, Timestamp, chain};
use tokio::sync::{Mutex, OwnedRwLockReadGuard, RwLock};

use super::attempt::{POINTS, archive};
use super::catalogue;
use super::depot::{Depot, DepotError};
use super::document::{Document, PointDocument, referred_contents};
use crate::control::Control;

/// The kinds of documents that refer to contents, apart from those of logs. They are written once.
pub const REFERRING_KINDS: [&str; 2] = [POINTS, "layer"];
/// How long content that nothing refers to is left alone. What is being backed up is referred to at its end only; backups are kept away
/// while this sweeps, and this is for those of a control plane that was killed.
const GRACE: Duration = Duration::from_secs(3_600);
/// Contents that are listed at a time.
const PAGE: usize = 1_000;
/// References that are remembered, in 8 MB: those of all backups but of large buckets, whose indexes are read again.
const REMEMBERED: usize = 1 << 20;

/// Removes contents that nothing refers to, apart from any backup.
#[derive(Clone)]
pub(super) struct Sweeper {
    control: Control,
    depot: Arc<dyn Depot>,
    /// Held shared by whoever keeps content and has not said yet what it is for.
    gate: Arc<RwLock<()>>,
    memory: Arc<Mutex<Memory>>,
}

/// What stands for a content: the first bytes of its name.
type Tag = u64;

/// What is known since an earlier sweep.
#[derive(Default)]
struct Memory {
    /// By kind and name.
    documents: BTreeMap<String, References>,
    /// How many references those are together.
    remembered: usize,
    /// Documents that cannot be read.
    damaged: BTreeSet<String>,
    /// All contents that were there when these were found.
    held: HashSet<Tag>,
}

/// What a document refers to.
#[derive(Clone)]
struct References {
    tags: Arc<[Tag]>,
    /// The cluster of which it is a backup.
    cluster: Option<ClusterName>,
}

/// Why it is not known what a document refers to.
enum Unknown {
    /// It may be known when it is read again.
    Now(DepotError),
    /// It can not be read.
    Damaged(String),
}

// === impl Sweeper ===

impl Sweeper {
    pub(super) fn new(control: Control, depot: Arc<dyn Depot>) -> Self {
        Self { control, depot, gate: Arc::default(), memory: Arc::default() }
    }

    /// Keeps sweeps away for as long as it is held.
    pub(super) async fn keep_away(&self) -> OwnedRwLockReadGuard<()> {
        self.gate.clone().read_owned().await
    }

    /// Gives up what nothing refers to, and the room that it took. Answers how many contents that were.
    pub(super) async fn sweep(&self) -> Result<u64, DepotError> {
        // Not waited for: while something is backed up, sweeping can wait.
        let Ok(alone) = self.gate.clone().try_write_owned() else { return Ok(0) };
        let mut memory = self.memory.lock().await;
        let (plane, inventory) = (self.depot.plane().await?, self.depot.inventory().await?);
        let (referred, damaged) = self.referred(&mut memory).await?;
        self.depot.tell_damaged(&damaged);
        hold_back(&mut memory, damaged, &*inventory).await?;
        let is_needed = |tag: &Tag| referred.contains(tag) || memory.held.contains(tag);
        let given_up = give_up(&*plane, &*inventory, is_needed).await?;
        // Room is given back beside backups, and after whatever copies the repository just now: nobody is to wait for that.
        drop((alone, memory));
        inventory.reclaim().await.map_err(trouble)?;
        Ok(given_up)
    }

    /// All contents that any document refers to, or a backup that one is about; and the documents that can not be read.
    async fn referred(&self, memory: &mut Memory) -> Result<(HashSet<Tag>, BTreeSet<String>), DepotError> {
        let mut clusters: BTreeSet<_> = self.control.view().clusters().map(|cluster| cluster.name.clone()).collect();
        let (mut referred, mut damaged, mut listed) = (HashSet::new(), BTreeSet::new(), BTreeSet::new());
        for kind in REFERRING_KINDS {
            for name in self.depot.names(kind).await? {
                let path = format!("{kind}/{name}");
                listed.insert(path.clone());
                let references = match memory.documents.get(&path) {
                    Some(references) => references.clone(),
                    None => match self.references(kind, &name).await {
                        Ok(Some(references)) => memory.remember(path, references),
                        Ok(None) => continue,
                        Err(Unknown::Now(error)) => return Err(error),
                        Err(Unknown::Damaged(why)) => {
                            tracing::error!(document = path, why, "it is not known what a document refers to");
                            damaged.insert(path);
                            continue;
                        }
                    },
                };
                referred.extend(references.tags.iter());
                // The journal may not know its cluster any more, or not yet. Without its log a backup is worth little.
                clusters.extend(references.cluster);
            }
        }
        memory.forget_all_but(&listed);
        for cluster in &clusters {
            self.add_log(cluster, &mut referred, &mut damaged).await?;
        }
        Ok((referred, damaged))
    }

    /// Reads what a document refers to, where there is one.
    async fn references(&self, kind: &str, name: &str) -> Result<Option<References>, Unknown> {
        let Some(bytes) = self.depot.get(kind, name).await? else { return Ok(None) };
        let mut tags: Vec<Tag> = referred_contents(&format!("{kind}/{name}"), &bytes)?.iter().map(tag).collect();
        if kind != POINTS {
            return Ok(Some(References { tags: tags.into(), cluster: None }));
        }
        let point = PointDocument::from_bytes(name, &bytes)?;
        // Beside its parts, what its engine reads off them.
        let engine = self.control.engine(&point.engine).and_then(|engine| engine.recovery());
        let recovery = engine.ok_or_else(|| {
            let reason = format!("nobody here knows what backup {} refers to", point.id);
            EngineError::permanent(reason, "offer its engine again, or remove the backup")
        })?;
        let archive = archive(&self.control, &self.depot, &point.cluster).await?;
        let mut contents = recovery.contents(&point.backup, &archive).await?;
        while let Some(address) = contents.next().await {
            tags.push(tag(&address?));
        }
        tags.sort_unstable();
        tags.dedup();
        Ok(Some(References { tags: tags.into(), cluster: Some(point.cluster) }))
    }

    /// Adds what the pieces of a log are. Its catalogue has read them already, but for those that can not be read.
    async fn add_log(
        &self,
        cluster: &ClusterName,
        referred: &mut HashSet<Tag>,
        damaged: &mut BTreeSet<String>,
    ) -> Result<(), DepotError> {
        let kind = catalogue::kind(cluster);
        let archive = archive(&self.control, &self.depot, cluster).await?;
        let pieces = archive.log.pieces().await.map_err(|error| DepotError::Unavailable(error.into()))?;
        referred.extend(pieces.iter().map(|(_, piece)| tag(&piece.address)));
        let read: BTreeSet<String> = pieces.into_iter().map(|(name, _)| name).collect();
        for name in self.depot.names(&kind).await?.into_iter().filter(|name| !read.contains(name)) {
            match self.references(&kind, &name).await {
                Ok(found) => referred.extend(found.iter().flat_map(|found| found.tags.iter())),
                Err(Unknown::Now(error)) => return Err(error),
                Err(Unknown::Damaged(_)) => drop(damaged.insert(format!("{kind}/{name}"))),
            }
        }
        Ok(())
    }
}

// === impl Memory ===

impl Memory {
    fn remember(&mut self, path: String, references: References) -> References {
        let count = references.tags.len();
        if self.remembered + count <= REMEMBERED {
            self.remembered += count;
            self.documents.insert(path, references.clone());
        }
        references
    }

    fn forget_all_but(&mut self, listed: &BTreeSet<String>) {
        self.documents.retain(|path, _| listed.contains(path));
        self.remembered = self.documents.values().map(|references| references.tags.len()).sum();
    }
}

/// Keeps what documents may refer to that can not be read: all that was there when that was found.
async fn hold_back(
    memory: &mut Memory,
    damaged: BTreeSet<String>,
    inventory: &dyn Inventory,
) -> Result<(), DepotError> {
    if damaged.is_empty() {
        memory.held = HashSet::new();
    } else if !damaged.is_subset(&memory.damaged) {
        let mut after = None;
        loop {
            let page = inventory.contents(Owner::Backups, after, PAGE).await.map_err(trouble)?;
            let Some(last) = page.last() else { break };
            after = Some(last.address);
            memory.held.extend(page.iter().map(|stored| tag(&stored.address)));
        }
    }
    memory.damaged = damaged;
    Ok(())
}

/// Gives up what is not needed, and not so young that it may be in a moment. Answers how much that was.
async fn give_up(
    plane: &dyn DataPlane,
    inventory: &dyn Inventory,
    is_needed: impl Fn(&Tag) -> bool,
) -> Result<u64, DepotError> {
    let (mut after, mut given_up) = (None, 0);
    loop {
        let page = inventory.contents(Owner::Backups, after, PAGE).await.map_err(trouble)?;
        let Some(last) = page.last() else { return Ok(given_up) };
        after = Some(last.address);
        let now = Timestamp::now();
        for stored in page {
            let aged = now.seconds_since(stored.claimed_at) > GRACE.as_secs_f64();
            if aged && !is_needed(&tag(&stored.address)) {
                let request = Delete { owner: Owner::Backups, address: stored.address, claim: stored.claim };
                let deletion = plane.delete_object(request).await;
                let deletion = deletion.map_err(|error| DepotError::Unavailable(error.into()))?;
                given_up += u64::from(deletion == Deletion::Deleted);
            }
        }
    }
}

fn tag(address: &Address) -> Tag {
    let digest = address.digest();
    Tag::from_be_bytes(*digest.as_bytes().first_chunk().expect("a digest has more bytes"))
}

fn trouble(error: mainstay_dataplane::Trouble) -> DepotError {
    DepotError::Unavailable(error.into())
}

impl From<DepotError> for Unknown {
    fn from(error: DepotError) -> Self {
        match error {
            error @ DepotError::Unavailable(_) => Self::Now(error),
            error @ DepotError::Damaged(_) => Self::Damaged(chain(&error)),
        }
    }
}

impl From<EngineError> for Unknown {
    fn from(error: EngineError) -> Self {
        match error {
            error @ EngineError::Transient { .. } => Self::Now(DepotError::Unavailable(error.into())),
            error @ EngineError::Permanent { .. } => Self::Damaged(chain(&error)),
        }
    }
}
