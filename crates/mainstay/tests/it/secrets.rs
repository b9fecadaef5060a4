//! No secret is anywhere but where it belongs: every one that a layer makes is looked for in everything it leaves.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use ureq::http::Method;

use crate::harness::{Api, Layer, Options, runtime, uri_of};

const SHARED: &str = "postgresql-shared";
/// Where two of them belong: nowhere else in the data directory is any of them.
const HOMES: [&str; 2] = ["admin.token", "custody/master.key"];
/// Everything that can be asked for and shows no secret, whoever asks.
const LISTINGS: [&str; 14] = [
    "/api/v1/events?limit=1000",
    "/api/v1/instances",
    "/api/v1/instances/shop",
    "/api/v1/instances/shop/bindings",
    "/api/v1/instances/own/bindings",
    "/api/v1/tokens",
    "/api/v1/clusters",
    "/api/v1/operations",
    "/api/v1/offerings",
    "/api/v1/status",
    "/openapi.json",
    "/metrics",
    "/readyz",
    "/api/v1/no-such-thing",
];

#[test]
fn secrets_are_where_they_belong_and_nowhere_else() {
    let processes = Processes::watch();
    let mut layer =
        Layer::start(Options { environment: vec![("Log__Filter", "trace".to_owned())], ..Options::default() });
    let secrets = make_secrets(&layer);
    assert!(secrets.texts.len() >= 10, "{}", secrets.texts.len());
    let needles = secrets.write(layer.scratch());

    for path in LISTINGS {
        let answer = layer.api().get(path);
        secrets.expect_none_in(path, answer.text.as_bytes());
    }
    for event in layer.events() {
        secrets.expect_none_in("an event", event.to_string().as_bytes());
    }
    secrets.expect_none_in("the log", layer.log().as_bytes());
    assert!(layer.log().contains("\"level\":\"DEBUG\""), "the log says more than usually");
    assert!(!layer.log().contains("sqlx::postgres::notice"), "what a server remarks by the way is not logged");

    // What is in the server's memory goes to its files, too.
    layer.psql(&layer.superuser(SHARED, layer.postgresql_port()), "CHECKPOINT");
    expect_none_in_files(&layer.data_dir(), &needles, &secrets);
    for (place, text) in processes.finish() {
        secrets.expect_none_in(&place, &text);
    }
    layer.kill();
    expect_none_in_files(&layer.data_dir(), &needles, &secrets);
    layer.restart();
    layer.stop();
    expect_none_in_files(&layer.data_dir(), &needles, &secrets);
    secrets.expect_none_in("the log", layer.log().as_bytes());

    // The search itself finds what is there.
    let planted: Vec<PathBuf> =
        (0..secrets.all().len()).map(|number| layer.data_dir().join(format!("storage/planted-{number}"))).collect();
    for (path, secret) in planted.iter().zip(secrets.all()) {
        fs::write(path, [b"\0noise", secret, b"noise\n"].concat()).unwrap();
    }
    let found: HashSet<PathBuf> = found_in_files(&layer.data_dir(), &needles, &secrets).into_iter().collect();
    assert_eq!(found, planted.into_iter().collect());
}

#[test]
fn files_are_for_their_owner_alone() {
    let layer = Layer::start(Options::default());
    layer.create("shop");
    layer.create_with("own", "dedicated");
    layer.bind("shop", "web");
    let data_dir = layer.data_dir();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    for home in HOMES {
        assert_eq!(mode(&data_dir.join(home)), 0o600, "{home}");
    }
    for (directory, expected) in [("", 0o711), ("clusters", 0o711), ("custody", 0o700), ("storage", 0o700)] {
        assert_eq!(mode(&data_dir.join(directory)), expected, "{directory}");
    }
    let readable: Vec<_> = files(&data_dir).into_iter().filter(|path| mode(path) & 0o077 != 0).collect();
    assert!(readable.is_empty(), "no file is for others: {readable:#?}");
    for cluster in fs::read_dir(data_dir.join("clusters")).unwrap() {
        let cluster = cluster.unwrap().path();
        for directory in ["data", "log", "run"] {
            assert_eq!(mode(&cluster.join(directory)), 0o700, "{}", cluster.display());
        }
    }
}

/// Makes every kind of secret there is, in every way that makes one.
fn make_secrets(layer: &Layer) -> Secrets {
    let api = layer.api();
    let data_dir = layer.data_dir();
    let mut texts = vec![fs::read_to_string(data_dir.join("admin.token")).unwrap().trim().to_owned()];
    layer.create("shop");
    layer.create_with("own", "dedicated");
    let runtime = runtime();
    let mut keep = |bound: &Value| {
        texts.push(bound["credentials"]["password"].as_str().unwrap().to_owned());
        runtime.block_on(PgConnection::connect(&uri_of(bound))).unwrap();
    };
    for instance in ["shop", "own"] {
        let bound = layer.bind(instance, "web");
        keep(&bound);
        let rotate = format!("/api/v1/bindings/{}/rotate?wait=60s", bound["id"].as_str().unwrap());
        keep(&api.post(&rotate, &json!({})).expect(200));
        keep(&layer.cli(&["bind", instance, "--consumer", "typed", "--format", "json"]).json());
    }
    let revoked = layer.bind("shop", "gone");
    keep(&revoked);
    api.delete(&format!("/api/v1/bindings/{}?wait=60s", revoked["id"].as_str().unwrap())).expect(200);
    for role in ["viewer", "operator", "admin"] {
        let made = layer.cli(&["token", "create", "--role", role, "-o", "json"]).json();
        texts.push(made["token"].as_str().unwrap().to_owned());
    }
    texts.extend(provoke(&api));
    let key = fs::read(data_dir.join("custody/master.key")).unwrap();
    assert_eq!(key.len(), 32);
    Secrets { texts, key }
}

