//! Backups, restores and drills, driven by the control plane on the fake engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay_control::{Depot, DepotError, Document, PointDocument, draw_id, referred_contents};
use mainstay_dataplane::{DataPlane, Inventory};
use mainstay_domain::command::{
    BackUpInstance, NewInstance, RecordRecovery, RestoreInstance, RestoreTo, RunDrill, SetRecoveryPolicy,
};
use mainstay_domain::event::RecoveryPolicyChanged;
use mainstay_domain::view::{ClusterState, RecoveryState, View};
use mainstay_engine::conformance::recovery::MemoryArchive;
use mainstay_types::{BackupId, InstanceId, OperationId, Plan, Timestamp};
use tokio::sync::RwLock;

use crate::harness::{Ground, Layer, request, tenant};
use crate::shelf::{Shelf, ShelvingPlane};

/// A depot in memory, which outlives the control planes that use it.
#[derive(Default, Clone)]
pub struct MemoryDepot {
    pub archive: MemoryArchive,
    pub documents: Arc<Mutex<Documents>>,
    /// What was kept in it, long enough ago for sweeps to look at.
    pub shelf: Shelf,
    /// What it was last told of documents that can not be read.
    pub damaged: Arc<Mutex<BTreeSet<String>>>,
    /// Whoever holds it keeps documents from being removed meanwhile.
    pub removals: Arc<tokio::sync::Mutex<()>>,
    away: Arc<AtomicBool>,
    /// Whether nothing may be removed yet.
    immutable: Arc<AtomicBool>,
    /// Documents wait while this is held for writing.
    slow: Arc<RwLock<()>>,
}

impl MemoryDepot {
    fn holds(&self, kind: &str, name: &str) -> bool {
        self.documents.lock().unwrap().contains_key(&(kind.to_owned(), name.to_owned()))
    }
}

/// By kind and name.
type Documents = BTreeMap<(String, String), Vec<u8>>;

#[async_trait]
impl Depot for MemoryDepot {
    async fn plane(&self) -> Result<Arc<dyn DataPlane>, DepotError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(DepotError::Unavailable("its disk is not mounted".into()));
        }
        Ok(Arc::new(ShelvingPlane { plane: self.archive.archive().plane, shelf: self.shelf.clone() }))
    }

    async fn inventory(&self) -> Result<Arc<dyn Inventory>, DepotError> {
        Ok(Arc::new(self.shelf.clone()))
    }

    async fn put(&self, kind: &str, name: &str, bytes: Vec<u8>) -> Result<(), DepotError> {
        let _turn = self.slow.read().await;
        self.documents.lock().unwrap().insert((kind.to_owned(), name.to_owned()), bytes);
        Ok(())
    }

    async fn get(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, DepotError> {
        Ok(self.documents.lock().unwrap().get(&(kind.to_owned(), name.to_owned())).cloned())
    }

    async fn names(&self, kind: &str) -> Result<Vec<String>, DepotError> {
        let documents = self.documents.lock().unwrap();
        Ok(documents.keys().filter(|(of, _)| of == kind).map(|(_, name)| name.clone()).collect())
    }

    async fn remove(&self, kind: &str, name: &str) -> Result<bool, DepotError> {
        let _removing = self.removals.lock().await;
        let may_go = !self.immutable.load(Ordering::SeqCst);
        if may_go {
            self.documents.lock().unwrap().remove(&(kind.to_owned(), name.to_owned()));
        }
        Ok(may_go)
    }

    fn tell_damaged(&self, documents: &BTreeSet<String>) {
        documents.clone_into(&mut self.damaged.lock().unwrap());
    }
}

/// A layer with a depot and a ready instance, `shop`, that holds something.
pub async fn with_shop() -> (Layer, MemoryDepot) {
    let depot = MemoryDepot::default();
    let mut ground = Ground::in_memory().await;
    ground.depot = Some(Arc::new(depot.clone()));
    let layer = ground.start().await;
    let operation = layer.create("shop", Plan::Shared).await;
    layer.succeeded(&operation).await;
    put(&layer, "shop", "colour", "blue");
    (layer, depot)
}

pub fn put(layer: &Layer, instance: &str, key: &str, text: &str) {
    let (port, database) = place(layer, instance);
    assert!(layer.fake().put(port, &database, key, text));
}

fn contents(layer: &Layer, instance: &str) -> BTreeMap<String, String> {
    let (port, database) = place(layer, instance);
    layer.fake().contents(port, &database).unwrap()
}

