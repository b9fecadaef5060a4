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
    let mut rates = Vec::new();
    for tenth in 0..10 {
        let rate = fill(&opened, tenth * total / 10, (tenth + 1) * total / 10).await;
        println!(
            "PUT, {FILLERS} tasks, objects {:>7} to {:>7} {rate:>9.0} /s",
            tenth * total / 10,
            (tenth + 1) * total / 10
        );
        rates.push(rate);
        if tenth == 0 || tenth == 9 {
            listings(&opened, (tenth + 1) * total / 10).await;
        }
    }
    println!("last tenth to first                 {:>9.2}", rates[9] / rates[0]);

    let next = AtomicU64::new(total);
    for tasks in [1, 8, 32] {
        let rate = measure(tasks, |_| put(&opened, next.fetch_add(1, Ordering::Relaxed))).await;
        println!("PUT 4 KiB, {tasks:>2} tasks                {rate:>9.0} /s");
    }
    opened.objects.close().await;
    opened.plane.close().await;
    drop(opened);

    let started = Instant::now();
    let opened = open(directory.path()).await;
    println!("start, index and data plane         {:>9.2} ms", started.elapsed().as_secs_f64() * 1e3);
    for tasks in [1, 8, 32] {
        let rate = measure(tasks, |number| get(&opened, number % HOT)).await;
        println!("GET 4 KiB, hot, {tasks:>2} tasks           {rate:>9.0} /s");
    }
    for tasks in [1, 8, 32] {
        let rate = measure(tasks, |number| get(&opened, scatter(number) % total)).await;
        println!("GET 4 KiB, anywhere, {tasks:>2} tasks      {rate:>9.0} /s");
    }
    println!("resident memory                     {:>9} MiB", resident() >> 20);
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

/// Puts objects in an order that is not that of their keys.
async fn fill(opened: &Opened, from: u64, to: u64) -> f64 {
    let started = Instant::now();
    let next = AtomicU64::new(from);
    let filler = || async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= to {
                return;
            }
            put(opened, number).await;
        }
    };
    futures::future::join_all((0..FILLERS).map(|_| filler())).await;
    (to - from) as f64 / started.elapsed().as_secs_f64()
}

/// Calls that come back each second, where so many are under way at once, on all threads.
async fn measure<F: Future<Output = ()>>(tasks: u64, call: impl Fn(u64) -> F) -> f64 {
    let number = AtomicU64::new(0);
    let started = Instant::now();
    let task = || async {
        while started.elapsed() < MEASURED {
            call(number.fetch_add(1, Ordering::Relaxed)).await;
        }
    };
    futures::future::join_all((0..tasks).map(|_| task())).await;
    number.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
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

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
