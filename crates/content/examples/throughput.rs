//! Measures what content goes through: `cargo run --release -p mainstay-content --example throughput`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay_content::{Digester, Encoder, Pipeline, Sink, digest, encode};
use mainstay_dataplane::Compression;

/// A piece of a stream.
const PIECE_LEN: usize = 512 * 1024;

/// Long enough that the clock of the processor has settled.
const AT_LEAST: Duration = Duration::from_secs(1);

/// Takes what is stored and forgets it.
struct Nowhere;

impl Sink for Nowhere {
    type Error = std::convert::Infallible;

    fn write(&mut self, _: Bytes) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let piece = Bytes::from((0..PIECE_LEN).map(|n| ((n * 31) >> 3) as u8).collect::<Vec<u8>>());
    inline("digest inline, 64 KiB", &piece.slice(..64 * 1024), false);
    inline("digest inline, 64 KiB, MD5", &piece.slice(..64 * 1024), true);
    inline("digest inline, 4 KiB", &piece.slice(..4096), false);
    inline("digest inline, 4 KiB, MD5", &piece.slice(..4096), true);
    let digests = digest(&piece, false);
    measure("verify", PIECE_LEN, || digests.tree.verify(0, &piece).expect("it is whole"));
    for streams in [1, 2, 8, 32] {
        for md5 in [false, true] {
            pipelines(streams, md5, &piece).await;
        }
    }
    measure("encode zstd", PIECE_LEN, || {
        encode(Encoder::new(Compression::Zstd, None), &digests, piece.clone());
    });
}

fn inline(what: &str, bytes: &Bytes, md5: bool) {
    measure(what, bytes.len(), || {
        let mut digester = Digester::new(md5);
        digester.update(bytes);
        digester.finish();
    });
}

fn measure(what: &str, bytes: usize, mut work: impl FnMut()) {
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < AT_LEAST {
        work();
        rounds += 1;
    }
    report(what, bytes * rounds, start.elapsed());
}

async fn pipelines(streams: usize, md5: bool, piece: &Bytes) {
    let start = Instant::now();
    let pieces = 2048 / streams.max(2);
    let stream = |piece: Bytes| async move {
        let mut pipeline = Pipeline::new(Encoder::new(Compression::None, None), md5, Nowhere);
        for _ in 0..pieces {
            pipeline.push(piece.clone()).await.expect("nowhere takes everything");
        }
        pipeline.finish().await.expect("nowhere takes everything");
    };
    let tasks: Vec<_> = (0..streams).map(|_| tokio::spawn(stream(piece.clone()))).collect();
    for task in tasks {
        task.await.expect("a stream ends");
    }
    let what = format!("pipeline, {streams} streams{}", if md5 { ", MD5" } else { "" });
    report(&what, streams * pieces * PIECE_LEN, start.elapsed());
}

fn report(what: &str, bytes: usize, time: Duration) {
    println!("{what:32} {:8.0} MB/s", bytes as f64 / time.as_secs_f64() / 1e6);
}
