//! The core of secret custody on a store in memory, as its callers use it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod bearers;
mod core;
mod leases;
mod mounts;
mod paths;
mod roles;
mod tenants;
mod tokens;
mod vending;
mod wrapping;
