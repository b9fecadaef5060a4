use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use mainstay_evidence::{Bundle, Envelope, PublicKey};
use mainstay_types::{InstanceName, Timestamp};

use super::keys;
use crate::client::Pages;
use crate::failure::Failure;
use crate::output;
use crate::resource::EvidenceKey;
use crate::session::Session;

/// What was typed.
#[derive(Args)]
pub struct Export {
    /// Of this instance only, and of those that had its name before
    name: Option<InstanceName>,

    /// A directory, or a file where it ends in .json [default: standard output]
    #[arg(long, value_name = "DIR|FILE")]
    to: Option<PathBuf>,

    /// Only drills that ended at this moment or later, as 2026-11-21T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,

    /// Only drills that ended before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl Export {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let texts = [
            ("instance", self.name.as_ref().map(ToString::to_string)),
            ("since", self.since.map(|moment| moment.to_string())),
            ("until", self.until.map(|moment| moment.to_string())),
        ];
        let query: Vec<(&str, &str)> =
            texts.iter().filter_map(|(name, text)| Some((*name, text.as_deref()?))).collect();
        let answer = Pages::new(&session.client, "/drills/evidence", &query).collect()?;
        let evidence: Vec<Envelope> = output::read_items(&answer)?;
        let keys = used(&evidence, keys::all(session)?);
        let Some(to) = self.to else { return output::write_raw(&bundle(evidence, &keys)) };
        let count = evidence.len();
        if to.extension().is_some_and(|extension| extension == "json") {
            keep(&to, &bundle(evidence, &keys))?;
        } else {
            for (name, text) in files(&evidence, &keys)? {
                keep(&to.join(name), &text)?;
            }
        }
        output::message(&format!(
            "Wrote evidence of {count} drills to {to}; anybody sees whether it is genuine with: mainstay drills verify {to}",
            to = to.display()
        ));
        Ok(())
    }
}

/// The keys that some evidence is signed with, and no others: those that come into use later do not change what is written of earlier.
fn used(evidence: &[Envelope], keys: Vec<EvidenceKey>) -> Vec<EvidenceKey> {
    let signs =
        |key: &EvidenceKey, envelope: &Envelope| envelope.signatures.iter().any(|by| by.keyid.as_str() == key.id);
    keys.into_iter().filter(|key| evidence.iter().any(|envelope| signs(key, envelope))).collect()
}

fn bundle(evidence: Vec<Envelope>, keys: &[EvidenceKey]) -> String {
    Bundle::new(evidence, keys.iter().map(|key| key.public_key.clone()).collect()).to_file()
}

/// The files of a directory, by their names: they sort as the journal does. Evidence that this version can not name is never left out.
fn files(evidence: &[Envelope], keys: &[EvidenceKey]) -> Result<Vec<(String, String)>, Failure> {
    let drill = |envelope: &Envelope| {
        let drill = envelope.claims()?.predicate;
        let instance: InstanceName = drill.instance.name.parse().ok()?;
        Some((format!("{:012}-{instance}.json", drill.journal.sequence), envelope.to_file()))
    };
    let unknown = || {
        let reason = "it is of a form that this version does not read; update mainstay here, or export to a file that ends in .json";
        Failure::local("some of the evidence cannot be named", io::Error::new(io::ErrorKind::InvalidData, reason))
    };
    let drills = evidence.iter().map(|envelope| drill(envelope).ok_or_else(unknown));
    let key = |key: &EvidenceKey| Ok((format!("keys/{}.pem", id(key)?), key.public_key.clone()));
    drills.chain(keys.iter().map(key)).collect()
}

/// What a key is called, which its file is named by: nothing but what follows from the key itself.
fn id(key: &EvidenceKey) -> Result<String, Failure> {
    let own = PublicKey::from_pem(&key.public_key).map(|key| key.id().to_string());
    own.ok().filter(|own| *own == key.id).ok_or_else(|| {
        let reason = format!("the key it calls {:?} is none, or has another id; is it a layer that answers?", key.id);
        Failure::local("no evidence is written", io::Error::new(io::ErrorKind::InvalidData, reason))
    })
}

/// Writes a file so that it is there as a whole or not at all.
fn keep(file: &Path, text: &str) -> Result<(), Failure> {
    let write = || {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut new = file.as_os_str().to_owned();
        new.push(".part");
        let mut part = std::fs::File::create(&new)?;
        part.write_all(text.as_bytes())?;
        part.sync_all()?;
        std::fs::rename(&new, file)
    };
    write().map_err(|source| Failure::local(format!("{} cannot be written", file.display()), source))
}
