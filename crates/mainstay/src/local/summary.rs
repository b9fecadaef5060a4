//! What `mainstay up` tells a person: what runs where, and what to try next.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use mainstay_cli::Global;

use crate::config::{Config, Seal};

/// Where everything is, and the next three commands, ready to be typed.
pub(super) fn summary(config: &Config, global: &Global) -> String {
    let (program, flags) = (program(), flags(config, global));
    let url = config.listen.url();
    let sealed = match config.custody.seal {
        Seal::KeyFile { .. } => "",
        Seal::Shamir => "; sealed until operators unseal it: mainstay custody status",
    };
    let objects = match config.object_store {
        Some(_) => format!("  objects      {} (the S3 API)\n", config.listen.s3_url()),
        None => String::new(),
    };
    let backups = match &config.recovery.repository {
        Some(place) => place.location.to_string(),
        None => "none, so that nothing is protected".to_owned(),
    };
    format!(
        "\n  API          {url}\n  secrets      {url}/v1 (the Vault API{sealed})\n{objects}  PostgreSQL   {} (shared; it starts with the first instance)\n  \
         NATS         {} (the same)\n  RabbitMQ     {} (the same)\n  data         {}\n  \
         backups      {backups}\n  admin token  {}\n\nNext:\n  {program} create postgresql/v1 shop{flags}\n  \
         {program} bind shop --consumer web{flags}\n  {program} status{flags}\n",
        config.listen.postgresql,
        config.listen.nats,
        config.listen.rabbitmq,
        config.data_dir.display(),
        config.data_dir.join("admin.token").display(),
    )
}

/// What to type for this program: its name where the shell finds it by that, else where it is.
fn program() -> String {
    let own = env::current_exe().and_then(fs::canonicalize).unwrap_or_default();
    let found = |folder: PathBuf| fs::canonicalize(folder.join("mainstay")).is_ok_and(|found| found == own);
    let search = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&search).any(found) {
        return "mainstay".to_owned();
    }
    let here = env::current_dir().and_then(fs::canonicalize).unwrap_or_default();
    own.strip_prefix(&here).unwrap_or(&own).display().to_string()
}

/// The flags without which a command would look for another layer than this one.
fn flags(config: &Config, global: &Global) -> String {
    let mut flags = String::new();
    let address = config.listen.url();
    if env::var("MAINSTAY_ADDR").as_deref().unwrap_or("http://127.0.0.1:7400") != address {
        flags.push_str(&format!(" --address {address}"));
    }
    if global.data_dir_is_chosen()
        && env::var_os("MAINSTAY_DATA_DIR").as_deref().map(Path::new) != Some(&config.data_dir)
    {
        flags.push_str(&format!(" --data-dir {}", config.data_dir.display()));
    }
    flags
}
