//! What the layer says of itself: health, metrics, logs, traces, and how little it costs when nothing happens.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Layer, Options, kill_process, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(60);
const SHARED: &str = "postgresql-shared";
/// Long enough for the looks at a cluster, one in 5 s, to weigh as they do over a day.
const IDLE: Duration = Duration::from_secs(11);
/// The promises: under 1 % of a core, under 60 MiB. A program that is not optimised is several times as long, and what of it was ever
/// used stays in memory.
const IDLE_SHARE: f64 = 0.01;
const IDLE_RESIDENT_KIB: u64 = if cfg!(debug_assertions) { 80 << 10 } else { 60 << 10 };

#[test]
fn health_tells_the_truth_of_each_dependency() {
    let layer = Layer::start(Options::default());
    let anybody = layer.api().with_token("");
    let dependencies = |status: u16| -> BTreeMap<String, Value> {
        let answer = anybody.get("/readyz").expect(status);
        assert_eq!(answer["ready"], status == 200);
        let all = answer["dependencies"].as_array().unwrap().iter();
        all.map(|dependency| (dependency["name"].as_str().unwrap().to_owned(), dependency.clone())).collect()
    };
    assert_eq!(dependencies(200).into_keys().collect::<Vec<_>>(), ["custody", "journal"]);
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "app"));
    assert_eq!(dependencies(200).into_keys().collect::<Vec<_>>(), ["custody", "journal", SHARED]);

    // A server that cannot be started again, because its data is not where it was.
    let data = layer.data_dir().join("clusters").join(SHARED).join("data");
    let (away, postmaster) = (layer.scratch().join("away"), layer.postmaster(SHARED));
    std::fs::rename(&data, &away).unwrap();
    kill_process(postmaster);
    let told = until("it is not ready", PATIENCE, || (anybody.get("/readyz").status == 503).then(|| dependencies(503)));
    assert_eq!((&told["journal"]["ready"], &told["custody"]["ready"]), (&json!(true), &json!(true)), "{told:?}");
    assert_eq!(told[SHARED]["ready"], false);
    until("the reason is told", PATIENCE, || {
        dependencies(503)[SHARED]["detail"].as_str().unwrap().contains("is gone from").then_some(())
    });
    let live = anybody.get("/livez");
    assert_eq!((live.status, live.text.as_str()), (200, "ok\n"));
    assert_eq!(layer.cli(&["status"]).code, 1);

    std::fs::rename(&away, &data).unwrap();
    until("it is ready again", PATIENCE, || layer.is_ready().then_some(()));
    assert_eq!(layer.psql(&uri, "SELECT 1"), "1");
}

