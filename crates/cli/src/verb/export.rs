use std::io;

use clap::Args;
use mainstay_types::EnvironmentName;

use super::apply::existing;
use crate::failure::Failure;
use crate::manifest::{self, Wanted};
use crate::output;
use crate::session::Session;

#[derive(Args)]
pub struct Export {
    /// Only instances of this environment
    #[arg(long)]
    environment: Option<EnvironmentName>,
}

impl Export {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let mut instances: Vec<Wanted> = existing(session)?
            .into_iter()
            .filter(|instance| !instance.is_going())
            .filter(|instance| self.environment.as_ref().is_none_or(|environment| &instance.environment == environment))
            .map(Wanted::from)
            .collect();
        // In an order of their own, so that two exports of the same instances are the same file.
        instances.sort_by(|one, other| one.name.cmp(&other.name));
        let text = manifest::print(&instances)
            .map_err(|error| Failure::local("the file cannot be written", io::Error::other(error)))?;
        output::write(&text)
    }
}
