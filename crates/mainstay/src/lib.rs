//! The composition root: the only place that knows every crate, chooses the drivers, and starts and stops the whole.

pub mod config;
pub mod doctor;
pub mod layer;
pub mod local;
pub mod memory;
pub mod telemetry;
