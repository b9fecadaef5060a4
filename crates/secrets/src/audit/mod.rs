//! The audit log: each request and each answer as one line of JSON, with every secret as a keyed hash.
//!
//! A line is written before what it tells happens: the request's before it is carried out, the answer's before it is
//! sent. Where a line cannot be written, the request is refused.

mod file;
mod hasher;
mod line;

pub use file::AuditFile;
pub(crate) use hasher::Hasher;
pub(crate) use line::{Line, Subject, Told};
