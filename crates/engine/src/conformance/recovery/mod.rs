//! The suite of engines whose data can be backed up and brought back.
//!
//! Keys are written once and never again, since not every engine can replace what it was given.

mod archive;
mod damage;
mod log;
mod scene;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

pub use self::archive::MemoryArchive;
use self::scene::{Scene, Tenant};
use super::{Delivery, Fixture};
use crate::recovery::{Assertion, Scope, Until};

/// How many keys a writer writes at least while a backup is made.
const LEAST_WRITTEN: usize = 5;
/// The longest that any one operation of the suite may take. The instances are small.
const OPERATION_PATIENCE: Duration = Duration::from_secs(120);

/// What a consumer's data is to the suite: text under keys of small letters and digits.
pub type Contents = BTreeMap<String, String>;

/// What can be done to an engine's data from outside its contract.
#[async_trait]
pub trait RecoveryFixture: Fixture {
    /// Writes text under a key that was never written, as a consumer; it is acknowledged when this returns.
    async fn put(&self, delivery: &Delivery, key: &str, text: &str);

    /// All that a consumer finds, which stays there.
    async fn contents(&self, delivery: &Delivery) -> Contents;

    /// The same, or `None` while the server lets nobody in. Where its sessions can end a moment after it let somebody in, a fixture
    /// says it of its own.
    async fn contents_if_served(&self, delivery: &Delivery) -> Option<Contents> {
        self.connect(delivery).await?;
        Some(self.contents(delivery).await)
    }

    /// Removes all that a consumer has, as a consumer who errs.
    async fn wipe(&self, delivery: &Delivery);

    /// That this text is under this key; none where an owner can assert nothing.
    fn assertion(&self, key: &str, text: &str) -> Option<Assertion>;

    /// Whether a backup is of one moment, so that nothing is in it without all that was acknowledged before.
    fn copies_one_moment(&self) -> bool {
        true
    }

    /// Processes of scratch clusters that live, by name.
    fn scratch_processes(&self) -> Vec<String>;

    /// Directories, accounts, and whatever else scratch clusters have left behind, by name.
    fn scratch_remains(&self) -> Vec<String>;
}

/// Runs the suite. It takes a cluster, which it removes.
pub async fn run(fixture: &dyn RecoveryFixture) {
    let scene = Scene::new(fixture).await;
    let whole_cluster = scene.recovery().scope() == Scope::Cluster;
    let follower = scene.follow_log();

    a_backup_is_made_while_it_is_written_to(&scene).await;
    an_instance_comes_back_alone(&scene).await;
    an_instance_comes_back_under_another_id(&scene).await;
    an_idle_cluster_is_backed_up(&scene).await;
    a_rehearsal_leaves_nothing_behind(&scene).await;
    damage::is_named_and_changes_nothing(&scene).await;
    damage::of_operations_that_are_dropped_is_none(&scene).await;
    if scene.recovery().has_log() {
        log::brings_back_any_moment(&scene).await;
        log::does_not_reach_everywhere(&scene).await;
    }
    assert!(!scene.recovery().has_log() || !follower.is_finished(), "the log is followed throughout");
    follower.abort();
    if whole_cluster {
        a_cluster_comes_back(&scene).await;
    }
    scene.end().await;
}

/// What comes back is what was there at one moment between the backup's beginning and its end.
async fn a_backup_is_made_while_it_is_written_to(scene: &Scene<'_>) {
    let tenant = scene.tenant().await;
    scene.put(&tenant, "early").await;
    let before = scene.contents(&tenant).await;
    let ended = AtomicBool::new(false);
    let back_up = async {
        let backup = scene.back_up(&[&tenant]).await;
        ended.store(true, Ordering::Relaxed);
        backup
    };
    let write = async {
        for number in 0.. {
            if number >= LEAST_WRITTEN && ended.load(Ordering::Relaxed) {
                break;
            }
            scene.put(&tenant, &format!("w{number:06}")).await;
            // An engine in memory never waits.
            tokio::task::yield_now().await;
        }
    };
    let (backup, ()) = futures::join!(back_up, write);
    let after = scene.contents(&tenant).await;
    assert!(backup.began_at <= backup.ended_at, "{backup:?}");
    assert!(!backup.parts.is_empty() && !backup.version.is_empty(), "{backup:?}");
    assert_eq!(backup.engine, scene.engine.offering().engine);

    scene.fixture.wipe(&tenant.delivery).await;
    let restored = scene.restore(&tenant, &tenant, &backup, Until::Backup).await.unwrap();
    assert_eq!(Some(&restored.identity), scene.spec.identity.as_ref());
    let found = scene.contents(&tenant).await;
    assert!(before.iter().all(|(key, text)| found.get(key) == Some(text)), "{before:?} is not all in {found:?}");
    assert!(found.iter().all(|(key, text)| after.get(key) == Some(text)), "{found:?} is not all of {after:?}");
    if scene.fixture.copies_one_moment() {
        let first: Vec<_> = after.keys().take(found.len()).collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), first, "something is missing that is older than what is there");
    }
    scene.remove(tenant).await;
}

