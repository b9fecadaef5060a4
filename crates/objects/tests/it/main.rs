//! The object store against a data plane in memory and against the one on the file system, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod access_keys;
mod concurrency;
mod crash;
mod harness;
mod keeping;
mod listing;
mod model;
mod objects;
mod plane;
mod refused;
mod samples;
mod scrub;
mod uploads;
mod versions;
