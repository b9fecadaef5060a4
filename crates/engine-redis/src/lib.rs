//! The Redis and Valkey engines.
