use clap::Args;
use mainstay_types::InstanceName;

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resource;
use crate::session::Session;

#[derive(Args)]
pub struct Status {
    /// The instance to look at [default: the whole layer]
    name: Option<InstanceName>,
}

impl Status {
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        let answer = match &self.name {
            Some(name) => session.client.get(&format!("/instances/{name}"), &[])?,
            None => session.client.get("/status", &[])?,
        };
        let (details, good) = match &self.name {
            Some(_) => (output::read::<resource::Instance>(&answer)?.details(), true),
            None => {
                let status: resource::Status = output::read(&answer)?;
                (status.details(), status.ready)
            }
        };
        match session.format() {
            Format::Table => output::write(&details)?,
            format => output::write(&output::document(&answer, format)?)?,
        }
        Ok(if good { 0 } else { 1 })
    }
}
