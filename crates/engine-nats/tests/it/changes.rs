//! What changes on a cluster, and what goes on meanwhile.

use std::slice::from_ref;
use std::time::{Duration, Instant};

use mainstay_engine::{CredentialSpec, Engine, EngineError};
use mainstay_types::Presence;
use rustix::process::Signal;
use secrecy::SecretString;

use crate::place::{PASSWORD, Place, Tenant, credential, eventually, free_port, instance, run};

const STREAM: &str = r#"{"name":"ORDERS","subjects":["orders.>"]}"#;

#[test]
fn changes_drop_no_connection_of_others() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let other = Tenant::new(&engine, &cluster).await;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut wire = other.wire().await;
        let mut listening = other.wire().await;
        listening.subscribe("heard").await;
        assert!(listening.is_open().await);
        wire.request("$JS.API.STREAM.CREATE.ORDERS", STREAM).await.unwrap();
        let publishing = tokio::spawn(async move {
            let (mut acknowledged, mut slowest) = (0_u64, Duration::ZERO);
            while !*stopped.borrow() {
                let begin = Instant::now();
                let answer = wire.request("orders.new", "x").await.unwrap();
                assert!(answer.contains("\"seq\""), "{answer}");
                wire.publish("heard", "x").await.unwrap();
                slowest = slowest.max(begin.elapsed());
                acknowledged += 1;
            }
            assert!(wire.is_open().await);
            (acknowledged, slowest)
        });
        for _ in 0..10 {
            let tenant = Tenant::new(&engine, &cluster).await;
            let session = tenant.wire().await;
            let next = CredentialSpec { generation: 2, login: 2, ..tenant.credential.clone() };
            engine.bind(&cluster, &tenant.instance, &next, &PASSWORD.into()).await.unwrap();
            engine.bind(&cluster, &tenant.instance, &next, &"another".into()).await.unwrap();
            engine.unbind(&cluster, &tenant.credential).await.unwrap();
            engine.reconfigure(&cluster).await.unwrap();
            engine.deprovision(&cluster, &tenant.instance).await.unwrap();
            drop(session);
        }
        stop.send_replace(true);
        let (acknowledged, slowest) = publishing.await.unwrap();
        let mut heard = 0;
        while heard < acknowledged {
            heard += listening.messages().await.len() as u64;
        }
        eprintln!("{acknowledged} acknowledged publishes beside 70 changes, the slowest took {slowest:?}");
        let answer = other.wire().await.request("$JS.API.STREAM.INFO.ORDERS", "").await.unwrap();
        assert!(answer.contains(&format!("\"messages\":{acknowledged},")), "{answer}");
    });
}

#[test]
fn many_accounts_at_once_are_few_reloads() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let reloads = || place.log(&cluster).matches("Reloaded server configuration").count();
        let before = reloads();
        let begin = Instant::now();
        Tenant::new(&engine, &cluster).await;
        eprintln!("the first account with a binding: {:?}", begin.elapsed());
        let begin = Instant::now();
        let making = (0..200).map(|_| {
            let (engine, cluster) = (engine.clone(), cluster.clone());
            tokio::spawn(async move {
                Tenant::with(&engine, &cluster, &[("storage_mib", "1"), ("memory_mib", "1"), ("max_connections", "2")])
                    .await
            })
        });
        let tenants = futures::future::join_all(making.collect::<Vec<_>>()).await;
        let took = begin.elapsed();
        let count = reloads() - before;
        eprintln!("200 accounts, each with a binding, took {took:?} and {count} reloads");
        assert!(took < Duration::from_secs(20) && count < 100, "{took:?}, {count} reloads");
        for tenant in tenants {
            let mut wire = tenant.unwrap().wire().await;
            assert!(wire.request("$JS.API.INFO", "").await.unwrap().contains("\"max_storage\":1048576"));
        }
        let begin = Instant::now();
        let one = Tenant::new(&engine, &cluster).await;
        eprintln!("one more beside them: {:?}", begin.elapsed());
        assert!(one.wire().await.is_open().await);
    });
}

