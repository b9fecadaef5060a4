//! Drills: one at a time, never at the cost of those who serve, and with evidence of each.

use mainstay_control::{EvidenceAsked, EvidenceError, EvidencePage};
use mainstay_custody::SecretPath;
use mainstay_domain::command::{CreateInstance, SetRecoveryPolicy};
use mainstay_domain::event::RecoveryPolicyChanged;
use mainstay_engine::fake::Operation;
use mainstay_evidence::{PublicKey, Statement};
use mainstay_types::{ASSERTIONS_PARAMETER, Assertion, Parameters, Plan, Timestamp};

use crate::full_disk::SmallDisk;
use crate::harness::{Ground, Layer, create, tenant, user};
use crate::recovery::{MemoryDepot, back_up, drill, put, with_shop};

fn everything() -> EvidenceAsked {
    EvidenceAsked { tenant: tenant(), instance: None, since: None, until: None, after: 0, limit: 1000 }
}

async fn evidence(layer: &Layer, asked: &EvidenceAsked) -> EvidencePage {
    layer.control.drill_evidence(asked).await.unwrap()
}

async fn statements(layer: &Layer) -> Vec<Statement> {
    let keys = layer.control.evidence_keys().await.unwrap();
    let keys: Vec<_> = keys.iter().map(|key| PublicKey::from_bytes(key.public_key)).collect();
    let page = evidence(layer, &everything()).await;
    page.evidence.iter().map(|evidence| evidence.open(&keys).unwrap()).collect()
}

async fn assert_that(layer: &Layer, pairs: &[(&str, &str)]) {
    let assertion = |(query, expect): &(&str, &str)| Assertion { query: (*query).into(), expect: (*expect).into() };
    let assertions = pairs.iter().map(assertion).collect();
    let policy = RecoveryPolicyChanged { assertions, ..Default::default() };
    layer.submit(SetRecoveryPolicy { tenant: tenant(), name: "shop".parse().unwrap(), policy }).await.unwrap();
}

#[tokio::test]
async fn evidence_says_what_was_tried_and_what_came_of_it() {
    let (layer, _) = with_shop().await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    layer.succeeded(&drill(&layer, "shop").await).await;
    assert_that(&layer, &[("colour", "blue"), ("colour", "red")]).await;
    layer.event("v1.drill.failed").await;

    let events = layer.events().await;
    let said = statements(&layer).await;
    let [passed, failed] = &said[..] else { panic!("{said:?}") };
    let event = events.iter().find(|event| event.kind == "v1.drill.passed").unwrap();
    let (drill, shop) = (&passed.predicate, layer.instance("shop"));
    assert_eq!((drill.journal.sequence, &drill.journal.digest), (event.sequence, &event.digest().to_string()));
    assert_eq!(drill.journal.previous, events[event.sequence as usize - 2].digest().to_string());
    assert_eq!(drill.journal.layer, events[0].digest().to_string());
    assert_eq!(
        (drill.instance.id.clone(), drill.instance.contract.as_deref()),
        (shop.id.to_string(), Some("postgresql/v1"))
    );
    let point = layer.view().points_of(&shop).next().unwrap().clone();
    let shown = drill.recovery_point.as_ref().unwrap();
    assert_eq!((&shown.id, shown.ended_at.clone().unwrap()), (&point.id.to_string(), point.ended_at.to_string()));
    assert_eq!(passed.subject.len() as u64, shown.parts.unwrap() + 1);
    assert_eq!(passed.subject[1].digest.sha256.as_ref().unwrap().len(), 64);
    assert!(drill.measured.rto_milliseconds.is_some() && drill.measured.rpo_milliseconds.is_some());
    assert_eq!((drill.result.as_str(), drill.assertions.len(), drill.checks[0].name.as_str()), ("passed", 0, "opens"));

    let met: Vec<_> = failed.predicate.assertions.iter().map(|asked| (asked.expected.as_str(), asked.met)).collect();
    assert_eq!(met, [("blue", Some(true)), ("red", Some(false))]);
    assert!(failed.predicate.reason.as_ref().unwrap().contains("\"red\""));
    assert!(failed.predicate.measured.rto_milliseconds.is_some(), "it came back, and was not what it should be");
}

#[tokio::test]
async fn the_same_journal_has_the_same_evidence() {
    let (layer, _) = with_shop().await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    for _ in 0..3 {
        layer.succeeded(&drill(&layer, "shop").await).await;
    }
    let all = evidence(&layer, &everything()).await;
    layer.control.rotate_evidence_key(user()).await.unwrap();
    layer.succeeded(&drill(&layer, "shop").await).await;
    let layer = layer.kill().await.start().await;
    let more = evidence(&layer, &everything()).await;
    assert_eq!(more.evidence[..3], all.evidence[..], "whatever happened since, and whoever asks");
    let key_of = |at: usize| &more.evidence[at].signatures[0].keyid;
    assert!(key_of(2) != key_of(3) && statements(&layer).await.len() == 4, "with two keys");

    let mut paged = Vec::new();
    let mut asked = EvidenceAsked { limit: 3, ..everything() };
    loop {
        let page = evidence(&layer, &asked).await;
        paged.extend(page.evidence);
        let Some(next) = page.next else { break };
        asked.after = next;
    }
    assert_eq!(paged, more.evidence);

    let second: Timestamp = statements(&layer).await[1].predicate.ended_at.parse().unwrap();
    let since = EvidenceAsked { since: Some(second), ..everything() };
    let until = EvidenceAsked { until: Some(second), ..everything() };
    assert_eq!((evidence(&layer, &since).await.evidence, evidence(&layer, &until).await.evidence).0.len(), 3);
    assert_eq!(evidence(&layer, &until).await.evidence, more.evidence[..1]);
    let stranger = EvidenceAsked { tenant: "other".parse().unwrap(), ..everything() };
    let nobody = EvidenceAsked { instance: Some("blog".parse().unwrap()), ..everything() };
    assert_eq!(evidence(&layer, &stranger).await, EvidencePage { evidence: Vec::new(), next: None });
    assert_eq!(evidence(&layer, &nobody).await.evidence, []);

    layer.succeeded(&layer.delete("shop", true).await).await;
    assert_eq!(evidence(&layer, &everything()).await, more, "it is evidence of what was");
}

