//! What the Redis and Valkey engines promise, on real servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod backups;
mod conforms;
mod drift;
mod moves;
mod place;
mod recovery;
mod refusals;
mod tls;
