//! Pipelines give what one pass on one thread gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay_content::{Encoder, Pipeline, Sink, digest, encode};
use mainstay_dataplane::Compression;

use crate::{noise, text};

struct Collect(Vec<u8>);

impl Sink for Collect {
    type Error = std::convert::Infallible;

    fn write(&mut self, stored: Bytes) -> Result<(), Self::Error> {
        self.0.extend_from_slice(&stored);
        Ok(())
    }
}

/// Fails at some call; tells when it is dropped.
struct Failing {
    calls: u32,
    dropped: Arc<AtomicBool>,
}

impl Sink for Failing {
    type Error = &'static str;

    fn write(&mut self, _: Bytes) -> Result<(), Self::Error> {
        self.calls = self.calls.checked_sub(1).ok_or("the disk is full")?;
        Ok(())
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_gives_what_one_pass_gives() {
    for content in [noise(0), noise(10), noise(1_000_000), text(1_234_567)] {
        for compression in [Compression::None, Compression::Zstd] {
            let content = Bytes::from(content.clone());
            let mut pipeline = Pipeline::new(Encoder::new(compression, None), true, Collect(Vec::new()));
            for piece in content.chunks(200_000) {
                pipeline.push(content.slice_ref(piece)).await.unwrap();
            }
            let kept = pipeline.finish().await.unwrap();
            assert_eq!(kept.digests, digest(&content, true));
            let (header, stored) = encode(Encoder::new(compression, None), &kept.digests, content);
            assert_eq!((kept.header, kept.sink.0), (header, stored.to_vec()));
        }
    }
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_stream() {
    let dropped = Arc::new(AtomicBool::new(false));
    let sink = Failing { calls: 1, dropped: dropped.clone() };
    let mut pipeline = Pipeline::new(Encoder::new(Compression::None, None), true, sink);
    let piece = Bytes::from(noise(1000));
    pipeline.push(piece.clone()).await.unwrap();
    pipeline.push(piece.clone()).await.unwrap();
    assert_eq!(pipeline.push(piece).await.err(), Some("the disk is full"));
    drop(pipeline);
    gone(&dropped);
}

#[tokio::test]
async fn a_pipeline_that_is_dropped_drops_its_sink() {
    let dropped = Arc::new(AtomicBool::new(false));
    let sink = Failing { calls: u32::MAX, dropped: dropped.clone() };
    let mut pipeline = Pipeline::new(Encoder::new(Compression::None, None), true, sink);
    pipeline.push(Bytes::from(noise(100_000))).await.unwrap();
    drop(pipeline);
    gone(&dropped);
}

fn gone(dropped: &AtomicBool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !dropped.load(Ordering::Acquire) {
        assert!(Instant::now() < deadline, "the sink should have been dropped");
        std::thread::yield_now();
    }
}
