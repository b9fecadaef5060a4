use clap::Args;
use mainstay_types::InstanceName;

use crate::failure::Failure;
use crate::operation;
use crate::output;
use crate::resource;
use crate::session::Session;

#[derive(Args)]
pub struct Backup {
    /// The instance
    name: InstanceName,

    /// Print the operation and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

impl Backup {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let Self { name, no_wait } = self;
        let query: &[(&str, &str)] = if no_wait { &[] } else { &[("wait", operation::WAIT)] };
        let path = format!("/instances/{name}");
        let answer = session.client.post(&format!("{path}/backups"), query, &serde_json::json!({}))?;
        if no_wait {
            return session.print_one::<resource::Operation>(&answer);
        }
        let detail = operation::follow(&session.client, &format!("backing {name} up"), &answer)?;
        output::message(&format!("Backed {name} up: {}.", detail.as_deref().unwrap_or("it is in the repository")));
        session.print_one::<resource::Instance>(&session.client.get(&path, &[])?)
    }
}
