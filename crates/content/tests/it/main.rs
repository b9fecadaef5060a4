//! What content is made of, from outside.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod digests;
mod forms;
mod headers;
mod memory;
mod pipelines;
mod trees;

use mainstay_dataplane::{ContentKey, KeyId};

/// Bytes that no compressor makes smaller, and that differ from group to group.
pub fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key("mainstay content tests").finalize_xof().fill(&mut bytes);
    bytes
}

/// Bytes that compress well.
pub fn text(len: usize) -> Vec<u8> {
    (0..).flat_map(|line: u32| format!("line {line} of a log\n").into_bytes()).take(len).collect()
}

pub fn key(id: u32) -> ContentKey {
    ContentKey::new(KeyId(id), [id as u8; 32].into())
}
