//! The KV secrets engine, in both of its versions.
//!
//! Version 1 keeps one value for each path. Version 2 keeps the last ones: each write makes a version, a deletion can be
//! taken back until the version is destroyed, and a write may say which version it expects to replace. Paths, answers and
//! error texts are those of Vault's engine.

mod kind;
mod merge_patch;
mod plain;
mod stripes;
mod versioned;

pub use kind::{KvKind, KvV2Kind};
