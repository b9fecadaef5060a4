//! Figures of the object store on the `filesystem` driver and the data plane on the file system, all of it durable.
//!
//! `cargo bench -p mainstay-objects` fills a bucket with a million objects of 4 KiB; `-- --quick` with a hundred thousand.
//! `MAINSTAY_BENCH_DIR` names the directory whose disk is measured; it is the current one otherwise.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use mainstay_bucket::{BucketName, Conditions, ETag, LegalHold, Metadata, ObjectKey, Settings, Tags};
use mainstay_dataplane::{Body, Compression, ContentKey, Expect, KeyId};
use mainstay_dataplane_fs::{FsConfig, FsPlane};
use mainstay_objects::{
    Attributes, CreatedBy, Feed, FeedError, Foundations, Ingest, Keys, KeysError, Limits, ListQuery, NewBucket,
    ObjectEvent, Objects, ObjectsConfig, Put,
};
use mainstay_storage::{Location, Service, Store};
use mainstay_types::InstanceId;
use tokio::task::JoinSet;

/// How long a rate is measured.
const MEASURED: Duration = Duration::from_secs(3);

/// Bytes of an object.
const SIZE: usize = 4096;

/// Tasks that put while the bucket is filled.
const FILLERS: u64 = 32;

/// Objects that lie below one common prefix.
const BELOW: u64 = 1000;

/// Objects that are read again and again where hot reading is measured.
const HOT: u64 = 1000;

struct Nothing;

#[async_trait]
impl Keys for Nothing {
    async fn newest(&self) -> Result<ContentKey, KeysError> {
        Err(KeysError::Unknown(KeyId(0)))
    }

    async fn get(&self, id: KeyId) -> Result<ContentKey, KeysError> {
        Err(KeysError::Unknown(id))
    }
}

#[async_trait]
impl Feed for Nothing {
    async fn publish(&self, _: &[ObjectEvent]) -> Result<(), FeedError> {
        Ok(())
    }
}

#[derive(Clone)]
struct Opened {
    objects: Objects,
    plane: Arc<FsPlane>,
    bucket: BucketName,
}

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let parent = std::env::var_os("MAINSTAY_BENCH_DIR").unwrap_or_else(|| ".".into());
    let directory = tempfile::tempdir_in(parent).unwrap();
    let total: u64 = if quick { 100_000 } else { 1_000_000 };

    let opened = open(directory.path()).await;
    make_bucket(&opened).await;
    let mut costs = Vec::new();
    for tenth in 0..10 {
        let (from, to) = (tenth * total / 10, (tenth + 1) * total / 10);
        let cost = fill(&opened, from, to).await;
        println!("PUT, {FILLERS} tasks, objects {from:>7} to {to:>7} {cost}");
        costs.push(cost);
        if tenth == 0 || tenth == 9 {
            listings(&opened, to).await;
        }
    }
    println!("rate of the last tenth to the first {:>9.2}", costs[9].rate / costs[0].rate);

    let mut filled = total;
    for tasks in [1, 8, 32] {
        let (cost, calls) = measure(&opened, tasks, Call::PutFrom(filled)).await;
        filled += calls;
        println!("PUT 4 KiB, {tasks:>2} tasks                {cost}");
    }
    opened.objects.close().await;
    opened.plane.close().await;
    drop(opened);

    let started = Instant::now();
    let opened = open(directory.path()).await;
    println!("start, index and data plane         {:>9.2} ms", started.elapsed().as_secs_f64() * 1e3);
    for (name, call) in [("hot", Call::GetHot), ("anywhere", Call::GetBelow(total))] {
        for tasks in [1, 8, 32] {
            let (cost, _) = measure(&opened, tasks, call).await;
            println!("GET 4 KiB, {name:<8}, {tasks:>2} tasks      {cost}");
        }
    }
    println!("resident memory                     {:>9} MiB", resident() >> 20);
}

/// What calls cost. On a machine that does other things too, the rate tells of those as well; the rest does not.
struct Cost {
    rate: f64,
    cpu_micros: f64,
    written: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, cpu_micros, written } = self;
        write!(f, "{rate:>9.0} /s, {cpu_micros:>6.1} us CPU and {:>5.1} KiB written each", written / 1024.0)
    }
}

/// Takes the cost of what follows.
struct Meter {
    started: Instant,
    cpu: f64,
    written: u64,
}

impl Meter {
    fn start() -> Self {
        Self { started: Instant::now(), cpu: cpu_seconds(), written: written() }
    }

    fn stop(self, calls: u64) -> Cost {
        let calls = calls as f64;
        Cost {
            rate: calls / self.started.elapsed().as_secs_f64(),
            cpu_micros: (cpu_seconds() - self.cpu) * 1e6 / calls,
            written: (written() - self.written) as f64 / calls,
        }
    }
}

