//! Journals as every past version of the schema wrote them.
//!
//! A new version adds its own samples: `cargo test -p mainstay-journal --test it write_samples -- --ignored`, once,
//! before it is released. Samples of released versions are never written again.

use std::path::PathBuf;

use mainstay_journal::Journal;
use mainstay_storage::Location;
use mainstay_storage::scratch::ScratchPostgres;

use crate::traffic::life;
use crate::{append, check_whole, directory, open, store};

/// The versions of which there are samples.
const VERSIONS: [u32; 1] = [1];

/// The head's digest and the number of events in every sample, which no migration changes.
const EVENTS: u64 = 24;

fn sample(name: String) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

async fn check_sample(journal: Journal) {
    assert_eq!(journal.view().sequence(), EVENTS);
    assert_eq!(journal.view().instances().count(), 2);
    check_whole(&journal).await;
    append(&journal, life(50)).await.unwrap();
    check_whole(&journal).await;
}

#[tokio::test]
async fn sqlite_files_of_every_version_are_migrated() {
    for version in VERSIONS {
        let path = tempfile::tempdir().unwrap();
        std::fs::copy(sample(format!("v{version}.sqlite")), path.path().join("journal.sqlite")).unwrap();
        check_sample(open(&directory(path.path())).await.unwrap()).await;
    }
}

#[tokio::test]
async fn postgresql_dumps_of_every_version_are_migrated() {
    let server = ScratchPostgres::start();
    for version in VERSIONS {
        let place = Location::Postgres(server.new_database());
        server.psql_file(&format!("scratch_{}", version - 1), &sample(format!("v{version}.sql")));
        check_sample(open(&place).await.unwrap()).await;
    }
}

#[tokio::test]
#[ignore = "writes the samples of the newest version into the source tree"]
async fn write_samples() {
    let version = VERSIONS.last().unwrap();
    let path = tempfile::tempdir().unwrap();
    let server = ScratchPostgres::start();
    for place in [directory(path.path()), Location::Postgres(server.uri())] {
        let journal = Journal::open(store(&place).await).await.unwrap();
        append(&journal, life(1)).await.unwrap();
        for stays in [0, 10] {
            append(&journal, life(stays)[..4].to_vec()).await.unwrap();
        }
        journal.close().await;
    }
    std::fs::create_dir_all(sample(String::new())).unwrap();
    std::fs::copy(path.path().join("journal.sqlite"), sample(format!("v{version}.sqlite"))).unwrap();
    std::fs::write(sample(format!("v{version}.sql")), server.dump("postgres")).unwrap();
}
