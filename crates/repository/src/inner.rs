//! What the operations of one repository share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_content::BufferPool;
use mainstay_dataplane::Trouble;
use mainstay_types::Timestamp;
use uuid::Uuid;

use crate::Location;
use crate::files::{Failure, Files};
use crate::keeper::Tenure;
use crate::keys::Keys;
use crate::lock::WriterLock;
use crate::pack::{self, Complete, Pack, PackBuilder};
use crate::state::State;
use crate::workshop::Workshop;

pub(crate) struct Inner {
    pub(crate) id: Uuid,
    pub(crate) location: Location,
    pub(crate) files: Files,
    pub(crate) keys: Arc<Keys>,
    pub(crate) immutable_for: Duration,
    pub(crate) reserved: u64,
    pub(crate) lock: WriterLock,
    pub(crate) workshop: Workshop,
    /// What streams are taken in by.
    pub(crate) pieces: BufferPool,
    state: Mutex<State>,
    /// Nobody's where nobody said for whom this process writes, as in a tool.
    tenure: Mutex<Option<Tenure>>,
    /// Whether what lies there is not what was read when the repository was opened.
    outdated: AtomicBool,
    /// Held by whoever changes what records say, from the decision until it is written.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// Held by whoever removes packs and records, and by whoever needs them to stay.
    pub(crate) removing: tokio::sync::Mutex<()>,
}

impl Inner {
    #[allow(clippy::too_many_arguments, reason = "it is called once, and each argument is a field")]
    pub(crate) fn new(
        id: Uuid,
        location: Location,
        files: Files,
        keys: Arc<Keys>,
        immutable_for: Duration,
        reserved: u64,
        pieces: BufferPool,
        state: State,
    ) -> Self {
        Self {
            id,
            location,
            lock: WriterLock::new(files.clone()),
            files,
            keys,
            immutable_for,
            reserved,
            workshop: crate::serve::workshop(),
            pieces,
            state: Mutex::new(state),
            tenure: Mutex::default(),
            outdated: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
            removing: tokio::sync::Mutex::default(),
        }
    }

    /// Never held while something is waited for.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when something stays, whoever wants it removed; nothing where it may go now.
    pub(crate) fn immutable_until(&self, written_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let until = written_at.plus_seconds(self.immutable_for.as_secs());
        (!self.immutable_for.is_zero() && until > now).then_some(until)
    }

    /// Ends a pack and writes it. It is known when this returns, and stands in the next record.
    pub(crate) async fn write_pack(
        self: &Arc<Self>,
        builder: PackBuilder,
        complete: Complete,
    ) -> Result<Pack, Failure> {
        let pack = self.store_pack(builder, complete).await?;
        let mut state = self.state();
        state.add_pack(&pack.entry);
        state.unrecorded.packs.push(pack.entry.clone());
        state.arriving.remove(&pack.entry.name);
        drop(state);
        Ok(pack)
    }

    /// Ends a pack and writes it. Nobody knows of it yet, but that nobody may remove it.
    pub(crate) async fn store_pack(
        self: &Arc<Self>,
        builder: PackBuilder,
        complete: Complete,
    ) -> Result<Pack, Failure> {
        let inner = Arc::clone(self);
        let pack = crate::blocking(move || builder.finish(&inner.keys, Timestamp::now(), complete)).await;
        self.keep_room(pack.entry.len).await?;
        self.state().arriving.insert(pack.entry.name);
        let written = self.files.write(&pack::path(&pack.entry.name), pack.bytes.clone()).await;
        if written.is_err() {
            self.state().arriving.remove(&pack.entry.name);
        }
        written?;
        Ok(pack)
    }

    /// Some room is left for what makes room.
    pub(crate) async fn keep_room(&self, len: u64) -> Result<(), Failure> {
        match self.files.free_bytes().await {
            Some(free) if free < self.reserved.saturating_add(len) => Err(Failure::Full(format!(
                "{free} bytes are free at {}, of which {} are kept for giving room back",
                self.location, self.reserved
            ))),
            _ => Ok(()),
        }
    }

    /// May this process write now?
    pub(crate) async fn may_write(self: &Arc<Self>) -> Result<(), Trouble> {
        self.still_keeps().await?;
        self.lock.hold(self).await
    }

    pub(crate) fn tenure(&self) -> Option<Tenure> {
        *self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_tenure(&self, tenure: Tenure) {
        *self.tenure.lock().unwrap_or_else(PoisonError::into_inner) = Some(tenure);
    }

    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    pub(crate) fn set_outdated(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }
}
