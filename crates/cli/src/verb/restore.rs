use clap::Args;
use mainstay_types::InstanceName;
use serde::Serialize;

use crate::failure::Failure;
use crate::operation;
use crate::output;
use crate::prompt;
use crate::resource;
use crate::session::Session;

/// What was typed.
#[derive(Args)]
pub struct Restore {
    /// The instance; one that was deleted is made anew
    name: InstanceName,

    /// A time, as 2026-11-21T12:00:00Z, or a backup's id [default: the newest moment there is]
    #[arg(long, value_name = "TIME|BACKUP")]
    at: Option<String>,

    /// Make a new instance of this name, and leave the old one as it is
    #[arg(long, value_name = "NEWNAME")]
    to: Option<InstanceName>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Print the operation and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

/// What it means: the body of the request.
#[derive(Serialize)]
struct Wanted {
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<InstanceName>,
}

impl Restore {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let Self { name, at, to, yes, no_wait } = self;
        let path = format!("/instances/{name}");
        // One that was deleted has nothing that could be replaced.
        let is_there = || match session.client.get(&path, &[]) {
            Err(Failure::Refused(problem)) if problem.status == 404 => Ok(false),
            answer => answer.map(|_| true),
        };
        let consequence = format!("restoring {name} replaces what is in it now");
        if to.is_none() && !yes && is_there()? && !prompt::confirmed(&consequence, name.as_str())? {
            return Err(Failure::usage(format!("{name} was not restored")));
        }
        let made = to.clone().unwrap_or_else(|| name.clone());
        let query: &[(&str, &str)] = if no_wait { &[] } else { &[("wait", operation::WAIT)] };
        let answer = session.client.post(&format!("{path}/restores"), query, &Wanted { at, to })?;
        if no_wait {
            return session.print_one::<resource::Operation>(&answer);
        }
        let detail = operation::follow(&session.client, &format!("restoring {made}"), &answer)?;
        output::message(&format!("Restored {made}: {}.", detail.as_deref().unwrap_or("it is what it was")));
        session.print_one::<resource::Instance>(&session.client.get(&format!("/instances/{made}"), &[])?)
    }
}