#[test]
fn what_was_removed_does_not_come_back() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let tenant = Tenant::new(&engine, &cluster).await;
        let account = place.account(&cluster, &tenant.instance);
        let again = || async {
            engine.provision(&cluster, &tenant.instance).await.unwrap();
            engine.bind(&cluster, &tenant.instance, &tenant.credential, &PASSWORD.into()).await.unwrap();
            let names = tenant.wire().await.request("$JS.API.STREAM.NAMES", "").await.unwrap();
            assert!(names.contains("\"total\":0"), "{names}");
        };
        for restart in [false, true] {
            let mut wire = tenant.wire().await;
            wire.request("$JS.API.STREAM.CREATE.ORDERS", STREAM).await.unwrap();
            wire.request("orders.new", "a secret").await.unwrap();
            engine.deprovision(&cluster, &tenant.instance).await.unwrap();
            assert!(!wire.is_open().await, "its sessions end");
            assert!(!place.data(&cluster).join("jetstream").join(&account).exists(), "nothing is left on disk");
            if restart {
                engine.stop(&cluster).await.unwrap();
                engine.start(&cluster).await.unwrap();
            }
            again().await;
        }

        // Removal that was interrupted after nobody came in any more is finished first.
        tenant.wire().await.request("$JS.API.STREAM.CREATE.ORDERS", STREAM).await.unwrap();
        engine.stop(&cluster).await.unwrap();
        let ledger = place.root(&cluster).join("accounts.json");
        let text = std::fs::read_to_string(&ledger).unwrap().replace("\"closing\": false", "\"closing\": true");
        std::fs::write(&ledger, text).unwrap();
        engine.start(&cluster).await.unwrap();
        let observation = engine.observe(&cluster, from_ref(&tenant.instance), &[]).await.unwrap();
        assert!(matches!(observation.instances[&tenant.instance.id], Presence::Drifted { .. }), "{observation:?}");
        again().await;
    });
}

#[test]
fn accounts_that_are_forgotten_are_made_again_and_keep_their_streams() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let tenant = Tenant::new(&engine, &cluster).await;
        tenant.wire().await.request("$JS.API.STREAM.CREATE.ORDERS", STREAM).await.unwrap();
        engine.stop(&cluster).await.unwrap();
        std::fs::write(place.root(&cluster).join("accounts.json"), "{").unwrap();
        engine.start(&cluster).await.unwrap();
        assert!(tenant.try_wire().await.is_err());
        let observation =
            engine.observe(&cluster, from_ref(&tenant.instance), from_ref(&tenant.credential)).await.unwrap();
        assert_eq!(observation.instances[&tenant.instance.id], Presence::Missing);
        engine.provision(&cluster, &tenant.instance).await.unwrap();
        engine.bind(&cluster, &tenant.instance, &tenant.credential, &PASSWORD.into()).await.unwrap();
        let names = tenant.wire().await.request("$JS.API.STREAM.NAMES", "").await.unwrap();
        assert!(names.contains("ORDERS"), "{names}");

        // One that was deleted meanwhile is removed with what it left behind.
        let account = place.account(&cluster, &tenant.instance);
        engine.stop(&cluster).await.unwrap();
        std::fs::remove_file(place.root(&cluster).join("accounts.json")).unwrap();
        engine.start(&cluster).await.unwrap();
        engine.deprovision(&cluster, &tenant.instance).await.unwrap();
        assert!(!place.data(&cluster).join("jetstream").join(account).exists());
    });
}

#[test]
fn limits_change_for_who_is_connected() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let tenant = Tenant::with(&engine, &cluster, &[("max_streams", "1")]).await;
        let mut wire = tenant.wire().await;
        wire.request("$JS.API.STREAM.CREATE.ORDERS", STREAM).await.unwrap();
        let second = r#"{"name":"SECOND","subjects":["second.>"]}"#;
        let answer = wire.request("$JS.API.STREAM.CREATE.SECOND", second).await.unwrap();
        assert!(answer.contains("maximum number of streams"), "{answer}");
        let mut larger = instance(&[("max_streams", "2")]);
        larger.id = tenant.instance.id.clone();
        let observation = engine.observe(&cluster, from_ref(&larger), &[]).await.unwrap();
        assert!(matches!(observation.instances[&larger.id], Presence::Drifted { .. }), "{observation:?}");
        engine.provision(&cluster, &larger).await.unwrap();
        let answer = wire.request("$JS.API.STREAM.CREATE.SECOND", second).await.unwrap();
        assert!(!answer.contains("\"error\""), "{answer}");
        let observation = engine.observe(&cluster, from_ref(&larger), &[]).await.unwrap();
        assert_eq!(observation.instances[&larger.id], Presence::Present);
    });
}

