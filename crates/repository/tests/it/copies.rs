//! A copy is no worse off than it was, whatever becomes of the repository that it is of.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use mainstay_dataplane::{DataPlane, Delete, Inventory, Owner};
use mainstay_repository::{Credentials, Location, MirrorError, Mirrored, Repository};

use crate::{files, gives, ingest, noise, open};

fn location(directory: &Path) -> Location {
    directory.to_str().unwrap().parse().unwrap()
}

async fn mirror(repository: &Repository, to: &Path) -> Result<Mirrored, MirrorError> {
    repository.mirror(&location(to), &Credentials::None, |_| ()).await
}

/// Puts a directory in the place of another.
fn put_back(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

async fn is_refused(repository: &Repository, copy: &Path) {
    let before = files(copy, "");
    let refused = mirror(repository, copy).await.unwrap_err();
    assert!(matches!(refused, MirrorError::Ahead { .. }), "{refused}");
    let told = refused.to_string();
    assert!(told.contains(copy.to_str().unwrap()) && told.contains("mainstay-mirror.json"), "{told}");
    assert!(repository.behind(&location(copy), &Credentials::None).await.is_err());
    assert_eq!(files(copy, ""), before, "it is left as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_left_alone_by_a_repository_that_was_put_back_as_it_was_earlier() {
    let directory = tempfile::tempdir().unwrap();
    let [here, earlier, first, second] = ["here", "earlier", "first", "second"].map(|name| directory.path().join(name));
    let repository = open(&here).await;
    ingest(&repository, &noise(1, 300_000)).await;
    mirror(&repository, &first).await.unwrap();
    mirror(&repository, &second).await.unwrap();
    put_back(&here, &earlier);
    ingest(&repository, &noise(2, 300_000)).await;
    repository.put_document("points", "b", Bytes::from_static(b"newer")).await.unwrap();
    mirror(&repository, &first).await.unwrap();
    repository.close().await.unwrap();

    put_back(&earlier, &here);
    let repository = open(&here).await;
    // What it has for itself since is no more than the copy has, and then it is.
    for seed in 3..9 {
        is_refused(&repository, &first).await;
        let kept = ingest(&repository, &noise(seed, 300_000)).await;
        repository.put_document("points", "c", Bytes::from_static(b"other")).await.unwrap();
        let request = Delete { owner: Owner::Backups, address: kept.address, claim: kept.claim };
        repository.delete_object(request).await.unwrap();
        repository.reclaim().await.unwrap();
        // The other one has nothing that this has not, and follows all the time.
        mirror(&repository, &second).await.unwrap();
    }
    repository.close().await.unwrap();
    gives(&open(&first).await, &noise(2, 300_000)).await;

    // Either the repository is put back from the copy, and goes on.
    put_back(&first, &here);
    let repository = open(&here).await;
    gives(&repository, &noise(2, 300_000)).await;
    ingest(&repository, &noise(10, 300_000)).await;
    for _ in 0..2 {
        let mirrored = mirror(&repository, &first).await.unwrap();
        assert_eq!(mirrored.behind.files, 0, "{mirrored:?}");
    }
    // The other one knows of what this past has not.
    is_refused(&repository, &second).await;
    // Or the copy is told to lose it.
    std::fs::remove_file(second.join("mainstay-mirror.json")).unwrap();
    for _ in 0..2 {
        let mirrored = mirror(&repository, &second).await.unwrap();
        assert_eq!(mirrored.behind.files, 0, "{mirrored:?}");
    }
    gives(&open(&second).await, &noise(10, 300_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_older_than_it_was_follows() {
    let directory = tempfile::tempdir().unwrap();
    let [here, copy, earlier] = ["here", "copy", "earlier"].map(|name| directory.path().join(name));
    let repository = open(&here).await;
    ingest(&repository, &noise(1, 300_000)).await;
    mirror(&repository, &copy).await.unwrap();
    put_back(&copy, &earlier);
    ingest(&repository, &noise(2, 300_000)).await;
    mirror(&repository, &copy).await.unwrap();
    put_back(&earlier, &copy);
    mirror(&repository, &copy).await.unwrap();
    gives(&open(&copy).await, &noise(2, 300_000)).await;
    // One of before runs were counted.
    std::fs::write(copy.join("mainstay-mirror.json"), r#"{"version":1,"documents_until":null}"#).unwrap();
    ingest(&repository, &noise(3, 300_000)).await;
    for _ in 0..2 {
        mirror(&repository, &copy).await.unwrap();
    }
    gives(&open(&copy).await, &noise(3, 300_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_broken_off_between_records_lists_nothing_that_it_has_not() {
    let directory = tempfile::tempdir().unwrap();
    let [here, copy] = ["here", "copy"].map(|name| directory.path().join(name));
    let repository = open(&here).await;
    mirror(&repository, &copy).await.unwrap();
    let before = files(&copy, "index").len();
    let first = noise(1, 300_000);
    ingest(&repository, &first).await;
    let first_record = files(&here, "index").into_iter().max().unwrap();
    // What these have in common with the first lies in its pack, which its record lists.
    for more in 2..6 {
        ingest(&repository, &Bytes::from([&first[..], &noise(more, 1000)].concat())).await;
    }
    let blocked = copy.join("index").join(first_record.file_name().unwrap());
    std::fs::create_dir_all(blocked.join("by")).unwrap();
    mirror(&repository, &copy).await.unwrap_err();
    std::fs::remove_dir_all(blocked).unwrap();
    assert_eq!(files(&copy, "index").len(), before, "none of the later ones came before it");

    assert_eq!(mirror(&repository, &copy).await.unwrap().behind.files, 0);
    repository.close().await.unwrap();
    gives(&open(&copy).await, &first).await;
}
