//! Drills: when they come due, what their owner asserts, and what evidence of them is signed with.

use std::collections::BTreeSet;

use mainstay_domain::command::{CreateInstance, DrillDone, IntroduceEvidenceKey, SetRecoveryPolicy};
use mainstay_domain::event::{DrillFailed, RecoveryPolicyChanged};
use mainstay_domain::plan::{Work, plan_recovery};
use mainstay_domain::view::{DrillCounts, View};
use mainstay_types::{ASSERTIONS_PARAMETER, Assertions, Parameters, Timestamp};

use crate::harness::{Layer, recoverable, tenant};
use crate::recovery::{backed_up, instance, make_ready, passed, with};

const HOUR: u64 = 3_600;
const WEEK: u64 = 7 * 24 * HOUR;

fn is_drilled(layer: &Layer, name: &str, now: Timestamp) -> bool {
    let drill = Work::Drill { instance: instance(layer, name).id.clone() };
    plan_recovery(&layer.view, &recoverable(), now).work.contains(&drill)
}

/// In how many seconds the next drill comes due.
fn next_drill(layer: &Layer, name: &str) -> u64 {
    let (mut early, mut late) = (0, 60 * WEEK);
    while early < late {
        let middle = early.midpoint(late);
        match is_drilled(layer, name, layer.now.plus_seconds(middle)) {
            true => late = middle,
            false => early = middle + 1,
        }
    }
    late
}

#[test]
fn drills_are_weekly_and_spread_over_time() {
    let names: Vec<String> = (0..40).map(|number| format!("shop-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut layer = with(&names);
    let backup = backed_up(&mut layer, names[0]);
    let first: BTreeSet<u64> = names.iter().map(|name| next_drill(&layer, name)).collect();
    assert!(first.len() > 30, "each has a moment of its own: {first:?}");
    assert!(first.iter().all(|seconds| *seconds <= 12 * HOUR + 1), "within half a day of the first backup");
    for name in &names {
        let done = passed(&layer, name, &backup);
        layer.submit(done).unwrap();
    }
    let then: BTreeSet<u64> = names.iter().map(|name| next_drill(&layer, name)).collect();
    assert!(then.len() > 30 && then.iter().all(|seconds| (WEEK * 9 / 10..=WEEK).contains(seconds)), "{then:?}");
}

#[test]
fn a_change_of_the_policy_is_tried_at_once_and_what_an_instance_was_made_with_is_not() {
    let mut layer = Layer::new();
    let create = layer.create("asserted");
    let parameters: Parameters = [(ASSERTIONS_PARAMETER.to_owned(), "SELECT 1 => 1".to_owned())].into_iter().collect();
    let id = create.id.clone();
    layer.submit(CreateInstance { parameters, ..create }).unwrap();
    make_ready(&mut layer, "asserted", id);
    backed_up(&mut layer, "asserted");
    let planned = next_drill(&layer, "asserted");
    assert!(planned > 1, "it has a moment of its own like any other");

    layer.now = layer.now.plus_seconds(1);
    let policy = RecoveryPolicyChanged { keep_last: Some(5), ..Default::default() };
    layer.submit(SetRecoveryPolicy { tenant: tenant(), name: "asserted".parse().unwrap(), policy }).unwrap();
    assert_eq!(next_drill(&layer, "asserted"), 0);
    assert_eq!(instance(&layer, "asserted").shown_parameters(), Parameters::default(), "the whole policy was replaced");
}

#[test]
fn assertions_have_one_home() {
    let mut layer = with(&[]);
    let set = |text: &str| -> Parameters {
        let pairs = [(ASSERTIONS_PARAMETER, text), ("connection_limit", "5")];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let text = "SELECT count(*) > 0 FROM orders=>t\n\nSELECT 'a=>b' => a\n";
    let create = layer.create("shop");
    let create = CreateInstance { parameters: set(text), ..create };
    layer.submit(create).unwrap();
    let made = instance(&layer, "shop");
    assert_eq!(made.parameters.get(ASSERTIONS_PARAMETER), None, "the engine is not told");
    assert_eq!(made.recovery.policy.assertions, text.parse::<Assertions>().unwrap().0);
    let shown = made.shown_parameters();
    assert_eq!(shown.get(ASSERTIONS_PARAMETER).unwrap(), "SELECT count(*) > 0 FROM orders => t\nSELECT 'a=>b' => a");
    assert_eq!(shown.get("connection_limit"), Some("5"));

    for (text, reason) in
        [("SELECT 1", "\"SELECT 1\" is none"), ("[1]", "invalid type"), (&"a=>b\n".repeat(51), "at most 50")]
    {
        let create = layer.create("blog");
        let refused = layer.submit(CreateInstance { parameters: set(text), ..create });
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.code(), refused.field().as_deref()),
            ("parameter_invalid", Some("parameters.drill.assertions"))
        );
        assert!(refused.remedy().contains(reason), "{}", refused.remedy());
    }
    let create = layer.create("blog");
    let unknown: Parameters = [("colour".to_owned(), "red".to_owned())].into_iter().collect();
    let refused = layer.submit(CreateInstance { parameters: unknown, ..create }).unwrap_err();
    assert!(refused.remedy().contains("drill.assertions"), "{}", refused.remedy());
}

#[test]
fn drills_are_counted_for_ever() {
    let mut layer = with(&["shop"]);
    let backup = backed_up(&mut layer, "shop");
    let done = passed(&layer, "shop", &backup);
    layer.submit(done.clone()).unwrap();
    layer.submit(done).unwrap();
    let (began_at, reason) = (layer.now, "there is no room".to_owned());
    let instance = instance(&layer, "shop").id.clone();
    let failed = DrillFailed { instance, backup: None, began_at, reason, checks: Vec::new(), record: None };
    layer.submit(DrillDone::Failed(failed)).unwrap();
    assert_eq!(layer.view.drill_counts(), DrillCounts { passed: 2, failed: 1 });
    let restored: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
    assert_eq!(restored, layer.view);
}

#[test]
fn evidence_stays_with_the_key_that_there_was() {
    let mut layer = with(&["shop"]);
    let drilled = layer.view.sequence();
    assert_eq!(layer.view.evidence_key_of(drilled), None);
    let introduce = |number: u32| IntroduceEvidenceKey { number, public_key: [number as u8; 32] };
    let number_of = |layer: &Layer, sequence| layer.view.evidence_key_of(sequence).map(|key| key.number);
    layer.submit(introduce(2)).unwrap();
    assert_eq!(layer.view.evidence_keys().count(), 0, "the first is the first");
    layer.submit(introduce(1)).unwrap();
    layer.submit(introduce(1)).unwrap();
    let between = layer.view.sequence() + 1;
    let create = layer.create("blog");
    layer.submit(create).unwrap();
    layer.submit(introduce(2)).unwrap();
    assert_eq!(layer.view.evidence_keys().count(), 2);
    let later = layer.view.sequence() + 1;
    assert_eq!([drilled, between, later].map(|at| number_of(&layer, at)), [Some(1), Some(1), Some(2)]);
    assert_eq!(number_of(&layer, layer.view.sequence()), Some(1), "a key is there for what comes after it");
    let restored: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
    assert_eq!(restored, layer.view);
}
