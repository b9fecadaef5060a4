//! The data plane in this process, on the local file system: the driver `seed-fs`.
//!
//! ```text
//! ingest ─> digest ─┬─ small ─────────────────────────────────┐
//!                   └─ large ─> incoming/ ─> fsync ─> files/ ─┤
//!                                                             v
//!                                    writer: decide, append to the pack, one fdatasync for all that wait
//!                                                             │
//!                             index: memory ──checkpoint──> redb      serve <─ verify <─ pack or file
//! ```
//!
//! The **packs** are the log, and the only truth: what content there is, where it lies and who claims it follows from
//! their records in their order. The **index** is what they lead to, kept so that nobody has to read them: it may lag
//! behind, or be lost, and is caught up or made anew when the store is opened. Small content lies in the packs themselves,
//! large content in files of its own that a record names.

mod config;
mod damaged;
mod direct;
mod disk;
mod entry;
mod error;
mod files;
mod index;
mod ingest;
mod keeper;
mod layout;
mod ledger;
mod pack;
mod plane;
mod read;
mod recovery;
mod serve;
mod store;
mod writer;

pub use config::FsConfig;
pub use error::OpenError;
pub use plane::FsPlane;
