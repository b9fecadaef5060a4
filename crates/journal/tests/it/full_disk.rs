//! A disk that is full: a small file system in memory, mounted for one test.

use std::path::Path;

use mainstay_journal::SubmitError;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::traffic::life;
use crate::{append, bytes, check_whole, directory, open};

struct SmallDisk<'a>(&'a Path);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_comes_and_keeps_what_is_there() {
    let path = tempfile::tempdir().unwrap();
    if let Err(error) = mount("tmpfs", path.path(), "tmpfs", MountFlags::empty(), c"size=2M") {
        eprintln!("SKIPPED: a tmpfs cannot be mounted here ({error}); run this test as root");
        return;
    }
    let disk = SmallDisk(path.path());
    let place = directory(disk.0);
    let journal = open(&place).await.unwrap();
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 512 << 10]).unwrap();
    let mut lives = 0..;
    let error = loop {
        if let Err(error) = append(&journal, lives.by_ref().take(10).flat_map(life).collect()).await {
            break error;
        }
    };
    assert!(matches!(error, SubmitError::Full(_)), "{error:?}");
    let view = bytes(&journal.view());
    check_whole(&journal).await;
    let again = append(&journal, (1_000_000..1_000_020).flat_map(life).collect()).await;
    assert!(matches!(again, Err(SubmitError::Full(_))), "{again:?}");
    assert_eq!(bytes(&journal.view()), view);

    std::fs::remove_file(&ballast).unwrap();
    append(&journal, life(1_000_000)).await.unwrap();
    let view = bytes(&journal.view());
    journal.close().await;
    let journal = open(&place).await.unwrap();
    assert_eq!(bytes(&journal.view()), view);
    check_whole(&journal).await;
    journal.close().await;
}
