//! The data plane on a real Garage, and on a store that fails in every way there is.

mod conformance;
mod crash;
mod failures;
mod fake;
mod garage;
mod repair;
