//! Integration tests of the transit secrets engine, through the contract that the core calls it by.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod concurrency;
mod crypt;
mod export;
mod fixture;
mod hmac;
mod keys;
mod sign;
mod stored;
mod vectors;
