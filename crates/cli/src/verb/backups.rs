use clap::Args;
use mainstay_types::InstanceName;

use crate::failure::Failure;
use crate::resource::Backup;
use crate::session::Session;

#[derive(Args)]
pub struct Backups {
    /// The instance
    name: InstanceName,
}

impl Backups {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        session.print_list::<Backup>(&format!("/instances/{}/backups", self.name), &[])
    }
}
