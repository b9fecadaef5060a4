//! The Redis and Valkey engines: contract `redis/v1`, plans `dedicated` and `shared`.
//!
//! A cluster is one server. On plan `dedicated` it is one instance's own, with its own memory, eviction and
//! persistence; on plan `shared` an instance is a prefix of keys and channels. Everything that the engine knows of an instance or a
//! credential is an ACL user: `i_X`, which nobody logs in as, stands for an instance, and `b_Y_N` is a credential. What has to
//! be known of a credential besides its rights is written into its user as a selector that allows nothing,
//! so that there is one place, one file and one write.
//!
//! What each persistence promises: `synced`, that what was acknowledged is on disk. `durable`, that it was handed to the system
//! before it was acknowledged and is on disk within about a second; a server that is killed loses nothing of it, unless the disk
//! was so slow that the server held writes back, which it does for two seconds at most, and a machine that crashes loses the last second
//! or two. `cache`, nothing but the credentials.
//!
//! A shared server promises less: no tenant reads, lists, hears or drives out another's data, but memory is common. When it is full
//! everybody's writes are refused, while reads and removals go on.
//!
//! A server listens to its clients only after it was looked at: it starts with a Unix socket of ours alone, shows that its
//! data is all there, and only then opens its port.

mod admin;
mod cluster;
mod config;
mod copy;
mod credential;
mod data;
mod engine;
mod figures;
mod gate;
mod info;
mod install;
mod instance;
mod marker;
mod observe;
mod offering;
mod recovery;
mod replication;
mod rights;
mod script;
mod settings;
mod takeover;
mod user;

pub use config::{Flavour, Patience, RedisConfig};
pub use engine::RedisEngine;
pub use replication::Progress;
