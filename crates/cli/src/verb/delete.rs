use clap::Args;
use mainstay_types::InstanceName;

use crate::failure::Failure;
use crate::operation;
use crate::output::{self, Format};
use crate::prompt;
use crate::resource;
use crate::session::Session;

#[derive(Args)]
pub struct Delete {
    /// The instance
    name: InstanceName,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Delete it even while it has bindings; their consumers lose it at once
    #[arg(long)]
    force: bool,

    /// Print the operation and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

impl Delete {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let consequence = format!("deleting {} removes all its data", self.name);
        if !self.yes && !prompt::confirmed(&consequence, self.name.as_str())? {
            return Err(Failure::usage(format!("{} was not deleted", self.name)));
        }
        let mut query = Vec::new();
        if self.force {
            query.push(("force", "true"));
        }
        if !self.no_wait {
            query.push(("wait", operation::WAIT));
        }
        let answer = session.client.delete(&format!("/instances/{}", self.name), &query)?;
        if self.no_wait {
            return session.print_one::<resource::Operation>(&answer);
        }
        ended(session, &format!("deleting {}", self.name), &answer)?;
        output::message(&format!("Deleted {} with all its data.", self.name));
        if session.client.get(&format!("/instances/{}/backups", self.name), &[("limit", "1")]).is_ok() {
            output::message(&format!(
                "Its last backups stay for a while; it comes back with: mainstay restore {}",
                self.name
            ));
        }
        Ok(())
    }
}

/// Follows the operation of a removal; programs get it as it ended.
pub(super) fn ended(session: &Session, what: &str, answer: &str) -> Result<(), Failure> {
    operation::follow(&session.client, what, answer)?;
    if answer.is_empty() || session.format() == Format::Table {
        return Ok(());
    }
    let operation: resource::Operation = output::read(answer)?;
    session.print_one::<resource::Operation>(&session.client.get(&format!("/operations/{}", operation.id), &[])?)
}
