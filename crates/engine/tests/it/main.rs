//! What the engine crate promises, with real processes.

mod fake;
mod process;
