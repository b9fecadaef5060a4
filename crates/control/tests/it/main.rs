//! The control plane with its loop running, on real stores and an engine that does as it is told.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod clumsy;
mod drills;
mod failures;
mod full_disk;
mod harness;
mod leases;
mod moves;
mod passwords;
mod recovery;
mod repair;
mod restart;
mod shelf;
mod simulation;
mod statements;
mod sweeps;
mod work;
