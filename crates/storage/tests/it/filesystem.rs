//! Files: their modes, damage, and a disk that is full.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mainstay_storage::{Location, OpenError, Service, Statement, Store, WriteError};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::SCHEMA;

async fn open(directory: &Path) -> Result<Store, OpenError> {
    Store::open(&Location::Directory(directory.to_owned()), Service::Journal, &SCHEMA).await
}

fn put(id: i64, bytes: usize) -> Statement {
    Statement::new("INSERT INTO notes (id, body) VALUES ($1, $2)", [id.into(), vec![7u8; bytes].into()])
}

async fn count(store: &Store) -> i64 {
    store.read(Statement::new("SELECT count(*) FROM notes", [])).await.unwrap()[0].integer(0).unwrap()
}

#[tokio::test]
async fn files_belong_to_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    store.write(vec![put(1, 10)]).await.unwrap();
    let modes =
        |name: &str| std::fs::metadata(directory.path().join(name)).map(|file| file.permissions().mode() & 0o777);
    for name in ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"] {
        assert_eq!(modes(name).unwrap(), 0o600, "{name}");
    }
    store.close().await;
    assert!(modes("journal.sqlite-wal").is_err(), "a closed store is one file");
}

#[tokio::test]
async fn a_directory_that_is_missing_or_a_file_that_is_no_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let missing = open(&directory.path().join("missing")).await;
    assert!(matches!(missing, Err(OpenError::Unavailable { .. })));
    std::fs::write(directory.path().join("journal.sqlite"), "not a database, but long enough to look at".repeat(50))
        .unwrap();
    let Err(error) = open(directory.path()).await else { panic!("this is no store") };
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn damage_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    store.write((0..200).map(|id| put(id, 1000)).collect()).await.unwrap();
    store.close().await;
    let path = directory.path().join("journal.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let store = open(directory.path()).await.unwrap();
    let error = store.read(Statement::new("SELECT id, body FROM notes", [])).await.unwrap_err();
    assert!(matches!(error, mainstay_storage::ReadError::Corrupt { .. }), "{error:?}");
}

/// A small file system in memory, mounted for one test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: usize) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        match mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), &*options) {
            Ok(()) => Some(Self(directory)),
            Err(error) => {
                eprintln!("SKIPPED: a tmpfs cannot be mounted here ({error}); run this test as root");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_damages_nothing() {
    let Some(disk) = SmallDisk::mount(2 << 20) else { return };
    let directory = disk.0.path();
    let store = open(directory).await.unwrap();
    let ballast = directory.join("ballast");
    std::fs::write(&ballast, vec![0u8; 512 << 10]).unwrap();
    let mut stored = 0;
    let error = loop {
        match store.write(vec![put(2 * stored, 20_000), put(2 * stored + 1, 20_000)]).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, WriteError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("the storage of journal is full; make room"), "{error}");
    assert!(stored > 3);
    assert_eq!(count(&store).await, 2 * stored, "reads go on, and nothing half is seen");
    assert!(matches!(store.write(vec![put(-1, 20_000)]).await, Err(WriteError::Full { .. })));

    std::fs::remove_file(&ballast).unwrap();
    store.write(vec![put(-1, 20_000)]).await.unwrap();
    assert_eq!(count(&store).await, 2 * stored + 1, "writes go on by themselves when there is room");
    store.close().await;
    let store = open(directory).await.unwrap();
    assert_eq!(count(&store).await, 2 * stored + 1);
    let check = store.read(Statement::new("SELECT integrity_check FROM pragma_integrity_check", [])).await.unwrap();
    assert_eq!(check[0].text(0).unwrap(), "ok");
}
