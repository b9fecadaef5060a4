//! The built-in object store as an engine: an instance is an account with a bucket, a binding an access key.
//!
//! It has no process of its own. Its one cluster is the index and the data plane that this process has open; to start it
//! is to see that both belong together and are those that were there before, and to let requests in.

mod config;
mod engine;
mod fault;
mod identity;
mod names;
mod offering;
mod recovery;
mod service;

pub use config::ObjectStoreConfig;
pub use engine::ObjectStoreEngine;
pub use service::Service;
