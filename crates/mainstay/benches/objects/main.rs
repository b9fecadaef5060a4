//! Figures of object storage: ours, Garage and s3s-fs in turns, with one client, in one run.
//!
//! `cargo bench -p mainstay --bench objects`; `-- --quick` takes shorter windows and fewer objects, and one or more of
//! `4KiB`, `64KiB`, `1MiB`, `64MiB`, `64MiBwithCRC64NVME` and `million` stand for themselves alone. Ours is durable before it
//! answers; the others sync nothing. Client and servers share the machine.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
#[path = "../../tests/it/harness/mod.rs"]
mod harness;
mod limits;
mod load;
mod million;
mod peers;
mod sign;

use std::collections::BTreeMap;
use std::time::Duration;

use load::Body;
use peers::Peer;

const BODIES: [(&str, Body); 5] = [
    ("4 KiB", Body { size: 4 << 10, checksum: false }),
    ("64 KiB", Body { size: 64 << 10, checksum: false }),
    ("1 MiB", Body { size: 1 << 20, checksum: false }),
    ("64 MiB", Body { size: 64 << 20, checksum: false }),
    ("64 MiB with CRC64NVME", Body { size: 64 << 20, checksum: true }),
];
const CONNECTIONS: [usize; 3] = [1, 8, 32];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let parts: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.contains(&&part.replace(' ', ""));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        limits::print();
        for (name, body) in BODIES.into_iter().filter(|(name, _)| wanted(name)) {
            throughput(name, body, quick).await;
        }
        if wanted("million") {
            million::print(if quick { 100_000 } else { 1_000_000 }).await;
        }
    });
}

/// PUT and GET of one size, each peer in turns; a round's figures are held against one another, and the medians shown.
/// What is put with a checksum is got as fast as what is not.
async fn throughput(name: &str, body: Body, quick: bool) {
    let size = body.size;
    let methods: &[_] = if body.checksum { &["PUT"] } else { &["PUT", "GET"] };
    let (rounds, window) = if quick { (2, Duration::from_millis(700)) } else { (3, Duration::from_millis(1500)) };
    let peers: Vec<Peer> = [Some(peers::ours()), peers::garage(), peers::s3s_fs(), Some(peers::wire(size))]
        .into_iter()
        .flatten()
        .collect();
    // The figures of each peer by connections and method, a row for each round.
    let mut figures: BTreeMap<(usize, &str, &str), Vec<f64>> = BTreeMap::new();
    let mut series = 0;
    for _ in 0..rounds {
        for connections in CONNECTIONS {
            for peer in &peers {
                series += 1;
                // What others have written and not synced would otherwise be written while the next is measured.
                rustix::fs::sync();
                let (put, made) = load::put(&peer.account, body, connections, window, series).await;
                figures.entry((connections, "PUT", peer.name)).or_default().push(put.rate());
                if methods.contains(&"GET") {
                    let get = load::get(&peer.account, size, &made, window, series).await;
                    figures.entry((connections, "GET", peer.name)).or_default().push(get.rate());
                }
            }
        }
    }
    let unit = if size < 1 << 20 { "requests/s" } else { "MB/s" };
    let scale = if size < 1 << 20 { 1.0 } else { size as f64 / 1e6 };
    println!("\n{name}, {unit}: the medians of {rounds} rounds; in brackets ours as a multiple of it");
    println!("{:<16} {:>12} {:>20} {:>20} {:>20}", "", "ours", "Garage", "s3s-fs", "the wire alone");
    for method in methods {
        for connections in CONNECTIONS {
            let of = |peer| figures.get(&(connections, *method, peer)).map(|rates| median(rates.clone()) * scale);
            let ours = of("ours").unwrap();
            let beside = |peer| match of(peer) {
                Some(theirs) => format!("{theirs:.0} ({:.2})", ours / theirs),
                None => "-".to_owned(),
            };
            println!(
                "{:<16} {ours:>12.0} {:>20} {:>20} {:>20}",
                format!("{method}, {connections}"),
                beside("garage"),
                beside("s3s-fs"),
                beside("wire")
            );
        }
    }
    for peer in &peers {
        if let Some(pid) = peer.pid {
            println!("{}: at most {:.0} MiB of memory", peer.name, peers::peak_memory(pid));
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