fn place(layer: &Layer, instance: &str) -> (u16, String) {
    let instance = layer.instance(instance);
    (layer.view().cluster(&instance.cluster).unwrap().port, instance.id.suffix().to_owned())
}

pub async fn back_up(layer: &Layer, name: &str) -> OperationId {
    let command = BackUpInstance { request: request(), tenant: tenant(), name: name.parse().unwrap() };
    layer.submit(command).await.unwrap().operation.unwrap()
}

pub async fn drill(layer: &Layer, name: &str) -> OperationId {
    let command = RunDrill { request: request(), tenant: tenant(), name: name.parse().unwrap() };
    layer.submit(command).await.unwrap().operation.unwrap()
}

async fn restore(layer: &Layer, name: &str, at: RestoreTo, to: Option<&str>) -> OperationId {
    let new = to.map(|to| NewInstance {
        name: to.parse().unwrap(),
        id: InstanceId::from_random(draw_id()),
        busy_ports: Default::default(),
    });
    let command = RestoreInstance { request: request(), tenant: tenant(), name: name.parse().unwrap(), at, new };
    layer.submit(command).await.unwrap().operation.unwrap()
}

fn state(layer: &Layer, name: &str) -> RecoveryState {
    let instance = layer.instance(name);
    instance.recovery.state(layer.view().points_of(&instance).next().is_some(), Timestamp::now())
}

#[tokio::test]
async fn what_is_backed_up_is_proven_and_comes_back() {
    let (layer, _depot) = with_shop().await;
    assert_eq!(state(&layer, "shop"), RecoveryState::Unprotected);
    layer.succeeded(&back_up(&layer, "shop").await).await;
    assert_eq!(state(&layer, "shop"), RecoveryState::Unproven);
    layer.succeeded(&drill(&layer, "shop").await).await;
    assert_eq!(state(&layer, "shop"), RecoveryState::Proven);

    let newest = layer.view().points_of(&layer.instance("shop")).next_back().unwrap().id.clone();
    put(&layer, "shop", "colour", "red");
    layer.succeeded(&restore(&layer, "shop", RestoreTo::Backup(newest.clone()), Some("copy")).await).await;
    assert_eq!((&contents(&layer, "shop")["colour"][..], &contents(&layer, "copy")["colour"][..]), ("red", "blue"));
    layer.succeeded(&restore(&layer, "shop", RestoreTo::Backup(newest), None).await).await;
    assert_eq!(contents(&layer, "shop")["colour"], "blue");
}

#[tokio::test]
async fn work_can_be_watched() {
    let (layer, depot) = with_shop().await;
    let doing = |id| layer.control.doing(layer.view().operation(&id).unwrap());
    for (size, expected) in [("small", false), ("large", true)] {
        put(&layer, "shop", size, &size.repeat(100));
        let hold = depot.slow.write().await;
        let operation = back_up(&layer, "shop").await;
        layer
            .eventually("the data is copied", || {
                doing(operation.clone()).is_some_and(|doing| !doing.stage.is_empty() && doing.bytes_done > 0)
            })
            .await;
        assert_eq!(doing(operation.clone()).unwrap().bytes_expected.is_some(), expected, "by the backup before it");
        drop(hold);
        layer.succeeded(&operation).await;
        layer.eventually("nothing is done any more", || doing(operation.clone()).is_none()).await;
    }
}

/// Loses the data of the cluster of `shop`, of which all that was written is in the log.
async fn lose_cluster(layer: &Layer) {
    let (shop, written) = (layer.instance("shop"), Timestamp::now());
    let logged = || layer.control.latest_recovery_point(&shop).is_some_and(|latest| latest >= written);
    layer.eventually("the log has come so far", logged).await;
    layer.fake().lose_data(&shop.cluster);
    layer.until("it has failed", clusters_are(ClusterState::Failed)).await;
}

fn clusters_are(state: ClusterState) -> impl Fn(&View) -> bool {
    move |view| view.clusters().all(|cluster| cluster.state == state)
}

#[tokio::test]
async fn a_cluster_whose_data_is_gone_is_laid_out_anew() {
    let (layer, _depot) = with_shop().await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    put(&layer, "shop", "size", "large");
    lose_cluster(&layer).await;
    layer.succeeded(&restore(&layer, "shop", RestoreTo::Latest, None).await).await;
    let found = contents(&layer, "shop");
    assert_eq!((&found["colour"][..], &found["size"][..]), ("blue", "large"));
    layer.until("it serves", clusters_are(ClusterState::Ready)).await;
}

