use clap::Args;
use mainstay_types::{EngineName, InstanceName, Plan};
use serde::Serialize;

use crate::failure::Failure;
use crate::operation;
use crate::output;
use crate::resource;
use crate::session::Session;

/// What was typed.
#[derive(Args)]
pub struct Move {
    /// The instance
    name: InstanceName,

    /// The engine that it is to have [default: the one that it has]
    #[arg(long)]
    engine: Option<EngineName>,

    /// The plan that it is to have, which can only be the one that it has
    #[arg(long)]
    plan: Option<Plan>,

    /// Print the operation and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

/// What it means: the body of the request.
#[derive(Serialize)]
struct Destination {
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<EngineName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
}

impl Move {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let Self { name, engine, plan, no_wait } = self;
        let query: &[(&str, &str)] = if no_wait { &[] } else { &[("wait", operation::WAIT)] };
        let path = format!("/instances/{name}");
        let answer = session.client.post(&format!("{path}/move"), query, &Destination { engine, plan })?;
        if no_wait {
            return session.print_one::<resource::Operation>(&answer);
        }
        let detail = operation::follow(&session.client, &format!("moving {name}"), &answer)?;
        output::message(&match detail {
            Some(detail) => format!("Moved {name}; {detail}."),
            None => format!("Moved {name}."),
        });
        session.print_one::<resource::Instance>(&session.client.get(&path, &[])?)
    }
}
