//! One tenant takes all that it can get, and others go on.

use std::time::{Duration, Instant};

use mainstay_engine::Engine;
use mainstay_types::Health;

use crate::place::{Place, Tenant, run};
use crate::wire::{Said, Wire};

const MESSAGE: usize = 64 << 10;

async fn create(wire: &mut Wire, name: &str, storage: &str) -> String {
    let stream = format!(r#"{{"name":"{name}","subjects":["{name}.>"],"storage":"{storage}"}}"#);
    wire.request(&format!("$JS.API.STREAM.CREATE.{name}"), &stream).await.unwrap()
}

#[test]
fn storage_memory_streams_and_consumers_end_with_the_accounts_own() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let small = [("storage_mib", "2"), ("memory_mib", "2"), ("max_streams", "2"), ("max_consumers", "3")];
        let (greedy, other) = (Tenant::with(&engine, &cluster, &small).await, Tenant::new(&engine, &cluster).await);
        let (mut greedy, mut other) = (greedy.wire().await, other.wire().await);
        create(&mut other, "OTHER", "file").await;

        let data = "x".repeat(MESSAGE);
        for storage in ["file", "memory"] {
            let answer = create(&mut greedy, storage, storage).await;
            assert!(!answer.contains("\"error\""), "{answer}");
            let mut stored = 0;
            let refusal = loop {
                let answer = greedy.request(&format!("{storage}.x"), &data).await.unwrap();
                if answer.contains("\"error\"") {
                    break answer;
                }
                stored += data.len();
                assert!(stored <= 2 << 20, "more than it may have: {stored}");
            };
            assert!(refusal.contains("resource limits exceeded"), "{refusal}");
            assert!(stored > 1 << 20, "{stored}");
        }
        let answer = create(&mut greedy, "third", "file").await;
        assert!(answer.contains("maximum number of streams reached"), "{answer}");
        for number in 0..4 {
            let consumer =
                format!(r#"{{"stream_name":"file","config":{{"durable_name":"c{number}","ack_policy":"explicit"}}}}"#);
            let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.file.c{number}");
            let answer = greedy.request(&subject, &consumer).await.unwrap();
            assert_eq!(answer.contains("maximum consumers limit reached"), number == 3, "{answer}");
        }
        for _ in 0..100 {
            let answer = other.request("OTHER.x", &data).await.unwrap();
            assert!(!answer.contains("\"error\""), "{answer}");
        }
    });
}

#[test]
fn connections_payload_and_subscriptions_end_with_the_accounts_own() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let small = [("max_connections", "3"), ("max_payload_kib", "1")];
        let (greedy, other) = (Tenant::with(&engine, &cluster, &small).await, Tenant::new(&engine, &cluster).await);
        let mut held = Vec::new();
        // One more than it was promised is borne with.
        for _ in 0..4 {
            held.push(greedy.wire().await);
        }
        let refusal = greedy.try_wire().await.map(drop).unwrap_err();
        assert!(refusal.contains("maximum"), "{refusal}");
        let mut others = other.wire().await;
        assert!(others.is_open().await);
        // Nor does it keep us out.
        let observation = engine.observe(&cluster, &[], std::slice::from_ref(&greedy.credential)).await.unwrap();
        assert_eq!(observation.health, Health::Serving);
        assert_eq!(observation.credentials.values().next().unwrap().sessions, 4);

        held[0].publish("x", &"x".repeat(1 << 10)).await.unwrap();
        assert!(held[0].is_open().await);
        let _ = held[0].publish("x", &"x".repeat((1 << 10) + 1)).await;
        assert!(!held[0].is_open().await, "a larger message than it may publish");

        let mut refused = String::new();
        for chunk in 0..101 {
            let subscriptions: String =
                (0..1_000).map(|number| format!("SUB s.{number} {chunk}{number:03}\r\n")).collect();
            if held[1].send(&subscriptions).await.is_err() {
                break;
            }
            let _ = held[1].send("PING\r\n").await;
            match held[1].said().await {
                Ok(Said::Pong) => {}
                answer => {
                    refused = format!("{answer:?}");
                    break;
                }
            }
        }
        assert!(refused.contains("maximum"), "subscriptions have a limit: {refused}");
        assert!(others.is_open().await && other.try_wire().await.is_ok());
    });
}

#[test]
fn who_does_not_read_and_who_floods_holds_up_nobody_else() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let (greedy, other) = (Tenant::new(&engine, &cluster).await, Tenant::new(&engine, &cluster).await);
        let mut deaf = Vec::new();
        for _ in 0..20 {
            let mut wire = greedy.wire().await;
            wire.subscribe("flood").await;
            assert!(wire.is_open().await);
            deaf.push(wire);
        }
        let flooding = tokio::spawn(async move {
            let mut wire = greedy.wire().await;
            let data = "x".repeat(MESSAGE);
            // 64 MB to each of twenty who do not read.
            for _ in 0..1_000 {
                wire.publish("flood", &data).await.unwrap();
            }
            wire.is_open().await
        });
        let mut others = other.wire().await;
        create(&mut others, "OTHER", "file").await;
        let mut slowest = Duration::ZERO;
        while !flooding.is_finished() {
            let begin = Instant::now();
            let answer = others.request("OTHER.x", "small").await.unwrap();
            assert!(!answer.contains("\"error\""), "{answer}");
            slowest = slowest.max(begin.elapsed());
        }
        assert!(flooding.await.unwrap());
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        let figures = engine.figures(&cluster).await.unwrap();
        let memory = figures.iter().find(|(name, _)| *name == "nats.memory.usage").unwrap().1;
        eprintln!("slowest acknowledged publish beside a flood: {slowest:?}; the server's memory: {} MB", memory / 1e6);
        // Twenty times what is kept for one, and what the server is made of.
        assert!(memory < 1e9, "{memory}");
    });
}

#[test]
fn many_connections_make_a_change_slow_for_nobody() {
    const CONNECTIONS: usize = 500;
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let crowd = Tenant::with(&engine, &cluster, &[("max_connections", "500")]).await;
        let begin = Instant::now();
        let mut wires = Vec::new();
        for _ in 0..CONNECTIONS {
            wires.push(crowd.wire().await);
        }
        let connected = begin.elapsed();
        let begin = Instant::now();
        let changing = tokio::spawn({
            let (engine, cluster) = (engine.clone(), cluster.clone());
            async move { Tenant::new(&engine, &cluster).await }
        });
        while !changing.is_finished() {
            let observation = engine.observe(&cluster, &[], &[]).await.unwrap();
            assert_eq!(observation.health, Health::Serving);
            assert_eq!(observation.changed_settings, Vec::<String>::new(), "a change that is being made is no drift");
        }
        let other = changing.await.unwrap();
        let changed = begin.elapsed();
        eprintln!("{CONNECTIONS} connections in {connected:?}; an instance and a binding beside them in {changed:?}");
        assert!(changed < Duration::from_secs(10), "{changed:?}");
        assert!(other.wire().await.is_open().await);
        for wire in &mut wires {
            assert!(wire.is_open().await, "an account that has all that it may have loses nothing");
        }
    });
}
