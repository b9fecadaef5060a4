//! The engine as a whole, held against openssl.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod authorities;
mod mount;
mod revocation;
mod roles;
mod samples;
