use clap::Args;

use crate::client::Pages;
use crate::failure::Failure;
use crate::output;
use crate::resource::EvidenceKey;
use crate::session::Session;

#[derive(Args)]
pub struct Keys {
    /// Sign evidence of what happens from now on with a new key
    #[arg(long)]
    new: bool,

    /// Print the public keys in PEM, to be kept where evidence is verified
    #[arg(long)]
    pem: bool,
}

impl Keys {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        if self.new {
            session.client.post("/drills/keys", &[], &serde_json::json!({}))?;
            output::message(
                "Evidence of what happens from now on is signed with a new key; what there is stays as it is.",
            );
        }
        match self.pem {
            true => output::write(&all(session)?.iter().map(|key| key.public_key.as_str()).collect::<String>()),
            false => session.print_list::<EvidenceKey>("/drills/keys", &[]),
        }
    }
}

/// All keys, the first that came into use first.
pub(super) fn all(session: &Session) -> Result<Vec<EvidenceKey>, Failure> {
    output::read_items(&Pages::new(&session.client, "/drills/keys", &[]).collect()?)
}