/// Counts in an order that no cache foresees.
fn scatter(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

async fn open(directory: &Path) -> Opened {
    let plane = Arc::new(FsPlane::open(&directory.join("content"), FsConfig::default()).await.unwrap());
    let location = Location::Directory(directory.to_owned());
    let store = Store::open(&location, Service::Objects, Objects::SCHEMA).await.unwrap();
    let (keys, feed) = (Arc::new(Nothing), Arc::new(Nothing));
    let foundations = Foundations { store, plane: plane.clone(), inventory: plane.clone(), keys, feed };
    let objects = Objects::open(foundations, ObjectsConfig::default()).await.unwrap();
    Opened { objects, plane, bucket: "bench".parse().unwrap() }
}

async fn make_bucket(opened: &Opened) {
    let account = InstanceId::from_random(1);
    opened.objects.put_account(&account, Limits::default()).await.unwrap();
    let new = NewBucket { name: opened.bucket.clone(), account, settings: Settings::default() };
    opened.objects.create_bucket(new).await.unwrap();
}

fn key(number: u64) -> ObjectKey {
    format!("prefix-{:06}/object-{:04}", number / BELOW, number % BELOW).parse().unwrap()
}

async fn put(opened: &Opened, number: u64) {
    let mut bytes = vec![0; SIZE];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    let ingest = Ingest {
        source: Box::pin(futures::stream::iter([Ok(Bytes::from(bytes))])),
        expect: Expect { size: Some(SIZE as u64), ..Expect::default() },
        md5: true,
        encrypt: false,
        compression: Compression::None,
    };
    let content = opened.objects.ingest(&opened.bucket, ingest).await.unwrap();
    let attributes = Attributes {
        etag: ETag::md5(content.md5.unwrap().0),
        metadata: Metadata { content_type: Some("application/octet-stream".parse().unwrap()), ..Metadata::default() },
        tags: Tags::default(),
        checksum: None,
        retention: None,
        legal_hold: LegalHold::Off,
        encrypted: false,
    };
    let (bucket, key, conditions) = (opened.bucket.clone(), key(number), Conditions::default());
    let put = Put { bucket, key, content, attributes, conditions, by: CreatedBy::Put };
    opened.objects.put(put).await.unwrap();
}

async fn get(opened: &Opened, number: u64) {
    let version = opened.objects.head(&opened.bucket, &key(number), None).await.unwrap();
    match opened.objects.read(&version, None).await.unwrap() {
        Body::Whole(bytes) => assert_eq!(bytes.len(), SIZE),
        Body::Stream(_) => panic!("small content comes whole"),
    }
}

/// Puts objects beside one another.
async fn fill(opened: &Opened, from: u64, to: u64) -> Cost {
    let meter = Meter::start();
    let next = Arc::new(AtomicU64::new(from));
    let mut fillers = JoinSet::new();
    for _ in 0..FILLERS {
        let (opened, next) = (opened.clone(), next.clone());
        fillers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= to {
                    return;
                }
                put(&opened, number).await;
            }
        });
    }
    fillers.join_all().await;
    meter.stop(to - from)
}

/// What is called again and again.
#[derive(Clone, Copy)]
enum Call {
    PutFrom(u64),
    GetHot,
    GetBelow(u64),
}

impl Call {
    async fn run(self, opened: &Opened, number: u64) {
        match self {
            Self::PutFrom(first) => put(opened, first + number).await,
            Self::GetHot => get(opened, number % HOT).await,
            Self::GetBelow(total) => get(opened, scatter(number) % total).await,
        }
    }
}

/// Calls one after the other in each of so many tasks.
async fn measure(opened: &Opened, tasks: u64, call: Call) -> (Cost, u64) {
    let meter = Meter::start();
    let until = meter.started + MEASURED;
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..tasks {
        let (opened, next) = (opened.clone(), next.clone());
        callers.spawn(async move {
            while Instant::now() < until {
                call.run(&opened, next.fetch_add(1, Ordering::Relaxed)).await;
            }
        });
    }
    callers.join_all().await;
    let calls = next.load(Ordering::Relaxed);
    (meter.stop(calls), calls)
}

async fn listings(opened: &Opened, objects: u64) {
    let flat = ListQuery { limit: 1000, ..ListQuery::default() };
    let within = ListQuery { prefix: "prefix-000003/".to_owned(), delimiter: Some("/".to_owned()), ..flat.clone() };
    let rolled_up = ListQuery { delimiter: Some("/".to_owned()), ..flat.clone() };
    for (name, query) in [("flat", flat), ("below a prefix", within), ("common prefixes", rolled_up)] {
        let mut after = None;
        let (cpu, mut pages, mut rows) = (cpu_seconds(), 0, 0);
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(1) {
            let page = opened.objects.list(&opened.bucket, ListQuery { after, ..query.clone() }).await.unwrap();
            pages += 1;
            rows += page.objects.len() + page.prefixes.len();
            after = page.next;
        }
        let per_page = (cpu_seconds() - cpu) / f64::from(pages) * 1e3;
        println!("list {name:<16} of {objects:>7}     {per_page:>9.2} ms CPU a page of {}", rows / pages as usize);
    }
}

/// What this process has used of the processors (proc(5), `stat`, fields 14 and 15).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Bytes that this process had written to the disk (proc(5), `io`).
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find(|line| line.starts_with("write_bytes:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
