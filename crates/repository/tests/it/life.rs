//! Deduplication, documents, copies, giving room back, and time.

use std::time::Duration;

use bytes::Bytes;
use mainstay_dataplane::{Address, DataPlane, Delete, DeleteError, Deletion, Inventory, Owner, Receipt};
use mainstay_repository::{
    Config, Credentials, DocumentError, Location, MirrorError, OpenError, RecoveryKey, Repository, VerifyOptions,
};

use crate::{config, files, gives, ingest, key, noise, open};

async fn give_up(repository: &Repository, receipt: &Receipt) -> Result<Deletion, DeleteError> {
    let request = Delete { owner: Owner::Backups, address: receipt.address, claim: receipt.claim };
    repository.delete_object(request).await
}

async fn is_whole(repository: &Repository) {
    let report = repository.verify(VerifyOptions::default(), |_| ()).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
}

/// Content in which some bytes differ by their seed, and the rest does not.
fn similar(seed: u64, len: usize) -> Bytes {
    let mut bytes = noise(1, len).to_vec();
    bytes[len / 2..len / 2 + 100].copy_from_slice(&noise(seed, 100));
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_content_takes_little_room() {
    let directory = tempfile::tempdir().unwrap();
    let repository = open(directory.path()).await;
    let len = 40_000_000;
    ingest(&repository, &similar(10, len)).await;
    let first = repository.statistics();
    for seed in 11..15 {
        ingest(&repository, &similar(seed, len)).await;
    }
    let all = repository.statistics();
    assert_eq!((all.contents, all.raw_bytes), (5, 5 * len as u64));
    assert!(all.stored_bytes - first.stored_bytes < first.stored_bytes / 10, "{first:?} {all:?}");
    drop(repository);
    let repository = open(directory.path()).await;
    assert_eq!(repository.statistics().contents, 5);
    for seed in 10..15 {
        gives(&repository, &similar(seed, len)).await;
    }
    is_whole(&repository).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn room_comes_back_and_nothing_in_use_goes() {
    let directory = tempfile::tempdir().unwrap();
    let repository = open(directory.path()).await;
    let mut receipts = Vec::new();
    for seed in 10..20 {
        receipts.push(ingest(&repository, &similar(seed, 3_000_000)).await);
        receipts.push(ingest(&repository, &noise(seed, 2_000_000)).await);
    }
    for (number, receipt) in receipts.iter().enumerate().filter(|(number, _)| *number != 7 && *number != 10) {
        assert_eq!(give_up(&repository, receipt).await, Ok(Deletion::Deleted), "{number}");
    }
    assert!(repository.reclaim().await.unwrap() > 15_000_000);
    assert_eq!(repository.reclaim().await, Ok(0));
    assert_eq!(files(directory.path(), "index").len(), 1, "one summary is left");
    gives(&repository, &noise(13, 2_000_000)).await;
    gives(&repository, &similar(15, 3_000_000)).await;
    is_whole(&repository).await;
    drop(repository);
    let repository = open(directory.path()).await;
    assert_eq!(repository.statistics().contents, 2);
    gives(&repository, &noise(13, 2_000_000)).await;
    gives(&repository, &similar(15, 3_000_000)).await;
    let again = ingest(&repository, &similar(12, 3_000_000)).await;
    assert!(!again.known);
    gives(&repository, &similar(12, 3_000_000)).await;
    let stored: u64 = files(directory.path(), "packs").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(stored < 6_000_000, "{stored} bytes");
}

#[tokio::test]
async fn documents_are_kept_replaced_and_listed() {
    let directory = tempfile::tempdir().unwrap();
    let repository = open(directory.path()).await;
    assert_eq!(repository.documents("points").await.unwrap(), Vec::<String>::new());
    for name in ["b", "a", "c"] {
        repository.put_document("points", name, Bytes::from(format!("{name}1"))).await.unwrap();
    }
    repository.put_document("log/pg", "x", Bytes::new()).await.unwrap();
    repository.put_document("points", "b", Bytes::from_static(b"the second text")).await.unwrap();
    drop(repository);
    let repository = open(directory.path()).await;
    assert_eq!(repository.documents("points").await.unwrap(), ["a", "b", "c"]);
    assert_eq!(repository.documents("log").await.unwrap(), Vec::<String>::new());
    assert_eq!(repository.document("points", "b").await.unwrap().unwrap(), "the second text");
    assert_eq!(repository.document("log/pg", "x").await.unwrap().unwrap(), "");
    assert!(repository.remove_document("points", "b").await.unwrap());
    assert!(!repository.remove_document("points", "b").await.unwrap());
    assert!(repository.document("points", "b").await.unwrap().is_none());
    for (kind, name) in [("points", "../x"), ("..", "x"), ("points", "")] {
        let error = repository.put_document(kind, name, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, DocumentError::Name { .. }), "{error}");
    }
    for path in files(directory.path(), "") {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        assert!(!std::fs::read(&path).unwrap().windows(15).any(|bytes| bytes == b"the second text"));
    }
}

#[tokio::test]
async fn what_is_young_stays() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { immutable_for: Duration::from_secs(3600), ..config(directory.path()) };
    let repository = Repository::create(config, &key()).await.unwrap();
    let receipt = ingest(&repository, &noise(1, 500_000)).await;
    assert_eq!(give_up(&repository, &receipt).await, Ok(Deletion::Kept));
    repository.put_document("points", "a", Bytes::new()).await.unwrap();
    let error = repository.remove_document("points", "a").await.unwrap_err();
    assert!(matches!(error, DocumentError::Immutable { .. }), "{error}");
    repository.reclaim().await.unwrap();
    gives(&repository, &noise(1, 500_000)).await;
    drop(repository);
    let repository = open(directory.path()).await;
    assert_eq!(give_up(&repository, &receipt).await, Ok(Deletion::Deleted));
    assert!(repository.remove_document("points", "a").await.unwrap());
}

