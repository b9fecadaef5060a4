//! A node that is killed comes back with all that it confirmed; one that comes back without it is not served.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_engine::{ClusterSpec, Engine, EngineError, StartKind};
use mainstay_engine_rabbitmq::RabbitmqEngine;
use mainstay_types::Health;
use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, Tenant, cluster, connect, declare, eventually, get, processes, publish, run};

/// What the product promises for a killed node.
const BACK_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_killed_node_loses_no_confirmed_message_and_is_back_in_time() {
    run(async {
        let place = Place::new();
        let engine = place.engine();
        let mut spec = cluster();
        // A crash in the middle of making the data directory leaves this behind.
        fs::create_dir_all(place.path(&spec, "data.new/half-made")).unwrap();
        let started = engine.start(&spec).await.unwrap();
        assert_eq!(started.how, StartKind::Initialised);
        spec.identity = Some(started.identity);
        let tenant = Tenant::new(&engine, &spec, &[]).await;

        // Publishes until the node is killed under it.
        let kinds = ["classic", "quorum"];
        let mut publishers = Vec::new();
        for kind in kinds {
            let (connection, channel) = tenant.channel().await;
            declare(&channel, kind, Some(("x-queue-type", kind))).await.unwrap();
            publishers.push(tokio::spawn(async move {
                let _connection = connection;
                let mut confirmed = BTreeSet::new();
                for number in 0_u64.. {
                    match publish(&channel, kind, &number.to_le_bytes()).await {
                        Ok(true) => confirmed.insert(number),
                        Ok(false) => panic!("the queue is not full"),
                        Err(_) => break,
                    };
                }
                confirmed
            }));
        }
        // A quorum queue is registered on disk up to a second after its declaration (see the crate's documentation).
        let registered = place.path(&spec, "data/mnesia/mainstay@localhost/quorum/mainstay@localhost/names.dets");
        let name = format!("{}_quorum", tenant.virtual_host());
        let (_connection, watching) = tenant.channel().await;
        eventually("there are messages in queues that last", || async {
            let mut enough = String::from_utf8_lossy(&fs::read(&registered).unwrap()).contains(&name);
            for kind in kinds {
                let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
                let queue = watching.queue_declare(kind.into(), options, Default::default()).await.unwrap();
                enough &= queue.message_count() > 500;
            }
            enough
        })
        .await;
        let killed_at = Instant::now();
        kill_process(Pid::from_raw(place.pid(&spec)).unwrap(), Signal::KILL).unwrap();
        assert_eq!(engine.ended(&spec).await, "its process was ended by signal 9");
        assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);
        let (_connection, channel) = tenant.channel().await;
        let outage = killed_at.elapsed();
        assert!(outage < BACK_WITHIN, "the outage took {outage:?}; the node logged:\n{}", place.log(&spec));

        for (kind, publisher) in kinds.into_iter().zip(publishers) {
            let mut missing = publisher.await.unwrap();
            let confirmed = missing.len();
            assert!(confirmed > 500);
            let deadline = Instant::now() + BACK_WITHIN;
            while !missing.is_empty() {
                assert!(Instant::now() < deadline, "{} messages in {kind} are gone", missing.len());
                let found = get(&channel, kind).await;
                if let Some(message) = found.unwrap_or_else(|error| panic!("{error}:\n{}", place.log(&spec))) {
                    missing.remove(&u64::from_le_bytes(message.try_into().unwrap()));
                }
            }
            eprintln!("{kind}: {confirmed} confirmed messages were all there, {outage:?} after the kill");
        }
        engine.remove(&spec).await.unwrap();
        assert_eq!(processes(&place.path(&spec, "")), Vec::<i32>::new());
    });
}

#[test]
fn data_that_is_gone_is_not_served_as_if_it_had_never_been() {
    run(async {
        let place = Place::new();
        let engine = place.engine();
        let mut spec = cluster();
        spec.identity = Some(engine.start(&spec).await.unwrap().identity);
        let tenant = Tenant::new(&engine, &spec, &[]).await;
        let (connection, channel) = tenant.channel().await;
        declare(&channel, "kept", None).await.unwrap();
        assert!(publish(&channel, "kept", b"kept").await.unwrap());
        drop(connection);
        engine.stop(&spec).await.unwrap();
        let node = place.path(&spec, "data/mnesia/mainstay@localhost");
        let away = place.path(&spec, "away");
        copy(&node, &away);

        // Everything is gone, then what quorum queues have, then the definitions: users, queues and all.
        for gone in [node.clone(), node.join("quorum/mainstay@localhost")] {
            fs::remove_dir_all(&gone).unwrap();
            let message = refusal(&engine, &spec).await;
            assert!(message.contains(gone.to_str().unwrap()) && message.contains("not initialised anew"), "{message}");
            copy(&away, &node);
        }
        for entry in fs::read_dir(&node).unwrap().flatten().filter(|entry| entry.file_name() != "quorum") {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        for _ in 0..2 {
            let message = refusal(&engine, &spec).await;
            assert!(message.contains("not initialised anew"), "{message}");
            let health = engine.observe(&spec, &[], &[]).await.unwrap().health;
            assert!(matches!(health, Health::Down { .. }), "{health:?}");
            assert!(connect(&tenant.uri).await.is_err());
        }
        copy(&away, &node);

        // The messages of one virtual host are gone, while its queues are known: refused until a person has decided.
        let stores = node.join("msg_stores/vhosts");
        let store = fs::read_dir(&stores).unwrap().flatten().next().unwrap().path();
        fs::remove_dir_all(&store).unwrap();
        for _ in 0..2 {
            let message = refusal(&engine, &spec).await;
            assert!(message.contains(&tenant.virtual_host()) && message.contains("instances.json"), "{message}");
            assert!(connect(&tenant.uri).await.is_err());
        }
        copy(&away, &node);
        fs::remove_file(place.path(&spec, "instances.json")).unwrap();
        engine.start(&spec).await.unwrap();
        let (_connection, channel) = tenant.channel().await;
        assert_eq!(get(&channel, "kept").await.unwrap().unwrap(), b"kept");

        // What an operator removed with RabbitMQ's own tools is no reason to refuse all others.
        place.administer(&spec, "DELETE", &format!("vhosts/{}", tenant.virtual_host()), "");
        engine.stop(&spec).await.unwrap();
        engine.start(&spec).await.unwrap();
        engine.remove(&spec).await.unwrap();
    });
}

async fn refusal(engine: &RabbitmqEngine, spec: &ClusterSpec) -> String {
    match engine.start(spec).await {
        Err(error @ EngineError::Permanent { .. }) => error.to_string(),
        other => panic!("the start should be refused: {other:?}"),
    }
}

/// Puts a copy in the place of what is there, with owners and modes.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}
