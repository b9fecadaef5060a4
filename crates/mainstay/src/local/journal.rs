//! `mainstay journal ...`: looks after the journal where it is stored, whether or not the layer runs.

use std::process::ExitCode;

use mainstay_cli::Global;
use mainstay_storage::{Service, Store};

use super::{ConfigFlag, failed, runtime};
use crate::config::Config;

/// What can be done with the journal.
#[derive(clap::Subcommand)]
pub enum Journal {
    /// Walk the whole chain and name the first event that does not fit
    Verify(Verify),
}

#[derive(clap::Args)]
pub struct Verify {
    #[command(flatten)]
    config: ConfigFlag,
}

/// Why the journal could not be verified, or what is wrong with it.
#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error("the journal cannot be opened")]
    Open(#[source] mainstay_storage::OpenError),
    #[error("the journal does not verify")]
    Read(#[source] mainstay_journal::ReadError),
}

impl Journal {
    pub fn run(&self, global: &Global) -> ExitCode {
        let Self::Verify(verify) = self;
        let config = match verify.config.load_for_development(global) {
            Ok(config) => config,
            Err(error) => return failed(&error),
        };
        match runtime().block_on(verify_journal(&config)) {
            Ok(verified) if global.wants_json() => {
                println!("{}", serde_json::json!({ "events": verified.events, "head": verified.head }));
                ExitCode::SUCCESS
            }
            Ok(verified) => {
                println!("The journal verifies: {} events, head {}.", verified.events, verified.head);
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        }
    }
}

async fn verify_journal(config: &Config) -> Result<mainstay_journal::Verified, VerifyError> {
    let location = config.storage.location(Service::Journal);
    let store = Store::open(&location, Service::Journal, mainstay_journal::SCHEMA).await.map_err(VerifyError::Open)?;
    let verified = mainstay_journal::verify(&store, |_, _| {}).await.map_err(VerifyError::Read);
    store.close().await;
    verified
}
