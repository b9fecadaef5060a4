//! A sealed layer: what it says, what it goes on doing, and that nothing is left of any secret, on disk or in memory.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use ureq::http::Method;

use super::Shared;
use crate::harness::{Vault, until};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn while_sealed_it_says_so_and_the_rest_goes_on() {
    let shared = Shared::start();
    let (layer, root) = (&shared.layer, shared.root());
    root.post("sys/auth/userpass", &json!({ "type": "userpass" })).expect(204);
    layer.create("before");
    root.put("sys/seal", &json!({})).expect(204);
    let nobody = root.with_token("");
    for caller in [&root, &nobody, &Vault::of(layer)] {
        for path in [
            "secret/data/x",
            "auth/token/lookup-self",
            "sys/mounts",
            "sys/policies/acl",
            "sys/leases/lookup/x",
            "cubbyhole/x",
            "sys/internal/ui/mounts",
            "auth/userpass/login/x",
            "sys/key-status",
            "nothing/here",
        ] {
            assert_eq!(caller.get(path).expect(503), json!({ "errors": ["Vault is sealed"] }), "{path}");
            caller.post(path, &json!({ "password": "x" })).expect(503);
        }
    }
    let status = nobody.get("sys/seal-status").expect(200);
    assert_eq!((&status["sealed"], &status["t"], &status["n"]), (&json!(true), &json!(3), &json!(5)));
    nobody.get("sys/health").expect(503);
    nobody.get("sys/health?sealedcode=204").expect(204);
    assert_eq!(nobody.get("sys/init").expect(200)["initialized"], true);
    nobody.get("sys/leader").expect(200);
    // The native API goes on with what needs no secret, and its readiness says what is missing.
    let api = layer.api();
    assert_eq!(api.get("/livez").status, 200);
    let ready = api.get("/readyz");
    assert!(ready.status == 503 && ready.text.contains("sealed"), "{ready:?}");
    assert_eq!(api.get("/api/v1/instances").expect(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(api.get("/api/v1/instances/before").expect(200)["state"], "ready");
    let made = api
        .post("/api/v1/instances?wait=60s", &json!({ "name": "while-sealed", "contract": "postgresql/v1" }))
        .expect(200);
    assert_eq!(made["state"], "succeeded", "{made}");
    // A binding needs a password: it is asked for, and waits.
    let bound = api.post("/api/v1/instances/before/bindings", &json!({ "consumer": "waits" })).expect(202);
    let operation = format!("/api/v1/operations/{}", bound["id"].as_str().unwrap());
    assert_eq!(api.get(&operation).expect(200)["state"], "in progress");

    // Wrong shares unseal nothing, and the right ones do after them.
    let wrong = shared.keys[0].chars().rev().collect::<String>();
    let answers: Vec<u16> = (0..3).map(|_| nobody.put("sys/unseal", &json!({ "key": wrong })).status).collect();
    assert_eq!(nobody.get("sys/seal-status").expect(200)["sealed"], true, "{answers:?}");
    nobody.put("sys/unseal", &json!({ "reset": true })).expect(200);
    shared.unseal();
    root.get("sys/mounts").expect(200);
    until("what waited is done", PATIENCE, || (api.get(&operation).body["state"] == "succeeded").then_some(()));
    layer.bind("before", "web");
}

/// The authority's certificate is in custody, which is sealed when a layer with such a seal starts.
#[test]
fn bindings_with_tls_carry_certificates_after_a_restart() {
    let mut shared = Shared::start();
    let wanted = json!({ "name": "encrypted", "contract": "redis/v1", "parameters": { "tls": "true" } });
    let made = shared.layer.api().post("/api/v1/instances?wait=60s", &wanted).expect(200);
    assert_eq!(made["state"], "succeeded", "{made}");
    let before = shared.layer.bind("encrypted", "before")["credentials"]["certificates"].clone();
    assert!(before.as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"), "{before}");
    shared.layer.kill();
    shared.layer.restart_in_trouble();
    shared.unseal();
    assert_eq!(shared.layer.bind("encrypted", "after")["credentials"]["certificates"], before);
}

#[test]
fn nothing_is_left_of_a_secret() {
    let mut shared = Shared::start();
    let pid = shared.layer.pid();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let sizes: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(sizes, ["0", "0"], "no core is ever written: {core}");

    let mut secrets = make_secrets(&shared);
    secrets.push(shared.root.clone());
    secrets.extend(shared.keys.iter().cloned());
    let needles = Needles::new(shared.layer.scratch(), &secrets);
    shared.root().put("sys/seal", &json!({})).expect(204);
    let left = until_clean(pid, &needles);
    assert!(left.is_empty(), "in the memory of the sealed process: {left:?}");
    assert!(needles.found_in(&needles.planted()).len() == needles.count, "the search finds what is there");

    shared.layer.stop();
    assert!(needles.found_in(shared.layer.log().as_bytes()).is_empty(), "a secret is in the log");
    let found = needles.files(&shared.layer.data_dir());
    assert!(found.is_empty(), "{found:?}");
}

/// Puts a secret into everything that keeps one, and reads each back, so that answers are made of it too.
fn make_secrets(shared: &Shared) -> Vec<String> {
    let root = shared.root();
    let canary = |name: &str| format!("canary-{name}-3f1c9a77d2e84b60");
    root.post("secret/data/app", &json!({ "data": { "password": canary("kv") } })).expect(200);
    root.get("secret/data/app").expect(200);
    root.post("cubbyhole/own", &json!({ "value": canary("cubbyhole") })).expect(204);
    root.post("sys/mounts/transit", &json!({ "type": "transit" })).expect(204);
    let plaintext = STANDARD.encode(canary("transit"));
    let sealed = root.post("transit/encrypt/key", &json!({ "plaintext": plaintext })).expect(200);
    root.post("transit/decrypt/key", &json!({ "ciphertext": sealed["data"]["ciphertext"] })).expect(200);
    root.post("sys/auth/userpass", &json!({ "type": "userpass" })).expect(204);
    root.post("auth/userpass/users/ann", &json!({ "password": canary("userpass") })).expect(204);
    let login =
        root.with_token("").post("auth/userpass/login/ann", &json!({ "password": canary("userpass") })).expect(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let token = root.token(&json!({ "policies": ["default"] }));
    root.with_token(&token).get("auth/token/lookup-self").expect(200);
    let wrap = json!({ "value": canary("wrapped") }).to_string();
    let wrapped =
        root.call(Method::POST, "sys/wrapping/wrap", &[("x-vault-wrap-ttl", "60")], &wrap).unwrap().expect(200);
    root.post("sys/wrapping/unwrap", &json!({ "token": wrapped["wrap_info"]["token"] })).expect(200);
    shared.layer.create("shop");
    let bound = shared.layer.bind("shop", "web");
    vec![
        canary("kv"),
        canary("cubbyhole"),
        canary("transit"),
        canary("userpass"),
        canary("wrapped"),
        token,
        text(&login["auth"]["client_token"]),
        text(&wrapped["wrap_info"]["token"]),
        text(&bound["credentials"]["password"]),
    ]
}

/// What is looked for: each secret as it is, in hexadecimal, and in both alphabets of base64.
struct Needles {
    file: std::path::PathBuf,
    lines: Vec<String>,
    count: usize,
}

impl Needles {
    fn new(scratch: &Path, secrets: &[String]) -> Self {
        let hexadecimal = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut lines = Vec::new();
        for secret in secrets {
            // A base64 text's last letters depend on what follows: the part before them is looked for.
            let whole = secret.len() / 3 * 3;
            lines.push(secret.clone());
            lines.push(hexadecimal(secret));
            lines.push(STANDARD.encode(&secret.as_bytes()[..whole]));
            lines.push(URL_SAFE.encode(&secret.as_bytes()[..whole]));
        }
        lines.sort();
        lines.dedup();
        let file = scratch.join("needles");
        fs::write(&file, lines.join("\n")).unwrap();
        Self { file, count: lines.len(), lines }
    }

    fn planted(&self) -> Vec<u8> {
        self.lines.join("\n").into_bytes()
    }

    /// The texts that some bytes hold.
    fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let mut grep = Command::new("grep");
        grep.args(["--text", "--only-matching", "--fixed-strings", "-f"]).arg(&self.file).env("LC_ALL", "C");
        let mut grep = grep.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = grep.stdin.take().unwrap();
        let found = std::thread::scope(|scope| {
            scope.spawn(move || input.write_all(bytes).unwrap());
            grep.wait_with_output().unwrap().stdout
        });
        let mut found: Vec<String> = String::from_utf8(found).unwrap().lines().map(str::to_owned).collect();
        found.sort();
        found.dedup();
        found
    }

    /// The files below a directory that hold one.
    fn files(&self, directory: &Path) -> String {
        let mut grep = Command::new("grep");
        grep.args(["--recursive", "--files-with-matches", "--text", "--devices=skip", "--fixed-strings", "-f"]);
        let output = grep.arg(&self.file).arg(directory).env("LC_ALL", "C").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What a process holds once its connections are closed and its last tasks have ended.
fn until_clean(pid: u32, needles: &Needles) -> Vec<String> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let found = needles.found_in(&memory(pid));
        if found.is_empty() || std::time::Instant::now() > deadline {
            return found;
        }
        std::thread::yield_now();
    }
}

/// All memory of a process that it can write.
fn memory(pid: u32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw"))) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (number(from), number(to));
        let mut page = vec![0; 1 << 16];
        let mut at = from;
        while at < to {
            let wanted = page.len().min((to - at) as usize);
            // A mapping may go while it is read, and some cannot be read at all.
            let Ok(read) = file.read_at(&mut page[..wanted], at) else { break };
            all.extend_from_slice(&page[..read]);
            at += read as u64;
            if read == 0 {
                break;
            }
        }
        all.extend_from_slice(format!("\n{line}\n").as_bytes());
    }
    assert!(all.len() > 1 << 20, "the memory is read");
    all
}
