//! The journal on real storage: what it promises, and what happens when the promise is attacked.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod append;
mod crash;
mod damage;
mod follow;
mod full_disk;
mod import;
mod postgres;
mod properties;
mod samples;
mod snapshots;
mod traffic;

use std::path::Path;

use mainstay_domain::event::NewEvent;
use mainstay_domain::view::View;
use mainstay_journal::{Committed, Journal, OpenError, SCHEMA, SubmitError};
use mainstay_storage::{Location, Service, Store};

async fn store(place: &Location) -> Store {
    Store::open(place, Service::Journal, SCHEMA).await.unwrap()
}

fn directory(path: &Path) -> Location {
    Location::Directory(path.to_owned())
}

async fn open(place: &Location) -> Result<Journal, OpenError> {
    Journal::open(store(place).await).await
}

async fn in_memory() -> Journal {
    open(&Location::InMemory).await.unwrap()
}

/// Records events whatever the view is.
async fn append(journal: &Journal, events: Vec<NewEvent>) -> Result<Committed<()>, SubmitError<String>> {
    journal.submit(move |_, _| Ok((events.clone(), ()))).await
}

fn bytes(view: &View) -> Vec<u8> {
    minicbor::to_vec(view).unwrap()
}

/// Everything that must hold of a journal at any time.
async fn check_whole(journal: &Journal) {
    let view = journal.view();
    let verified = journal.verify(|reached, end| assert!(reached <= end)).await.unwrap();
    assert_eq!(verified.events, view.sequence());
    let replayed = journal.replay().await.unwrap();
    assert_eq!(bytes(&replayed), bytes(&view), "the replay is the live view, byte for byte");
}

/// An error and what lies beneath it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