#[test]
fn metrics_can_be_scraped() {
    let layer = Layer::shared();
    layer.create("measured");
    layer.bind("measured", "app");
    layer.api().get("/api/v1/instances/measured").expect(200);
    layer.api().with_token("").get("/metrics").expect(401);
    let page = layer.api().get("/metrics");
    assert_eq!(page.status, 200);
    assert!(page.content_type.contains("openmetrics-text"), "{}", page.content_type);
    let samples = parse(&page.text);
    for name in [
        "http_server_request_duration_seconds_count",
        "http_server_request_duration_seconds_sum",
        "http_server_request_duration_seconds_bucket",
        "mainstay_journal_sequence",
        "mainstay_instances",
        "mainstay_clusters",
        "mainstay_bindings",
        "mainstay_operations_in_progress",
        "process_memory_usage_bytes",
        "process_uptime_seconds",
        "postgresql_backends",
        "postgresql_connection_max",
        "postgresql_database_count",
        "postgresql_commits",
    ] {
        let value = samples.iter().find(|(sample, _)| sample.split('{').next() == Some(name)).map(|(_, value)| *value);
        assert!(value.is_some_and(|value| value >= 0.0), "{name}: {value:?} in\n{}", page.text);
    }
    let of_route = r#"http_route="/api/v1/instances/{name}""#;
    assert!(samples.keys().any(|sample| sample.contains(of_route)), "{}", page.text);
    assert!(!page.text.contains("measured"), "names are no labels: their number has no bound");
    assert!(samples[r#"mainstay_instances{state="ready"}"#] >= 1.0);
}

/// The samples of a page in the OpenMetrics text format, by their names with labels.
fn parse(page: &str) -> BTreeMap<String, f64> {
    assert!(page.ends_with("# EOF\n"), "{page}");
    let mut samples = BTreeMap::new();
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let kind = comment.split(' ').next().unwrap();
            assert!(["TYPE", "HELP", "UNIT", "EOF"].contains(&kind), "{line}");
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let name = sample.split('{').next().unwrap();
        assert!(name.chars().all(|symbol| symbol.is_ascii_alphanumeric() || symbol == '_'), "{line}");
        assert!(!sample.contains('{') || sample.ends_with('}'), "{line}");
        let twice = samples.insert(sample.to_owned(), value.parse::<f64>().unwrap());
        assert!(twice.is_none(), "{sample} is there twice");
    }
    samples
}

#[test]
fn a_log_for_programs_has_one_object_on_each_line() {
    let layer = Layer::new(Options { environment: vec![("Log__Filter", "debug".to_owned())], ..Options::default() });
    let log = layer.scratch().join("json.log");
    let mut up = layer.command();
    up.arg("up").stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let mut up = up.spawn().unwrap();
    until("the layer is ready", PATIENCE, || layer.is_ready().then_some(()));
    layer.create("shop");
    let password = layer.bind("shop", "app")["credentials"]["password"].as_str().unwrap().to_owned();
    layer.api().get("/api/v1/instances/%0A%22%1B");
    kill_process(layer.postmaster(SHARED));
    until("it was started again", PATIENCE, || (!layer.events_of("v1.engine.restarted").is_empty()).then_some(()));
    layer.cli(&["down"]).succeed();
    assert!(up.wait().unwrap().success());

    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains(&password));
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for member in ["timestamp", "level", "message", "target"] {
            assert!(line[member].is_string(), "{member} of {line}");
        }
    }
    let ended = text.lines().find(|line| line.contains("process ended")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(ended).unwrap()["cluster"], SHARED);
    let step = text.lines().find(|line| line.contains("\"spans\"")).unwrap();
    assert!(step.contains("\"step\"") || step.contains("\"request\""), "{step}");
}

#[test]
fn traces_reach_a_collector() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let received = collect(collector);
    let mut layer =
        Layer::start(Options { environment: vec![("Telemetry__OtlpEndpoint", endpoint)], ..Options::default() });
    layer.create("shop");
    layer.stop();
    let requests: Vec<(String, Vec<u8>)> = received.try_iter().collect();
    assert!(
        !requests.is_empty() && requests.iter().all(|(line, _)| line == "POST /v1/traces HTTP/1.1"),
        "{requests:?}"
    );
    let spans: Vec<u8> = requests.into_iter().flat_map(|(_, body)| body).collect();
    for expected in ["service.name", "mainstay", "request", "/api/v1/instances", "step", "provision", "start", SHARED] {
        let there = spans.windows(expected.len()).any(|window| window == expected.as_bytes());
        assert!(there, "{expected} is in no span");
    }
}

/// A collector that takes everything.
fn collect(listener: TcpListener) -> Receiver<(String, Vec<u8>)> {
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            std::thread::spawn(move || {
                while let Some(request) = answer(&stream) {
                    let _ = sender.send(request);
                }
            });
        }
    });
    received
}

/// Reads one request and says that it was taken; nothing once the connection ends.
fn answer(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let head: Vec<String> = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let length = head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    (&*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    Some((head.into_iter().next()?, body))
}

#[test]
fn an_idle_layer_costs_next_to_nothing() {
    let layer = Layer::start(Options::default());
    layer.create("shop");
    layer.bind("shop", "app");
    let before = cpu_time(layer.pid());
    let begun = Instant::now();
    until("the time is over", IDLE * 2, || (begun.elapsed() > IDLE).then_some(()));
    let (used, wall) = (cpu_time(layer.pid()) - before, begun.elapsed());
    let share = used.as_secs_f64() / wall.as_secs_f64();
    let resident = resident_kib(layer.pid());
    println!("idle for {wall:.1?}: {:.2} % of a core, {:.1} MiB resident", share * 100.0, resident as f64 / 1024.0);
    assert!(share < IDLE_SHARE, "{:.2} % of a core", share * 100.0);
    assert!(resident < IDLE_RESIDENT_KIB, "{resident} KiB");
}

/// What a process has computed, its ended threads too: fields 14 and 15 of `stat` (proc_pid_stat(5)), in the hundredths
/// of a second that Linux gives to programs.
fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, which may hold anything, is in parentheses, and field 3 comes after it.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}
