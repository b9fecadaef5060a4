//! What nobody needs any more goes, and nothing else does.

use std::time::Instant;

use mainstay_control::{Depot, Document, LayerDocument, LayerPart, referred_contents};
use mainstay_dataplane::Address;
use mainstay_domain::command::SetRecoveryPolicy;
use mainstay_domain::event::RecoveryPolicyChanged;
use mainstay_types::Timestamp;

use crate::harness::{Layer, tenant};
use crate::recovery::{MemoryDepot, back_up, put, with_shop};

/// Documents of the test of many, and what each refers to. `MAINSTAY_SWEEP_DOCUMENTS` makes it more.
const DOCUMENTS: usize = 1_000;
const REFERENCES: usize = 10;

/// Keeps so many backups of the shop, and nothing by other rules.
async fn keep(layer: &Layer, last: u32) {
    let policy = RecoveryPolicyChanged {
        keep_last: Some(last),
        keep_daily: Some(0),
        keep_weekly: Some(0),
        keep_monthly: Some(0),
        ..Default::default()
    };
    layer.submit(SetRecoveryPolicy { tenant: tenant(), name: "shop".parse().unwrap(), policy }).await.unwrap();
}

/// Changes something, and backs it up.
async fn back_up_change(layer: &Layer, text: &str) {
    put(layer, "shop", "colour", text);
    layer.succeeded(&back_up(layer, "shop").await).await;
}

/// What the backups that there are refer to, the newest last.
async fn referred(depot: &MemoryDepot, layer: &Layer) -> Vec<Vec<Address>> {
    let mut referred = Vec::new();
    for point in layer.view().points_of(&layer.instance("shop")) {
        let document = depot.get("points", point.id.as_str()).await.unwrap().unwrap();
        referred.push(referred_contents(point.id.as_str(), &document).unwrap());
    }
    referred
}

fn is_kept(depot: &MemoryDepot, addresses: &[Address]) -> bool {
    let shelf = depot.shelf.0.lock().unwrap();
    addresses.iter().all(|address| shelf.contains_key(address))
}

/// How many backups have a document.
fn points(depot: &MemoryDepot) -> usize {
    depot.documents.lock().unwrap().keys().filter(|(kind, _)| kind == "points").count()
}

/// Content that nothing refers to.
fn abandon(depot: &MemoryDepot, text: &str) -> [Address; 1] {
    let address = Address::of(text.as_bytes());
    depot.shelf.0.lock().unwrap().insert(address, 1);
    [address]
}

