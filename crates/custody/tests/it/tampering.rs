//! Somebody who can write the database file, and somebody who can read it.

use std::fs;
use std::path::Path;

use mainstay_custody::{Custody, RecordError};
use mainstay_storage::Location;
use rusqlite::Connection;

use crate::{get, key, on_disk, path, put};

/// A closed store with two versions of data keys and three records.
async fn store(directory: &Path) {
    let custody = on_disk(directory).await;
    put(&custody, "app/one", "canary-one-canary").await;
    put(&custody, "app/two", "canary-two-canary").await;
    custody.rotate_data_key().await.unwrap();
    put(&custody, "app/three", "canary-three-canary").await;
    custody.close().await;
}

fn database(directory: &Path) -> Connection {
    Connection::open(directory.join("custody.sqlite")).unwrap()
}

async fn reopened(directory: &Path) -> Result<Custody, mainstay_custody::OpenError> {
    Custody::open(&Location::Directory(directory.into()), key(1)).await
}

#[tokio::test]
async fn no_file_holds_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let custody = on_disk(directory.path()).await;
    put(&custody, "app/one", "canary-one-canary").await;
    let generated = custody.generate(&path("app/two")).await.unwrap();
    let generated = secrecy::ExposeSecret::expose_secret(&generated).as_bytes().to_vec();
    // Looked at while it is open, so that the write-ahead log is there too.
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let file = entry.unwrap().path();
        let bytes = fs::read(&file).unwrap();
        for secret in [&b"canary-one-canary"[..], b"canary", &generated, &[1; 32]] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", file.display());
        }
        names.push(file.file_name().unwrap().to_string_lossy().into_owned());
    }
    assert!(names.iter().any(|name| name.ends_with(".sqlite")) && names.iter().any(|name| name.ends_with("-wal")));
}

#[tokio::test]
async fn records_cannot_be_swapped_or_renamed() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path()).await;
    let statements = [
        "UPDATE records SET sealed = (SELECT sealed FROM records WHERE path = 'app/two') WHERE path = 'app/one'",
        "UPDATE records SET path = 'app/four' WHERE path = 'app/two'",
    ];
    for statement in statements {
        assert_eq!(database(directory.path()).execute(statement, []).unwrap(), 1);
    }
    let custody = reopened(directory.path()).await.unwrap();
    for at in ["app/one", "app/four"] {
        let error = custody.get(&path(at)).await.unwrap_err();
        assert!(matches!(error, RecordError::Damaged { .. }), "{at}: {error}");
        assert!(error.to_string().starts_with(&format!("secret {at} is damaged")));
    }
    assert_eq!(get(&custody, "app/three").await.as_deref(), Some("canary-three-canary"));
    // What is damaged can be replaced.
    put(&custody, "app/one", "anew").await;
    assert_eq!(get(&custody, "app/one").await.as_deref(), Some("anew"));
}

#[tokio::test]
async fn an_old_record_does_not_open_under_a_newer_version() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path()).await;
    let old: Vec<u8> = database(directory.path())
        .query_row("SELECT sealed FROM records WHERE path = 'app/one'", [], |row| row.get(0))
        .unwrap();
    let custody = reopened(directory.path()).await.unwrap();
    put(&custody, "app/one", "newer").await;
    custody.close().await;
    database(directory.path())
        .execute("UPDATE records SET sealed = ?1, key_version = 1 WHERE path = 'app/one'", [old])
        .unwrap();
    let custody = reopened(directory.path()).await.unwrap();
    assert!(matches!(custody.get(&path("app/one")).await, Err(RecordError::Damaged { .. })));
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_found() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path()).await;
    let sealed: Vec<u8> = database(directory.path())
        .query_row("SELECT sealed FROM records WHERE path = 'app/one'", [], |row| row.get(0))
        .unwrap();
    let custody = reopened(directory.path()).await.unwrap();
    for place in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[place] ^= 0x40;
        let update = "UPDATE records SET sealed = ?1 WHERE path = 'app/one'";
        database(directory.path()).execute(update, [damaged]).unwrap();
        let found = custody.get(&path("app/one")).await;
        assert!(matches!(found, Err(RecordError::Damaged { .. })), "byte {place}");
    }
    for change in ["version = version + 1", "key_version = 2", "key_version = -1", "key_version = 99"] {
        let restore = "UPDATE records SET sealed = ?1, version = 1, key_version = 1 WHERE path = 'app/one'";
        database(directory.path()).execute(restore, [&sealed]).unwrap();
        assert_eq!(get(&custody, "app/one").await.as_deref(), Some("canary-one-canary"));
        let update = format!("UPDATE records SET {change} WHERE path = 'app/one'");
        database(directory.path()).execute(&update, []).unwrap();
        assert!(custody.get(&path("app/one")).await.is_err(), "{change}");
    }
}

#[tokio::test]
async fn a_damaged_key_is_named() {
    let changes = [
        ("UPDATE data_keys SET sealed = zeroblob(73) WHERE version = 2", "data key 2 of the secret store is damaged"),
        ("UPDATE data_keys SET version = 3 WHERE version = 2", "data key 3 of the secret store is damaged"),
        ("UPDATE data_keys SET version = -2 WHERE version = 2", "data key -2 of the secret store is damaged"),
        ("UPDATE data_keys SET master_key = 'other' WHERE version = 2", "data key 2 of the secret store is damaged"),
        ("DELETE FROM data_keys", "the secret store holds secrets and no data key"),
    ];
    for (change, expected) in changes {
        let directory = tempfile::tempdir().unwrap();
        store(directory.path()).await;
        database(directory.path()).execute(change, []).unwrap();
        let error = reopened(directory.path()).await.err().unwrap().to_string();
        assert!(error.starts_with(expected), "{change}: {error}");
    }
}
