//! The data plane on Garage beside Garage itself: the same bytes, the same machine, the same HTTP client, in turns.
//!
//! What the data plane adds: two digests, the record with its claims, and verification of all that is read.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "../tests/it/garage.rs"]
#[allow(dead_code, reason = "it is the tests' too")]
mod garage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, stream};
use mainstay_dataplane::{Address, Body, DataPlane, Hints, Owner, Serve};
use mainstay_dataplane_s3::S3Plane;
use opendal::Operator;

use crate::garage::Garage;

/// For each figure and side, after a warm-up of a quarter of it.
const MEASURED: Duration = Duration::from_secs(4);

/// Contents that are read, in turns.
const READ: u64 = 16;

#[derive(Clone)]
enum Side {
    Direct(Operator),
    Plane(Arc<S3Plane>),
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let Some(garage) = Garage::start().await else { return };
        let direct = Side::Direct(garage.raw("direct"));
        let plane = Side::Plane(Arc::new(garage.open("plane").await));
        println!("{:<24} {:>12} {:>12} {:>8}", "", "Garage", "Mainstay", "ratio");
        for (len, name) in
            [(4 * 1024, "4 KiB"), (64 * 1024, "64 KiB"), (1024 * 1024, "1 MiB"), (64 * 1024 * 1024, "64 MiB")]
        {
            for clients in [1, 8] {
                let put = [measure_put(&direct, len, clients).await, measure_put(&plane, len, clients).await];
                report(&format!("PUT {name}, {clients} clients"), len, put);
                let get = [measure_get(&direct, len, clients).await, measure_get(&plane, len, clients).await];
                report(&format!("GET {name}, {clients} clients"), len, get);
            }
        }
    });
}

fn report(what: &str, len: usize, [direct, plane]: [f64; 2]) {
    let figure = |per_second: f64| match len {
        1_000_000.. => format!("{:.0} MB/s", per_second * len as f64 / 1e6),
        _ => format!("{per_second:.0}/s"),
    };
    println!("{what:<24} {:>12} {:>12} {:>8.2}", figure(direct), figure(plane), plane / direct);
}

async fn measure_put(side: &Side, len: usize, clients: usize) -> f64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1 << 32);
    let side = side.clone();
    measure(clients, move |_| put(side.clone(), NUMBER.fetch_add(1, Ordering::Relaxed), len)).await
}

async fn measure_get(side: &Side, len: usize, clients: usize) -> f64 {
    let addresses = join_all((0..READ).map(|number| put(side.clone(), number, len))).await;
    let side = side.clone();
    measure(clients, move |round| {
        let number = round % READ;
        get(side.clone(), number, addresses[number as usize], len)
    })
    .await
}

/// How often a second something is done by some clients at once.
async fn measure<W, F>(clients: usize, work: W) -> f64
where
    W: Fn(u64) -> F + Send + Sync + 'static,
    F: Future<Output: Send> + Send,
{
    let (work, round) = (Arc::new(work), Arc::new(AtomicU64::new(0)));
    let run = async |limit: Duration| {
        let begun = Instant::now();
        let client = || {
            let (work, round) = (Arc::clone(&work), Arc::clone(&round));
            tokio::spawn(async move {
                let mut done = 0;
                while begun.elapsed() < limit {
                    work(round.fetch_add(1, Ordering::Relaxed)).await;
                    done += 1;
                }
                done
            })
        };
        let done: u64 = join_all((0..clients).map(|_| client())).await.into_iter().map(Result::unwrap).sum();
        done as f64 / begun.elapsed().as_secs_f64()
    };
    run(MEASURED / 4).await;
    run(MEASURED).await
}

async fn put(side: Side, number: u64, len: usize) -> Address {
    let content = content(number, len);
    match side {
        Side::Direct(operator) => {
            // As much at a time as S3's own clients send: parts of 8 MiB, two under way.
            let key = number.to_string();
            let mut writer = operator.writer_with(&key).chunk(8 * 1024 * 1024).concurrent(2).await.unwrap();
            for chunk in content.chunks(256 * 1024) {
                writer.write(content.slice_ref(chunk)).await.unwrap();
            }
            writer.close().await.unwrap();
            Address::of(b"")
        }
        Side::Plane(plane) => {
            let chunks: Vec<_> = content.chunks(256 * 1024).map(|chunk| Ok(content.slice_ref(chunk))).collect();
            let receipt = plane.ingest_stream(Box::pin(stream::iter(chunks)), Hints::plain(Owner::Objects)).await;
            receipt.unwrap().address
        }
    }
}

async fn get(side: Side, number: u64, address: Address, len: usize) {
    let read = match side {
        Side::Direct(operator) => {
            let reader = operator.reader(&number.to_string()).await.unwrap();
            let mut stream = reader.into_bytes_stream(..).await.unwrap();
            let mut read = 0;
            while let Some(bytes) = stream.next().await {
                read += bytes.unwrap().len();
            }
            read
        }
        Side::Plane(plane) => match plane.serve_object(Serve { address, range: None, key: None }).await.unwrap().body {
            Body::Whole(bytes) => bytes.len(),
            Body::Stream(mut stream) => {
                let mut read = 0;
                while let Some(bytes) = stream.next().await {
                    read += bytes.unwrap().len();
                }
                read
            }
        },
    };
    assert_eq!(read, len);
}

/// Bytes that no two numbers share, made at the price of copying them.
fn content(number: u64, len: usize) -> Bytes {
    static NOISE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.take(8 * 1024 * 1024).flatten().collect()
    });
    let mut bytes = noise[..len].to_vec();
    // Garage stores equal blocks of 1 MiB once.
    for block in bytes.chunks_mut(1024 * 1024) {
        block[..8].copy_from_slice(&number.to_le_bytes());
    }
    bytes.into()
}