#[tokio::test]
async fn what_is_lost_just_after_it_has_moved_comes_back_from_where_it_was() {
    let (layer, _depot) = with_shop().await;
    layer.succeeded(&layer.create("blog", Plan::Dedicated).await).await;
    put(&layer, "blog", "title", "old");
    layer.succeeded(&back_up(&layer, "blog").await).await;
    layer.succeeded(&layer.relocate("blog").await).await;
    let cluster = layer.instance("blog").cluster.clone();
    layer.fake().lose_data(&cluster);
    layer
        .until("it has failed", |view| view.cluster(&cluster).is_some_and(|found| found.state == ClusterState::Failed))
        .await;
    assert_eq!(layer.control.reachable(&layer.instance("blog")).await.spans.len(), 1);
    layer.succeeded(&restore(&layer, "blog", RestoreTo::Latest, None).await).await;
    assert_eq!(contents(&layer, "blog")["title"], "old");
    layer.until("it serves", clusters_are(ClusterState::Ready)).await;
}

#[tokio::test]
async fn one_of_a_lost_cluster_goes_back_and_the_others_do_not() {
    let (layer, _depot) = with_shop().await;
    layer.succeeded(&layer.create("blog", Plan::Shared).await).await;
    put(&layer, "blog", "title", "old");
    layer.succeeded(&back_up(&layer, "shop").await).await;
    let oldest = layer.view().points_of(&layer.instance("shop")).next().unwrap().id.clone();
    put(&layer, "shop", "colour", "red");
    layer.succeeded(&back_up(&layer, "shop").await).await;
    put(&layer, "blog", "title", "new");
    lose_cluster(&layer).await;
    layer.succeeded(&restore(&layer, "shop", RestoreTo::Backup(oldest), None).await).await;
    assert_eq!(contents(&layer, "shop")["colour"], "blue");
    assert_eq!(contents(&layer, "blog")["title"], "new", "nobody asked for it to go back");
    layer.until("it serves", clusters_are(ClusterState::Ready)).await;
}

