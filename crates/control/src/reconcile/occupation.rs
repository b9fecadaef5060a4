//! Which clusters are worked on, for the one step that works on two.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_types::ClusterName;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Keeps a move apart from what else is done to the cluster that it moves from.
///
/// A cluster's worker sees to it that its own steps do not disturb one another. A move is a step of the new cluster's
/// worker, and works on the old cluster too: there it has to be alone.
#[derive(Default)]
pub(crate) struct Occupation(Mutex<BTreeMap<ClusterName, Arc<RwLock<()>>>>);

impl Occupation {
    /// Held by each step on a cluster of its worker's own.
    pub(super) async fn share(&self, cluster: &ClusterName) -> OwnedRwLockReadGuard<()> {
        self.of(cluster).read_owned().await
    }

    /// Held by a move on the cluster that it moves from. Who waits for it holds up the steps that come after.
    pub(crate) async fn alone(&self, cluster: &ClusterName) -> OwnedRwLockWriteGuard<()> {
        self.of(cluster).write_owned().await
    }

    /// A cluster is gone.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
    }

    fn of(&self, cluster: &ClusterName) -> Arc<RwLock<()>> {
        // A map is whole after any insert or remove, whoever panics.
        let mut clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.entry(cluster.clone()).or_default().clone()
    }
}
