//! What was acknowledged is there, and what is not there is not served as if it were.

use std::slice::from_ref;

use mainstay_engine::{Engine, EngineError};
use mainstay_types::{Health, Presence};
use rustix::process::Signal;

use crate::place::{Place, Tenant, cluster, eventually, run};

const STREAM: &str = r#"{"name":"ORDERS","subjects":["orders.>"]}"#;

#[test]
fn acknowledged_messages_survive_kills() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let tenant = Tenant::new(&engine, &cluster).await;
        tenant.wire().await.request("$JS.API.STREAM.CREATE.ORDERS", STREAM).await.unwrap();
        let mut acknowledged = 0_u64;
        for round in 0..5_u64 {
            let mut wire = tenant.wire().await;
            let (begun, mut began) = tokio::sync::oneshot::channel();
            let publishing = tokio::spawn(async move {
                let (mut count, mut begun) = (0_u64, Some(begun));
                // The server ends it.
                while let Ok(answer) = wire.request("orders.new", &count.to_string()).await {
                    assert!(answer.contains("\"seq\""), "{answer}");
                    count += 1;
                    if count == 100 + 50 * round {
                        let _ = begun.take().unwrap().send(());
                    }
                }
                count
            });
            (&mut began).await.unwrap();
            place.signal(&cluster, Signal::KILL);
            engine.ended(&cluster).await;
            acknowledged += publishing.await.unwrap();
            let begin = std::time::Instant::now();
            engine.start(&cluster).await.unwrap();
            let took = begin.elapsed();
            let answer = tenant.wire().await.request("$JS.API.STREAM.INFO.ORDERS", "").await.unwrap();
            let info: serde_json::Value = serde_json::from_str(&answer).unwrap();
            let stored = info["state"]["messages"].as_u64().unwrap();
            eprintln!("round {round}: {acknowledged} acknowledged, {stored} stored; serving again after {took:?}");
            // One may have been stored in each round whose acknowledgement was killed.
            assert!(
                (acknowledged..=acknowledged + 1).contains(&stored),
                "{acknowledged} acknowledged, {stored} stored"
            );
            acknowledged = stored;
        }
    });
}

#[test]
fn a_server_that_came_back_empty_is_refused() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, mut cluster) = place.served().await;
        let tenant = Tenant::new(&engine, &cluster).await;
        tenant.wire().await.request("$JS.API.STREAM.CREATE.ORDERS", STREAM).await.unwrap();
        engine.stop(&cluster).await.unwrap();
        let (streams, away) = (place.data(&cluster).join("jetstream"), place.root(&cluster).join("away"));
        std::fs::rename(&streams, &away).unwrap();
        for empty in [false, true] {
            if empty {
                std::fs::create_dir(&streams).unwrap();
            }
            let error = engine.start(&cluster).await.unwrap_err();
            assert!(matches!(error, EngineError::Permanent { .. }), "{error}");
            assert!(error.to_string().contains("not initialised anew"), "{error}");
            assert!(tenant.try_wire().await.is_err(), "nobody is served by it");
        }
        std::fs::remove_dir(&streams).unwrap();
        std::fs::rename(&away, &streams).unwrap();

        // Another cluster's data.
        let right = cluster.identity.replace("another".to_owned());
        let error = engine.start(&cluster).await.unwrap_err();
        assert!(error.to_string().contains("is that of another one"), "{error}");
        // Data that was written with another secret.
        cluster.identity = right;
        let secret = place.root(&cluster).join("admin.secret");
        let text = std::fs::read_to_string(&secret).unwrap();
        std::fs::remove_file(&secret).unwrap();
        let error = engine.start(&cluster).await.unwrap_err();
        assert!(error.to_string().contains("was written with another secret"), "{error}");
        std::fs::write(&secret, text).unwrap();

        engine.start(&cluster).await.unwrap();
        let names = tenant.wire().await.request("$JS.API.STREAM.NAMES", "").await.unwrap();
        assert!(names.contains("ORDERS"), "{names}");
    });
}

#[test]
fn a_stream_that_is_not_brought_back_fails_its_instance_alone() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let (damaged, whole) = (Tenant::new(&engine, &cluster).await, Tenant::new(&engine, &cluster).await);
        for tenant in [&damaged, &whole] {
            tenant.wire().await.request("$JS.API.STREAM.CREATE.ORDERS", STREAM).await.unwrap();
        }
        let account = place.account(&cluster, &damaged.instance);
        let stream = place.data(&cluster).join("jetstream").join(account).join("streams/ORDERS");
        engine.stop(&cluster).await.unwrap();
        let description = std::fs::read(stream.join("meta.inf")).unwrap();
        std::fs::write(stream.join("meta.inf"), "damaged").unwrap();
        engine.start(&cluster).await.unwrap();
        let instances = [damaged.instance.clone(), whole.instance.clone()];
        let observation = engine.observe(&cluster, &instances, &[]).await.unwrap();
        assert_eq!(observation.health, Health::Serving);
        assert_eq!(observation.instances[&whole.instance.id], Presence::Present);
        match &observation.instances[&damaged.instance.id] {
            Presence::Drifted { how } => assert!(how.contains("ORDERS"), "{how}"),
            other => panic!("{other:?}"),
        }
        let error = engine.provision(&cluster, &damaged.instance).await.unwrap_err();
        assert!(matches!(error, EngineError::Permanent { .. }), "{error}");
        assert!(error.to_string().contains("did not bring back stream ORDERS"), "{error}");
        let names = whole.wire().await.request("$JS.API.STREAM.NAMES", "").await.unwrap();
        assert!(names.contains("ORDERS"), "{names}");

        // Restored, it is there again.
        engine.stop(&cluster).await.unwrap();
        std::fs::write(stream.join("meta.inf"), description).unwrap();
        engine.start(&cluster).await.unwrap();
        engine.provision(&cluster, &damaged.instance).await.unwrap();
        let observation = engine.observe(&cluster, from_ref(&damaged.instance), &[]).await.unwrap();
        assert_eq!(observation.instances[&damaged.instance.id], Presence::Present);
        let names = damaged.wire().await.request("$JS.API.STREAM.NAMES", "").await.unwrap();
        assert!(names.contains("ORDERS"), "{names}");
    });
}

#[test]
fn a_first_start_that_was_interrupted_is_finished() {
    let Some(place) = Place::new() else { return };
    run(async {
        let cluster = cluster();
        let engine = place.engine();
        let starting = tokio::spawn({
            let (engine, cluster) = (place.engine(), cluster.clone());
            async move { engine.start(&cluster).await }
        });
        eventually("the server is being started", || async { place.file(&cluster).exists() }).await;
        starting.abort();
        let _ = starting.await;
        let started = engine.start(&cluster).await.unwrap();
        assert_eq!(engine.start(&cluster).await.unwrap().identity, started.identity);
        let tenant = Tenant::new(&engine, &cluster).await;
        assert!(tenant.wire().await.is_open().await);
    });
}

#[test]
fn a_server_that_hangs_is_seen_and_comes_back() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let tenant = Tenant::new(&engine, &cluster).await;
        let mut session = tenant.wire().await;
        place.signal(&cluster, Signal::STOP);
        eventually("it is seen that it hangs", || async {
            let observation = engine.observe(&cluster, &[], &[]).await.unwrap();
            matches!(observation.health, Health::Unresponsive { .. })
        })
        .await;
        place.signal(&cluster, Signal::CONT);
        eventually("it serves again", || async {
            engine.observe(&cluster, &[], &[]).await.unwrap().health == Health::Serving
        })
        .await;
        assert!(session.is_open().await);
    });
}
