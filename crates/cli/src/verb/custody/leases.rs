use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::client::{Envelope, Vault};
use crate::failure::Failure;
use crate::output::{self, Cell, Format};
use crate::resource::Resource;
use crate::session::Session;

/// How many folders of leases are looked into at most: each costs a request, and nobody reads more.
const MOST_FOLDERS: usize = 1000;

#[derive(Args)]
pub struct Leases {
    /// Only those below this prefix, for example database/creds/app
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,

    /// Only those that ended and could not be taken back yet, with the reason
    #[arg(long, conflicts_with = "prefix")]
    unrevoked: bool,
}

#[derive(Deserialize)]
struct Unrevoked {
    leases: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    lease_id: String,
    #[serde(default)]
    failures: u64,
    error: Option<String>,
}

impl Leases {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let vault = session.client.vault();
        if self.unrevoked {
            let answer = vault.read("sys/leases", &[("type", "irrevocable")])?;
            if session.format() != Format::Table {
                return output::write(&output::document(&answer, session.format())?);
            }
            let Unrevoked { leases } = Envelope::data(&answer)?;
            if leases.is_empty() {
                output::message("No leases that could not be taken back.");
                return Ok(());
            }
            return output::write(&output::table(&leases));
        }
        let folders = match self.prefix.trim_matches('/') {
            "" => mounts(vault)?,
            prefix => vec![prefix.to_owned()],
        };
        let (ids, whole) = below(vault, folders)?;
        if !whole {
            output::message(&format!(
                "warning: not all are listed: {MOST_FOLDERS} folders were looked into; name a prefix"
            ));
        }
        match session.format() {
            Format::Table if ids.is_empty() => output::message("No leases."),
            Format::Table => {
                output::write(&ids.iter().map(|id| format!("{}\n", output::clean(id))).collect::<String>())?
            }
            format => output::write(&output::document(&json!({ "data": { "keys": ids } }).to_string(), format)?)?,
        }
        Ok(())
    }
}

/// The mounts of secrets, below which all leases are. Their own folder has a path that the policy `default` closes to
/// listings, whatever else a token may do.
fn mounts(vault: Vault<'_>) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Mounts {
        secret: BTreeMap<String, IgnoredAny>,
    }
    let Mounts { secret } = Envelope::data(&vault.read("sys/internal/ui/mounts", &[])?)?;
    Ok(secret.keys().map(|mount| mount.trim_matches('/').to_owned()).collect())
}

/// The ids of all leases below some folders, and whether these are all. The API lists folder by folder.
fn below(vault: Vault<'_>, mut folders: Vec<String>) -> Result<(Vec<String>, bool), Failure> {
    #[derive(Deserialize)]
    struct Keys {
        keys: Vec<String>,
    }
    let (mut ids, mut seen) = (Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        if seen == MOST_FOLDERS {
            return Ok((ids, false));
        }
        seen += 1;
        let path = format!("sys/leases/lookup/{folder}");
        let Some(answer) = vault.list(&path)? else { continue };
        let Keys { keys } = Envelope::data(&answer)?;
        for key in keys {
            let full = format!("{folder}/{key}");
            match full.strip_suffix('/') {
                Some(below) => folders.push(below.to_owned()),
                None => ids.push(full),
            }
        }
    }
    ids.sort();
    Ok((ids, true))
}

impl Resource for Row {
    const PLURAL: &'static str = "leases";
    const COLUMNS: &'static [&'static str] = &["LEASE", "ATTEMPTS", "REASON"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.lease_id.as_str().into(), self.failures.into(), self.error.as_deref().into()]
    }
}
