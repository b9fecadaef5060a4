//! The S3 API over real connections: a stock client, and sockets that say what no client would.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod abuse;
mod access;
mod bad_input;
mod buckets;
mod checksums;
mod copying;
mod cors;
mod forms;
mod listing;
mod load;
mod locks;
mod multipart;
mod objects;
mod raw;
mod server;
mod versions;
