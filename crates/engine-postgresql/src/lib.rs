//! The PostgreSQL engine: contract `postgresql/v1`, plans `shared` and `dedicated`.
//!
//! A cluster is one PostgreSQL server. An instance is a database `db_X` that is owned by a role `o_X` which
//! nobody logs in as; a credential is a login role `b_Y_N`, a member of that owner, which becomes the owner when it logs in,
//! so that what one binding makes the next one can use. A credential with statements is a login role that is a member of
//! nothing and allowed what its statements gave it; they run in a session of the owner's. The names say nothing about the consumer, because
//! `pg_database` and `pg_roles` can be read by every tenant and hiding them breaks `pg_dump`.
//!
//! No password of a superuser exists: we come over a Unix socket that only the engine's user and root reach.

mod admin;
mod cluster;
mod config;
mod credential;
mod data;
mod engine;
mod hba;
mod install;
mod instance;
mod names;
mod observe;
mod offering;
mod owner_session;
mod recovery;
mod role;
mod settings;
mod statements;
mod template;

pub use config::{ClientNetwork, PostgresqlConfig};
pub use engine::PostgresqlEngine;
