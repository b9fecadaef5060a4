//! The first admin's token: made once, left in a file that only its owner reads.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mainstay_control::{Control, SubmitError};
use mainstay_domain::command::MAX_LEASE_SECONDS;
use mainstay_domain::event::Actor;
use mainstay_types::{Role, TenantScope, Timestamp};
use secrecy::{ExposeSecret, SecretString};

/// The file in the data directory.
const FILE: &str = "admin.token";

/// Why the first admin's token is not there.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("the token could not be recorded")]
    Record(#[source] SubmitError),
    #[error("the token file {} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Sees to it that somebody can get in: makes an admin token for every tenant and leaves it in its file.
///
/// A file that holds an accepted token is left alone. One is missing at the first start, and it is as good as missing
/// once its token has expired or the journal that knew it is gone.
pub(super) async fn ensure(control: &Control, data_dir: &Path) -> Result<(), TokenFileError> {
    let path = data_dir.join(FILE);
    let held = std::fs::read_to_string(&path).map(|text| SecretString::from(text.trim()));
    if held.is_ok_and(|token| control.authenticate(&token).is_ok()) {
        return Ok(());
    }
    let view = control.view();
    let now = Timestamp::now();
    let admits = |scope: &TenantScope, role: Role, until: Timestamp| {
        *scope == TenantScope::Any && role == Role::Admin && until > now
    };
    // Where somebody has removed the file on purpose, and an admin exists, it does not come back by itself.
    let missing = std::fs::symlink_metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if missing && view.tokens().any(|token| admits(&token.tenant, token.role, token.expires_at)) {
        return Ok(());
    }
    let made = control
        .create_token(Actor::System, TenantScope::Any, Role::Admin, TenantScope::Any, Some(MAX_LEASE_SECONDS))
        .await
        .map_err(TokenFileError::Record)?;
    write(&path, &made.token).map_err(|source| TokenFileError::Write { path: path.clone(), source })?;
    tracing::info!(token = %made.id, file = %path.display(), "an admin token was made");
    Ok(())
}

/// Writes the file whole or not at all.
fn write(path: &Path, token: &SecretString) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{}", token.expose_secret())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}
