//! What the NATS engine promises, on real servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conforms;
mod place;
mod wire;
