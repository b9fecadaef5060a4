//! The database engine as its clients meet it, on databases of the tests' own.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected ends there")]

mod config;
mod creds;
mod harness;
mod static_roles;
