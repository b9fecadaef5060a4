//! Leases: what was handed out and has to be taken back.

mod agenda;
mod entry;
mod keeper;
mod paths;

pub(crate) use agenda::{Agenda, Due};
pub(crate) use paths::{SUDO, handle};
