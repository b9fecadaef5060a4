//! What the PostgreSQL engine promises, on real servers.
//!
//! All tests run on one runtime, because they share a cluster whose connections belong to it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conforms;
mod disk;
mod drift;
mod isolation;
mod logs;
mod measures;
mod objects;
mod place;
mod recoverable;
mod recovery;
mod refusals;
mod restores;
mod statements;
