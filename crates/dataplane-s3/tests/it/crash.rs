//! A process that is killed in the middle of its work, and one whose memory is watched.
//!
//! Both are this test's own program, started again for a test that does nothing unless it is told where the store is.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper::Method;
use mainstay_dataplane::{Address, Body, DataPlane, Hints, Inventory, Owner, Serve, ServeError, Source, Verify};
use mainstay_dataplane_s3::{S3Config, S3Plane};
use opendal::Operator;

use crate::fake::{Fake, Fault};
use crate::garage::Garage;

const ENDPOINT: &str = "MAINSTAY_TEST_CHILD_ENDPOINT";
const PIECE_LEN: usize = 256 * 1024;

/// What is streamed where memory is watched.
const LARGE: u64 = 1024 * 1024 * 1024;

/// For this program, its runtime and one stream: 12 MiB of segments and 5 MiB of pieces in work.
const MEMORY_MIB: u64 = 64;

/// Kills at as many moments, spread over what an ingest does.
const KILLS: u32 = 8;

fn child(test: &str, config: &S3Config) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ENDPOINT, &config.endpoint);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Where this is the program of another test.
fn told(config: impl FnOnce(String) -> S3Config) -> Option<S3Config> {
    std::env::var(ENDPOINT).ok().map(config)
}

/// Content that is made as it is read, so that it takes no memory.
fn endless(seed: u64) -> impl Iterator<Item = Bytes> {
    (0..).map(move |piece: u64| {
        let mut bytes = vec![0; PIECE_LEN];
        let mut state = (seed << 32 | piece).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for word in bytes.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        bytes.into()
    })
}

fn source(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Source {
    Box::pin(stream::iter(pieces.map(Ok)))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} should have come true within a minute");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn keys(raw: &Operator, prefix: &str) -> Vec<String> {
    let entries = raw.list_with(prefix).recursive(true).await.unwrap();
    entries.into_iter().map(|entry| entry.path().to_owned()).collect()
}

/// Ingests contents of 12 MiB, one after another, and deletes every second one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_killed() {
    let Some(config) = told(|endpoint| S3Config { endpoint, ..Garage::config_at("", "crash") }) else { return };
    let plane = S3Plane::open(config).await.unwrap();
    for seed in 0.. {
        let hints = Hints::plain(Owner::Objects);
        let receipt = plane.ingest_stream(source(endless(seed).take(48)), hints).await.unwrap();
        if seed % 2 == 1 {
            let delete =
                mainstay_dataplane::Delete { owner: Owner::Objects, address: receipt.address, claim: receipt.claim };
            plane.delete_object(delete).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_only_what_is_reclaimed() {
    let Some(garage) = Garage::start().await else { return };
    let raw = garage.raw("crash");
    for kill in 0..KILLS {
        let mut process = child("crash::child_that_is_killed", &garage.config("crash")).spawn().unwrap();
        // At another number of objects each time: before, amid and after the segments, the header and the record.
        let before = keys(&raw, "").await;
        until("the child writes", async || {
            let new = keys(&raw, "").await.into_iter().filter(|key| !before.contains(key)).count();
            new > kill as usize
        })
        .await;
        process.kill().unwrap();
        process.wait().unwrap();

        let plane = garage.open("crash").await;
        plane.reclaim().await.unwrap();
        let contents = plane.contents(Owner::Objects, None, 1000).await.unwrap();
        for stored in &contents {
            let verified = plane.verify_object(Verify { address: stored.address, key: None }).await.unwrap();
            assert_eq!(verified.size, stored.size);
        }
        // Four objects of each content, and nothing else but what a record was just about to name.
        let waiting = keys(&raw, "intents/").await.len();
        let data = keys(&raw, "data/").await.len();
        let whole = 4 * contents.len();
        assert!((whole..=whole + 4 * waiting).contains(&data), "kill {kill}: {data} objects, {contents:?}, {waiting}");
    }
    let plane = garage.open("crash").await;
    for stored in plane.contents(Owner::Objects, None, 1000).await.unwrap() {
        let delete = mainstay_dataplane::Delete { owner: Owner::Objects, address: stored.address, claim: stored.claim };
        plane.delete_object(delete).await.unwrap();
        let request = Serve { address: stored.address, range: None, key: None };
        assert!(matches!(plane.serve_object(request).await, Err(ServeError::Absent(_))));
    }
    plane.reclaim().await.unwrap();
    assert_eq!(keys(&raw, "contents/").await, Vec::<String>::new());
}

/// Streams 1 GiB in, and out again as far as the store has it, and says what memory that took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_watched() {
    let Some(config) = told(|endpoint| S3Config { endpoint, ..Garage::config_at("", "") }) else { return };
    let config = S3Config { bucket: "bucket".into(), ..config };
    let plane = S3Plane::open(config).await.unwrap();
    let pieces = (LARGE / PIECE_LEN as u64) as usize;
    let receipt = plane.ingest_stream(source(endless(0).take(pieces)), Hints::plain(Owner::Objects)).await.unwrap();
    assert_eq!(receipt.size, LARGE);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MEMORY_MIB * 1024, "{peak} KiB for a stream of 1 GiB");
    eprintln!("memory for a stream of 1 GiB: {} MiB", peak / 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_for_a_large_stream() {
    let fake = Fake::start(true).await;
    fake.script(|method, key| {
        let segment = *method == Method::PUT && key.starts_with("data/") && !key.ends_with("header");
        if segment { Fault::Forget } else { Fault::None }
    });
    let mut process = child("crash::child_that_is_watched", &fake.config()).spawn().unwrap();
    let status = tokio::task::spawn_blocking(move || process.wait().unwrap()).await.unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_what_a_killed_writer_had_published() {
    let Some(garage) = Garage::start().await else { return };
    let mut process = child("crash::child_that_is_killed", &garage.config("crash")).spawn().unwrap();
    let raw = garage.raw("crash");
    until("the child publishes", async || !keys(&raw, "contents/").await.is_empty()).await;
    process.kill().unwrap();
    process.wait().unwrap();
    let plane = garage.open("crash").await;
    let expected: Vec<u8> = endless(0).take(48).flatten().collect();
    let request = Serve { address: Address::of(&expected), range: None, key: None };
    let Body::Stream(mut stream) = plane.serve_object(request).await.unwrap().body else { panic!("it is large") };
    let mut read = Vec::new();
    while let Some(bytes) = stream.next().await {
        read.extend_from_slice(&bytes.unwrap());
    }
    assert!(read == expected);
}
