//! Secrets as people name and write them, and where they are.

mod assignment;
mod location;
mod path;
mod value;

pub(crate) use assignment::{Assignment, Surroundings, assigned};
pub(crate) use location::{Lease, Location, Secret};
pub(crate) use path::SecretPath;
pub(crate) use value::text;