#[tokio::test]
async fn what_a_removed_backup_alone_referred_to_goes() {
    let (layer, depot) = with_shop().await;
    keep(&layer, 2).await;
    for colour in ["red", "green"] {
        back_up_change(&layer, colour).await;
    }
    let before = referred(&depot, &layer).await;
    let abandoned = abandon(&depot, "nobody's");
    back_up_change(&layer, "blue").await;
    layer.eventually("the oldest goes", || !is_kept(&depot, &before[0])).await;
    layer.eventually("and what nothing referred to", || !is_kept(&depot, &abandoned)).await;
    assert!(is_kept(&depot, &before[1]));
    assert_eq!(depot.names("points").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_damaged_document_keeps_what_it_may_refer_to_and_nothing_else() {
    let (layer, depot) = with_shop().await;
    keep(&layer, 3).await;
    for colour in ["red", "green", "blue"] {
        back_up_change(&layer, colour).await;
    }
    let before = referred(&depot, &layer).await;
    let newest = layer.view().points_of(&layer.instance("shop")).next_back().unwrap().id.clone();
    let damaged = ("points".to_owned(), newest.as_str().to_owned());
    // A control plane that never read it.
    let ground = layer.kill().await;
    let whole = depot.documents.lock().unwrap().insert(damaged.clone(), b"damaged".to_vec()).unwrap();
    let there = abandon(&depot, "there when it was found");
    let layer = ground.start().await;
    back_up_change(&layer, "black").await;
    let name = format!("points/{newest}");
    layer.eventually("it is told", || depot.damaged.lock().unwrap().contains(&name)).await;
    assert!(is_kept(&depot, &before.concat()) && is_kept(&depot, &there), "all of it may be needed");

    let since = abandon(&depot, "has come since");
    back_up_change(&layer, "white").await;
    layer.eventually("what has come since goes", || !is_kept(&depot, &since)).await;
    assert!(is_kept(&depot, &before.concat()) && is_kept(&depot, &there));

    // It is put back from a copy.
    depot.documents.lock().unwrap().insert(damaged, whole);
    back_up_change(&layer, "grey").await;
    layer.eventually("what nobody needs goes", || !is_kept(&depot, &there)).await;
    assert!(!is_kept(&depot, &before[0]) && depot.damaged.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_document_referred_to_is_remembered_when_it_is_damaged_later() {
    let (layer, depot) = with_shop().await;
    keep(&layer, 2).await;
    let first = abandon(&depot, "goes once all documents were read");
    for colour in ["red", "green", "blue"] {
        back_up_change(&layer, colour).await;
    }
    layer.eventually("it was swept", || !is_kept(&depot, &first)).await;
    let before = referred(&depot, &layer).await;
    let newest = layer.view().points_of(&layer.instance("shop")).next_back().unwrap().id.clone();
    depot.documents.lock().unwrap().insert(("points".to_owned(), newest.as_str().to_owned()), Vec::new());
    let abandoned = abandon(&depot, "nobody's");
    back_up_change(&layer, "black").await;
    layer.eventually("the rest is swept", || !is_kept(&depot, &abandoned) && !is_kept(&depot, &before[0])).await;
    assert!(is_kept(&depot, &before[1]), "what it needs is known");
}

#[tokio::test]
async fn a_removal_that_takes_long_keeps_no_backup_waiting() {
    let (layer, depot) = with_shop().await;
    keep(&layer, 1).await;
    let held = depot.removals.clone().lock_owned().await;
    for colour in ["red", "green", "blue", "black"] {
        back_up_change(&layer, colour).await;
    }
    assert_eq!(points(&depot), 4);
    drop(held);
    layer.eventually("the old ones go", || points(&depot) == 1).await;
}

/// Sweeps of many documents, of which the second reads none again.
#[tokio::test]
async fn many_documents_are_read_once() {
    let count = std::env::var("MAINSTAY_SWEEP_DOCUMENTS").map_or(DOCUMENTS, |text| text.parse().unwrap());
    let (layer, depot) = with_shop().await;
    keep(&layer, 1).await;
    let address = |document: usize, part: usize| Address::of(format!("{document} {part}").as_bytes());
    for number in 0..count {
        let part = |part| LayerPart { name: part_name(part), address: address(number, part), size: 1 };
        let document = LayerDocument {
            taken_at: Timestamp::EPOCH,
            version: "1".to_owned(),
            sequence: 0,
            parts: (0..REFERENCES).map(part).collect(),
        };
        depot.put("layer", &format!("d{number:07}"), document.to_bytes()).await.unwrap();
        let mut shelf = depot.shelf.0.lock().unwrap();
        shelf.extend((0..REFERENCES).map(|part| (address(number, part), 1)));
    }
    for round in 0..2 {
        back_up_change(&layer, &format!("a{round}")).await;
        let abandoned = abandon(&depot, &format!("nobody's {round}"));
        let begun = Instant::now();
        back_up_change(&layer, &format!("b{round}")).await;
        layer.eventually("it is swept", || !is_kept(&depot, &abandoned)).await;
        println!("sweep {round} of {count} documents, {} contents: {:?}", count * REFERENCES, begun.elapsed());
    }
    assert!(depot.shelf.0.lock().unwrap().len() >= count * REFERENCES);
    if count > DOCUMENTS {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
    }
}

fn part_name(number: usize) -> String {
    format!("part-{number}")
}
