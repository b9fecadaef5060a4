use clap::Args;
use serde_json::{Value, json};

use crate::client::Envelope;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Revoke {
    /// The lease
    lease_id: Option<String>,

    /// All leases whose ids begin with this, for example database/creds/app
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
}

impl Revoke {
    /// Waits until the credentials are gone, so that the answer is one.
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let vault = session.client.vault();
        let (what, answer) = match (&self.prefix, &self.lease_id) {
            (Some(prefix), _) => {
                let path = format!("sys/leases/revoke-prefix/{}", prefix.trim_matches('/'));
                (format!("all leases below {prefix}"), vault.write(&path, &json!({ "sync": true }))?)
            }
            (None, id) => {
                let id = id.as_deref().unwrap_or_default();
                (id.to_owned(), vault.write("sys/leases/revoke", &json!({ "lease_id": id, "sync": true }))?)
            }
        };
        if !answer.is_empty() {
            Envelope::<Value>::read(&answer)?;
        }
        output::message(&format!("Revoked {what}."));
        Ok(())
    }
}
