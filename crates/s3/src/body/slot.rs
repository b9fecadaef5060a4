//! Where a body waits for whoever reads it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::form::{FormHead, HEAD_BYTES};
use super::{BodyError, Paced};

/// The body of a request, until somebody takes it. A clone is the same slot.
#[derive(Clone)]
pub struct Slot(Arc<Mutex<State>>);

struct State {
    body: Option<Paced>,
    ended: Arc<AtomicBool>,
    /// Why reading it failed, where s3s would tell it as an error of the server.
    failure: Option<BodyError>,
    /// The room in memory that the body takes, until the request ends.
    room: Option<OwnedSemaphorePermit>,
    /// How a form began.
    form: Vec<u8>,
}

impl Slot {
    pub fn new(body: Paced) -> Self {
        let ended = body.ended();
        Self(Arc::new(Mutex::new(State { body: Some(body), ended, failure: None, room: None, form: Vec::new() })))
    }

    /// The body, once.
    pub fn take(&self) -> Option<Paced> {
        self.state().body.take()
    }

    /// Whether the body was read to its end.
    pub fn is_at_end(&self) -> bool {
        self.state().ended.load(Ordering::Relaxed)
    }

    /// Remembers why the body was not read to its end.
    pub fn fail(&self, failure: BodyError) {
        self.state().failure = Some(failure);
    }

    /// Keeps room for what was read.
    pub fn keep(&self, room: OwnedSemaphorePermit) {
        self.state().room = Some(room);
    }

    /// Remembers how a form begins.
    pub fn remember(&self, bytes: &[u8]) {
        let form = &mut self.state().form;
        let wanted = bytes.len().min(HEAD_BYTES - form.len());
        form.extend_from_slice(&bytes[..wanted]);
    }

    /// The fields of the form that was read.
    pub fn form(&self, content_type: &str) -> FormHead {
        FormHead::parse(&self.state().form, content_type)
    }

    pub fn failure(&self) -> Option<BodyError> {
        self.state().failure.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