#[tokio::test]
async fn opening_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("repository");
    let try_open = async |key: RecoveryKey| Repository::open(config(&place), &key).await.err().unwrap();
    assert!(matches!(try_open(key()).await, OpenError::Absent { .. }));
    std::fs::create_dir(&place).unwrap();
    assert!(matches!(try_open(key()).await, OpenError::Absent { .. }));
    std::fs::write(place.join("something"), "else").unwrap();
    for error in [try_open(key()).await, Repository::open_or_create(config(&place), &key()).await.err().unwrap()] {
        assert!(matches!(&error, OpenError::NotEmpty { found, .. } if found == "something"), "{error}");
    }
    std::fs::remove_file(place.join("something")).unwrap();
    drop(open(&place).await);
    assert!(matches!(Repository::create(config(&place), &key()).await.err().unwrap(), OpenError::Exists { .. }));
    let other = RecoveryKey::draw().unwrap();
    let fingerprints = (other.fingerprint(), key().fingerprint());
    match try_open(other).await {
        OpenError::WrongKey { given, wanted, .. } => assert_eq!((given, wanted), fingerprints),
        error => panic!("{error}"),
    }
    let file = place.join("mainstay-repository.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert!(matches!(try_open(key()).await, OpenError::Format { found: 2, known: 1, .. }));
    std::fs::write(&file, "{").unwrap();
    assert!(matches!(try_open(key()).await, OpenError::Damaged { .. }));
    let password = Credentials::Password { user: "me".into(), password: "hunter2".to_owned().into() };
    let error = Repository::open(Config { credentials: password, ..config(&place) }, &key()).await.err().unwrap();
    assert!(matches!(&error, OpenError::Credentials { .. }) && !format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_follows_and_is_a_repository() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to: Location = there.path().to_str().unwrap().parse().unwrap();
    let repository = open(here.path()).await;
    let first = ingest(&repository, &noise(1, 20_000_000)).await;
    repository.put_document("points", "a", Bytes::from_static(b"a1")).await.unwrap();
    let behind = repository.behind(&to, &Credentials::None).await.unwrap();
    assert!(behind.bytes > 20_000_000 && behind.newest_there.is_none(), "{behind:?}");
    let mirrored = repository.mirror(&to, &Credentials::None, |_| ()).await.unwrap();
    assert!(mirrored.copied_bytes > 20_000_000 && mirrored.behind.files == 0, "{mirrored:?}");
    assert_eq!(mirrored.behind.newest_there.unwrap().name, "points/a");

    // A document that is replaced by one as long, content that is given up, and content that is new.
    repository.put_document("points", "a", Bytes::from_static(b"a2")).await.unwrap();
    repository.put_document("points", "b", Bytes::new()).await.unwrap();
    give_up(&repository, &first).await.unwrap();
    repository.reclaim().await.unwrap();
    ingest(&repository, &noise(2, 3_000_000)).await;
    let mirrored = repository.mirror(&to, &Credentials::None, |_| ()).await.unwrap();
    assert!(mirrored.copied_bytes < 4_000_000 && mirrored.removed_files > 0, "{mirrored:?}");
    let copy = Repository::open(config(there.path()), &key()).await.unwrap();
    assert_eq!(copy.id(), repository.id());
    assert_eq!(copy.statistics().contents, 1);
    gives(&copy, &noise(2, 3_000_000)).await;
    assert_eq!(copy.document("points", "a").await.unwrap().unwrap(), "a2");
    is_whole(&copy).await;

    // What is damaged or lost here is neither copied nor removed there.
    let pack = files(here.path(), "packs").remove(0);
    std::fs::remove_file(&pack).unwrap();
    repository.mirror(&to, &Credentials::None, |_| ()).await.unwrap();
    gives(&copy, &noise(2, 3_000_000)).await;

    // Nor are documents, where the disk that it lies on is not mounted, or has lost them all.
    for lost in ["mainstay-repository.json", "documents"] {
        let (there, aside) = (here.path().join(lost), here.path().join("aside"));
        std::fs::rename(&there, &aside).unwrap();
        let error = repository.mirror(&to, &Credentials::None, |_| ()).await.unwrap_err();
        assert!(matches!(error, MirrorError::Lost { .. }), "{error}");
        assert_eq!(copy.document("points", "a").await.unwrap().unwrap(), "a2");
        std::fs::rename(&aside, &there).unwrap();
    }

    let another = tempfile::tempdir().unwrap();
    drop(open(another.path()).await);
    let to: Location = another.path().to_str().unwrap().parse().unwrap();
    let error = repository.mirror(&to, &Credentials::None, |_| ()).await.unwrap_err();
    assert!(matches!(error, MirrorError::Another { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_do_not_harm_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (open(directory.path()).await, open(directory.path()).await);
    let both = noise(1, 1_000_000);
    ingest(&one, &both).await;
    ingest(&other, &both).await;
    ingest(&one, &noise(2, 300_000)).await;
    let gone = ingest(&other, &noise(3, 300_000)).await;
    give_up(&other, &gone).await.unwrap();
    let error = one.reclaim().await.unwrap_err().to_string();
    assert!(error.contains("writes in the repository"), "{error}");
    other.close().await.unwrap();
    one.reclaim().await.unwrap();
    drop(one);
    let repository = open(directory.path()).await;
    assert_eq!(repository.statistics().contents, 2);
    for content in [&both, &noise(2, 300_000)] {
        gives(&repository, content).await;
    }
    is_whole(&repository).await;
    assert!(
        repository.verify_object(mainstay_dataplane::Verify { address: Address::of(&both), key: None }).await.is_ok()
    );
}
