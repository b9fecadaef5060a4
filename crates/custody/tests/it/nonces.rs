//! No nonce is used twice: not after a restart, and not by two stores that were one.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::{entry, on_disk};

/// Seals the same values at the same paths, and gives all nonces that are stored then.
async fn sealed(directory: &Path) -> Vec<Vec<u8>> {
    let custody = on_disk(directory).await;
    let changes = (0..2000).map(|number| entry(&format!("a/{number}"), b"the same value")).collect();
    custody.barrier().commit(changes).await.unwrap();
    custody.close().await;
    let database = Connection::open(directory.join("custody.sqlite")).unwrap();
    let mut select = database.prepare("SELECT substr(mark, 2, 24) FROM entries").unwrap();
    let nonces = select.query_map([], |row| row.get(0)).unwrap();
    nonces.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn restarts_and_clones_share_no_nonce() {
    let (here, clone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut all = HashSet::new();
    let mut count = 0;
    let mut see = |nonces: Vec<Vec<u8>>| {
        count += nonces.len();
        all.extend(nonces);
        assert_eq!(all.len(), count);
    };
    see(sealed(here.path()).await);
    fs::copy(here.path().join("custody.sqlite"), clone.path().join("custody.sqlite")).unwrap();
    for _ in 0..3 {
        // The same keys, the same paths, the same revisions, the same values.
        see(sealed(here.path()).await);
        see(sealed(clone.path()).await);
    }
}
