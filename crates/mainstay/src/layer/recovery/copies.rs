//! Copies of the repository elsewhere, brought up to date after each backup of the layer's state and now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use mainstay_http::CopyStanding;
use mainstay_repository::{Credentials, Location};
use mainstay_types::{Timestamp, chain};
use tokio::sync::watch;

use super::depot::RepositoryDepot;
use crate::config::RepositoryPlace;

/// How often a copy is looked after, whatever happens meanwhile.
const EVERY: Duration = Duration::from_secs(600);
/// How long somebody who asks how far a copy is behind waits for an answer from afar.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// A copy, and what is known of it.
pub(super) struct Copy {
    location: Location,
    credentials: Credentials,
    depot: Arc<RepositoryDepot>,
    known: Mutex<Known>,
}

#[derive(Clone, Default)]
struct Known {
    mirrored_at: Option<Timestamp>,
    trouble: Option<String>,
}

// === impl Copy ===

impl Copy {
    pub fn new(place: RepositoryPlace, depot: Arc<RepositoryDepot>) -> Self {
        let RepositoryPlace { location, credentials } = place;
        Self { location, credentials, depot, known: Mutex::default() }
    }

    /// Keeps it up for as long as it is polled.
    pub async fn keep_up(&self, mut backups: watch::Receiver<u64>) {
        loop {
            // The end of this channel is the end of the layer, which drops this.
            let _ = tokio::time::timeout(EVERY, backups.changed()).await;
            self.mirror().await;
        }
    }

    async fn mirror(&self) {
        let outcome = match self.depot.repository().await {
            Ok(repository) => {
                let mirrored = repository.mirror(&self.location, &self.credentials, |_| {}).await;
                mirrored.map(drop).map_err(|error| chain(&error))
            }
            Err(error) => Err(chain(&error)),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => {
                if known.trouble.take().is_some() {
                    tracing::info!(location = %self.location, "a copy of the repository is kept up again");
                }
                known.mirrored_at = Some(Timestamp::now());
            }
            Err(reason) => {
                if known.trouble.as_ref() != Some(&reason) {
                    tracing::error!(location = %self.location, reason, "a copy of the repository is not kept up at present");
                }
                known.trouble = Some(reason);
            }
        }
    }

    async fn standing(&self) -> CopyStanding {
        let behind = async {
            let repository = self.depot.at_hand()?;
            repository.behind(&self.location, &self.credentials).await.ok()
        };
        let behind = tokio::time::timeout(LOOK_TIMEOUT, behind).await.ok().flatten();
        let Known { mirrored_at, trouble } = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        CopyStanding {
            location: self.location.to_string(),
            mirrored_at,
            behind_files: behind.as_ref().map(|behind| behind.files),
            behind_bytes: behind.as_ref().map(|behind| behind.bytes),
            trouble,
        }
    }
}

/// How all of them are.
pub(super) async fn standings(copies: &[Arc<Copy>]) -> Vec<CopyStanding> {
    join_all(copies.iter().map(|copy| copy.standing())).await
}
