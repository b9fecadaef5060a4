//! `accounts.json` in the cluster's directory: what accounts there are to be, ours alone to read.

use std::fs;
use std::io;

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, EngineUser, write_file};
use secrecy::{ExposeSecret, SecretString};

use crate::accounts::{Accounts, FORMAT, Verifier};

const NAME: &str = "accounts.json";

/// Reads the accounts of a cluster that we come into with this secret.
///
/// Where there are none kept, there are none: those that should be there are seen to be missing and made again, and find
/// the streams that they had.
pub(crate) fn read(directory: &ClusterDirectory, secret: &SecretString) -> Result<Accounts, EngineError> {
    let path = directory.root().join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Accounts::new(Verifier::of(secret.expose_secret())?));
        }
        Err(error) => {
            return Err(EngineError::transient_from(format!("{} could not be read", path.display()), error));
        }
    };
    match serde_json::from_str::<Accounts>(&text) {
        Ok(accounts) if accounts.format == FORMAT => {
            let administrator = accounts.administrator.kept(secret.expose_secret())?;
            Ok(Accounts { administrator, ..accounts })
        }
        Ok(accounts) => Err(EngineError::permanent(
            format!("{} has format {}, and this version of Mainstay knows {FORMAT}", path.display(), accounts.format),
            "start the version that wrote it",
        )),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the list of accounts is damaged and is made anew");
            Ok(Accounts::new(Verifier::of(secret.expose_secret())?))
        }
    }
}

/// Writes the accounts, whole or not at all, and sees them on disk: a machine that loses its power finds every account that was
/// acknowledged, and lets in nobody who was refused.
pub(crate) fn write(directory: &ClusterDirectory, accounts: &Accounts) -> Result<(), EngineError> {
    let text = serde_json::to_string_pretty(accounts)
        .map_err(|error| EngineError::transient_from("the accounts could not be written down", error))?;
    let ourselves = EngineUser::ourselves()
        .map_err(|error| EngineError::transient_from("the user that we run as is not known", error))?;
    write_file(directory.root(), NAME, &text, &ourselves)
}
