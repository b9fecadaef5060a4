//! The append-only, hash-chained event log: audit, change feed, replay and recovery at once.
//!
//! One task writes. It takes all submissions that wait, runs their decisions one after the other on the newest view,
//! and stores the events of all of them in one transaction: one fsync, however many callers. Only then is the view
//! published and everybody answered. Sequence numbers have no gaps, and each event carries the digest of the one
//! before, up to a head that is moved in the same transaction; two journals on one store are told apart by it.
//!
//! The journal is read whole when it is opened, from the newest snapshot on, and every event is checked against the
//! chain. Nothing that does not fit is ever skipped.

mod chain;
mod error;
mod follow;
mod import;
mod journal;
mod log;
mod open;
mod schema;
mod snapshot;
mod submission;
mod verify;
mod writer;

pub use chain::{Misfit, MisfitReason};
pub use error::{Cause, ImportError, OpenError, ReadError, SubmitError};
pub use follow::Follower;
pub use import::Import;
pub use journal::{Committed, Journal};
pub use schema::SCHEMA;
pub use verify::{Verified, replay, verify};
