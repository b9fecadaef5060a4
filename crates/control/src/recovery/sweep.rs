//! What nothing refers to any more is given up.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use mainstay_dataplane::{Address, Delete, Deletion, Owner};
use mainstay_engine::EngineError;
use mainstay_types::Timestamp;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::attempt::{POINTS, archive};
use super::catalogue;
use super::depot::{Depot, DepotError};
use super::document::{Document, PointDocument, referred_contents};
use crate::control::Control;

/// The kinds of documents that refer to contents, apart from those of logs.
pub const REFERRING_KINDS: [&str; 2] = [POINTS, "layer"];
/// How long content that nothing refers to is left alone. What is being backed up is referred to at its end only; backups are kept away
/// while this sweeps, and this is for those of a control plane that was killed.
const GRACE: Duration = Duration::from_secs(3_600);
/// Contents that are listed at a time.
const PAGE: usize = 1_000;

/// Removes contents that nothing refers to, apart from any backup.
#[derive(Clone)]
pub(super) struct Sweeper {
    control: Control,
    depot: Arc<dyn Depot>,
    /// Held shared by whoever keeps content and has not said yet what it is for.
    gate: Arc<RwLock<()>>,
}

impl Sweeper {
    pub(super) fn new(control: Control, depot: Arc<dyn Depot>) -> Self {
        Self { control, depot, gate: Arc::default() }
    }

    /// Keeps sweeps away for as long as it is held.
    pub(super) async fn keep_away(&self) -> OwnedRwLockReadGuard<()> {
        self.gate.clone().read_owned().await
    }

    /// Gives up what nothing refers to, and the room that it took. Answers how many contents that were.
    pub(super) async fn sweep(&self) -> Result<u64, DepotError> {
        // Not waited for: while something is backed up, sweeping can wait.
        let Ok(alone) = self.gate.clone().try_write_owned() else { return Ok(0) };
        let referred = self.referred().await?;
        let (plane, inventory) = (self.depot.plane().await?, self.depot.inventory().await?);
        let trouble = |error: mainstay_dataplane::Trouble| DepotError::Unavailable(error.into());
        let (mut after, mut given_up) = (None, 0);
        loop {
            let page = inventory.contents(Owner::Backups, after, PAGE).await.map_err(trouble)?;
            let Some(last) = page.last().map(|stored| stored.address) else { break };
            let now = Timestamp::now();
            for stored in page {
                let aged = now.seconds_since(stored.claimed_at) > GRACE.as_secs_f64();
                if aged && !referred.contains(&stored.address) {
                    let request = Delete { owner: Owner::Backups, address: stored.address, claim: stored.claim };
                    let deletion = plane.delete_object(request).await;
                    let deletion = deletion.map_err(|error| DepotError::Unavailable(error.into()))?;
                    given_up += u64::from(deletion == Deletion::Deleted);
                }
            }
            after = Some(last);
        }
        // Room is given back beside backups, and after whatever copies the repository just now: nobody is to wait for that.
        drop(alone);
        inventory.reclaim().await.map_err(trouble)?;
        Ok(given_up)
    }

    /// All contents that any document refers to, or a backup that one is about. What can not be read ends the sweep: what it
    /// refers to is not known.
    async fn referred(&self) -> Result<HashSet<Address>, DepotError> {
        let mut clusters: BTreeSet<_> = self.control.view().clusters().map(|cluster| cluster.name.clone()).collect();
        let mut referred = HashSet::new();
        for kind in REFERRING_KINDS {
            for (name, bytes) in self.add_documents(kind, &mut referred).await? {
                if kind == POINTS {
                    let point = PointDocument::from_bytes(&name, &bytes)?;
                    self.add_contents(&point, &mut referred).await?;
                    // The journal may not know it any more, or not yet. Without its log it is worth little.
                    clusters.insert(point.cluster);
                }
            }
        }
        for cluster in &clusters {
            self.add_documents(&catalogue::kind(cluster), &mut referred).await?;
        }
        Ok(referred)
    }

    /// Adds what the documents of a kind refer to, and answers those that were read.
    async fn add_documents(
        &self,
        kind: &str,
        referred: &mut HashSet<Address>,
    ) -> Result<Vec<(String, Vec<u8>)>, DepotError> {
        let mut documents = Vec::new();
        for name in self.depot.names(kind).await? {
            let Some(bytes) = self.depot.get(kind, &name).await? else { continue };
            referred.extend(referred_contents(&format!("{kind}/{name}"), &bytes)?);
            documents.push((name, bytes));
        }
        Ok(documents)
    }

    /// Adds what a backup refers to beside its parts, which its engine reads off them.
    async fn add_contents(&self, point: &PointDocument, referred: &mut HashSet<Address>) -> Result<(), DepotError> {
        let unknown = |error: EngineError| DepotError::Unavailable(error.into());
        let engine = self.control.engine(&point.engine).and_then(|engine| engine.recovery());
        let recovery = engine.ok_or_else(|| {
            let reason = format!("nobody here knows what backup {} refers to", point.id);
            unknown(EngineError::permanent(reason, "offer its engine again, or remove the backup"))
        })?;
        let archive = archive(&self.control, &self.depot, &point.cluster).await?;
        let mut contents = recovery.contents(&point.backup, &archive).await.map_err(unknown)?;
        while let Some(address) = contents.next().await {
            referred.insert(address.map_err(unknown)?);
        }
        Ok(())
    }
}
