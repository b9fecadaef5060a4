use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use mainstay_evidence::{Bundle, Envelope, FORMAT, PublicKey, Statement};

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resource::{TrustedKey, Verified, VerifiedDrill};
use crate::session::{Session, read_file};

/// The longest file that is read: evidence of some ten thousand drills in one.
const LONGEST: usize = 256 << 20;

/// What was typed.
#[derive(Args)]
pub struct Verify {
    /// Files, or directories of files, that `mainstay drills export` has written
    #[arg(required = true, value_name = "FILE|DIR")]
    places: Vec<PathBuf>,

    /// The PEM file with the only keys to trust (see `mainstay drills keys --pem`) [default: those of the export]
    #[arg(long = "keys", value_name = "FILE")]
    trusted: Option<PathBuf>,
}

/// Evidence, and where it was found.
struct Found {
    place: String,
    envelope: Result<Envelope, String>,
}

/// All that was found, the keys too.
#[derive(Default)]
struct Collection {
    found: Vec<Found>,
    keys: Keys,
}

/// Public keys by their ids, each with the file that it was read from first.
#[derive(Default)]
struct Keys(BTreeMap<String, (PublicKey, String)>);

impl Verify {
    /// Does it. The number is the exit code.
    pub(super) fn run(self, session: &Session) -> Result<u8, Failure> {
        let mut collection = Collection::default();
        for place in &self.places {
            collection.add(place)?;
        }
        let pinned = self.trusted.as_deref().map(Keys::read).transpose()?;
        let trusted = pinned.as_ref().unwrap_or(&collection.keys);
        let keys: Vec<PublicKey> = trusted.0.values().map(|(key, _)| *key).collect();
        let verified: Vec<Verified> = collection.found.iter().map(|found| judge(found, &keys)).collect();
        let trusted = trusted.told(pinned.is_some());
        match session.format() {
            Format::Table => output::write(&format!(
                "{}\n{}",
                output::table::<Verified>(&verified),
                output::table::<TrustedKey>(&trusted)
            ))?,
            format => {
                let result = serde_json::json!({ "items": verified, "next": null, "trusted_keys": trusted });
                output::write(&output::document(&result.to_string(), format)?)?;
            }
        }
        let changed = verified.iter().filter(|one| !one.verified).count();
        if changed > 0 || verified.is_empty() {
            output::error(&format!("{changed} of {} are not what was signed", verified.len()), None);
            return Ok(1);
        }
        if pinned.is_none() {
            output::message(
                "All are what was signed with the keys that came with them. Whether those are the layer's tells: mainstay drills keys",
            );
        }
        Ok(0)
    }
}

impl Collection {
    fn add(&mut self, place: &Path) -> Result<(), Failure> {
        if !place.is_dir() {
            // A file of a directory goes with the keys that lie beside it.
            if let Some(keys) = place.parent().map(|folder| folder.join("keys")).filter(|keys| keys.is_dir()) {
                self.add_keys(&keys)?;
            }
            return self.add_file(place);
        }
        let keys = place.join("keys");
        if keys.is_dir() {
            self.add_keys(&keys)?;
        }
        list(place, "json")?.iter().try_for_each(|file| self.add_file(file))
    }

    fn add_keys(&mut self, folder: &Path) -> Result<(), Failure> {
        for file in list(folder, "pem")? {
            self.keys.add(&file, &read(&file)?);
        }
        Ok(())
    }

    fn add_file(&mut self, file: &Path) -> Result<(), Failure> {
        let (text, place) = (read(file)?, file.display().to_string());
        match serde_json::from_str::<Bundle>(&text) {
            Ok(bundle) if bundle.format == FORMAT => {
                bundle.keys.iter().for_each(|key| self.keys.add(file, key));
                let numbered = bundle.evidence.into_iter().enumerate();
                self.found.extend(
                    numbered
                        .map(|(at, envelope)| Found { place: format!("{place}#{}", at + 1), envelope: Ok(envelope) }),
                );
            }
            Ok(bundle) => {
                let reason = format!("its format is {:?}, and this version reads {FORMAT:?}", bundle.format);
                self.found.push(Found { place, envelope: Err(reason) });
            }
            Err(_) => {
                let envelope = serde_json::from_str(&text).map_err(|error| format!("it is no evidence: {error}"));
                self.found.push(Found { place, envelope });
            }
        }
        Ok(())
    }
}

impl Keys {
    fn read(file: &Path) -> Result<Self, Failure> {
        let mut keys = Self::default();
        keys.add(file, &read(file)?);
        Ok(keys)
    }

    /// Adds those in a text of PEM.
    fn add(&mut self, file: &Path, text: &str) {
        for key in keys_of(text) {
            self.0.entry(key.id().to_string()).or_insert_with(|| (key, file.display().to_string()));
        }
    }

    /// As they are shown, with whether somebody named them.
    fn told(&self, pinned: bool) -> Vec<TrustedKey> {
        let told = |(id, (_, file)): (&String, &(PublicKey, String))| TrustedKey {
            id: id.clone(),
            file: file.clone(),
            from: if pinned { "named" } else { "export" }.to_owned(),
        };
        self.0.iter().map(told).collect()
    }
}

fn judge(found: &Found, trusted: &[PublicKey]) -> Verified {
    let (statement, flaw) = match &found.envelope {
        Err(reason) => (None, Some(reason.clone())),
        Ok(envelope) => match envelope.open(trusted) {
            Ok(statement) => (Some(statement), None),
            Err(flaw) => (envelope.claims(), Some(flaw.to_string())),
        },
    };
    Verified { file: found.place.clone(), verified: flaw.is_none(), flaw, drill: statement.map(of_drill) }
}

fn of_drill(statement: Statement) -> VerifiedDrill {
    let drill = statement.predicate;
    VerifiedDrill {
        sequence: drill.journal.sequence,
        tenant: drill.instance.tenant,
        instance: drill.instance.name,
        result: drill.result,
        ended_at: drill.ended_at,
    }
}

fn keys_of(text: &str) -> Vec<PublicKey> {
    const END: &str = "-----END PUBLIC KEY-----";
    text.split_inclusive(END).filter_map(|key| PublicKey::from_pem(key).ok()).collect()
}

/// The files of a kind in a folder, in the order of their names.
fn list(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let listed = || -> io::Result<Vec<PathBuf>> {
        let mut files =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
        files.retain(|file| file.extension().is_some_and(|found| found == extension));
        files.sort();
        Ok(files)
    };
    listed().map_err(|source| Failure::local(format!("{} cannot be listed", folder.display()), source))
}

fn read(file: &Path) -> Result<String, Failure> {
    read_file(file, LONGEST).map_err(|source| Failure::local(format!("{} cannot be read", file.display()), source))
}
