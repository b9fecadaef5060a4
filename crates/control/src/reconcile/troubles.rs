//! What does not get on at present, so that a state that lasts has a reason that a person can read.

use std::collections::BTreeMap;
use std::sync::Mutex;

use mainstay_types::{ClusterName, Health, InstanceId};

/// The last fault of each instance on which a step is being tried again, and how each cluster was when it was last
/// seen.
///
/// Kept in memory only: it is about this moment, and the next attempt after a restart finds it anew. So it is true also
/// while the journal can not take what happens, and of a fault that is mended before it is worth an event.
#[derive(Default)]
pub(crate) struct Troubles(Mutex<Present>);

#[derive(Default)]
struct Present {
    instances: BTreeMap<InstanceId, String>,
    /// Nothing where it serves; the cluster is missing where it was not looked at yet.
    clusters: BTreeMap<ClusterName, Option<String>>,
}

impl Troubles {
    pub(crate) fn of_instance(&self, instance: &InstanceId) -> Option<String> {
        self.lock().instances.get(instance).cloned()
    }

    /// Why a cluster does not serve; nothing where it does.
    pub(crate) fn of_cluster(&self, cluster: &ClusterName) -> Option<String> {
        let not_seen = || Some("it was not looked at yet".to_owned());
        self.lock().clusters.get(cluster).cloned().unwrap_or_else(not_seen)
    }

    pub(crate) fn set(&self, instance: &InstanceId, reason: String) {
        self.lock().instances.insert(instance.clone(), reason);
    }

    pub(crate) fn clear(&self, instance: &InstanceId) {
        self.lock().instances.remove(instance);
    }

    /// A look at a cluster has ended.
    pub(super) fn looked(&self, cluster: &ClusterName, health: &Health) {
        let mut present = self.lock();
        let known = present.clusters.remove(cluster).flatten();
        let trouble = match health {
            Health::Serving => None,
            Health::Hindered { reason } | Health::Unresponsive { reason } => Some(reason.clone()),
            // A start that failed has told more than that no process is there.
            Health::Down { cause } => known.or_else(|| Some(cause.clone())),
        };
        present.clusters.insert(cluster.clone(), trouble);
    }

    /// A cluster is known not to serve, for this reason.
    pub(super) fn down(&self, cluster: &ClusterName, reason: String) {
        self.lock().clusters.insert(cluster.clone(), Some(reason));
    }

    /// A cluster is gone.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.lock().clusters.remove(cluster);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Present> {
        // Nothing panics while it holds this lock, and a map is whole after any insert or remove.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::Health;

    use super::Troubles;

    #[test]
    fn a_cluster_serves_once_it_was_seen_serving() {
        let (troubles, cluster) = (Troubles::default(), "postgresql-shared".parse().unwrap());
        let down = |cause: &str| Health::Down { cause: cause.to_owned() };
        assert_eq!(troubles.of_cluster(&cluster).as_deref(), Some("it was not looked at yet"));
        troubles.looked(&cluster, &Health::Serving);
        assert_eq!(troubles.of_cluster(&cluster), None);
        troubles.looked(&cluster, &down("no process of it runs"));
        assert_eq!(troubles.of_cluster(&cluster).as_deref(), Some("no process of it runs"));
        troubles.down(&cluster, "the disk is full".to_owned());
        troubles.looked(&cluster, &down("no process of it runs"));
        assert_eq!(troubles.of_cluster(&cluster).as_deref(), Some("the disk is full"));
        troubles.looked(&cluster, &Health::Serving);
        assert_eq!(troubles.of_cluster(&cluster), None);
    }
}
