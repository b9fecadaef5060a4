//! A stream that is larger than any memory.

use std::io::Read;

use serde_json::json;

use super::Bound;
use super::stock::noise;
use crate::harness::{Layer, Options};

const PART: u64 = 1 << 30;
const PARTS: u64 = 10;
/// What the layer may take above what it takes when it does nothing.
const ROOM_MIB: u64 = 64;
const BLOCK: usize = 1 << 20;

#[test]
fn soak_ten_gibibytes_in_bounded_memory() {
    if std::env::var_os("MAINSTAY_SOAK_MINUTES").is_none() {
        return;
    }
    let layer = Layer::start(Options::default());
    let bound = Bound::new(&layer, "endless", json!({}));
    // What is made once is made before.
    bound.put("small", &noise(1, BLOCK)).expect(200);
    bound.get("small").expect(200);
    let idle = memory(&layer, "VmRSS");

    let path = bound.path("endless");
    let upload = bound.call("POST", &format!("{path}?uploads="), &[], b"").element("UploadId");
    for part in 0..PARTS {
        let mut body = Stream::new(part).take(PART);
        let part = format!("{path}?partNumber={}&uploadId={upload}", part + 1);
        bound.upload(&part, PART, &mut body).unwrap().expect(200);
    }
    let listed = bound.call("GET", &format!("{path}?uploadId={upload}"), &[], b"");
    let part = |(number, etag)| format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", number + 1);
    let parts: String = listed.elements("ETag").into_iter().enumerate().map(part).collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    bound.call("POST", &format!("{path}?uploadId={upload}"), &[], body.as_bytes()).expect(200);
    let after_upload = memory(&layer, "VmHWM");

    let mut download = bound.download("endless").into_reader();
    let mut found = vec![0; BLOCK];
    for part in 0..PARTS {
        let mut wanted = Stream::new(part);
        for _ in 0..PART / BLOCK as u64 {
            download.read_exact(&mut found).unwrap();
            assert!(wanted.next_block() == found, "part {} comes back with other bytes", part + 1);
        }
    }
    assert_eq!(download.read(&mut found).unwrap(), 0);
    let most = memory(&layer, "VmHWM");
    println!("idle {idle} MiB, at most {after_upload} MiB during the upload and {most} MiB in the end");
    assert!(most <= idle + ROOM_MIB, "{most} MiB, where idle are {idle} MiB");
}

/// Blocks that differ from one another.
struct Stream {
    block: Vec<u8>,
    number: u64,
    /// How much of the block was read.
    at: usize,
}

impl Stream {
    fn new(part: u64) -> Self {
        Self { block: noise(part, BLOCK), number: part << 32, at: BLOCK }
    }

    fn next_block(&mut self) -> &[u8] {
        self.number += 1;
        self.block[..8].copy_from_slice(&self.number.to_le_bytes());
        &self.block
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == BLOCK {
            self.next_block();
            self.at = 0;
        }
        let len = buffer.len().min(BLOCK - self.at);
        buffer[..len].copy_from_slice(&self.block[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// What the control plane has in memory, or had at most, in MiB.
fn memory(layer: &Layer, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", layer.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}