#[tokio::test]
async fn what_may_not_be_removed_yet_is_known_as_long_as_it_is_there() {
    let (layer, depot) = with_shop().await;
    depot.immutable.store(true, Ordering::SeqCst);
    let policy = RecoveryPolicyChanged {
        keep_last: Some(1),
        keep_daily: Some(0),
        keep_weekly: Some(0),
        keep_monthly: Some(0),
        ..Default::default()
    };
    let (tenant, name) = (tenant(), "shop".parse().unwrap());
    layer.submit(SetRecoveryPolicy { tenant, name, policy }).await.unwrap();
    layer.succeeded(&back_up(&layer, "shop").await).await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    let known = |layer: &Layer| layer.view().points_of(&layer.instance("shop")).count();
    assert_eq!((known(&layer), depot.names("points").await.unwrap().len()), (3, 3));

    let ground = layer.kill().await;
    depot.immutable.store(false, Ordering::SeqCst);
    let layer = ground.start().await;
    layer.eventually("what no rule keeps is gone", || known(&layer) == 1).await;
    assert_eq!(depot.names("points").await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_can_not_be_kept_or_read_says_why() {
    let (layer, depot) = with_shop().await;
    depot.away.store(true, Ordering::SeqCst);
    let (code, detail) = layer.failed(&back_up(&layer, "shop").await).await;
    assert_eq!(code, "backup_failed");
    assert!(detail.contains("its disk is not mounted"), "{detail}");
    depot.away.store(false, Ordering::SeqCst);
    layer.succeeded(&back_up(&layer, "shop").await).await;

    let names = depot.names("points").await.unwrap();
    let document = depot.get("points", &names[0]).await.unwrap().unwrap();
    depot.archive.flip_bit(&referred_contents(&names[0], &document).unwrap()[0]);
    assert_eq!(layer.failed(&drill(&layer, "shop").await).await.0, "drill_failed");
    assert_eq!(state(&layer, "shop"), RecoveryState::Failed);
    assert_eq!(layer.failed(&restore(&layer, "shop", RestoreTo::Latest, None).await).await.0, "restore_failed");
    assert_eq!(contents(&layer, "shop")["colour"], "blue", "it is what it was");
    layer.succeeded(&back_up(&layer, "shop").await).await;
    layer.succeeded(&drill(&layer, "shop").await).await;
    assert_eq!(state(&layer, "shop"), RecoveryState::Proven);
}

#[tokio::test]
async fn a_backup_that_is_not_in_the_repository_any_more_protects_nobody() {
    let (layer, depot) = with_shop().await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    let ground = layer.kill().await;
    let gone = depot.names("points").await.unwrap().remove(0);
    depot.documents.lock().unwrap().remove(&("points".to_owned(), gone.clone()));
    let layer = ground.start().await;
    let known = || layer.view().points_of(&layer.instance("shop")).map(|point| point.id.clone()).collect::<Vec<_>>();
    layer.eventually("it does not count", || known().len() == 1).await;
    assert_ne!(known()[0].as_str(), gone);
    layer.succeeded(&drill(&layer, "shop").await).await;

    let ground = layer.kill().await;
    depot.documents.lock().unwrap().retain(|(kind, _), _| kind != "points");
    let layer = ground.start().await;
    layer.eventually("it is unprotected", || state(&layer, "shop") == RecoveryState::Unprotected).await;
}

#[tokio::test]
async fn work_goes_on_after_the_control_plane_was_killed() {
    let (layer, depot) = with_shop().await;
    let mut held = layer.fake().hold(mainstay_engine::fake::Operation::BackUp);
    let operation = back_up(&layer, "shop").await;
    held.reached(1).await;
    let ground = layer.kill().await;
    drop(held);
    let layer = ground.start().await;
    layer.succeeded(&operation).await;
    assert_eq!(depot.names("points").await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_damaged_piece_does_not_end_the_following_of_a_log() {
    let (layer, depot) = with_shop().await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    let logged_since = |layer: &Layer, moment: Timestamp| {
        let shop = layer.instance("shop");
        layer.control.latest_recovery_point(&shop).is_some_and(|latest| latest >= moment)
    };
    put(&layer, "shop", "size", "large");
    let written = Timestamp::now();
    layer.eventually("the log is followed", || logged_since(&layer, written)).await;
    let ground = layer.kill().await;
    for ((kind, _), document) in depot.documents.lock().unwrap().iter_mut() {
        if kind.starts_with("log-") {
            document.clear();
        }
    }
    let layer = ground.start().await;
    put(&layer, "shop", "size", "small");
    let written = Timestamp::now();
    layer.succeeded(&back_up(&layer, "shop").await).await;
    layer.eventually("it is followed again", || logged_since(&layer, written)).await;
    layer.succeeded(&drill(&layer, "shop").await).await;
}

#[tokio::test]
async fn a_backup_that_the_journal_does_not_know_is_adopted_or_left_for_now() {
    let (layer, depot) = with_shop().await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    let names = depot.names("points").await.unwrap();
    let bytes = depot.get("points", &names[0]).await.unwrap().unwrap();
    let known = PointDocument::from_bytes(&names[0], &bytes).unwrap();
    let put = async |change: &dyn Fn(&mut PointDocument)| {
        let mut point = PointDocument { id: BackupId::from_random(draw_id()), ..known.clone() };
        change(&mut point);
        depot.put("points", point.id.as_str(), point.to_bytes()).await.unwrap();
        point.id
    };
    let days_ago = |days: i64| Timestamp::from_micros(Timestamp::now().as_micros() - days * 24 * 3_600 * 1_000_000);
    let nobodys = |point: &mut PointDocument| point.instances[0].id = InstanceId::from_random(draw_id());
    // Its event was not written any more; it is of nobody who is there, as those of a repository that was taken over are, however old
    // they are; of a past that was left.
    layer.submit(RecordRecovery { until: Some(days_ago(3)) }).await.unwrap();
    let ground = layer.kill().await;
    let lately = put(&|point| nobodys(point)).await;
    let left = put(&|point| point.backup.ended_at = days_ago(2)).await;
    let long_gone = put(&|point| {
        nobodys(point);
        point.backup.ended_at = days_ago(31);
    })
    .await;
    let lost = put(&|point| point.backup.ended_at = Timestamp::now().plus_seconds(1)).await;
    let layer = ground.start().await;
    layer.until("the journal knows what it can", |view| view.point(&lost).is_some()).await;
    let view = layer.view();
    let unknown = [&lately, &left, &long_gone];
    assert!(unknown.iter().all(|id| view.point(id).is_none() && depot.holds("points", id.as_str())));
    // When they were found is known after any restart.
    let found = |view: &View| unknown.map(|id| view.orphaned_at(id));
    layer.until("they are nobody's", |view| found(view).iter().all(Option::is_some)).await;
    let since = found(&layer.view());
    let layer = layer.kill().await.start().await;
    assert_eq!(found(&layer.view()), since);
}
