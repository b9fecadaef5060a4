//! The NATS engine: contract `nats/v1`, plan `shared`.
//!
//! A cluster is one NATS server with JetStream. An instance is an account `a_X` with limits of its own, which no other
//! account sees anything of; a credential is a user `b_Y_N` of that account. NATS knows accounts and users from its
//! configuration file alone, so what there is to be is kept in a file of ours, `accounts.json`, from which the server's is
//! written anew with each change. The server reads it again without dropping anybody's connection but those of users that
//! are gone; changes that are asked for at the same time are one reading.
//!
//! What it promises and what not:
//! - An account's limits are kept back for it: what all accounts are promised together is never more than the machine has.
//! - A message that JetStream acknowledged survives the end of the server's process. The server writes it to the disk itself
//!   within two minutes, which 2.9 can not be told otherwise: a machine that loses power can lose those last ones.
//! - TLS is on the same port as plain connections, and which of them a client takes is the client's choice. A `tls://` URI
//!   makes it TLS; a client verifies the server with the binding's `certificates`, given to it as its root certificates or,
//!   by the environment variable `SSL_CERT_FILE`, as the system's.
//! - All bindings of an instance have the same rights in its account.

mod accounts;
mod admin;
mod capacity;
mod cluster;
mod config;
mod engine;
mod identity;
mod install;
mod ledger;
mod names;
mod observe;
mod offering;
mod recovery;
mod register;
mod render;
mod streams;

pub use config::NatsConfig;
pub use engine::NatsEngine;
pub use install::confines_accounts;
