//! The recovery points that the depot has, whether the journal knows them or not.

use std::sync::Arc;

use mainstay_domain::command::BackupDone;
use mainstay_domain::event::{Actor, BackupCompleted};
use mainstay_engine::EngineError;
use mainstay_engine::recovery::Backup;
use mainstay_types::{ClusterName, EngineName, Sequence, Timestamp, chain};

use super::attempt::{POINTS, archive};
use super::depot::{Depot, DepotError};
use super::document::{Document, PointDocument};
use crate::control::{Control, SubmitError};

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
    points.sort_by_key(made);
    Ok(points)
}

/// What points are put in order by, as far as they say it themselves.
pub(super) fn made(point: &PointDocument) -> (Option<Sequence>, Timestamp) {
    (point.after, point.backup.ended_at)
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

pub(super) async fn point(depot: &dyn Depot, name: &str) -> Result<Option<PointDocument>, DepotError> {
    let bytes = depot.get(POINTS, name).await?;
    bytes.map(|bytes| PointDocument::from_bytes(name, &bytes)).transpose()
}
