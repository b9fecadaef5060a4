use clap::Args;
use mainstay_types::InstanceName;

use crate::failure::Failure;
use crate::resource::Instance;
use crate::session::Session;

#[derive(Args)]
pub struct Get {
    /// The instance
    name: InstanceName,
}

impl Get {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        session.print_one::<Instance>(&session.client.get(&format!("/instances/{}", self.name), &[])?)
    }
}
