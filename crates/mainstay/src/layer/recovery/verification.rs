//! Reading all that the repository holds, and naming what a damaged file belongs to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_control::{Depot, DepotError, Document, LayerDocument, PointDocument, referred_contents};
use mainstay_dataplane::{Address, Trouble};
use mainstay_http::{RepositoryDamage, Verification};
use mainstay_repository::{Damage, VerifyOptions};
use mainstay_types::{Timestamp, chain};

use super::backup::LAYER;
use super::depot::RepositoryDepot;

/// The kind of the documents of recovery points.
const POINTS: &str = "points";
/// How many names of what a damaged file belongs to are told.
const NAMES_SHOWN: usize = 20;

/// The verification that runs, or the last one.
#[derive(Clone, Default)]
pub(super) struct Verifier {
    latest: Arc<Mutex<Verification>>,
}

#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error(transparent)]
    Depot(#[from] DepotError),
    #[error("the repository could not be read to its end")]
    Read(#[from] Trouble),
}

// === impl Verifier ===

impl Verifier {
    pub fn latest(&self) -> Verification {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins one, where none runs.
    pub fn begin(&self, depot: Arc<RepositoryDepot>, bytes_per_second: Option<u64>) {
        {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            if latest.started_at.is_some() && latest.finished_at.is_none() {
                return;
            }
            *latest = Verification { started_at: Some(Timestamp::now()), ..Verification::default() };
        }
        let verifier = self.clone();
        tokio::spawn(async move {
            let outcome = verifier.run(&depot, bytes_per_second).await;
            verifier.change(|latest| {
                latest.finished_at = Some(Timestamp::now());
                match outcome {
                    Ok((damaged, unlisted)) => (latest.damaged, latest.unlisted) = (damaged, unlisted),
                    Err(error) => latest.error = Some(chain(&error)),
                }
            });
        });
    }

    async fn run(
        &self,
        depot: &RepositoryDepot,
        bytes_per_second: Option<u64>,
    ) -> Result<(Vec<RepositoryDamage>, u64), VerifyError> {
        let options = VerifyOptions { bytes_per_second };
        let progress = |progress: mainstay_repository::Progress| {
            self.change(|latest| (latest.done_bytes, latest.total_bytes) = (progress.done_bytes, progress.total_bytes));
        };
        let repository = depot.repository().await?;
        let report = match repository.verify(options, progress).await {
            // Another process has removed something since it was opened here.
            Err(_) if repository.is_outdated() => depot.repository().await?.verify(options, progress).await?,
            report => report?,
        };
        if report.is_whole() {
            return Ok((Vec::new(), report.unlisted));
        }
        let owners = owners(depot).await;
        Ok((report.damage.into_iter().map(|damage| told(damage, &owners)).collect(), report.unlisted))
    }

    fn change(&self, change: impl FnOnce(&mut Verification)) {
        change(&mut self.latest.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What refers to each content, in words. A document that cannot be read is among the damage itself.
async fn owners(depot: &RepositoryDepot) -> HashMap<Address, BTreeSet<String>> {
    let mut owners: HashMap<Address, BTreeSet<String>> = HashMap::new();
    let mut clusters = BTreeSet::new();
    for name in depot.names(POINTS).await.unwrap_or_default() {
        let Ok(Some(bytes)) = depot.get(POINTS, &name).await else { continue };
        let Ok(point) = PointDocument::from_bytes(&name, &bytes) else { continue };
        let held: Vec<_> = point.instances.iter().map(|held| format!("{}/{}", held.tenant, held.name)).collect();
        let what = format!("backup {} of {} ({})", point.id, point.cluster, held.join(", "));
        clusters.insert(point.cluster.clone());
        for part in &point.backup.parts {
            owners.entry(part.address).or_default().insert(what.clone());
        }
    }
    for cluster in clusters {
        let kind = format!("log-{cluster}");
        for name in depot.names(&kind).await.unwrap_or_default() {
            let Ok(Some(bytes)) = depot.get(&kind, &name).await else { continue };
            for address in referred_contents(&name, &bytes).unwrap_or_default() {
                owners.entry(address).or_default().insert(format!("the log of {cluster}, piece {name}"));
            }
        }
    }
    for name in depot.names(LAYER).await.unwrap_or_default() {
        let Ok(Some(bytes)) = depot.get(LAYER, &name).await else { continue };
        let Ok(layer) = LayerDocument::from_bytes(&name, &bytes) else { continue };
        for part in &layer.parts {
            owners.entry(part.address).or_default().insert(format!("the layer's own state of {}", layer.taken_at));
        }
    }
    owners
}

fn told(damage: Damage, owners: &HashMap<Address, BTreeSet<String>>) -> RepositoryDamage {
    let Damage { file, chunk, reason, contents } = damage;
    let mut belongs_to: BTreeSet<String> = BTreeSet::new();
    for address in &contents {
        match owners.get(address) {
            Some(names) => belongs_to.extend(names.iter().cloned()),
            None => drop(belongs_to.insert(format!("content {address}, which no backup refers to any more"))),
        }
    }
    RepositoryDamage { file, chunk, reason, belongs_to: belongs_to.into_iter().take(NAMES_SHOWN).collect() }
}
