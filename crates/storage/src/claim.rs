//! The claim to a store: one control plane at a time.

use tokio::task::JoinHandle;

use crate::driver::Service;
use crate::error::Cause;

/// A store that is claimed for this process. It is free again when this is dropped, or the process ends.
#[derive(Debug)]
#[must_use = "a claim ends when it is dropped"]
pub struct Claim {
    /// Holds the claim's connection, where there is one.
    keeper: Option<JoinHandle<()>>,
}

/// Why a store is not claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else has it, as the name with which they claimed it says. The session is the server's number for it.
    #[error(
        "the storage of {service} is in use by {holder}; stop that one first, or give this one a database of its own; \
         where it runs no more and its machine is cut off, end its session with SELECT pg_terminate_backend({session})"
    )]
    Held { service: Service, holder: String, session: i32 },
    /// The database does not answer, or not in time. It may work when it is tried again.
    #[error("the storage of {service} cannot be claimed; see that its database runs and can be reached")]
    Unavailable {
        service: Service,
        #[source]
        source: Cause,
    },
}

// === impl Claim ===

impl Claim {
    /// A claim that nothing has to be done for.
    pub(crate) fn of_nothing() -> Self {
        Self { keeper: None }
    }

    /// A claim that a task keeps up until it is aborted.
    pub(crate) fn kept_by(keeper: JoinHandle<()>) -> Self {
        Self { keeper: Some(keeper) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}
