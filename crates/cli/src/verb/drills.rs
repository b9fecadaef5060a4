use clap::Args;
use mainstay_types::InstanceName;

use crate::failure::Failure;
use crate::resource::Drill;
use crate::session::Session;

#[derive(Args)]
pub struct Drills {
    /// Of this instance only
    name: Option<InstanceName>,
}

impl Drills {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        match self.name {
            Some(name) => session.print_list::<Drill>(&format!("/instances/{name}/drills"), &[]),
            None => session.print_list::<Drill>("/drills", &[]),
        }
    }
}
