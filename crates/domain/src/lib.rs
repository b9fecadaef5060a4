//! Pure decisions: what a command means for the layer, what an event does to the view, which steps a view calls for.
//!
//! Nothing here reads a clock, a file, a socket or a random number: time, ids and observations are arguments. The
//! same events give the same view, byte for byte.

pub mod command;
pub mod event;
pub mod plan;
pub mod recovery;
pub mod view;
