//! Leases: what was handed out and has to be taken back.

mod agenda;
mod entry;
mod grant;
mod keeper;
mod paths;
mod rest;
mod revoke;

pub(crate) use agenda::{Agenda, Due};
pub(crate) use keeper::REACH_SECONDS;
pub(crate) use paths::{SUDO, handle};
pub(crate) use rest::Rests;