/// Its bindings are valid, and nobody else notices.
async fn an_instance_comes_back_alone(scene: &Scene<'_>) {
    let (tenant, other) = (scene.tenant().await, scene.tenant().await);
    scene.put(&tenant, "kept").await;
    scene.put(&other, "theirs").await;
    let wanted = scene.contents(&tenant).await;
    let backup = scene.back_up(&[&tenant, &other]).await;
    scene.put(&tenant, "later").await;
    scene.put(&other, "later").await;
    let theirs = scene.contents(&other).await;
    let mut session = scene.fixture.connect(&other.delivery).await.unwrap();

    for round in ["it is changed", "nothing was changed"] {
        scene.restore(&tenant, &tenant, &backup, Until::Backup).await.unwrap();
        assert_eq!(scene.contents(&tenant).await, wanted, "restored when {round}");
    }
    assert!(session.is_open().await, "sessions of another instance go on");
    assert_eq!(scene.contents(&other).await, theirs, "another instance is as it was");
    scene.is_as_wanted(&[&tenant, &other]).await;
    scene.put(&tenant, "new").await;
    assert_eq!(scene.fixture.scratch_remains(), Vec::<String>::new(), "a restore leaves nothing behind");
    for tenant in [tenant, other] {
        scene.remove(tenant).await;
    }
}

/// What was in one that is gone by now comes back in another one, whose bindings reach it and can change it.
async fn an_instance_comes_back_under_another_id(scene: &Scene<'_>) {
    let gone = scene.tenant().await;
    scene.put(&gone, "kept").await;
    let wanted = scene.contents(&gone).await;
    let backup = scene.back_up(&[&gone]).await;
    let new = scene.tenant().await;
    let id = gone.instance.id.clone();
    scene.remove(gone).await;
    scene.restore_of(&new, &id, &backup, Until::Backup).await.unwrap();
    assert_eq!(scene.contents(&new).await, wanted);
    scene.put(&new, "new").await;
    scene.fixture.wipe(&new.delivery).await;
    assert_eq!(scene.contents(&new).await, Contents::new(), "what came back is its own");
    scene.is_as_wanted(&[&new]).await;
    scene.remove(new).await;
}

/// Nothing that is written later may be needed: nothing is.
async fn an_idle_cluster_is_backed_up(scene: &Scene<'_>) {
    let tenant = scene.tenant().await;
    scene.put(&tenant, "only").await;
    let wanted = scene.contents(&tenant).await;
    for until in [Until::Backup, Until::Latest] {
        let backup = scene.back_up(&[&tenant]).await;
        scene.restore(&tenant, &tenant, &backup, until).await.unwrap();
        assert_eq!(scene.contents(&tenant).await, wanted);
    }
    scene.remove(tenant).await;
}

async fn a_rehearsal_leaves_nothing_behind(scene: &Scene<'_>) {
    let tenant = scene.tenant().await;
    let text = scene.put(&tenant, "asserted").await;
    let backup = scene.back_up(&[&tenant]).await;
    let good: Vec<_> = scene.fixture.assertion("asserted", &text).into_iter().collect();
    let bad: Vec<_> = scene.fixture.assertion("asserted", "something else").into_iter().collect();

    let rehearsal = scene.rehearse(&tenant, &backup, &good).await.unwrap();
    assert!(rehearsal.is_passed(), "{rehearsal:?}");
    assert!(rehearsal.recovery_time > Duration::ZERO);
    assert!(rehearsal.newest <= mainstay_types::Timestamp::now(), "{rehearsal:?}");
    assert!(scene.archive.copied() > 0 && !scene.archive.stages().is_empty(), "progress is told");
    for assertion in &good {
        assert!(rehearsal.checks.iter().any(|check| check.asks(assertion)), "{rehearsal:?}");
    }
    if !bad.is_empty() {
        let rehearsal = scene.rehearse(&tenant, &backup, &bad).await.unwrap();
        let failures: Vec<_> = rehearsal.checks.iter().filter_map(|check| check.failure.as_deref()).collect();
        assert_eq!(failures.len(), 1, "{rehearsal:?}");
        assert!(failures[0].contains(&text) && failures[0].contains("something else"), "{failures:?}");
    }
    assert_eq!(scene.fixture.scratch_processes(), Vec::<String>::new());
    assert_eq!(scene.fixture.scratch_remains(), Vec::<String>::new());
    scene.remove(tenant).await;
}

/// All of it is gone, and all of it comes back: with its identity, on its port, for the bindings that there were.
async fn a_cluster_comes_back(scene: &Scene<'_>) {
    let tenants = [scene.tenant().await, scene.tenant().await];
    for tenant in &tenants {
        scene.put(tenant, "kept").await;
    }
    let wanted = [scene.contents(&tenants[0]).await, scene.contents(&tenants[1]).await];
    let follower = scene.follow_log();
    let backup = scene.back_up(&[&tenants[0], &tenants[1]]).await;
    follower.abort();
    scene.put(&tenants[0], "lost").await;
    scene.fixture.kill(&scene.spec).await;
    scene.engine.ended(&scene.spec).await;

    // A backup that can not be used changes nothing.
    scene.archive.flip_bit(&backup.parts[0].address);
    let error = scene.restore_cluster(&backup, Until::Backup).await.unwrap_err();
    assert!(error.to_string().contains(&backup.parts[0].name), "{error}");
    scene.archive.flip_bit(&backup.parts[0].address);
    scene.engine.start(&scene.spec).await.unwrap();
    assert!(scene.contents(&tenants[0]).await.contains_key("lost"), "the data was put back");

    scene.engine.stop(&scene.spec).await.unwrap();
    scene.fixture.lose_data(&scene.spec).await;
    let restored = scene.restore_cluster(&backup, Until::Backup).await.unwrap();
    assert_eq!(Some(&restored.identity), scene.spec.identity.as_ref());
    scene.engine.start(&scene.spec).await.unwrap();
    for (tenant, wanted) in tenants.iter().zip(&wanted) {
        assert_eq!(scene.contents(tenant).await, *wanted);
    }
    scene.is_as_wanted(&[&tenants[0], &tenants[1]]).await;
    for tenant in tenants {
        scene.put(&tenant, "new").await;
        scene.remove(tenant).await;
    }
}
