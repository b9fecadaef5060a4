//! What tables show of the API's resources.
//!
//! Only what is shown is read, and what a newer API adds is passed over: `-o json` shows it all.

mod binding;
mod cluster;
mod event;
mod evidence;
mod instance;
mod offering;
mod operation;
mod recovery;
mod repository;
mod scrub;
mod status;
mod token;

use mainstay_types::Timestamp;
use serde::de::DeserializeOwned;

pub(crate) use binding::{Binding, Bound};
pub(crate) use cluster::Cluster;
pub(crate) use event::Event;
pub(crate) use evidence::{EvidenceKey, TrustedKey, Verified, VerifiedDrill};
pub(crate) use instance::Instance;
pub(crate) use offering::Offering;
pub(crate) use operation::{Operation, OperationState};
pub(crate) use recovery::{Backup, Drill};
pub(crate) use repository::{RepositoryStatus, VerificationRun};
pub(crate) use scrub::ScrubRun;
pub(crate) use status::Status;
pub(crate) use token::{NewToken, Token};

use crate::duration::rough;
use crate::output::Cell;

/// A kind of thing that tables are made of.
pub(crate) trait Resource: DeserializeOwned {
    /// What many of them are called.
    const PLURAL: &'static str;
    /// The headings of the columns.
    const COLUMNS: &'static [&'static str];

    /// One row: as many cells as there are columns.
    fn cells(&self) -> Vec<Cell>;
}

/// How long ago something was.
fn age(moment: Option<Timestamp>) -> Cell {
    moment.map(|moment| rough(Timestamp::now().seconds_since(moment) as u64)).into()
}

/// How long it takes until something happens.
fn until(moment: Option<Timestamp>) -> Cell {
    let now = Timestamp::now();
    moment
        .map(|moment| match moment.seconds_since(now) as u64 {
            0 => "over".to_owned(),
            seconds => rough(seconds),
        })
        .into()
}
