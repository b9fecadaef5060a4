//! Ports for layers that run beside one another.

use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what the kernel gives to outgoing connections (32768 and above on Linux), so that none is in the way.
const FIRST: u16 = 12_000;
const BLOCKS: u16 = 600;
/// The API, the S3 API, the shared clusters, and dedicated ones. A layer may give more ports than these to dedicated
/// clusters, but it begins with the first, and no test makes so many.
const BLOCK: u16 = 30;

/// The ports of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub api: u16,
    pub s3: u16,
    pub postgresql: u16,
    pub redis: u16,
    pub valkey: u16,
    pub nats: u16,
    pub rabbitmq: u16,
    pub rabbitmq_tls: u16,
    pub dedicated: u16,
}

impl Ports {
    /// A block that nobody else in this process has, and that nothing on this machine listens in.
    pub fn allocate() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Test processes that run at the same time begin in different places.
        let offset = (std::process::id() % u32::from(BLOCKS)) as u16;
        for _ in 0..BLOCKS {
            let block = (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
            let first = FIRST + block * BLOCK;
            if is_free(first..=first + BLOCK - 1) {
                return Self {
                    api: first,
                    s3: first + 1,
                    postgresql: first + 2,
                    redis: first + 3,
                    valkey: first + 4,
                    nats: first + 5,
                    rabbitmq: first + 6,
                    rabbitmq_tls: first + 7,
                    dedicated: first + 8,
                };
            }
        }
        panic!("no block of {BLOCK} ports above {FIRST} is free");
    }
}

fn is_free(mut ports: RangeInclusive<u16>) -> bool {
    ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}
