//! The S3 API over HTTP.
//!
//! ```text
//! connection ─ listen ─ front: preflights, what may not be asked ─ s3s: routes, signatures, XML ─ access: who may ─ ops ─ objects
//!                                                                                                          │
//!                                                                    map: S3's types <-> those of bucket and objects
//! ```
//!
//! s3s knows S3's routes, signatures and XML. What it leaves to its users is here: who may do what, the checksums and
//! lengths of bodies, preconditions, regions, CORS, and refusing every header that would otherwise be ignored to somebody's
//! harm. An operation is a short function between two mappings; what it decides is decided in `bucket` and `objects`.

mod access;
mod amend;
mod arrival;
mod auth;
mod body;
mod config;
mod cors;
mod error;
mod front;
mod host;
mod map;
mod memory;
pub mod noise;
mod ops;
mod refuse;
mod serve;

pub use config::{Limits, S3Config};
pub use serve::{serve, serve_while};
