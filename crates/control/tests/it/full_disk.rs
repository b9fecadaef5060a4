//! Disks that fill up: small file systems in memory, mounted for one test each.

use std::path::Path;

use mainstay_control::SubmitError;
use mainstay_engine::fake::Operation;
use mainstay_journal::SubmitError as JournalError;
use mainstay_storage::Location;
use mainstay_types::{Plan, Role, TenantScope};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::harness::{Ground, bind, create, user};

pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub fn mount(size: &std::ffi::CStr) -> Option<Self> {
        let path = tempfile::tempdir().unwrap();
        if let Err(error) = mount("tmpfs", path.path(), "tmpfs", MountFlags::empty(), size) {
            eprintln!("SKIPPED: a tmpfs cannot be mounted here ({error}); run this test as root");
            return None;
        }
        Some(Self(path))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path(), UnmountFlags::DETACH).unwrap();
    }
}

/// The engine has done its part and the journal can not take it: the step is repeated until it can.
#[tokio::test]
async fn an_outcome_that_can_not_be_recorded_is_recorded_later() {
    let Some(disk) = SmallDisk::mount(c"size=2M") else { return };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 512 << 10]).unwrap();
    let layer = Ground::at(&Location::Directory(disk.path().to_owned())).await.start().await;
    let binding = layer.bound("shop").await;
    let mut hold = layer.fake().hold(Operation::Provision);
    let operation = layer.create("next", Plan::Shared).await;
    hold.reached(1).await;
    let refused = loop {
        if let Err(error) =
            layer.control.create_token(user(), TenantScope::Any, Role::Viewer, TenantScope::Any, None).await
        {
            break error;
        }
    };
    assert!(matches!(refused, SubmitError::Journal(JournalError::Full(_))), "{refused:?}");
    let full = layer.view();
    drop(hold);
    let provisioned = || layer.fake().calls().iter().filter(|(call, _)| *call == Operation::Provision).count();
    let id = layer.instance("next").id.clone();
    layer.eventually("the step is repeated", || provisioned() >= 4).await;
    let trouble = layer.control.trouble_with(&id).unwrap();
    assert!(trouble.starts_with("the outcome could not be recorded"), "{trouble}");
    assert_eq!(layer.view(), full, "nothing is half-done");
    assert!(layer.connects(&binding).await, "what was there goes on working");
    layer.check_journal().await;

    std::fs::remove_file(&ballast).unwrap();
    layer.succeeded(&operation).await;
    let (binding, operation) = layer.bind("next", 3600).await;
    layer.succeeded(&operation).await;
    assert!(layer.connects(&binding).await);
    layer.check_journal().await;

    // The same holds for whoever opens the journal next.
    let view = layer.view();
    let layer = layer.kill().await.start().await;
    assert_eq!(layer.view(), view);
    assert!(layer.connects(&binding).await);
    layer.control.journal().close().await;
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_what_frees_room_only() {
    let Some(disk) = SmallDisk::mount(c"size=40M") else { return };
    let mut ground = Ground::in_memory().await;
    ground.data_dir = Some(disk.path().to_owned());
    let layer = ground.start().await;
    let binding = layer.bound("shop").await;
    let (other, operation) = layer.bind("shop", 3600).await;
    layer.succeeded(&operation).await;

    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 16 << 20]).unwrap();
    let create_token = layer.control.create_token(user(), TenantScope::Any, Role::Viewer, TenantScope::Any, None);
    for refused in [
        layer.submit(create("next", Plan::Shared)).await.err(),
        layer.submit(bind("shop", 3600)).await.err(),
        create_token.await.err(),
    ] {
        let Some(SubmitError::ReserveReached { path, free }) = refused else { panic!("{refused:?}") };
        assert_eq!(path, disk.path());
        assert!(free < 32 << 20, "{free}");
    }
    // What the layer itself finds out is recorded, and what frees room is let through.
    layer.fake().end_process(&crate::harness::shared(), "it was killed by signal 9");
    layer.event("v1.engine.restarted").await;
    assert!(layer.connects(&binding).await);
    layer.succeeded(&layer.unbind(&other).await).await;
    layer.succeeded(&layer.delete("shop", true).await).await;

    std::fs::remove_file(&ballast).unwrap();
    layer.succeeded(&layer.create("next", Plan::Shared).await).await;
}
