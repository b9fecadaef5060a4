use clap::Args;
use mainstay_types::OperationId;

use crate::failure::Failure;
use crate::resource::Operation;
use crate::session::Session;

#[derive(Args)]
pub struct Operations {
    /// The operation to show [default: all]
    id: Option<OperationId>,
}

impl Operations {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        match self.id {
            Some(id) => session.print_one::<Operation>(&session.client.get(&format!("/operations/{id}"), &[])?),
            None => session.print_list::<Operation>("/operations", &[]),
        }
    }
}
