//! The journal and the depot know the same backups. What only one of them has is found with one listing.
//!
//! One that is in the journal alone does not count any more: whoever relied on it would have nothing. That comes about where the depot
//! is put back from a copy, or another one takes its place. One that is in the depot alone is recorded where its event was lost, and
//! else is nobody's, and goes a month after somebody could notice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mainstay_domain::command::{BackupExpiry, OrphanFound};
use mainstay_domain::event::Actor;
use mainstay_domain::view::View;
use mainstay_types::{BackupId, Timestamp, chain};

use super::attempt::POINTS;
use super::depot::{Depot, DepotError};
use super::document::PointDocument;
use super::points::{Failure, adopt, made, point, trim_log};
use crate::control::Control;

/// How long a backup is kept that is nobody's: as long as the last one of what was deleted. Who went back too far, or took over another
/// layer's repository, notices within a month.
const NOBODYS: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How often it is looked for what does not agree, with one listing. Documents are read once, when they are found.
const EVERY: Duration = Duration::from_secs(600);
/// How soon again where the depot or the journal did not answer.
const PAUSE: Duration = Duration::from_secs(20);

/// Sees to it for as long as it is polled.
pub(super) async fn keep_in_step(control: Control, depot: Arc<dyn Depot>) {
    loop {
        let rest = match step(&control, &depot, Timestamp::now()).await {
            Ok(()) => EVERY,
            // Whoever cannot back up meanwhile says so.
            Err(Failure::Depot(DepotError::Unavailable(_))) => PAUSE,
            Err(error) => {
                tracing::warn!(error = chain(&error), "journal and repository do not agree on backups yet");
                if matches!(error, Failure::Submit(_)) { PAUSE } else { EVERY }
            }
        };
        tokio::time::sleep(rest).await;
    }
}

async fn step(control: &Control, depot: &Arc<dyn Depot>, now: Timestamp) -> Result<(), Failure> {
    let listed: BTreeSet<String> = depot.names(POINTS).await?.into_iter().collect();
    forget_missing(control, &**depot, &listed).await?;
    let mut found = Vec::new();
    for name in listed.iter().filter(|name| is_open(&control.view(), name, now)) {
        match point(&**depot, name).await {
            Ok(point) => found.extend(point),
            // Damage is for whoever verifies the repository.
            Err(DepotError::Damaged(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.sort_by_key(made);
    for point in &found {
        settle(control, depot, point).await?;
    }
    Ok(())
}

/// Forgets the backups that are on record and have no document.
async fn forget_missing(control: &Control, depot: &dyn Depot, listed: &BTreeSet<String>) -> Result<(), Failure> {
    let view = control.view();
    let on_record = view.points().map(|point| &point.id).chain(view.orphans().map(|orphan| &orphan.backup));
    // What is on record was in the depot before, and what is being removed now is gone from there first.
    for backup in on_record.filter(|backup| !listed.contains(backup.as_str())) {
        match depot.get(POINTS, backup.as_str()).await {
            Ok(None) => {}
            Ok(Some(_)) | Err(DepotError::Damaged(_)) => continue,
            Err(error) => return Err(error.into()),
        }
        tracing::error!(%backup, "a backup is not in the repository any more, and does not count from now on");
        control.submit(Actor::System, BackupExpiry { backup: backup.clone() }).await?;
    }
    Ok(())
}

/// Whether something is to be done about a document: nobody knows it, or it was nobody's for long enough, however often the layer was
/// started meanwhile.
fn is_open(view: &View, name: &str, now: Timestamp) -> bool {
    let Ok(id) = name.parse::<BackupId>() else { return false };
    let waits = |since: Timestamp| now.seconds_since(since) <= NOBODYS.as_secs_f64();
    view.point(&id).is_none() && !view.orphaned_at(&id).is_some_and(waits)
}

/// Records whose a backup is; or that it is nobody's; or removes it, where that is long on record.
async fn settle(control: &Control, depot: &Arc<dyn Depot>, point: &PointDocument) -> Result<(), Failure> {
    if control.view().left_at(point.backup.ended_at).is_none() {
        adopt(control, point).await?;
    }
    let (view, backup) = (control.view(), point.id.clone());
    if view.point(&backup).is_some() {
        return Ok(());
    }
    if view.orphaned_at(&backup).is_none() {
        // However old it is, its month begins when somebody can notice.
        control.submit(Actor::System, OrphanFound { backup }).await?;
    } else if depot.remove(POINTS, backup.as_str()).await? {
        tracing::info!(%backup, cluster = %point.cluster, "a backup that is nobody's was removed");
        control.submit(Actor::System, BackupExpiry { backup }).await?;
        trim_log(control, depot, &point.cluster, &point.engine).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mainstay_domain::event::{BackupOrphaned, NewEvent, Subject, SubjectKind};
    use mainstay_domain::view::View;
    use mainstay_types::{BackupId, Digest, Timestamp};

    use super::{NOBODYS, is_open};

    #[test]
    fn what_is_nobodys_is_looked_at_when_it_is_found_and_a_month_later() {
        let (backup, since) = (BackupId::from_random(1), Timestamp::from_micros(1_800_000_000_000_000));
        let mut view = View::default();
        let open = |view: &View, seconds| is_open(view, backup.as_str(), since.plus_seconds(seconds));
        assert!(open(&view, 0) && !is_open(&view, "a file of somebody else", since));
        let subject = Subject::new(SubjectKind::Backup, &backup);
        let body = BackupOrphaned { backup: backup.clone() }.into();
        let event = NewEvent { tenant: None, actor: mainstay_domain::event::Actor::System, subject, body };
        view.apply(&event.record(1, since, Digest::ZERO)).unwrap();
        let month = NOBODYS.as_secs();
        assert!(!open(&view, 0) && !open(&view, month) && open(&view, month + 1));
    }
}
