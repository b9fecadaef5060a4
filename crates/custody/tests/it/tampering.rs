//! Somebody who can write the database file, and somebody who can read it.

use std::fs;
use std::path::Path;

use mainstay_custody::{Custody, IntegrityError, OpenError, RecordError, UnsealError};
use mainstay_storage::Location;
use rusqlite::Connection;

use crate::{get, key, on_disk, path, put};

/// A closed store with two versions of data keys and three entries.
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

async fn reopened(directory: &Path) -> Result<Custody, OpenError> {
    Custody::open(&Location::Directory(directory.into()), key(1)).await
}

/// The whole chain of an error, which must say what to do.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Why a store is not opened.
async fn refused(directory: &Path, what: &str) -> IntegrityError {
    match reopened(directory).await {
        Ok(_) => panic!("{what}: the store was opened"),
        Err(error) => {
            assert!(told(&error).contains("restore the store from a snapshot"), "{what}: {}", told(&error));
            match error {
                OpenError::Unseal(UnsealError::Integrity(error)) => error,
                other => panic!("{what}: {other:?}"),
            }
        }
    }
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
async fn whatever_is_done_to_the_rows_is_found_at_the_start() {
    let changes = [
        // Ciphertexts and marks of two entries change places.
        "UPDATE entries SET (mark, ciphertext) = \
         (SELECT mark, ciphertext FROM entries AS other WHERE other.path <> entries.path AND other.path <> 'layer/app/three') \
         WHERE path <> 'layer/app/three'",
        "UPDATE entries SET path = 'layer/app/four' WHERE path = 'layer/app/two'",
        "UPDATE entries SET revision = revision + 100 WHERE path = 'layer/app/two'",
        "UPDATE entries SET key_version = 2 WHERE path = 'layer/app/two'",
        "UPDATE entries SET mark = (SELECT mark FROM entries WHERE path = 'layer/app/one') WHERE path = 'layer/app/two'",
        "DELETE FROM entries WHERE path = 'layer/app/two'",
        "INSERT INTO entries SELECT 99, 'layer/app/more', key_version, mark, ciphertext FROM entries \
         WHERE path = 'layer/app/two'",
        "DELETE FROM entries",
        "DELETE FROM head",
        "UPDATE head SET counter = counter + 1",
        "UPDATE head SET counter = counter - 1",
        "UPDATE head SET sealed = zeroblob(101)",
    ];
    for change in changes {
        let directory = tempfile::tempdir().unwrap();
        store(directory.path()).await;
        assert!(database(directory.path()).execute(change, []).unwrap() > 0, "{change}");
        refused(directory.path(), change).await;
    }
}

#[tokio::test]
async fn an_older_state_put_back_is_found() {
    let parts = [
        (
            "a row",
            vec![
                "DELETE FROM entries WHERE path = 'layer/app/one'",
                "INSERT INTO entries SELECT * FROM old.entries WHERE path = 'layer/app/one'",
            ],
        ),
        ("all rows", vec!["DELETE FROM entries", "INSERT INTO entries SELECT * FROM old.entries"]),
        ("a removed row", vec!["INSERT INTO entries SELECT * FROM old.entries WHERE path = 'layer/app/two'"]),
        ("the head", vec!["DELETE FROM head", "INSERT INTO head SELECT * FROM old.head"]),
    ];
    for (what, statements) in parts {
        let directory = tempfile::tempdir().unwrap();
        store(directory.path()).await;
        let old = directory.path().join("old.sqlite");
        fs::copy(directory.path().join("custody.sqlite"), &old).unwrap();
        let custody = reopened(directory.path()).await.unwrap();
        put(&custody, "app/one", "newer").await;
        custody.delete(&path("app/two")).await.unwrap();
        custody.close().await;
        let database = database(directory.path());
        database.execute("ATTACH ?1 AS old", [old.to_str().unwrap()]).unwrap();
        for statement in statements {
            assert!(database.execute(statement, []).unwrap() > 0, "{what}");
        }
        database.close().unwrap();
        refused(directory.path(), what).await;
    }
}

#[tokio::test]
async fn a_whole_store_put_back_shows_in_its_position() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path()).await;
    let old = directory.path().join("old.sqlite");
    fs::copy(directory.path().join("custody.sqlite"), &old).unwrap();
    let custody = reopened(directory.path()).await.unwrap();
    let before = custody.position();
    put(&custody, "app/one", "newer").await;
    custody.delete(&path("app/two")).await.unwrap();
    assert_eq!(custody.position(), before + 2);
    custody.close().await;
    fs::copy(&old, directory.path().join("custody.sqlite")).unwrap();
    assert_eq!(reopened(directory.path()).await.unwrap().position(), before);
}

#[tokio::test]
async fn a_flipped_bit_in_a_value_is_found_when_it_is_read_and_can_be_replaced() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path()).await;
    let select = "SELECT ciphertext FROM entries WHERE path = 'layer/app/one'";
    let sealed: Vec<u8> = database(directory.path()).query_row(select, [], |row| row.get(0)).unwrap();
    for place in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[place] ^= 0x40;
        let update = "UPDATE entries SET ciphertext = ?1 WHERE path = 'layer/app/one'";
        database(directory.path()).execute(update, [damaged]).unwrap();
        let custody = reopened(directory.path()).await.unwrap();
        let error = custody.get(&path("app/one")).await.unwrap_err();
        assert!(matches!(error, RecordError::Damaged { .. }), "byte {place}");
        assert!(error.to_string().starts_with("secret app/one is damaged"));
        assert_eq!(get(&custody, "app/three").await.as_deref(), Some("canary-three-canary"));
        custody.close().await;
    }
    let custody = reopened(directory.path()).await.unwrap();
    put(&custody, "app/one", "anew").await;
    assert_eq!(get(&custody, "app/one").await.as_deref(), Some("anew"));
    custody.close().await;
    assert_eq!(get(&reopened(directory.path()).await.unwrap(), "app/one").await.as_deref(), Some("anew"));
}

#[tokio::test]
async fn a_damaged_key_or_seal_is_named() {
    let changes = [
        ("UPDATE data_keys SET sealed = zeroblob(73) WHERE version = 2", "data key 2 of the secret store is damaged"),
        ("UPDATE data_keys SET version = 3 WHERE version = 2", "data key 3 of the secret store is damaged"),
        ("UPDATE data_keys SET version = -2 WHERE version = 2", "data key -2 of the secret store is damaged"),
        ("DELETE FROM data_keys WHERE version > 0", "the secret store holds secrets and lacks a key to them"),
        ("DELETE FROM data_keys WHERE version = 0", "the secret store holds secrets and lacks a key to them"),
        ("DELETE FROM seal", "the secret store holds secrets and lacks a key to them"),
        ("UPDATE seal SET root_key = zeroblob(73)", "the seal of the secret store is damaged"),
        (
            "UPDATE seal SET kind = 'shamir', shares = 5, threshold = 3",
            "is sealed with 5 key shares, of which 3 unseal",
        ),
        ("UPDATE seal SET kind = 'other'", "names a seal that this Mainstay does not know"),
        ("UPDATE seal SET key_id = '0123456789abcdef'", "which is 0123456789abcdef"),
    ];
    for (change, expected) in changes {
        let directory = tempfile::tempdir().unwrap();
        store(directory.path()).await;
        database(directory.path()).execute(change, []).unwrap();
        let error = told(&reopened(directory.path()).await.err().unwrap());
        assert!(error.contains(expected), "{change}: {error}");
    }
}
