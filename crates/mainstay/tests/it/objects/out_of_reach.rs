//! Stores beneath the S3 API that stall, die and come back: clients wait for so long and no longer, hear S3's errors, and
//! all goes on with no restart of the layer.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Bound;
use super::daemon::{Daemon, remote};
use super::garage::Garage;
use super::request::Answer;
use super::stock::noise;
use crate::harness::{Layer, Options, until};

const PATIENCE: Duration = Duration::from_secs(60);
/// What needs no bytes is not held up by where they are.
const AT_ONCE: Duration = Duration::from_secs(10);
/// A daemon is taken for dead when nothing was heard of it for 30 s.
const SILENT_DAEMON: Duration = Duration::from_secs(45);
/// Three attempts of 20 s, and the pauses between them.
const SILENT_STORE: Duration = Duration::from_secs(90);
/// Larger than all buffers between a client and a store.
const LARGE: usize = 32 << 20;

#[test]
fn a_daemon_that_stalls_is_waited_for_and_no_longer_than_that() {
    let mut layer = Layer::new(Options { environment: remote(), ..Options::default() });
    let daemon = Daemon::start(&layer);
    layer.restart();
    let world = World::new(&layer);
    daemon.stall();
    world.expect_out_of_reach(SILENT_DAEMON);
    daemon.go_on();
    world.expect_back();
    assert!(!layer.log().contains("panicked"), "{}", layer.log());
}

#[test]
fn a_daemon_that_dies_is_found_again() {
    let mut layer = Layer::new(Options { environment: remote(), ..Options::default() });
    let daemon = Daemon::start(&layer);
    layer.restart();
    let world = World::new(&layer);
    // In the middle of a download, and of an upload, which hold one another's middle.
    let mut download = world.bound.download("large").into_reader();
    let mut read = vec![0; 1 << 20];
    download.read_exact(&mut read).unwrap();
    let mut daemon = Some(daemon);
    let content = noise(9, LARGE);
    let mut middle = Interrupted { content: Cursor::new(&content), at: LARGE as u64 / 2, then: || drop(daemon.take()) };
    match world.bound.upload(&world.bound.path("cut-off"), LARGE as u64, &mut middle) {
        Ok(answer) => drop(answer.refused(503, "ServiceUnavailable")),
        // The answer may be lost on a client that goes on writing.
        Err(error) => println!("the upload was cut off: {error}"),
    }
    let rest = download.read_to_end(&mut read);
    assert!(rest.is_err(), "a download that is not whole ended in peace after {} bytes", read.len());
    assert!(noise(1, LARGE).starts_with(&read));

    world.expect_out_of_reach(AT_ONCE);
    let daemon = Daemon::start(&layer);
    world.expect_back();
    daemon.kill();
    world.expect_out_of_reach(AT_ONCE);
    let _daemon = Daemon::start(&layer);
    world.expect_back();
    assert!(!layer.log().contains("panicked"), "{}", layer.log());
}

#[test]
fn a_store_that_dies_is_found_again() {
    let Some(mut garage) = Garage::start() else { return };
    let layer = Layer::start(Options { environment: garage.environment(), ..Options::default() });
    let world = World::new(&layer);
    garage.kill();
    world.expect_out_of_reach(AT_ONCE);
    garage.restart();
    world.expect_back();
    assert!(!layer.log().contains("panicked"), "{}", layer.log());
}

/// It takes minutes, in which nothing happens.
#[test]
fn soak_a_store_that_stalls() {
    if std::env::var_os("MAINSTAY_SOAK_MINUTES").is_none() {
        return;
    }
    let Some(garage) = Garage::start() else { return };
    let layer = Layer::start(Options { environment: garage.environment(), ..Options::default() });
    let world = World::new(&layer);
    garage.stall();
    world.expect_out_of_reach(SILENT_STORE);
    garage.go_on();
    world.expect_back();
    assert!(!layer.log().contains("panicked"), "{}", layer.log());
}

/// An upload, in the middle of which something happens.
struct Interrupted<'a, F> {
    content: Cursor<&'a Vec<u8>>,
    at: u64,
    then: F,
}

impl<F: FnMut()> Read for Interrupted<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.content.position() >= self.at {
            (self.then)();
        }
        self.content.read(buffer)
    }
}

/// A bucket with objects in it.
struct World {
    bound: Bound,
    objects: BTreeMap<&'static str, Vec<u8>>,
}

impl World {
    fn new(layer: &Layer) -> Self {
        let bound = Bound::new(layer, "beneath", json!({}));
        let objects = BTreeMap::from([("large", noise(1, LARGE)), ("small", noise(2, 100_000))]);
        for (key, bytes) in &objects {
            bound.put(key, bytes).expect(200);
        }
        Self { bound, objects }
    }

    /// What needs the store is refused within a time; what does not is done at once.
    fn expect_out_of_reach(&self, within: Duration) {
        let bound = &self.bound;
        let needing: [(&str, &(dyn Fn() -> Answer + Sync)); 6] = [
            ("GET of a large object", &|| bound.get("large")),
            ("GET of a range", &|| bound.call("GET", &bound.path("large"), &[("range", "bytes=7-5000000")], b"")),
            ("PUT of a small object", &|| bound.put("new", &noise(3, 50_000))),
            ("PUT of a large object", &|| bound.put("new", &noise(4, LARGE))),
            ("PUT over an object", &|| bound.put("small", &noise(5, 3 << 20))),
            ("upload of a part", &|| {
                let path = bound.path("in-parts");
                let begun = bound.call("POST", &format!("{path}?uploads="), &[], b"");
                let upload = begun.element("UploadId");
                bound.call("PUT", &format!("{path}?partNumber=1&uploadId={upload}"), &[], &noise(6, 6 << 20))
            }),
        ];
        std::thread::scope(|scope| {
            for (what, ask) in needing {
                scope.spawn(move || {
                    let asked = Instant::now();
                    let answer = ask();
                    let took = asked.elapsed();
                    println!("{what}: {} after {took:?}", answer.status);
                    let message = answer.refused(503, "ServiceUnavailable");
                    assert!(!message.contains(".sock") && !message.contains("127.0.0.1"), "{message}");
                    assert!(took < within, "{what} took {took:?}");
                });
            }
            scope.spawn(|| {
                let asked = Instant::now();
                assert_eq!(bound.listed().keys().collect::<Vec<_>>(), ["large", "small"]);
                assert_eq!(bound.call("HEAD", &bound.path("large"), &[], b"").status, 200);
                bound.delete("nothing").expect(204);
                assert!(asked.elapsed() < AT_ONCE, "what needs no bytes took {:?}", asked.elapsed());
            });
        });
    }

    /// Everything is as it was before, and more is taken.
    fn expect_back(&self) {
        let begun = Instant::now();
        let bound = &self.bound;
        until("the store is in reach", PATIENCE, || (bound.get("large").status == 200).then_some(()));
        println!("in reach again after {:?}", begun.elapsed());
        for (key, bytes) in &self.objects {
            assert!(bound.get(key).expect(200) == *bytes, "{key} has other bytes");
        }
        let sizes = self.objects.iter().map(|(key, bytes)| ((*key).to_owned(), bytes.len()));
        assert_eq!(bound.listed(), sizes.collect(), "what was refused is not there");
        let fresh = noise(7, 4 << 20);
        bound.put("fresh", &fresh).expect(200);
        assert!(bound.get("fresh").expect(200) == fresh);
        bound.delete("fresh").expect(204);
        bound.abort_uploads();
    }
}
