//! The domain from outside: what is refused, what a history folds into, and that plans lead somewhere.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected ends there")]

mod decisions;
mod drills;
mod events;
mod harness;
mod moves;
mod recovery;
mod simulation;
