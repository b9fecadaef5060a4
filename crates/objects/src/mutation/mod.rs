//! Everything that changes the index: one file for each kind of change, each a pure decision on a stage.

mod amend;
mod collect;
mod complete;
mod delete;
mod directory;
mod import;
mod put;
mod succession;
mod upload;

pub(crate) use amend::{Amend, Amendment};
pub(crate) use collect::{Collect, FindUnknown};
pub(crate) use complete::CompleteUpload;
pub(crate) use delete::{DeleteObject, Reason};
pub(crate) use directory::{ChangeSettings, CloseAccount, CreateBucket, DropAccount, DropBucket, PutAccount};
pub(crate) use import::{ExchangeBuckets, ImportEntry};
pub(crate) use put::PutObject;
pub(crate) use upload::{AbortUpload, BeginUpload, KeepPart};

use crate::stage::{Need, Stage, Stop};

/// A change of the index.
pub(crate) trait Mutation: Send + 'static {
    type Answer: Send + 'static;

    /// Rows that the decision will surely ask for, so that those of a whole batch are fetched at once.
    fn needs(&self, stage: &Stage) -> Vec<Need>;

    /// Decides on a stage and changes it, or stops and has not changed it. It can run more than once.
    fn decide(&self, stage: &mut Stage) -> Result<Self::Answer, Stop>;

    /// Hears that what it decided is durable.
    fn stored(&mut self) {}
}
