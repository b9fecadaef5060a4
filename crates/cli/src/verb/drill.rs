use clap::{ArgGroup, Args};
use mainstay_types::InstanceName;

use crate::client::Pages;
use crate::failure::Failure;
use crate::operation;
use crate::output;
use crate::resource;
use crate::session::Session;

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).args(["name", "all"]))]
pub struct Drill {
    /// The instance
    name: Option<InstanceName>,

    /// All instances that have a backup, one after the other
    #[arg(long)]
    all: bool,

    /// Print the operation and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

impl Drill {
    /// Does it. The number is the exit code: 1 where a drill did not pass.
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        match self.name {
            Some(name) => drill(session, name.as_str(), self.no_wait).map(|()| 0),
            None => all(session, self.no_wait),
        }
    }
}

fn drill(session: &Session, name: &str, no_wait: bool) -> Result<(), Failure> {
    let query: &[(&str, &str)] = if no_wait { &[] } else { &[("wait", operation::WAIT)] };
    let answer = session.client.post(&format!("/instances/{name}/drills"), query, &serde_json::json!({}))?;
    if no_wait {
        return session.print_one::<resource::Operation>(&answer);
    }
    let detail = operation::follow(&session.client, &format!("drilling {name}"), &answer)?;
    output::message(&format!("{name} is proven: {}.", detail.as_deref().unwrap_or("it came back")));
    Ok(())
}

/// Drills whatever can be drilled; what fails does not keep the rest from it.
fn all(session: &Session, no_wait: bool) -> Result<u8, Failure> {
    let mut failed = 0;
    let answer = Pages::new(&session.client, "/instances", &[]).collect()?;
    let instances: Vec<resource::Instance> = output::read_items(&answer)?;
    for instance in instances {
        if instance.recovery.as_ref().is_none_or(|recovery| recovery.state == "unprotected") {
            output::message(&format!("{} has no backup, and is left out.", instance.name));
            continue;
        }
        match drill(session, &instance.name, no_wait) {
            Ok(()) => {}
            Err(failure) if failure.may_pass() => return Err(failure),
            Err(failure) => {
                output::message(&failure.chain());
                failed = 1;
            }
        }
    }
    Ok(failed)
}
