//! What many objects cost: putting them, listing them, starting on them.

use std::time::{Duration, Instant};

use crate::harness::{Layer, Options, until};
use crate::load::{self, Body};
use crate::peers::{bucket_of, peak_memory};
use crate::sign::Account;

const BODY: Body = Body { size: 4 << 10, checksum: false };
const CONNECTIONS: usize = 32;
/// Ticks of `/proc/PID/stat` in a second, on every architecture that Linux has today.
const TICKS: f64 = 100.0;
const PAGES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn print(objects: u64) {
    let mut layer = Layer::start(Options::default());
    let account = bucket_of(&layer);
    println!("\n{objects} objects of 4 KiB, {CONNECTIONS} connections");
    let empty = start(&mut layer, &account).await;
    let (part, mut rates, mut made, mut series) = (objects / 10, Vec::new(), 0, 1 << 20);
    while made < objects {
        let (mut requests, started) = (0, Instant::now());
        while requests < part {
            series += 1;
            requests += load::put(&account, BODY, CONNECTIONS, Duration::from_secs(1), series).await.0.requests;
        }
        rates.push(requests as f64 / started.elapsed().as_secs_f64());
        made += requests;
    }
    let rounded: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    println!("  PUT/s, tenth by tenth: {}", rounded.join(" "));
    println!("  the last against the first: {:.2}", rates.last().unwrap() / rates[0]);
    println!("  memory: at most {:.0} MiB", peak_memory(layer.pid()));
    let full = start(&mut layer, &account).await;
    println!(
        "  from the start of the process to the first answer to S3: {:.0} ms, and {:.0} ms with nothing in it",
        full.as_secs_f64() * 1e3,
        empty.as_secs_f64() * 1e3
    );
    for (what, query) in [("flat", "list-type=2"), ("with a delimiter", "delimiter=%2F&list-type=2&prefix=bench%2F")] {
        let (wall, cpu) = listing(&layer, &account, query).await;
        println!("  a page of 1000 keys, {what}: {wall:.2} ms, {cpu:.2} ms of processor time");
    }
}

/// Stops the layer and starts it again; answers how long it took until an S3 request was answered.
async fn start(layer: &mut Layer, account: &Account) -> Duration {
    layer.stop();
    let started = Instant::now();
    layer.restart_in_trouble();
    let port = account.port;
    until("S3 is served", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop));
    let head = account.head("GET", &format!("/{}?list-type=2&max-keys=1", account.bucket), None);
    load::once(account, &head).await;
    let took = started.elapsed();
    until("the layer is ready", PATIENCE, || layer.is_ready().then_some(()));
    took
}

/// The first page and those behind it: the time of one, and the server's processor time for it, in milliseconds.
async fn listing(layer: &Layer, account: &Account, query: &str) -> (f64, f64) {
    let (before, started) = (cpu_seconds(layer.pid()), Instant::now());
    let mut pages = 0;
    let mut token = String::new();
    while pages < PAGES {
        // The parts of a query are signed in the order of their names.
        let path = format!("/{}?{token}{query}", account.bucket);
        let answer = load::once(account, &account.head("GET", &path, None)).await;
        let text = String::from_utf8(answer).unwrap();
        pages += 1;
        let next = text.split("<NextContinuationToken>").nth(1).and_then(|rest| rest.split('<').next());
        token = next.map(|next| format!("continuation-token={}&", encoded(next))).unwrap_or_default();
    }
    let pages = pages as f64;
    (started.elapsed().as_secs_f64() * 1e3 / pages, (cpu_seconds(layer.pid()) - before) * 1e3 / pages)
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}
