//! The whole, as its users meet it: the real binary, real engines, stock clients.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adoption;
mod clients;
mod harness;
mod killed_control_plane;
mod killed_engine;
