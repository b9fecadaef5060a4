//! The three drivers under one suite, and what only one of them can meet.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod filesystem;
mod postgres;

use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay_storage::{Location, Migration, conformance};

const SCHEMA: [Migration; 1] = [Migration {
    version: 1,
    name: "notes",
    sqlite: "CREATE TABLE notes (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
    postgres: "CREATE TABLE notes (id bigint PRIMARY KEY, body bytea NOT NULL)",
}];

#[tokio::test]
async fn inmemory_conforms() {
    conformance::run(|| async { Location::InMemory }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filesystem_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let next = AtomicUsize::new(0);
    conformance::run(|| async {
        let place = directory.path().join(next.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&place).unwrap();
        Location::Directory(place)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let server = mainstay_storage::scratch::ScratchPostgres::start();
    conformance::run(|| async { Location::Postgres(server.new_database()) }).await;
}
