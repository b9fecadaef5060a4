//! The catalogue of a cluster's log, as documents in the depot.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use mainstay_engine::EngineError;
use mainstay_engine::recovery::{LogCatalogue, LogPiece};
use mainstay_types::ClusterName;
use tokio::sync::Mutex;

use super::depot::{Depot, DepotError};
use super::document::Document;

/// The kind of the documents of a cluster's log.
pub(super) fn kind(cluster: &ClusterName) -> String {
    format!("{KIND_PREFIX}{cluster}")
}

/// What the kinds of all logs begin with.
pub(super) const KIND_PREFIX: &str = "log-";

/// A catalogue that remembers what it has read: pieces are written once, by the one control plane of a repository.
pub(super) struct DepotLog {
    depot: Arc<dyn Depot>,
    kind: String,
    known: Mutex<BTreeMap<String, LogPiece>>,
}

impl DepotLog {
    pub(super) fn new(depot: Arc<dyn Depot>, cluster: &ClusterName) -> Self {
        Self { depot, kind: kind(cluster), known: Mutex::default() }
    }
}

#[async_trait]
impl LogCatalogue for DepotLog {
    async fn record(&self, name: &str, piece: &LogPiece) -> Result<(), EngineError> {
        self.depot
            .put(&self.kind, name, piece.to_bytes())
            .await
            .map_err(failed("a piece of the log is not recorded"))?;
        self.known.lock().await.insert(name.to_owned(), piece.clone());
        Ok(())
    }

    async fn pieces(&self) -> Result<Vec<(String, LogPiece)>, EngineError> {
        let names = self.depot.names(&self.kind).await.map_err(failed("the pieces of the log can not be listed"))?;
        let mut known = self.known.lock().await;
        let mut pieces = Vec::with_capacity(names.len());
        for name in names {
            if let Some(piece) = known.get(&name) {
                pieces.push((name, piece.clone()));
                continue;
            }
            let read = self.depot.get(&self.kind, &name).await;
            // Gone meanwhile: whoever forgot it has put another in its place.
            let Some(bytes) = read.map_err(failed("a piece of the log can not be read"))? else { continue };
            let piece = LogPiece::from_bytes(&name, &bytes).map_err(failed("a piece of the log can not be read"))?;
            known.insert(name.clone(), piece.clone());
            pieces.push((name, piece));
        }
        Ok(pieces)
    }

    async fn forget(&self, name: &str) -> Result<(), EngineError> {
        self.known.lock().await.remove(name);
        self.depot.remove(&self.kind, name).await.map_err(failed("a piece of the log is not forgotten"))
    }
}

fn failed(attempt: &'static str) -> impl FnOnce(DepotError) -> EngineError {
    move |error| match error {
        error @ DepotError::Unavailable(_) => EngineError::transient_from(attempt, error),
        error @ DepotError::Damaged(_) => EngineError::permanent(
            format!("{attempt}: {}", mainstay_types::chain(&error)),
            "put the repository back from a copy",
        ),
    }
}
