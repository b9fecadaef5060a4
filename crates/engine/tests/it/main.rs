//! What the engine crate promises, with real processes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;
mod process;
