//! A full disk beneath the S3 API: what needs room is refused as S3's clients expect it, reads and deletions go on, and
//! with room writes do too, with no restart and nothing lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Bound;
use super::request::Answer;
use super::stock::noise;
use crate::harness::{Filler, Layer, Options, may_mount, mount_small_disk, until};

const PATIENCE: Duration = Duration::from_secs(60);
/// What the content store leaves to others.
const RESERVED: u64 = 64 << 20;
/// What is left of the disk beside that, for the clients to fill.
const LITTLE: u64 = 24 << 20;
/// Small enough for a pack.
const SMALL: usize = 40_000;
/// Large enough for a file of its own.
const LARGE: usize = 3 << 20;

#[test]
fn a_full_disk_keeps_every_acknowledged_object() {
    if !may_mount() {
        return;
    }
    let mut layer = Layer::start(Options { prepare: Some(mount_small_disk), ..Options::default() });
    let bound = Bound::new(&layer, "full", json!({}));
    let mut objects = Objects::default();
    for number in 0..4 {
        objects.put(&bound, LARGE, number).expect(200);
        objects.put(&bound, SMALL, number).expect(200);
    }
    let upload = bound.call("POST", &format!("{}?uploads=", bound.path("in-parts")), &[], b"").element("UploadId");

    let mut filler = Filler::leave(&layer.data_dir(), RESERVED + LITTLE);
    let too_much = noise(1, 2 * LITTLE as usize);
    expect_full(&bound.put("too-much", &too_much));
    expect_full(&bound.call(
        "PUT",
        &format!("{}?partNumber=1&uploadId={upload}", bound.path("in-parts")),
        &[],
        &too_much,
    ));
    // What did not fit has taken nothing away from what does.
    for size in [SMALL, LARGE, 1] {
        expect_full(&fill(&bound, size, &mut objects));
    }
    println!("{} objects were taken in before the disk was full", objects.0.len());
    objects.expect_whole(&bound);

    // Deleting is always possible, and so is everything that only reads.
    let begun = Instant::now();
    let deleted: Vec<String> = objects.0.keys().step_by(2).cloned().collect();
    for key in &deleted {
        bound.delete(key).expect(204);
        objects.0.remove(key);
    }
    println!("{} of them were deleted in {:?}", deleted.len(), begun.elapsed());
    bound.call("DELETE", &format!("{}?uploadId={upload}", bound.path("in-parts")), &[], b"").expect(204);
    objects.expect_whole(&bound);

    // Something else has taken the last byte: then there is none for the index either, which says so.
    filler.shrink_to(0);
    for body in [&too_much[..1], &too_much[..LARGE]] {
        expect_full(&bound.put("too-much", body));
    }
    let key = objects.0.keys().next().unwrap().clone();
    match bound.delete(&key) {
        deleted if deleted.status == 204 => drop(objects.0.remove(&key)),
        refused => expect_full(&refused),
    }
    objects.expect_whole(&bound);

    drop(filler);
    let emptied = Instant::now();
    until("there is room", PATIENCE, || (objects.put(&bound, LARGE, 1_000_000).status == 200).then_some(()));
    println!("objects are taken in {:?} after there is room", emptied.elapsed());
    objects.put(&bound, SMALL, 1_000_001).expect(200);
    objects.expect_whole(&bound);
    layer.kill();
    layer.restart();
    until("the S3 API answers", PATIENCE, || (bound.get("nothing").status == 404).then_some(()));
    objects.expect_whole(&bound);
    assert!(!layer.log().contains("panicked"), "{}", layer.log());
}

/// Puts objects of one size until there is no room for one more; gives the refusal.
fn fill(bound: &Bound, size: usize, objects: &mut Objects) -> Answer {
    for number in 4..100_000 {
        let answer = objects.put(bound, size, number);
        if answer.status != 200 {
            return answer;
        }
    }
    panic!("the disk does not get full");
}

/// What was acknowledged: sizes, and numbers that the bytes follow from.
#[derive(Default)]
struct Objects(BTreeMap<String, (usize, u64)>);

impl Objects {
    fn put(&mut self, bound: &Bound, size: usize, number: u64) -> Answer {
        let key = format!("{size}-{number}");
        let answer = bound.put(&key, &noise(number, size));
        if answer.status == 200 {
            self.0.insert(key, (size, number));
        }
        answer
    }

    fn expect_whole(&self, bound: &Bound) {
        assert_eq!(bound.listed(), self.0.iter().map(|(key, (size, _))| (key.clone(), *size)).collect());
        for (key, (size, number)) in &self.0 {
            assert!(bound.get(key).expect(200) == noise(*number, *size), "{key} has other bytes");
        }
    }
}

#[track_caller]
fn expect_full(answer: &Answer) {
    let message = answer.clone().refused(507, "InsufficientStorage");
    assert!(message.contains("room"), "{message}");
}
