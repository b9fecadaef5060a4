//! The journal, followed: nothing is missed, whatever happens to the connection.

use axum::body::Body;
use futures::StreamExt;
use mainstay_types::Role;
use serde_json::{Value, json};

use crate::server::{PATIENCE, Server};

/// One event as it comes over a stream.
struct Sent {
    id: u64,
    kind: String,
    data: Value,
}

/// Reads a stream until a condition on the events so far holds.
async fn read(body: Body, mut enough: impl FnMut(&[Sent]) -> bool) -> Vec<Sent> {
    let mut stream = body.into_data_stream();
    let mut text = String::new();
    let mut events: Vec<Sent> = Vec::new();
    let reading = async {
        while !enough(&events) {
            let Some(chunk) = stream.next().await else { break };
            text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
            while let Some((event, rest)) = text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let (Some(id), Some(kind), Some(data)) = (field("id:"), field("event:"), field("data:")) {
                    let data = serde_json::from_str(data).unwrap();
                    events.push(Sent { id: id.parse().unwrap(), kind: kind.to_owned(), data });
                }
                text = rest.to_owned();
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, reading).await.is_ok(), "{} events have come", events.len());
    events
}

#[tokio::test]
async fn a_follower_that_loses_its_connection_misses_nothing() {
    let server = Server::start().await;
    server.create("shop").await;
    let writers = (0..4).map(|writer| {
        let calls: Vec<_> = (0..10)
            .map(|number| {
                let body = json!({"name": format!("w{writer}-{number}"), "contract": "postgresql/v1"});
                server.call("POST", "/api/v1/instances?wait=30s").json(&body)
            })
            .collect();
        tokio::spawn(async move {
            for call in calls {
                assert_eq!(call.send().await.json()["state"], "succeeded");
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut seen: Vec<(u64, String)> = Vec::new();
    let mut ready = 0;
    while ready < 41 {
        let last = seen.last().map_or(0, |(id, _)| *id);
        let call = server.call("GET", "/api/v1/events").header("accept", "text/event-stream");
        let call = if last == 0 { call } else { call.header("last-event-id", &last.to_string()) };
        let (head, body) = call.open().await.into_parts();
        assert_eq!(head.headers["content-type"], "text/event-stream");
        // Each connection is dropped after a few events, wherever that is.
        let events = read(body, |events| {
            events.len() >= 7 || ready + events.iter().filter(|e| e.kind == "v1.instance.ready").count() >= 41
        })
        .await;
        for event in events {
            assert_eq!((&event.data["sequence"], &event.data["type"]), (&json!(event.id), &json!(event.kind)));
            ready += usize::from(event.kind == "v1.instance.ready");
            seen.push((event.id, event.kind));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let ids: Vec<u64> = seen.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "every event, once, in order");
    // Read a page at a time they are the same.
    let paged = server.get("/api/v1/events?limit=1000").await.json();
    let paged: Vec<_> = paged["items"].as_array().unwrap().iter().take(seen.len()).cloned().collect();
    for (paged, (id, kind)) in paged.iter().zip(&seen) {
        assert_eq!((&paged["sequence"], &paged["type"]), (&json!(id), &json!(kind)));
    }
}

#[tokio::test]
async fn events_are_a_chain_with_their_causes() {
    let server = Server::start().await;
    server.create("shop").await;
    let page = server.get("/api/v1/events").await.json();
    let events = page["items"].as_array().unwrap();
    for event in events {
        for field in ["payload_digest", "previous"] {
            assert_eq!(event[field].as_str().unwrap().len(), 64, "{event}");
        }
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
    }
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    assert_eq!(of("v1.instance.requested")["subject"], json!({"kind": "instance", "id": "shop"}));
    assert!(of("v1.instance.requested")["actor"].as_str().unwrap().starts_with("t-"));
    assert_eq!(of("v1.instance.ready")["actor"], "system");
    assert_eq!(of("v1.cluster.ready")["tenant"], Value::Null);
}

#[tokio::test]
async fn a_tenants_follower_sees_its_own_events_and_the_shared_clusters() {
    let server = Server::start().await;
    let token = server.token(Role::Viewer, "other").await;
    let follow = server.call("GET", "/api/v1/events?after=0").token(token).header("accept", "text/event-stream");
    let body = follow.open().await.into_body();
    server.create("shop").await;
    let body_of_other = json!({"name": "theirs", "contract": "postgresql/v1"});
    let call = server.call("POST", "/api/v1/instances?wait=30s").header("mainstay-tenant", "other");
    assert_eq!(call.json(&body_of_other).send().await.json()["state"], "succeeded");
    let events = read(body, |events| events.iter().any(|event| event.kind == "v1.instance.ready")).await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert!(kinds.contains(&"v1.cluster.ready"), "{kinds:?}");
    assert!(events.iter().all(|event| event.data["tenant"] != "default"), "{kinds:?}");
    assert_eq!(events.last().unwrap().data["subject"]["id"], "theirs");
}
