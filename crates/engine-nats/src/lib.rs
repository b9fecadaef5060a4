//! The NATS engine.
