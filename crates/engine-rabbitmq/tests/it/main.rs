//! What the RabbitMQ engine promises, on real nodes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
