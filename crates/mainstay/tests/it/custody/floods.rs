//! Too much of something: bodies, depths, patience, and wrong passwords.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Layer, Options, Vault, raw, soak};

/// Wrong logins in `make test`, and in one round of `make soak`.
const LOGINS: u32 = 2_000;
const LOGINS_SOAKED: u32 = 100_000;
/// What memory may grow by over them: caches fill, counters are kept for a while; a few KiB for each would be more. The
/// greater part is room for hashing a password, 19 MiB, which glibc keeps in each of its arenas that a thread has used:
/// how many those are depends on what else the machine does, and is 16 on two cores at most.
const GROWTH_KIB: u64 = 320 << 10;

#[test]
fn bodies_are_bounded_in_size_and_depth() {
    let layer = Layer::start(Options::default());
    let admin = Vault::of(&layer);
    let send = |body: String| {
        let answer = admin.call(ureq::http::Method::POST, "secret/data/flood", &[], &body);
        answer.map_or(0, |answer| answer.status)
    };
    let nested =
        |depth: usize, open: &str, close: &str| format!("{{\"data\":{}1{}}}", open.repeat(depth), close.repeat(depth));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert_eq!(send(nested(100_000, open, close)), 400, "{open}");
        assert_eq!(send(nested(1_000, open, close)), 400, "{open}");
        assert!(matches!(send(format!("{{\"data\":{}", open.repeat(100_000))), 400));
    }
    // 413, or the connection is closed while the rest is still on its way.
    assert!(matches!(send(format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(40 << 20))), 413 | 0));
    let wide: Vec<String> = (0..150_000).map(|number| format!("\"k{number}\":0")).collect();
    let before = memory(&layer);
    let wide = format!("{{\"data\":{{{}}}}}", wide.join(","));
    assert!(matches!(send(wide), 200 | 400 | 413));
    assert_eq!(send("{\"data\":{\"a\":1e400}}".to_owned()), 400);
    assert_eq!(send("{\"data\":{\"a\":\"\\ud800\"}}".to_owned()), 400);
    assert_eq!(send("[]".to_owned()), 400);
    // A length that is a lie, and one that is no number.
    for length in ["99999999999999999999", "-1", "4611686018427387904"] {
        let head = format!("POST /v1/auth/approle/login HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{{}}");
        let (status, answer) = raw_until_answered(&layer, head.as_bytes());
        assert!(matches!(status, 400 | 403 | 408 | 413), "{length}: {answer}");
    }
    assert!(memory(&layer) < before + (256 << 10), "{} KiB, {before} KiB before", memory(&layer));
    admin.post("secret/data/flood", &json!({ "data": { "a": "still" } })).expect(200);
}

#[test]
fn slow_senders_keep_nobody_waiting() {
    let layer = Layer::start(Options::default());
    let admin = Vault::of(&layer);
    let address = layer.address();
    let connect = || TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    // Some never finish their head, and some never their body.
    let slow: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = connect();
            let start = match number % 3 {
                0 => "POST /v1/auth/approle/login HTTP/1.1\r\nhost: x\r\n",
                1 => "POST /v1/auth/approle/login HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{",
                _ => "POST /v1/secret/data/x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{",
            };
            stream.write_all(start.as_bytes()).unwrap();
            stream
        })
        .collect();
    let started = Instant::now();
    for number in 0..50 {
        admin.post(&format!("secret/data/quick-{number}"), &json!({ "data": { "a": "b" } })).expect(200);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(slow.len(), 300);
}

#[test]
fn wrong_logins_leave_nothing_behind() {
    wrong_logins(LOGINS);
}

#[test]
fn soak_wrong_logins() {
    soak(|_| wrong_logins(LOGINS_SOAKED));
}

fn wrong_logins(count: u32) {
    let layer = Layer::start(Options::default());
    let admin = Vault::of(&layer);
    for method in ["approle", "userpass"] {
        admin.post(&format!("sys/auth/{method}"), &json!({ "type": method })).expect(204);
    }
    admin.post("auth/approle/role/app", &json!({ "token_policies": "default" })).expect(204);
    admin.post("auth/userpass/users/ann", &json!({ "password": "a long password" })).expect(204);
    let role_id = admin.get("auth/approle/role/app/role-id").expect(200)["data"]["role_id"].clone();
    let nobody = admin.with_token("");
    let try_it = |number: u32| {
        let forged = nobody.with_token(&format!("hvs.forged-{number}"));
        let answer = match number % 20 {
            // Passwords cost their hash: few of these make the round long enough.
            0 => nobody.post(&format!("auth/userpass/login/user-{number}"), &json!({ "password": "wrong" })),
            1..4 => nobody.post("auth/approle/login", &json!({ "role_id": format!("r-{number}"), "secret_id": "x" })),
            4..8 => {
                nobody.post("auth/approle/login", &json!({ "role_id": role_id, "secret_id": format!("s-{number}") }))
            }
            8..12 => {
                nobody.in_tenant(&format!("tenant-{number}")).post("auth/approle/login", &json!({ "role_id": "x" }))
            }
            12..16 => forged.get("auth/token/lookup-self"),
            _ => forged.get(&format!("secret/data/{number}")),
        };
        assert!(matches!(answer.status, 400 | 403 | 429), "{number}: {answer:?}");
    };
    (0..count / 10).for_each(try_it);
    let before = memory(&layer);
    (count / 10..count).for_each(try_it);
    let after = memory(&layer);
    println!("{count} wrong logins: {before} KiB before, {after} KiB after");
    assert!(after < before + GROWTH_KIB, "{before} KiB before, {after} KiB after");
    nobody.post("auth/userpass/login/ann", &json!({ "password": "a long password" })).expect(200);
    let secret_id = admin.post("auth/approle/role/app/secret-id", &json!({})).expect(200)["data"]["secret_id"].clone();
    nobody.post("auth/approle/login", &json!({ "role_id": role_id, "secret_id": secret_id })).expect(200);
    let tenants = admin.list("sys/namespaces").expect(200)["data"]["keys"].clone();
    assert_eq!(tenants, json!(["default/"]));
}

/// What the control plane holds in memory, in KiB.
fn memory(layer: &Layer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", layer.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Sends bytes and no more, and gives the answer although the body that was promised does not come.
fn raw_until_answered(layer: &Layer, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(layer.address().strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    match status {
        Some(status) => (status, text),
        // Whoever promises a body and hangs up may get no answer at all.
        None => (400, raw(layer, b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").1),
    }
}
