//! Health that tells the truth, and metrics that Prometheus can read.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::EngineError;
use mainstay_engine::fake::Operation;
use mainstay_types::Role;
use serde_json::{Value, json};

use crate::server::{Answer, PATIENCE, Server};

/// Asks until the answer is as it should be.
async fn until(server: &Server, path: &str, what: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = server.call("GET", path).without_token().send().await;
        if holds(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what}: {answer:?}");
    }
}

fn dependency<'a>(readiness: &'a Value, name: &str) -> &'a Value {
    readiness["dependencies"].as_array().unwrap().iter().find(|dependency| dependency["name"] == name).unwrap()
}

#[tokio::test]
async fn readiness_is_the_truth_about_each_dependency() {
    let server = Server::start().await;
    let live = server.call("GET", "/livez").without_token().send().await;
    assert_eq!((live.status.as_u16(), live.text.as_str()), (200, "ok\n"));
    let ready = server.call("GET", "/readyz").without_token().send().await;
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        json!({"ready": true, "dependencies": [{"name": "journal", "ready": true}, {"name": "custody", "ready": true}]})
    );

    server.create("shop").await;
    until(&server, "/readyz", "the cluster was seen serving", |answer| answer.status == 200).await;
    for _ in 0..3 {
        server.fake.fail_next(Operation::Start, EngineError::permanent("the disk is gone", "put it back"));
    }
    server.fake.end_process(&"postgresql-shared".parse().unwrap(), "it was killed by signal 9");
    let down = until(&server, "/readyz", "it is down", |answer| answer.status == 503).await.json();
    assert_eq!(down["ready"], false);
    let cluster = dependency(&down, "postgresql-shared");
    assert_eq!(cluster["ready"], false);
    assert!(cluster["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{cluster}");
    assert_eq!(dependency(&down, "journal")["ready"], true);
    assert_eq!(server.call("GET", "/livez").without_token().send().await.status, 200, "the control plane lives");
    until(&server, "/readyz", "it serves again", |answer| answer.status == 200).await;
    let status = server.get("/api/v1/status").await.json();
    assert_eq!((&status["ready"], &status["instances"]), (&json!(true), &json!({"ready": 1})));

    server.control.journal().close().await;
    let down = server.call("GET", "/readyz").without_token().send().await;
    assert_eq!(down.status, 503);
    let journal = dependency(&down.json(), "journal").clone();
    assert!(!journal["ready"].as_bool().unwrap() && journal["detail"].is_string(), "{journal}");
    let body = json!({"name": "next", "contract": "postgresql/v1"});
    let refused = server.call("POST", "/api/v1/instances").json(&body).send().await;
    assert_eq!((refused.status.as_u16(), refused.problem().1.as_str()), (503, "stopping"));
    assert_eq!(refused.header("retry-after"), "5");
}

#[tokio::test]
async fn metrics_are_open_metrics_for_tokens_of_every_tenant() {
    let server = Server::start().await;
    server.create("shop").await;
    server.bind("shop").await;
    server.get("/api/v1/instances/none").await;
    server.get("/nowhere").await;
    let of_one = server.token(Role::Admin, "default").await;
    assert_eq!(server.call("GET", "/metrics").token(of_one).send().await.problem().1, "tenant_forbidden");
    let of_all = server.token(Role::Viewer, "*").await;
    let page = server.call("GET", "/metrics").token(of_all).send().await;
    assert_eq!(page.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let samples = check_open_metrics(&page.text);
    for (sample, value) in [
        (r#"mainstay_instances{state="ready"}"#, 1.0),
        (r#"mainstay_clusters{state="ready"}"#, 1.0),
        ("mainstay_bindings", 1.0),
        ("mainstay_operations_in_progress", 0.0),
        ("mainstay_journal_sequence", server.control.view().sequence() as f64),
        (r#"fake_sessions{cluster="postgresql-shared",engine="postgresql"}"#, 0.0),
        (
            r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/api/v1/instances/{name}",http_response_status_code="404"}"#,
            1.0,
        ),
        (
            r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="",http_response_status_code="404"}"#,
            1.0,
        ),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample} in\n{}", page.text);
    }
    assert!(samples["process_memory_usage_bytes"] > 1e6 && samples["process_uptime_seconds"] > 0.0);
    assert!(!page.text.contains("/nowhere") && !page.text.contains("none"), "no path that a caller made up");
}

/// Holds a page against the rules of OpenMetrics 1.0 that a scraper goes by; answers its samples.
pub fn check_open_metrics(page: &str) -> BTreeMap<String, f64> {
    let body = page.strip_suffix("# EOF\n").expect("the page ends with # EOF");
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    let mut closed = BTreeSet::new();
    let mut current = "";
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE", "UNIT"].contains(&keyword), "{line}");
            if name != current {
                assert!(closed.insert(name), "{name} comes twice");
                current = name;
            }
            match keyword {
                "TYPE" => assert_eq!(types.insert(name, words.next().unwrap()), None, "{line}"),
                "UNIT" => assert!(name.ends_with(&format!("_{}", words.next().unwrap())), "{line}"),
                _ => {}
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = sample.split('{').next().unwrap();
        assert!(name.starts_with(current), "{name} stands among the samples of {current}");
        let suffix = &name[current.len()..];
        match types.get(current).copied() {
            Some("gauge") => assert_eq!(suffix, "", "{line}"),
            Some("counter") => assert_eq!(suffix, "_total", "{line}"),
            Some("histogram") => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            kind => panic!("{line} is of type {kind:?}"),
        }
        assert_eq!(samples.insert(sample.to_owned(), value.parse().unwrap()), None, "{sample} comes twice");
    }
    samples
}
