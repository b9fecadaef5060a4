//! A disk without room.

use mainstay_custody::{RecordError, WriteError};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use secrecy::SecretString;

use crate::{get, on_disk, path, put};

/// A small file system in memory, mounted for one test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        match mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), c"size=1048576") {
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
async fn a_full_disk_is_said_and_costs_no_secret() {
    let Some(disk) = SmallDisk::mount() else { return };
    let custody = on_disk(disk.0.path()).await;
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![0u8; 256 << 10]).unwrap();
    let secret = SecretString::from("x".repeat(20_000));
    let mut kept = 0;
    let error = loop {
        match custody.put(&path(&format!("a/{kept}")), &secret).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RecordError::Write { source: WriteError::Full { .. }, .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("xxx"));
    assert!(kept > 1);
    assert_eq!(get(&custody, "a/0").await.map(|secret| secret.len()), Some(20_000));
    assert_eq!(get(&custody, &format!("a/{kept}")).await, None);
    std::fs::remove_file(&ballast).unwrap();
    put(&custody, "b", "there is room again").await;
    assert_eq!(get(&custody, "b").await.as_deref(), Some("there is room again"));
}
