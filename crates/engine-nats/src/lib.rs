//! The NATS engine: contract `nats/v1`, plan `shared`.
//!
//! A cluster is one NATS server with JetStream. An instance is an account `a_X` with limits of its own, which no other
//! account sees anything of; a credential is a user `b_Y_N` of that account. NATS knows accounts and users from its
//! configuration file alone, so what there is to be is kept in a file of ours, `accounts.json`, from which the server's is
//! written anew with each change. The server reads it again without dropping anybody's connection but those of users that
//! are gone; changes that are asked for at the same time are one reading.

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
mod register;
mod render;
mod streams;

pub use config::NatsConfig;
pub use engine::NatsEngine;
