//! What the RabbitMQ engine promises, on real nodes.
//!
//! A node takes seconds to start, so tests share one where they can.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conforms;
mod drift;
mod isolation;
mod place;
mod recovery;
mod refusals;
mod tls;
