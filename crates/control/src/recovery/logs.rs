//! The logs of clusters are followed, each by a task of its own, for as long as the cluster serves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_domain::view::{Cluster, ClusterState};
use mainstay_types::{ClusterName, InstanceId, chain};
use tokio_util::task::AbortOnDropHandle;

use super::attempt::archive;
use super::depot::Depot;
use crate::control::{Control, spec};

/// How soon a log that could not be followed is followed again.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Logs {
    control: Control,
    depot: Arc<dyn Depot>,
    followed: BTreeMap<ClusterName, AbortOnDropHandle<()>>,
}

impl Logs {
    pub(super) fn new(control: Control, depot: Arc<dyn Depot>) -> Self {
        Self { control, depot, followed: BTreeMap::new() }
    }

    /// Follows the log of each cluster that serves and has one, and of no other.
    pub(super) fn keep_up(&mut self) {
        let view = self.control.view();
        let is_rebuilt = |name: &ClusterName| {
            let restoring = |id: &Arc<mainstay_domain::view::Instance>| {
                id.recovery.restoring.as_ref().is_some_and(|restoring| restoring.whole_cluster)
            };
            view.instances_on(name).any(restoring)
        };
        let wanted = |name: &ClusterName| view.cluster(name).filter(|c| serves(c)).is_some_and(|_| !is_rebuilt(name));
        self.followed.retain(|name, task| wanted(name) && !task.is_finished());
        for cluster in view.clusters() {
            let has_log = self.control.recoverable().of(&cluster.engine).is_some_and(|means| means.log);
            if has_log && wanted(&cluster.name) && !self.followed.contains_key(&cluster.name) {
                let follower = follow(self.control.clone(), self.depot.clone(), cluster.clone());
                self.followed.insert(cluster.name.clone(), AbortOnDropHandle::new(tokio::spawn(follower)));
            }
        }
    }

    /// Lets go of the log of a cluster that is about to be laid out anew.
    pub(super) fn make_way_for(&mut self, instance: &InstanceId) {
        let view = self.control.view();
        let Some(instance) = view.instance_by_id(instance) else { return };
        if instance.recovery.restoring.as_ref().is_some_and(|restoring| restoring.whole_cluster) {
            self.followed.remove(&instance.cluster);
        }
    }

    pub(super) async fn stop(&mut self) {
        for (_, task) in std::mem::take(&mut self.followed) {
            task.abort();
            // It was told to end; that it did is no news.
            let _ = task.await;
        }
    }
}

fn serves(cluster: &Cluster) -> bool {
    cluster.identity.is_some() && matches!(cluster.state, ClusterState::Ready | ClusterState::Degraded)
}

/// Follows a cluster's log, again and again. What keeps it from that is logged once for as long as it is the same.
async fn follow(control: Control, depot: Arc<dyn Depot>, cluster: Arc<Cluster>) {
    let mut said = String::new();
    loop {
        let Some(engine) = control.engine(&cluster.engine).cloned() else { return };
        let Some(recovery) = engine.recovery() else { return };
        let reason = match archive(&control, &depot, &cluster.name).await {
            Ok(archive) => chain(&recovery.follow_log(&spec(&cluster), &archive).await),
            Err(error) => chain(&error),
        };
        if reason != said {
            tracing::warn!(cluster = %cluster.name, reason, "the log is not followed at present, and is tried again");
            said = reason;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
