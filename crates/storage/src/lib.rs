//! The `Storage:Driver` contract: one SQL store, three drivers.
//!
//! `inmemory` and `filesystem` are SQLite, `postgres` is PostgreSQL 15 or newer. All three run the same portable SQL
//! text with `$1` placeholders and pass the same conformance suite. A transaction is a list of statements that is
//! handed over whole: it is durable when [`Store::write`] returns, or it never happened. Optimistic concurrency is a
//! statement that says how many rows it must touch.
//!
//! Rules for SQL that means the same to both, checked when a store is opened: columns are `INTEGER`/`bigint`, `TEXT`/
//! `text COLLATE "C"` or `BLOB`/`bytea`, tables are `STRICT`. Text sorts bytewise and holds no NUL character.

mod claim;
mod driver;
mod error;
mod migration;
mod postgres;
mod sqlite;
mod statement;
mod store;
mod value;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "scratch")]
pub mod scratch;

pub use claim::{Claim, ClaimError};
pub use driver::{Driver, Service, UnknownDriver};
pub use error::{Cause, OpenError, ReadError, WriteError};
pub use migration::Migration;
pub use statement::Statement;
pub use store::{Location, Store};
pub use value::{Row, Value};
