//! Backups that the journal knows and that are not in the depot any more do not count: whoever relied on them would have nothing.
//!
//! That comes about where the depot is put back from a copy, or another one takes its place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mainstay_domain::command::BackupExpiry;
use mainstay_domain::event::Actor;
use mainstay_types::{BackupId, chain};

use super::attempt::POINTS;
use super::depot::{Depot, DepotError};
use crate::control::Control;

/// How often it is looked for, with one listing.
const EVERY: Duration = Duration::from_secs(600);
/// How soon again where the depot did not answer.
const PAUSE: Duration = Duration::from_secs(20);

/// Forgets them for as long as it is polled.
pub(super) async fn forget(control: Control, depot: Arc<dyn Depot>) {
    loop {
        let rest = match missing(&control, &*depot).await {
            Ok(missing) => forget_all(&control, missing).await,
            // Whoever cannot back up meanwhile says so.
            Err(DepotError::Unavailable(_)) => PAUSE,
            Err(error) => {
                tracing::warn!(error = chain(&error), "it is not known which backups are still in the repository");
                EVERY
            }
        };
        tokio::time::sleep(rest).await;
    }
}

async fn forget_all(control: &Control, missing: Vec<BackupId>) -> Duration {
    for backup in missing {
        tracing::error!(%backup, "a backup is not in the repository any more, and does not count from now on");
        if let Err(error) = control.submit(Actor::System, BackupExpiry { backup }).await {
            tracing::warn!(error = chain(&error), "that a backup is gone is not on record; it is looked for again");
            return PAUSE;
        }
    }
    EVERY
}

/// The backups that are on record and have no document.
async fn missing(control: &Control, depot: &dyn Depot) -> Result<Vec<BackupId>, DepotError> {
    let view = control.view();
    let listed: BTreeSet<String> = depot.names(POINTS).await?.into_iter().collect();
    let mut missing = Vec::new();
    // What is on record was in the depot before, and what is being removed now is gone from there first.
    for point in view.points().filter(|point| !listed.contains(point.id.as_str())) {
        match depot.get(POINTS, point.id.as_str()).await {
            Ok(None) => missing.push(point.id.clone()),
            Ok(Some(_)) | Err(DepotError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}