#[test]
fn a_refused_configuration_changes_nothing() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let tenant = Tenant::new(&engine, &cluster).await;
        let mut session = tenant.wire().await;
        // The next control plane is told a setting that a running server does not change.
        let file = std::fs::read_to_string(place.file(&cluster)).unwrap();
        let ledger = std::fs::read_to_string(place.root(&cluster).join("accounts.json")).unwrap();
        drop(engine);
        // Written over by hand, so that the file that is refused is not the one that is there.
        std::fs::write(place.root(&cluster).join("accounts.json"), ledger.replace("\"a_", "\"a b_")).unwrap();
        let engine = place.engine();
        let error = engine.reconfigure(&cluster).await.unwrap_err();
        assert!(matches!(error, EngineError::Permanent { .. }), "{error}");
        assert!(error.to_string().contains("goes on as before and refuses what it was told: "), "{error}");
        assert!(session.is_open().await && tenant.try_wire().await.is_ok());

        // What is there again works again, and new changes are made.
        std::fs::write(place.root(&cluster).join("accounts.json"), ledger).unwrap();
        drop(engine);
        let engine = place.engine();
        engine.reconfigure(&cluster).await.unwrap();
        assert_eq!(std::fs::read_to_string(place.file(&cluster)).unwrap(), file);
        let another = Tenant::new(&engine, &cluster).await;
        assert!(another.wire().await.is_open().await && session.is_open().await);
    });
}

#[test]
fn what_somebody_changes_by_hand_is_changed_back() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let tenant = Tenant::new(&engine, &cluster).await;
        let mut session = tenant.wire().await;
        let file = std::fs::read_to_string(place.file(&cluster)).unwrap();
        // Somebody makes such a change by hand: the server goes on as it was, and the change is changed back.
        let port = free_port();
        std::fs::write(place.file(&cluster), file.replace(&cluster.port.to_string(), &port.to_string())).unwrap();
        place.signal(&cluster, Signal::HUP);
        let observation = engine.observe(&cluster, &[], &[]).await.unwrap();
        assert!(!observation.changed_settings.is_empty());
        engine.reconfigure(&cluster).await.unwrap();
        assert_eq!(std::fs::read_to_string(place.file(&cluster)).unwrap(), file);
        assert!(session.is_open().await);
        let observation = engine.observe(&cluster, &[], &[]).await.unwrap();
        assert!(observation.changed_settings.is_empty(), "{observation:?}");

        // A change that is written and not read, as by a control plane that ended in between, is read by the next one.
        drop(engine);
        let engine = place.engine();
        // Written again until the file system's clock, which is a coarse one, tells the difference.
        eventually("it is seen that the server has not read its file", || async {
            std::fs::write(place.file(&cluster), &file).unwrap();
            let observation = engine.observe(&cluster, &[], &[]).await.unwrap();
            observation.changed_settings == ["nats.conf was written after the server read it"]
        })
        .await;
        engine.start(&cluster).await.unwrap();
        let observation = engine.observe(&cluster, &[], &[]).await.unwrap();
        assert!(observation.changed_settings.is_empty(), "{observation:?}");
        assert!(session.is_open().await);

        // Its hash is another, and the time it was bound for is seen.
        let other = SecretString::from("another");
        engine.bind(&cluster, &tenant.instance, &tenant.credential, &other).await.unwrap();
        assert!(!session.is_open().await && tenant.try_wire().await.is_err());
        let unbound = credential(&tenant.instance);
        let observation = engine.observe(&cluster, &[], from_ref(&unbound)).await.unwrap();
        assert_eq!(observation.credentials.values().next().unwrap().presence, Presence::Missing);
    });
}
