//! What the NATS engine promises, on real servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod backups;
mod changes;
mod conforms;
mod durability;
mod encryption;
mod exhaustion;
mod place;
mod refusals;
mod wire;
