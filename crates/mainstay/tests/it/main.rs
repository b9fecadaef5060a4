//! The whole, as its users meet it: the real binary, real engines, stock clients.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adoption;
mod clients;
mod full_disk;
mod full_disk;
mod harness;
mod killed_control_plane;
mod killed_engine;
mod manifest;
mod repairs;
mod run;
mod tenants;
mod tour;