/// Makes errors of calls that carry secrets of their own, and gives those.
fn provoke(api: &Api) -> Vec<String> {
    let forged = "mst_000000000000_canaryforgedtoken".to_owned();
    assert_eq!(api.with_token(&forged).get("/api/v1/instances").status, 401);
    let made = api.post("/api/v1/tokens", &json!({ "role": "viewer" })).expect(201);
    let viewer = made["token"].as_str().unwrap().to_owned();
    assert_eq!(
        api.with_token(&viewer).post("/api/v1/instances/shop/bindings", &json!({ "consumer": "x" })).status,
        403
    );
    api.delete(&format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()));
    assert_eq!(api.with_token(&viewer).get("/api/v1/instances").status, 401);
    let basic =
        api.with_token("").call(Method::GET, "/api/v1/instances", &[("authorization", "Basic Y2FuYXJ5YmFzaWM6")], "");
    assert_eq!(basic.unwrap().status, 401);
    vec![forged, viewer, "Y2FuYXJ5YmFzaWM6".to_owned()]
}

/// All secrets of a layer.
struct Secrets {
    texts: Vec<String>,
    key: Vec<u8>,
}

impl Secrets {
    /// Every secret in every form in which it might be written down.
    fn all(&self) -> Vec<&[u8]> {
        self.texts.iter().map(String::as_bytes).chain([self.key.as_slice()]).collect()
    }

    fn hexadecimal_key(&self) -> String {
        self.key.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes the texts to a file, a line each, as grep takes them.
    fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join("needles");
        let lines: Vec<String> = self.texts.iter().cloned().chain([self.hexadecimal_key()]).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        path
    }

    #[track_caller]
    fn expect_none_in(&self, place: &str, haystack: &[u8]) {
        let hexadecimal = self.hexadecimal_key();
        let all = self.all().into_iter().chain([hexadecimal.as_bytes()]);
        for (number, secret) in all.enumerate() {
            let found = haystack.windows(secret.len()).position(|window| window == secret);
            if let Some(at) = found {
                let before = String::from_utf8_lossy(&haystack[at.saturating_sub(200)..at]).into_owned();
                panic!("secret {number} is in {place}, after: {before}");
            }
        }
    }
}

fn expect_none_in_files(data_dir: &Path, needles: &Path, secrets: &Secrets) {
    let found = found_in_files(data_dir, needles, secrets);
    assert!(found.is_empty(), "secrets are in {found:#?}");
}

/// The files of a data directory that hold a secret and should not.
fn found_in_files(data_dir: &Path, needles: &Path, secrets: &Secrets) -> Vec<PathBuf> {
    // grep looks at lines: of a key with a line feed in it, the longest part is looked for.
    let part = secrets.key.split(|byte| *byte == b'\n').max_by_key(|part| part.len()).unwrap();
    let key: String = part.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let texts = grep(data_dir, &["-F", "-f", needles.to_str().unwrap()]);
    let keys = grep(data_dir, &["-P", &key]);
    let homes: Vec<PathBuf> = HOMES.iter().map(|home| data_dir.join(home)).collect();
    assert!(homes.iter().all(|home| texts.contains(home) || keys.contains(home)), "the search finds what is there");
    texts.into_iter().chain(keys).filter(|path| !homes.contains(path)).collect()
}

/// The files below a directory in which grep finds something. They are hundreds of megabytes.
fn grep(directory: &Path, pattern: &[&str]) -> Vec<PathBuf> {
    let mut grep = Command::new("grep");
    grep.args(["--recursive", "--files-with-matches", "--text", "--devices=skip"]).args(pattern).arg(directory);
    let output = grep.env("LC_ALL", "C").output().unwrap();
    // A file of a server that works may vanish while it is read.
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.lines().all(|line| line.ends_with("No such file or directory")), "{errors}");
    String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files.extend(self::files(&entry.path())),
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

/// Notes the arguments and the environment of every process on the machine, again and again.
struct Processes {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<HashSet<(String, Vec<u8>)>>,
}

impl Processes {
    fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = HashSet::new();
            while !asked.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    for file in ["cmdline", "environ"] {
                        if let Ok(text) = fs::read(entry.path().join(file)) {
                            let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                            seen.insert((format!("the {file} of {}", command.trim()), text));
                        }
                    }
                }
            }
            seen
        });
        Self { stop, thread }
    }

    fn finish(self) -> HashSet<(String, Vec<u8>)> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().unwrap();
        assert!(seen.iter().any(|(place, _)| place == "the environ of postgres"), "the search sees the servers");
        seen
    }
}
