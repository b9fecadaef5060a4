//! `kill -9` while clients write, make tokens and leases, revoke, and rotate keys: what was acknowledged is there and
//! whole, what was revoked stays revoked, and no lease is forgotten.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use ureq::http::Method;

use super::recorded_calls::pki;
use crate::harness::{Chance, Layer, Options, Vault, soak, until, with_seeds};

const WRITERS: usize = 4;
/// Clients of tokens and leases.
const LENDERS: usize = 2;
/// Kills in one round, each after so many acknowledgements at most and so many microseconds.
const KILLS: u64 = 3;
const ACKNOWLEDGED: u64 = 120;
const JITTER: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough that a write which was cut in two would show.
const VALUE: usize = 3_000;

#[test]
fn a_killed_layer_keeps_every_word_it_gave() {
    with_seeds(2, round);
}

#[test]
fn soak_killed_custody() {
    soak(round);
}

/// What was acknowledged, by one client or by all.
#[derive(Default)]
struct Acknowledged {
    /// The newest version of each path.
    written: BTreeMap<String, u64>,
    tokens: Vec<String>,
    revoked: Vec<String>,
    leases: Vec<String>,
    ended: Vec<String>,
}

fn round(seed: u64) {
    let mut chance = Chance::new(seed);
    let mut layer = Layer::start(Options::default());
    let admin = Vault::of(&layer);
    let issue = pki(&admin);
    let mut known = Acknowledged::default();
    for kill in 0..KILLS {
        let news = interrupted(&mut layer, &admin, &issue, kill, &mut chance);
        layer.restart();
        known.merge(news);
        known.expect_kept(&admin);
    }
    // And with nothing in the way an orderly stop and start say the same.
    layer.stop();
    layer.restart();
    known.expect_kept(&Vault::of(&layer));
}

/// Lets clients work, and kills the layer after some of their acknowledgements.
fn interrupted(layer: &mut Layer, admin: &Vault, issue: &str, kill: u64, chance: &mut Chance) -> Vec<Acknowledged> {
    let kill_after = chance.pick(1..ACKNOWLEDGED) as usize;
    let jitter = Duration::from_micros(chance.pick(0..JITTER));
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let count = &count;
        let writers =
            (0..WRITERS).map(|writer| scope.spawn(move || write(admin, &format!("k{kill}-w{writer}"), count)));
        let mut clients: Vec<_> = writers.collect();
        clients.extend((0..LENDERS).map(|_| scope.spawn(move || lend(admin, issue, count))));
        let rotator = scope.spawn(move || {
            while rotate(admin) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        until("enough is acknowledged", PATIENCE, || (count.load(Ordering::Relaxed) >= kill_after).then_some(()));
        let moment = Instant::now() + jitter;
        until("the moment has come", PATIENCE, || (Instant::now() >= moment).then_some(()));
        layer.kill();
        rotator.join().unwrap();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// Writes version after version until nobody answers.
fn write(admin: &Vault, name: &str, count: &AtomicUsize) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for number in 0.. {
        let path = format!("{name}/{}", number % 5);
        let version = acknowledged.written.get(&path).copied().unwrap_or_default() + 1;
        let body = json!({ "options": { "cas": version - 1 }, "data": { "value": value(&path, version) } });
        match admin.call(Method::POST, &format!("secret/data/{path}"), &[], &body.to_string()) {
            Ok(answer) => assert_eq!(answer.expect(200)["data"]["version"], version),
            Err(_) => break,
        }
        acknowledged.written.insert(path, version);
        count.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// Makes tokens and leases, and takes back every other one.
fn lend(admin: &Vault, issue: &str, count: &AtomicUsize) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for number in 0.. {
        let Ok(made) = admin.call(Method::POST, "auth/token/create", &[], "{}") else { break };
        let token = made.expect(200)["auth"]["client_token"].as_str().unwrap().to_owned();
        acknowledged.tokens.push(token.clone());
        let name = json!({ "common_name": format!("n{number}.example.com") }).to_string();
        let Ok(issued) = admin.call(Method::POST, issue, &[], &name) else { break };
        let lease = issued.expect(200)["lease_id"].as_str().unwrap().to_owned();
        acknowledged.leases.push(lease.clone());
        count.fetch_add(2, Ordering::Relaxed);
        if number % 2 == 0 {
            continue;
        }
        // From the moment that it is sent a revocation may have been carried out.
        acknowledged.tokens.pop();
        let body = json!({ "token": token }).to_string();
        let Ok(answer) = admin.call(Method::POST, "auth/token/revoke", &[], &body) else { break };
        answer.expect(204);
        acknowledged.revoked.push(token);
        acknowledged.leases.pop();
        let body = json!({ "lease_id": lease }).to_string();
        let Ok(answer) = admin.call(Method::POST, "sys/leases/revoke", &[], &body) else { break };
        answer.expect(204);
        acknowledged.ended.push(lease);
        count.fetch_add(2, Ordering::Relaxed);
    }
    acknowledged
}

/// Rotates the data key; says whether anybody answered.
fn rotate(admin: &Vault) -> bool {
    admin.call(Method::POST, "sys/rotate", &[], "{}").map(|answer| answer.expect(204)).is_ok()
}

impl Acknowledged {
    fn merge(&mut self, news: Vec<Self>) {
        for other in news {
            self.written.extend(other.written);
            self.tokens.extend(other.tokens);
            self.revoked.extend(other.revoked);
            self.leases.extend(other.leases);
            self.ended.extend(other.ended);
        }
    }

    fn expect_kept(&self, admin: &Vault) {
        for (path, acknowledged) in &self.written {
            let read = admin.get(&format!("secret/data/{path}")).expect(200);
            let version = read["data"]["metadata"]["version"].as_u64().unwrap();
            // The next one was on its way: it is there as a whole, or not at all.
            assert!(version == *acknowledged || version == acknowledged + 1, "{path}: {version}, not {acknowledged}");
            for version in [*acknowledged, version] {
                let read = admin.get(&format!("secret/data/{path}?version={version}")).expect(200);
                assert_eq!(read["data"]["data"]["value"], value(path, version), "{path} {version}");
            }
        }
        for token in &self.tokens {
            admin.with_token(token).get("auth/token/lookup-self").expect(200);
        }
        for token in &self.revoked {
            admin.with_token(token).get("auth/token/lookup-self").expect(403);
        }
        let listed = admin.list("sys/leases/lookup/pki/issue/web");
        for lease in &self.leases {
            admin.post("sys/leases/lookup", &json!({ "lease_id": lease })).expect(200);
            assert!(listed.text.contains(lease.rsplit('/').next().unwrap()), "{lease} is listed");
        }
        for lease in &self.ended {
            admin.post("sys/leases/lookup", &json!({ "lease_id": lease })).expect(400);
        }
    }
}

/// What is written as a version of a path: nothing else looks the same.
fn value(path: &str, version: u64) -> String {
    format!("{path} {version} ").chars().cycle().take(VALUE).collect()
}
