use clap::Args;

use crate::failure::Failure;
use crate::resource;
use crate::session::Session;

#[derive(Args)]
pub struct Clusters {}

impl Clusters {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        session.print_list::<resource::Cluster>("/clusters", &[])
    }
}
