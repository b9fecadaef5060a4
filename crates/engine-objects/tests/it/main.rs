//! The object store as an engine, over a real index and a real data plane.
#![allow(clippy::unwrap_used, reason = "a test that fails here says where")]

mod backups;
mod client;
mod conforms;
mod data;
mod instances;
mod place;
