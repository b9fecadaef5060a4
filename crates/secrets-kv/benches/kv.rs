//! What the engine itself costs, without policies, audit and network: `cargo bench -p mainstay-secrets-kv`.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mainstay_secrets_engine::{Backend, Kind, Mount, Operation, Request, Storage};
use mainstay_secrets_kv::KvKind;
use mainstay_types::{TenantName, Timestamp};
use serde_json::{Value, json};

const SECRETS: usize = 1000;
const READS: usize = 200_000;
const WRITES: usize = 20_000;
/// How many clients write at once: group commit is what they share.
const WRITERS: usize = 32;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for version in ["1", "2"] {
            measure(version).await;
        }
    });
}

async fn measure(version: &str) {
    let mount = Arc::new(Mount {
        path: "kv/".to_owned(),
        accessor: String::new(),
        uuid: String::new(),
        options: BTreeMap::from([("version".to_owned(), version.to_owned())]),
        default_lease_seconds: 60,
        max_lease_seconds: 60,
    });
    let backend = KvKind.open(Arc::clone(&mount), Storage::scratch().await).await.unwrap();
    let prefix = if version == "2" { "data/" } else { "" };
    let request = |operation, number: usize, data: Value| {
        let Value::Object(data) = data else { unreachable!("an object") };
        Request {
            operation,
            path: format!("{prefix}team/app-{}/database", number % SECRETS),
            data,
            raw_body: Vec::new(),
            mount: Arc::clone(&mount),
            caller: None,
            tenant: TenantName::default_tenant(),
            remote: None,
            now: Timestamp::now(),
        }
    };
    let values =
        |number: usize| json!({"username": "app", "password": format!("{number:0>64}"), "note": "x".repeat(400)});
    let write = |number: usize| match version {
        "2" => request(Operation::Update, number, json!({ "data": values(number) })),
        _ => request(Operation::Update, number, values(number)),
    };

    let started = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let requests: Vec<_> = (0..WRITES / WRITERS).map(|number| write(number * WRITERS + writer)).collect();
        let backend: Arc<dyn Backend> = Arc::clone(&backend);
        writers.spawn(async move {
            for request in requests {
                backend.handle(&request).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let rate = WRITES as f64 / started.elapsed().as_secs_f64();
    println!("version {version}: {rate:>8.0} writes a second, {WRITERS} at once, in memory");

    let requests: Vec<_> = (0..SECRETS).map(|number| request(Operation::Read, number, json!({}))).collect();
    let started = Instant::now();
    for number in 0..READS {
        backend.handle(&requests[number % SECRETS]).await.unwrap();
    }
    let each = started.elapsed().as_secs_f64() / READS as f64;
    println!("version {version}: {:>8.0} reads a second by one client, {:.1} µs each", 1.0 / each, each * 1e6);
}