#[tokio::test]
async fn a_key_that_is_lost_is_not_made_anew() {
    let (layer, _) = with_shop().await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    layer.succeeded(&drill(&layer, "shop").await).await;
    let before = evidence(&layer, &everything()).await;
    let path: SecretPath = "evidence-key/1".parse().unwrap();
    let secret = layer.ground.custody.get(&path).await.unwrap().unwrap();
    layer.ground.custody.delete(&path).await.unwrap();
    let refused = layer.control.drill_evidence(&everything()).await.unwrap_err();
    assert!(matches!(refused, EvidenceError::KeyGone { number: 1 }), "{refused:?}");
    layer.ground.custody.put(&path, &"another".into()).await.unwrap();
    let refused = layer.control.drill_evidence(&everything()).await.unwrap_err();
    assert!(matches!(refused, EvidenceError::KeyGone { number: 1 }), "{refused:?}");
    layer.ground.custody.put(&path, &secret).await.unwrap();
    assert_eq!(evidence(&layer, &everything()).await, before);
}

#[tokio::test]
async fn assertions_that_an_instance_is_made_with_are_asked() {
    let (layer, _) = with_shop().await;
    let set = |text: &str| -> Parameters { [(ASSERTIONS_PARAMETER.to_owned(), text.to_owned())].into_iter().collect() };
    let made = CreateInstance { parameters: set("title => old"), ..create("blog", Plan::Shared) };
    layer.succeeded(&layer.submit(made).await.unwrap().operation.unwrap()).await;
    put(&layer, "blog", "title", "new");
    layer.succeeded(&back_up(&layer, "blog").await).await;
    let (code, detail) = layer.failed(&drill(&layer, "blog").await).await;
    assert_eq!(code, "drill_failed");
    assert!(detail.contains("assertion title: it is \"new\" and not \"old\""), "{detail}");
}

#[tokio::test]
async fn one_drill_goes_on_at_a_time_and_keeps_nobody_from_work() {
    let (layer, _) = with_shop().await;
    for name in ["blog", "wiki"] {
        layer.succeeded(&layer.create(name, Plan::Shared).await).await;
    }
    layer.succeeded(&back_up(&layer, "shop").await).await;
    let mut held = layer.fake().hold(Operation::Rehearse);
    let mut drills = Vec::new();
    for name in ["shop", "blog", "wiki"] {
        drills.push(drill(&layer, name).await);
    }
    held.reached(1).await;
    layer.succeeded(&back_up(&layer, "blog").await).await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    let begun = layer.fake().calls().iter().filter(|(call, _)| *call == Operation::Rehearse).count();
    assert_eq!(begun, 1);
    drop(held);
    for drill in drills {
        layer.succeeded(&drill).await;
    }
}

async fn with_disk(disk: &SmallDisk) -> Layer {
    let mut ground = Ground::in_memory().await;
    ground.depot = Some(std::sync::Arc::new(MemoryDepot::default()));
    ground.data_dir = Some(disk.path().to_owned());
    let layer = ground.start().await;
    layer.succeeded(&layer.create("shop", Plan::Shared).await).await;
    layer.succeeded(&back_up(&layer, "shop").await).await;
    layer
}

#[tokio::test]
async fn a_drill_for_which_there_is_no_room_is_not_begun() {
    let Some(disk) = SmallDisk::mount(c"size=160M") else { return };
    let layer = with_disk(&disk).await;
    let (code, detail) = layer.failed(&drill(&layer, "shop").await).await;
    assert_eq!(code, "drill_failed");
    assert!(detail.contains("left to those who serve; make room there"), "{detail}");
    assert!(!layer.fake().calls().iter().any(|(call, _)| *call == Operation::Rehearse));
    assert_eq!(statements(&layer).await[0].predicate.reason.as_ref(), Some(&detail));
}

#[tokio::test]
async fn a_drill_that_fills_the_disk_is_ended() {
    let Some(disk) = SmallDisk::mount(c"size=240M") else { return };
    let layer = with_disk(&disk).await;
    let mut held = layer.fake().hold(Operation::Rehearse);
    let operation = drill(&layer, "shop").await;
    held.reached(1).await;
    std::fs::write(disk.path().join("ballast"), vec![0; 190 << 20]).unwrap();
    let (code, detail) = layer.failed(&operation).await;
    assert_eq!(code, "drill_failed");
    assert!(detail.contains("was filling up"), "{detail}");
    let cleared = layer.fake().calls().iter().filter(|(call, _)| *call == Operation::ClearScratch).count();
    assert_eq!(cleared, 2, "at the start, and after it");
    std::fs::remove_file(disk.path().join("ballast")).unwrap();
    drop(held);
    layer.succeeded(&drill(&layer, "shop").await).await;
}
