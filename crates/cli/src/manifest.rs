//! A file of instances: what `apply` and `diff` read and `export` writes.

mod change;
mod file;

pub(crate) use change::{Change, Existing, changes};
pub(crate) use file::{LONGEST, Wanted, parse, print};
