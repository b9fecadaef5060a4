//! The data plane on a real Garage, and on a store that fails in every way there is.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod conformance;
mod crash;
mod failures;
mod fake;
mod garage;
