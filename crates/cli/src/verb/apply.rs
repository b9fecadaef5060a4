use std::path::{Path, PathBuf};

use clap::Args;
use mainstay_types::{ASSERTIONS_PARAMETER, Assertions, InvalidAssertions};

use super::protect::Policy;
use crate::client::Pages;
use crate::failure::Failure;
use crate::manifest::{self, Change, Existing, Wanted, changes};
use crate::operation;
use crate::output;
use crate::session::{Session, read_file};

#[derive(Args)]
pub struct Apply {
    /// The file of instances; '-' reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

impl Apply {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let wanted = read_manifest(&self.file)?;
        let existing = existing(session)?;
        let changes = changes(&wanted, &existing);
        let different: Vec<&Change> =
            changes.iter().filter(|change| matches!(change, Change::Differs { .. })).collect();
        if !different.is_empty() {
            let mut lines =
                vec!["what exists differs from the file and cannot be changed in place; nothing was done".to_owned()];
            lines.extend(different.iter().map(|change| change.lines().trim_end().to_owned()));
            return Err(Failure::Many(lines));
        }
        for change in &changes {
            if let Change::Asserts { wanted, .. } = change {
                assert_anew(session, wanted)?;
                output::message(&format!("Changed what drills of {} ask.", wanted.name));
            }
        }
        // All are asked for before any is waited for: the layer makes them side by side.
        let mut begun = Vec::new();
        let mut failed = Vec::new();
        for change in &changes {
            let Change::Create(wanted) = change else { continue };
            match session.client.post("/instances", &[], wanted) {
                Ok(answer) => begun.push((wanted, answer)),
                Err(failure) => failed.push(format!("{}: {}", wanted.name, failure.chain())),
            }
        }
        for (wanted, answer) in begun {
            match operation::follow(&session.client, &format!("creating {}", wanted.name), &answer) {
                Ok(_) => output::message(&format!("Created {}.", wanted.name)),
                Err(failure) => failed.push(format!("{}: {}", wanted.name, failure.chain())),
            }
        }
        if changes.is_empty() {
            output::message("Nothing to do: all is as the file wants it.");
        }
        if failed.is_empty() { Ok(()) } else { Err(Failure::Many(failed)) }
    }
}

/// Changes what drills of an instance ask, and nothing else of how it is protected.
fn assert_anew(session: &Session, wanted: &Wanted) -> Result<(), Failure> {
    let path = format!("/instances/{}/recovery", wanted.name);
    let text = wanted.parameters.get(ASSERTIONS_PARAMETER).unwrap_or_default();
    // The file was read, and what it has was read as assertions.
    let Assertions(assertions) = text.parse().map_err(|error: InvalidAssertions| Failure::usage(error.to_string()))?;
    let mut policy: Policy = output::read(&session.client.get(&path, &[])?)?;
    policy.assertions = assertions;
    session.client.put(&path, &policy).map(drop)
}

/// Reads a file of instances.
pub(super) fn read_manifest(file: &Path) -> Result<Vec<Wanted>, Failure> {
    let text = read_file(file, manifest::LONGEST)
        .map_err(|source| Failure::local(format!("{} cannot be read", file.display()), source))?;
    manifest::parse(&text).map_err(|mistakes| {
        let lines = mistakes.iter().map(|mistake| format!("{}: {mistake}", file.display()));
        Failure::Many(lines.collect())
    })
}

/// All instances of the tenant.
pub(super) fn existing(session: &Session) -> Result<Vec<Existing>, Failure> {
    output::read_items(&Pages::new(&session.client, "/instances", &[]).collect()?)
}
