//! The parts of the composition root that are worth testing by themselves.

pub mod config;
pub mod doctor;
pub mod telemetry;
