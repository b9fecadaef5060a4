//! The whole, as its users meet it: the real binary, real engines, stock clients.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adoption;
mod bad_starts;
mod clients;
mod contracts;
mod custody;
mod drivers;
mod full_disk;
mod harness;
mod killed_control_plane;
mod killed_engine;
mod manifest;
mod moves;
mod objects;
mod observability;
mod recovery;
mod repairs;
mod run;
mod secrets;
mod tenants;
mod tour;
