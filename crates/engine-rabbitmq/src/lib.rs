//! The RabbitMQ engine: contract `amqp/v1` (AMQP 0-9-1), plan `shared`.
//!
//! A cluster is one RabbitMQ node of our own, never the machine's. An instance is a virtual host `i_X`; a credential is a
//! user `b_Y_N` who may do everything in that virtual host and nothing anywhere else: no user but ours has a tag, so the
//! management API, and with it policies, limits and definitions, is closed to all others.
//!
//! What an instance may take is limited where RabbitMQ holds the limit: connections, channels, queues, and the bytes that
//! wait in each queue. The node's memory, disk and processor are shared. Where its memory or disk runs out, the publishers of
//! all instances wait, consumers go on, and the cluster's health says so. No limit holds what consumers keep without
//! acknowledgement, and what exchanges and bindings take. Plain connections stay open beside those with TLS.
//!
//! What was confirmed survives the node's death, with one gap that is RabbitMQ's (seen in 3.10): a quorum queue is registered on disk up
//! to a second after it was declared (`auto_save` of `ra_directory`). A node that is killed within that second comes back
//! with a queue that has no leader, and it has to be deleted and declared again. Classic queues have no such gap.

mod api;
mod cluster;
mod config;
mod credential;
mod data;
mod delivery;
mod engine;
mod figures;
mod install;
mod instance;
mod known;
mod names;
mod observe;
mod offering;
mod password;
mod percent;
mod ports;
mod recovery;
mod roster;
mod settings;

pub use config::RabbitmqConfig;
pub use engine::RabbitmqEngine;
