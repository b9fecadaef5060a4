//! Who keeps a repository: the one layer that knows what is still needed, and may therefore remove what is not.
//!
//! After a recovery onto a new machine there are two that know the key, when the old one comes back. So a file at the
//! root names the one that keeps the repository, and whoever writes for a layer reads it again before it changes anything:
//! each time in a directory, and wherever that takes a request, where it was not read for [`FRESH`]. It is replaced without any lock
//! or condition, which not all locations have: who wrote it last keeps the repository, and of two that took over at the same
//! moment the other one finds out. What that one wrote meanwhile is too much, and never too little: contents are
//! removed by their claims, and room is given back by nobody beside another writer ([`crate::lock`]).

use std::time::{Duration, Instant};

use mainstay_dataplane::Trouble;
use mainstay_types::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::files::Failure;
use crate::inner::Inner;

pub(crate) const FILE: &str = "mainstay-keeper.json";

/// How long the file counts as read where that takes a request: a small part of the hour that unreferred content is left alone.
const FRESH: Duration = Duration::from_secs(10);

/// What to do where two layers are there.
const GO_ON: &str = "end one of the two, and if it is the other one, go on here with: mainstay repository take-over";

/// Who keeps a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeper {
    version: u8,
    /// Which data directory it is whose layer does.
    pub layer: Uuid,
    /// Goes up whenever a process begins to keep it.
    pub epoch: u64,
    /// Which process it is, as two are told apart that have copies of one data directory. Files had none of it once.
    pub process: Option<Uuid>,
    /// Where it runs, for people.
    pub host: String,
    pub since: String,
}

/// Why a repository is not kept for a layer.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("the repository is kept by another layer, {0}; {GO_ON}")]
    Another(Keeper),
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// Why it is not known who keeps a repository.
enum Unknown {
    Failed(Failure),
    Unreadable(String),
}

/// A process that would keep a repository, and again each time that it opens it anew. It knows what it wrote itself, whether or not
/// it was told that it was written.
#[derive(Debug, Clone)]
pub struct Contender {
    process: Uuid,
    /// The epoch that was there when it last had a right to begin one.
    known: Option<u64>,
}

/// For whom this process writes, and when that was last known to be right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tenure {
    layer: Uuid,
    process: Uuid,
    epoch: u64,
    /// Not yet where another one may have begun at the same moment.
    read_at: Option<Instant>,
}

// === impl Keeper ===

impl std::fmt::Display for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { layer, host, since, .. } = self;
        write!(f, "{layer} on {host}, since {since}")
    }
}

// === impl Contender ===

impl Contender {
    pub fn new() -> Self {
        Self { process: Uuid::new_v4(), known: None }
    }

    /// Whether another process has begun to keep what this one kept, or was about to.
    fn is_behind(&self, keeper: &Keeper) -> bool {
        keeper.process != Some(self.process) && self.known.is_some_and(|known| known != keeper.epoch)
    }
}

impl Default for Contender {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Tenure ===

impl Tenure {
    fn is_of(&self, keeper: &Keeper) -> bool {
        (keeper.layer, keeper.process, keeper.epoch) == (self.layer, Some(self.process), self.epoch)
    }
}

// === impl Inner ===

impl Inner {
    /// Keeps the repository for a layer, if no other one does, or `whoever` does.
    pub(crate) async fn keep_for(
        &self,
        layer: Uuid,
        contender: &mut Contender,
        whoever: bool,
    ) -> Result<(), KeepError> {
        let found = match self.keeper().await {
            // Whose it was nobody can tell any more, and whoever takes it over need not know.
            Err(Unknown::Unreadable(error)) if whoever => {
                tracing::warn!(error, location = %self.location, "{FILE} cannot be read, and is written anew");
                None
            }
            found => found?,
        };
        if let Some(keeper) = &found
            && !whoever
            && (keeper.layer != layer || contender.is_behind(keeper))
        {
            return Err(KeepError::Another(keeper.clone()));
        }
        // Before it is written: whether it was may never be told.
        let before = found.map_or(0, |keeper| keeper.epoch);
        contender.known = Some(before);
        // By the clock, so that an epoch does not come again where a repository is made anew or comes back as it was.
        let now = u64::try_from(Timestamp::now().as_micros()).unwrap_or(0);
        let (process, epoch) = (contender.process, now.max(before + 1));
        let keeper = Keeper {
            version: 1,
            layer,
            epoch,
            process: Some(process),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            since: Timestamp::now().to_string(),
        };
        let text = serde_json::to_vec_pretty(&keeper).expect("a keeper is plain JSON");
        self.files.write(FILE, text.into()).await.map_err(Trouble::from)?;
        contender.known = Some(epoch);
        self.set_tenure(Tenure { layer, process, epoch, read_at: None });
        Ok(())
    }

    async fn keeper(&self) -> Result<Option<Keeper>, Unknown> {
        let Some(text) = self.files.read(FILE, None).await? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|error| Unknown::Unreadable(error.to_string()))
    }

    /// Refuses to change anything where this process does not keep the repository any more, or where that is gone.
    pub(crate) async fn still_keeps(&self) -> Result<(), Trouble> {
        let Some(tenure) = self.tenure() else { return Ok(()) };
        if !self.files.is_directory() && tenure.read_at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(());
        }
        match self.keeper().await? {
            Some(keeper) if tenure.is_of(&keeper) => {
                self.set_tenure(Tenure { read_at: Some(Instant::now()), ..tenure });
                Ok(())
            }
            Some(keeper) => {
                self.set_outdated();
                Err(Trouble::unavailable(format!("the repository is kept by another layer now, {keeper}; {GO_ON}")))
            }
            None => Err(self.is_away()),
        }
    }

    /// The place is not what it was.
    pub(crate) fn is_away(&self) -> Trouble {
        self.set_outdated();
        Trouble::unavailable(format!(
            "the repository is not at {} any more: see that the disk is mounted",
            self.location
        ))
    }
}

impl From<Failure> for Unknown {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Unknown> for Trouble {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Failed(failure) => failure.into(),
            Unknown::Unreadable(error) => Self::unavailable(format!(
                "{FILE} cannot be read: {error}; write it anew with: mainstay repository take-over"
            )),
        }
    }
}

impl From<Unknown> for KeepError {
    fn from(unknown: Unknown) -> Self {
        Self::Trouble(unknown.into())
    }
}
