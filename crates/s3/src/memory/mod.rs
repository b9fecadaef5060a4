//! Memory that all requests of a kind share, with a share for each account.

mod ledger;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mainstay_types::InstanceId;
use s3s::S3ErrorCode;
use tokio::sync::oneshot;

use crate::error::{Failure, Result};
use ledger::{Ledger, Ticket};

/// What is given at a time.
const PAGE: u64 = 64 << 10;
/// The most that an upload holds at a time: a mebibyte until the content store knows that it is large, a piece that is
/// hashed and written while the next one is filled, and what has come from the connection.
const UPLOAD_MOST: u64 = 2 << 20;
/// What any upload holds beside its content: what has come from the connection.
const UPLOAD_BESIDE: u64 = 128 << 10;
/// The most that a download holds at a time: the piece that is being sent. The next is read when the client has taken it.
const DOWNLOAD_MOST: u64 = 256 << 10;
/// After how many seconds a client may ask again. Uploads of some mebibytes have ended by then.
const RETRY_AFTER: &str = "5";

/// Memory for requests. A clone is the same.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Mutex<Shared>>,
    /// How long a request waits for its part of it.
    patience: Duration,
    size: u32,
}

struct Shared {
    ledger: Ledger,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
}

/// Memory that a request has, or waits for, until this is dropped.
pub struct Reserved {
    shared: Arc<Mutex<Shared>>,
    account: InstanceId,
    ticket: Ticket,
    pages: u32,
}

/// What an upload of some bytes may hold in memory.
pub fn weight_of_upload(size: u64) -> u64 {
    size.saturating_add(UPLOAD_BESIDE).min(UPLOAD_MOST)
}

/// What a download of some bytes may hold in memory.
pub fn weight_of_download(size: u64) -> u64 {
    size.min(DOWNLOAD_MOST)
}

// === impl Memory ===

impl Memory {
    pub fn new(bytes: u64, patience: Duration) -> Self {
        let size = u32::try_from(bytes / PAGE).unwrap_or(u32::MAX).max(1);
        let shared = Shared { ledger: Ledger::new(size), waiting: HashMap::new() };
        Self { shared: Arc::new(Mutex::new(shared)), patience, size }
    }

    /// Waits for so many bytes, or for all that there are; whoever waits too long is told to come back.
    pub async fn reserve(&self, account: &InstanceId, bytes: u64) -> Result<Reserved> {
        let pages = u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX).clamp(1, self.size);
        let (tell, granted) = oneshot::channel();
        let reserved = {
            let mut shared = lock(&self.shared);
            let ticket = shared.ledger.ask(account, pages);
            shared.waiting.insert(ticket, tell);
            shared.grant();
            Reserved { shared: self.shared.clone(), account: account.clone(), ticket, pages }
        };
        // Whoever goes away, or gives up here, drops what he may have been granted in that moment.
        match tokio::time::timeout(self.patience, granted).await {
            Ok(Ok(())) => Ok(reserved),
            _ => Err(slow_down()),
        }
    }
}

impl Shared {
    fn grant(&mut self) {
        while let Some(ticket) = self.ledger.grant() {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Who no longer waits gives back in the next moment what he did not see.
                let _ = waiting.send(());
            }
        }
    }
}

// === impl Reserved ===

impl Reserved {
    /// The same bytes, with which what was reserved for them goes.
    pub fn with(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _reserved: self })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.waiting.remove(&self.ticket);
        shared.ledger.end(&self.account, self.ticket, self.pages);
        shared.grant();
    }
}

struct Held {
    bytes: Bytes,
    _reserved: Reserved,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slow_down() -> Failure {
    let message = "Please reduce your request rate: too much is on its way at the same time.";
    Failure::new(S3ErrorCode::SlowDown, message).with_header("retry-after", RETRY_AFTER)
}
