//! Keys: rotation, another master key, two processes on one store.

use mainstay_custody::{Custody, KeyringError, OpenError, UnsealError};
use mainstay_storage::Location;

use crate::{get, in_memory, key, on_disk, put};

#[tokio::test]
async fn old_records_stay_readable_under_a_new_data_key() {
    let custody = in_memory().await;
    put(&custody, "old", "one").await;
    assert_eq!(custody.rotate_data_key().await.unwrap(), 2);
    put(&custody, "new", "two").await;
    assert_eq!(custody.rotate_data_key().await.unwrap(), 3);
    assert_eq!(get(&custody, "old").await.as_deref(), Some("one"));
    assert_eq!(get(&custody, "new").await.as_deref(), Some("two"));
}

#[tokio::test]
async fn another_master_key_opens_nothing() {
    let directory = tempfile::tempdir().unwrap();
    put(&on_disk(directory.path()).await, "a", "one").await;
    let location = Location::Directory(directory.path().into());
    let error = Custody::open(&location, key(2)).await.err().unwrap();
    assert!(matches!(error, OpenError::Unseal(UnsealError::WrongKey { .. })), "{error}");
    let text = error.to_string();
    for fingerprint in [key(1).fingerprint(), key(2).fingerprint()] {
        assert!(text.contains(&fingerprint.to_string()), "{text}");
    }
}

#[tokio::test]
async fn after_rewrapping_only_the_new_master_key_opens() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::Directory(directory.path().into());
    let custody = on_disk(directory.path()).await;
    put(&custody, "a", "one").await;
    custody.rotate_data_key().await.unwrap();
    custody.rewrap(key(2)).await.unwrap();
    assert_eq!(get(&custody, "a").await.as_deref(), Some("one"));
    custody.rotate_data_key().await.unwrap();
    custody.close().await;
    assert!(Custody::open(&location, key(1)).await.is_err());
    let custody = Custody::open(&location, key(2)).await.unwrap();
    assert_eq!(get(&custody, "a").await.as_deref(), Some("one"));
}

#[tokio::test]
async fn two_handles_on_one_store_learn_each_others_keys() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (on_disk(directory.path()).await, on_disk(directory.path()).await);
    here.rotate_data_key().await.unwrap();
    put(&here, "a", "one").await;
    assert_eq!(get(&there, "a").await.as_deref(), Some("one"));

    here.rotate_data_key().await.unwrap();
    // The other handle does not know of version 3 yet, and says so rather than lose a key.
    assert!(matches!(there.rotate_data_key().await, Err(KeyringError::Contended)));
    assert_eq!(there.rotate_data_key().await.unwrap(), 4);

    // Nor can it leave a key behind under a master key that was replaced.
    here.rewrap(key(2)).await.unwrap_err();
    assert_eq!(get(&here, "a").await.as_deref(), Some("one"));
    there.rewrap(key(2)).await.unwrap();
    assert!(matches!(here.rotate_data_key().await, Err(KeyringError::SealChanged)));
}
