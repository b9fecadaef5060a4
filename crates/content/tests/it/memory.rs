//! Buffers come back, and pieces of streams are what was streamed.

use bytes::Bytes;
use futures::stream;
use mainstay_content::{BufferPool, Pieces};
use mainstay_dataplane::{Source, SourceError};

use crate::noise;

fn source(chunks: Vec<Result<Bytes, SourceError>>) -> Source {
    Box::pin(stream::iter(chunks))
}

#[test]
fn buffers_come_back_up_to_the_bound() {
    let pool = BufferPool::new(1024, 2);
    let mut buffer = pool.take();
    buffer[..3].copy_from_slice(b"abc");
    let bytes = buffer.freeze(3);
    let slice = bytes.slice(1..2);
    drop(bytes);
    assert_eq!((&slice[..], pool.idle()), (&b"b"[..], 0), "a slice keeps its buffer");
    drop(slice);
    assert_eq!(pool.idle(), 1);
    drop([pool.take(), pool.take(), pool.take()]);
    assert_eq!(pool.idle(), 2);
}

#[tokio::test]
async fn pieces_have_one_length() {
    let pool = BufferPool::new(1000, 2);
    let content = noise(12_345);
    for chunk in [1, 7, 999, 1000, 1001, 2500, 20_000] {
        let mut chunks: Vec<_> = content.chunks(chunk).map(|bytes| Ok(Bytes::copy_from_slice(bytes))).collect();
        chunks.insert(1, Ok(Bytes::new()));
        let mut pieces = Pieces::new(source(chunks), pool.clone());
        let mut found = Vec::new();
        while let Some(piece) = pieces.next().await.unwrap() {
            found.push(piece);
        }
        assert!(found[..12].iter().all(|piece| piece.len() == 1000), "chunks of {chunk}");
        assert_eq!(found.concat(), content);
        assert!(pieces.next().await.unwrap().is_none(), "the end stays the end");
    }
    let mut nothing = Pieces::new(source(vec![Ok(Bytes::new())]), pool);
    assert!(nothing.next().await.unwrap().is_none());
}

#[tokio::test]
async fn content_that_comes_at_once_is_not_copied() {
    let pool = BufferPool::new(1000, 2);
    let content = Bytes::from(noise(500));
    let mut pieces = Pieces::new(source(vec![Ok(content.clone())]), pool.clone());
    assert_eq!(pieces.next().await.unwrap().unwrap().as_ptr(), content.as_ptr());
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn a_source_that_breaks_off_says_why() {
    let pool = BufferPool::new(1000, 2);
    let broken = vec![Ok(Bytes::from_static(b"abc")), Err("the peer is gone".into())];
    let error = Pieces::new(source(broken), pool).next().await.unwrap_err();
    assert_eq!(error.to_string(), "the peer is gone");
}
