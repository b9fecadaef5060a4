use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;

use super::shares::brought;
use super::status::SealStatus;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::Session;

#[derive(Args)]
pub struct Unseal {
    /// Forget the shares that were brought so far
    #[arg(long)]
    reset: bool,
}

impl Unseal {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let vault = session.client.vault();
        let mut answer = String::new();
        if self.reset {
            answer = vault.write("sys/unseal", &json!({ "reset": true }))?;
        } else {
            for share in brought()? {
                answer = vault.write("sys/unseal", &json!({ "key": share.expose_secret() }))?;
                if !output::read::<SealStatus>(&answer)?.sealed {
                    break;
                }
            }
        }
        match session.format() {
            Format::Table => output::write(&output::vertical(&output::read::<SealStatus>(&answer)?.fields())),
            format => output::write(&output::document(&answer, format)?),
        }
    }
}
