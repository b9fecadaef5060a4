use clap::Args;
use mainstay_types::InstanceName;

use crate::failure::Failure;
use crate::resource::Binding;
use crate::session::Session;

#[derive(Args)]
pub struct Bindings {
    /// The instance
    name: InstanceName,
}

impl Bindings {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        session.print_list::<Binding>(&format!("/instances/{}/bindings", self.name), &[])
    }
}
