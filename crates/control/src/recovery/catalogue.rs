//! The catalogue of a cluster's log, as documents in the depot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use mainstay_engine::EngineError;
use mainstay_engine::recovery::{LogCatalogue, LogPiece};
use mainstay_types::{ClusterName, Timestamp, chain};

use super::depot::{Depot, DepotError};
use super::document::Document;

/// The kind of the documents of a cluster's log.
pub(super) fn kind(cluster: &ClusterName) -> String {
    format!("{KIND_PREFIX}{cluster}")
}

/// What the kinds of all logs begin with.
pub(super) const KIND_PREFIX: &str = "log-";

/// The catalogues of all logs, each of them once, so that what one has read the others know.
#[derive(Default)]
pub(crate) struct Catalogues(Mutex<BTreeMap<ClusterName, Arc<DepotLog>>>);

/// A catalogue that remembers what it has read: pieces are written once, by the one control plane of a repository.
pub(crate) struct DepotLog {
    depot: Arc<dyn Depot>,
    kind: String,
    known: Mutex<BTreeMap<String, LogPiece>>,
}

// === impl Catalogues ===

impl Catalogues {
    pub(super) fn of(&self, depot: &Arc<dyn Depot>, cluster: &ClusterName) -> Arc<DepotLog> {
        let new = || DepotLog { depot: depot.clone(), kind: kind(cluster), known: Mutex::default() };
        locked(&self.0).entry(cluster.clone()).or_insert_with(|| Arc::new(new())).clone()
    }

    /// Until when the log of a cluster is kept that has this identity, as far as it was read or written.
    pub(super) fn newest(&self, cluster: &ClusterName, identity: Option<&str>) -> Option<Timestamp> {
        let log = locked(&self.0).get(cluster)?.clone();
        let known = locked(&log.known);
        let own = known.values().filter(|piece| piece.system.is_none() || piece.system.as_deref() == identity);
        own.map(|piece| piece.until).max()
    }
}

// === impl DepotLog ===

impl DepotLog {
    fn known(&self, name: &str) -> Option<LogPiece> {
        locked(&self.known).get(name).cloned()
    }
}

/// A map is whole after any insert or remove, whoever panics.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl LogCatalogue for DepotLog {
    async fn record(&self, name: &str, piece: &LogPiece) -> Result<(), EngineError> {
        self.depot
            .put(&self.kind, name, piece.to_bytes())
            .await
            .map_err(failed("a piece of the log is not recorded"))?;
        locked(&self.known).insert(name.to_owned(), piece.clone());
        Ok(())
    }

    async fn pieces(&self) -> Result<Vec<(String, LogPiece)>, EngineError> {
        let names = self.depot.names(&self.kind).await.map_err(failed("the pieces of the log can not be listed"))?;
        let mut pieces = Vec::with_capacity(names.len());
        for name in names {
            if let Some(piece) = self.known(&name) {
                pieces.push((name, piece));
                continue;
            }
            let read = self.depot.get(&self.kind, &name).await;
            let read = read.and_then(|bytes| bytes.map(|bytes| LogPiece::from_bytes(&name, &bytes)).transpose());
            let piece = match read {
                Ok(Some(piece)) => piece,
                // Gone meanwhile: whoever forgot it has put another in its place.
                Ok(None) => continue,
                // It is a gap in the log like any other. The rest of it is followed and can be had all the same.
                Err(error @ DepotError::Damaged(_)) => {
                    tracing::error!(
                        log = self.kind,
                        piece = name,
                        error = chain(&error),
                        "a piece of the log is passed over"
                    );
                    continue;
                }
                Err(error) => return Err(failed("a piece of the log can not be read")(error)),
            };
            locked(&self.known).insert(name.clone(), piece.clone());
            pieces.push((name, piece));
        }
        Ok(pieces)
    }

    async fn forget(&self, name: &str) -> Result<(), EngineError> {
        locked(&self.known).remove(name);
        // One that may not be removed yet is forgotten when the log is next trimmed.
        let removed = self.depot.remove(&self.kind, name).await;
        removed.map(drop).map_err(failed("a piece of the log is not forgotten"))
    }
}

fn failed(attempt: &'static str) -> impl FnOnce(DepotError) -> EngineError {
    move |error| match error {
        error @ DepotError::Unavailable(_) => EngineError::transient_from(attempt, error),
        error @ DepotError::Damaged(_) => {
            EngineError::permanent(format!("{attempt}: {}", chain(&error)), "put the repository back from a copy")
        }
    }
}
