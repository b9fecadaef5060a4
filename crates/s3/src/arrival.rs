//! What is known of a request before anybody has looked into it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use mainstay_listen::Peer;

use crate::access::Known;
use crate::body::Slot;

/// A request as it arrived; s3s hands it on with the request.
#[derive(Clone)]
pub struct Arrival {
    pub peer: Peer,
    pub id: RequestId,
    /// None where the request has no body.
    pub body: Option<Slot>,
    known: Arc<OnceLock<Known>>,
}

/// Names a request to its sender and in the log. As text it is 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u64);

impl Arrival {
    pub fn new(peer: Peer, id: RequestId, body: Option<Slot>) -> Self {
        Self { peer, id, body, known: Arc::default() }
    }

    /// What is known of the request, once it was let in.
    pub fn known(&self) -> Option<&Known> {
        self.known.get()
    }

    pub fn let_in(&self, known: Known) {
        // Once it was, it stays so.
        let _ = self.known.set(known);
    }
}

impl RequestId {
    /// One that no other request of this process has, and most likely none of another.
    pub fn next() -> Self {
        static START: OnceLock<u64> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Without randomness the ids of two processes look alike, and harm nobody.
        let start = START.get_or_init(|| getrandom::u64().unwrap_or(0));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // An odd factor maps no two counts to the same number, and does not tell how many requests there were.
        Self(start.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}
