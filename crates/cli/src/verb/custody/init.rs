use clap::Args;

use super::shares::{NewShares, Split};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::Session;

#[derive(Args)]
pub struct Init {
    #[command(flatten)]
    split: Split,
}

impl Init {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let answer = session.client.vault().write("sys/init", &self.split)?;
        match session.format() {
            Format::Table => output::read::<NewShares>(&answer)?.print()?,
            format => output::write(&output::document(&answer, format)?)?,
        }
        output::message(
            "They are shown this once. Give each share to another person, and open custody with `mainstay custody unseal`.",
        );
        Ok(())
    }
}
