//! The recovery points that the depot has, whether the journal knows them or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_domain::command::BackupDone;
use mainstay_domain::event::{Actor, BackupCompleted};
use mainstay_engine::EngineError;
use mainstay_engine::recovery::Backup;
use mainstay_types::{BackupId, ClusterName, EngineName, Timestamp, chain};

use super::attempt::{POINTS, archive};
use super::depot::{Depot, DepotError};
use super::document::{Document, PointDocument};
use crate::control::{Control, SubmitError};

/// How long a point is kept that the journal does not know and that is nobody's: as long as the last one of what was deleted. Who went
/// back too far, or took over another layer's repository, notices within a month.
const NOBODYS: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How often it is looked for such points, of which there are few and none in a hurry.
const PERIOD: Duration = Duration::from_secs(6 * 3_600);
/// How soon it is tried again where the depot is away.
const AGAIN: Duration = Duration::from_secs(300);

/// Why the journal, the depot and the logs in it could not be brought to say the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Depot(#[from] DepotError),
    #[error("the journal did not take a backup that is in the repository")]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// All recovery points that can be read, in the order in which they were made.
pub(super) async fn readable(depot: &dyn Depot) -> Result<Vec<PointDocument>, DepotError> {
    let mut points = Vec::new();
    for name in depot.names(POINTS).await? {
        match point(depot, &name).await {
            Ok(point) => points.extend(point),
            Err(error @ DepotError::Damaged(_)) => {
                tracing::error!(backup = name, error = chain(&error), "a backup is passed over");
            }
            Err(error) => return Err(error),
        }
    }
    points.sort_by_key(|point| (point.after, point.backup.ended_at));
    Ok(points)
}

/// All recovery points of clusters of a name, whoever they are of. What can not be read is an error: it may be one.
async fn of_cluster(depot: &dyn Depot, cluster: &ClusterName) -> Result<Vec<PointDocument>, DepotError> {
    let mut points = Vec::new();
    for name in depot.names(POINTS).await? {
        points.extend(point(depot, &name).await?.filter(|point| point.cluster == *cluster));
    }
    Ok(points)
}

/// Records a point that is in the depot, and whose event was not written any more. What it holds has to be there still.
pub(super) async fn adopt(control: &Control, point: &PointDocument) -> Result<(), SubmitError> {
    let view = control.view();
    let Some(held) = point.instances.iter().find(|held| view.instance_by_id(&held.id).is_some()) else { return Ok(()) };
    let completed = BackupCompleted {
        backup: point.id.clone(),
        cluster: point.cluster.clone(),
        instance: (!point.whole_cluster).then(|| held.id.clone()),
        engine: point.backup.engine.clone(),
        version: point.backup.version.clone(),
        began_at: point.backup.began_at,
        ended_at: point.backup.ended_at,
        bytes: point.backup.parts.iter().map(|part| part.size).sum(),
        uncovered: point.backup.uncovered.clone(),
        after: point.after,
    };
    let done = BackupDone { instance: held.id.clone(), asked_until: completed.began_at, completed };
    control.submit(Actor::System, done).await.map(drop)
}

/// Forgets what of the logs of clusters of a name nobody needs who is there still.
pub(super) async fn trim_log(
    control: &Control,
    depot: &Arc<dyn Depot>,
    cluster: &ClusterName,
    engine: &EngineName,
) -> Result<(), Failure> {
    let engine = control.engine(engine).and_then(|engine| engine.recovery());
    let Some(recovery) = engine.filter(|recovery| recovery.has_log()) else { return Ok(()) };
    // All that are there, and not those of the journal: of a past that was left, too, something may be wanted back.
    let left = of_cluster(&**depot, cluster).await?;
    let left: Vec<Backup> = left.into_iter().map(|point| point.backup).collect();
    let view = control.view();
    let serving = view.cluster(cluster).and_then(|cluster| cluster.identity.as_deref());
    Ok(recovery.trim_log(&left, serving, &archive(control, depot, cluster).await?).await?)
}

/// Sees to it, now and again, that the journal knows what the depot has, and that what is nobody's goes one day.
pub(super) async fn keep_in_step(control: Control, depot: Arc<dyn Depot>) {
    let mut found = Nobodys::default();
    loop {
        let rest = match step(&control, &depot, &mut found, Timestamp::now()).await {
            Ok(()) => PERIOD,
            Err(Failure::Depot(DepotError::Unavailable(_))) => AGAIN,
            Err(error) => {
                tracing::warn!(error = chain(&error), "backups that the journal does not know are left as they are");
                PERIOD
            }
        };
        tokio::time::sleep(rest).await;
    }
}

async fn step(control: &Control, depot: &Arc<dyn Depot>, found: &mut Nobodys, now: Timestamp) -> Result<(), Failure> {
    for name in depot.names(POINTS).await? {
        if name.parse::<BackupId>().is_ok_and(|id| control.view().point(&id).is_some()) {
            continue;
        }
        // Damage is for whoever verifies the repository.
        let Ok(Some(point)) = point(&**depot, &name).await else { continue };
        let left_at = control.view().left_at(point.backup.ended_at);
        if left_at.is_none() {
            adopt(control, &point).await?;
        }
        if control.view().point(&point.id).is_some() {
            continue;
        }
        if found.may_go(&name, left_at, now) && depot.remove(POINTS, &name).await? {
            found.0.remove(&name);
            tracing::info!(backup = %point.id, cluster = %point.cluster, "a backup that nobody knows was removed");
            trim_log(control, depot, &point.cluster, &point.engine).await?;
        }
    }
    Ok(())
}

/// Since when this process knows of points that are nobody's. After a restart their month begins anew.
#[derive(Default)]
struct Nobodys(BTreeMap<String, Timestamp>);

impl Nobodys {
    /// Whether one was kept for long enough: however old it is, its month begins when somebody can notice.
    fn may_go(&mut self, name: &str, left_at: Option<Timestamp>, now: Timestamp) -> bool {
        let since = left_at.unwrap_or_else(|| *self.0.entry(name.to_owned()).or_insert(now));
        now.seconds_since(since) > NOBODYS.as_secs_f64()
    }
}

async fn point(depot: &dyn Depot, name: &str) -> Result<Option<PointDocument>, DepotError> {
    let bytes = depot.get(POINTS, name).await?;
    bytes.map(|bytes| PointDocument::from_bytes(name, &bytes)).transpose()
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{NOBODYS, Nobodys};

    #[test]
    fn the_month_of_what_is_nobodys_begins_when_it_is_noticed() {
        let (begin, month) = (Timestamp::from_micros(1_800_000_000_000_000), NOBODYS.as_secs());
        let mut found = Nobodys::default();
        let mut goes = |name: &str, left_at, seconds| found.may_go(name, left_at, begin.plus_seconds(seconds));
        assert!(!goes("old", None, 0) && !goes("old", None, month) && goes("old", None, month + 1));
        assert!(!goes("later", None, month + 1), "each has a month of its own");
        assert!(goes("left", Some(begin), month + 1) && !goes("left", Some(begin.plus_seconds(2)), month + 1));
    }
}
