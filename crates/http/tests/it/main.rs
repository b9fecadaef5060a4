//! The API as its callers meet it: over TCP, through the real listener and routes, onto a control plane with the fake
//! engine.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod access;
mod bad_input;
mod contract;
mod drills;
mod errors;
mod events;
mod health;
mod limits;
mod secrets;
mod server;
mod work;
