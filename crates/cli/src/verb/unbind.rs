use clap::Args;
use mainstay_types::BindingId;

use super::delete::ended;
use crate::failure::Failure;
use crate::operation;
use crate::output;
use crate::resource;
use crate::session::Session;

#[derive(Args)]
pub struct Unbind {
    /// The binding (see `mainstay bindings NAME`)
    binding: BindingId,

    /// Print the operation and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

impl Unbind {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let query: &[(&str, &str)] = if self.no_wait { &[] } else { &[("wait", operation::WAIT)] };
        let answer = session.client.delete(&format!("/bindings/{}", self.binding), query)?;
        if self.no_wait {
            return session.print_one::<resource::Operation>(&answer);
        }
        ended(session, &format!("ending {}", self.binding), &answer)?;
        output::message(&format!("Ended {}.", self.binding));
        Ok(())
    }
}
