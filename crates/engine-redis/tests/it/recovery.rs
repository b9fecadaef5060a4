//! A server that is killed comes back with what it promised, and one that lost it is not served.

use std::fs;
use std::time::{Duration, Instant};

use mainstay_engine::supervise::Signal;
use mainstay_engine::{Engine, EngineError, StartKind};
use mainstay_engine_redis::{Patience, RedisConfig, RedisEngine};
use mainstay_types::{Health, Plan, Presence};

use crate::place::{Session, Tenant, eventually, run_both, started};

/// What the product promises for a killed server.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// How long a server holds back what it acknowledged when the disk is slow: it waits two seconds for a running fsync (`everysec`).
const HELD_BACK: Duration = Duration::from_secs(2);

#[test]
fn a_killed_server_keeps_what_it_promised() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        for (plan, persistence) in
            [(Plan::Dedicated, "synced"), (Plan::Dedicated, "durable"), (Plan::Shared, "durable")]
        {
            let parameters: &[_] = if plan == Plan::Dedicated { &[("persistence", persistence)] } else { &[] };
            let spec = started(&engine, flavour, plan, parameters).await;
            let tenant = Tenant::new(&engine, &spec).await;
            let (mut session, prefix) = (tenant.connect().await, tenant.prefix.clone());
            let writer = tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                loop {
                    let write = format!("SET {prefix}k{} x", acknowledged.len());
                    match session.say::<()>(&write).await {
                        Ok(()) => acknowledged.push(Instant::now()),
                        Err(_) => return acknowledged,
                    }
                }
            });
            eventually("there are writes", || async {
                let keys: u64 = place.admin(&spec).await.say("DBSIZE").await.unwrap();
                keys > 500
            })
            .await;
            place.kill(&spec);
            let killed_at = Instant::now();
            assert_eq!(engine.ended(&spec).await, "its process was ended by signal 9");
            let health = engine.observe(&spec, &[], &[]).await.unwrap().health;
            assert_eq!(health, Health::Down { cause: "its process was ended by signal 9".to_owned() });
            assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);
            let mut session = tenant.connect().await;
            let outage = killed_at.elapsed();
            assert!(outage < BACK_WITHIN, "the outage took {outage:?}; it logged:\n{}", place.log(&spec));

            let acknowledged = writer.await.unwrap();
            let mut lost = 0;
            for (number, at) in acknowledged.iter().enumerate() {
                let found: Option<String> = session.say(&format!("GET {}k{number}", tenant.prefix)).await.unwrap();
                if found.is_none() {
                    lost += 1;
                    let age = killed_at.saturating_duration_since(*at);
                    assert!(
                        persistence == "durable" && age < HELD_BACK,
                        "a write of {persistence} was lost after {age:?}"
                    );
                }
            }
            eprintln!(
                "{} {plan} {persistence}: serving again after {} ms; {lost} of {} writes lost",
                flavour.name(),
                outage.as_millis(),
                acknowledged.len()
            );
            engine.remove(&spec).await.unwrap();
        }
    });
}

/// A server reads its append-only file as a user of its own, and drops the transactions that this user may not carry out.
#[test]
fn transactions_and_scripts_outlive_their_server() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Dedicated, &[("persistence", "synced")]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        let mut session = tenant.connect().await;
        for round in 0..2 {
            let mut both = redis::pipe();
            both.atomic().set(format!("a{round}"), 1).ignore().rpush("list", round).ignore();
            both.query_async::<()>(&mut session.0).await.unwrap();
            let script = "redis.call('SET', KEYS[1], 1) redis.call('INCR', 'scripts')";
            let run = redis::cmd("EVAL").arg(script).arg(1).arg(format!("s{round}")).clone();
            run.query_async::<()>(&mut session.0).await.unwrap();
            place.kill(&spec);
            engine.ended(&spec).await;
            engine.start(&spec).await.unwrap();
            session = tenant.connect().await;
            let found: u64 = session.say(&format!("EXISTS a{round} s{round}")).await.unwrap();
            let (list, scripts): (u64, u64) =
                (session.say("LLEN list").await.unwrap(), session.say("GET scripts").await.unwrap());
            assert_eq!((found, list, scripts), (2, round + 1, round + 1));
        }
        assert!(!place.log(&spec).contains("AOF-loading-client"), "{}", place.log(&spec));
        engine.remove(&spec).await.unwrap();
    });
}

/// It is stopped here, which to everybody is the same as one command that does not end.
#[test]
fn a_server_that_answers_nobody_is_ended_where_it_is_shared() {
    run_both(|place, flavour| async move {
        let patience = Patience { answer: Duration::from_millis(200), silence: Duration::from_millis(600) };
        let engine = RedisEngine::new(RedisConfig { patience, ..place.config(flavour) });
        for plan in [Plan::Shared, Plan::Dedicated] {
            let spec = started(&engine, flavour, plan, &[]).await;
            let tenant = Tenant::new(&engine, &spec).await;
            let health = || async { engine.observe(&spec, &[], &[]).await.unwrap().health };
            let unresponsive = |health: &Health, words: &str| {
                assert!(
                    matches!(health, Health::Unresponsive { reason } if reason.contains(words)),
                    "{health:?} and not {words:?}"
                );
            };
            place.signal(&spec, Signal::STOP);
            unresponsive(&health().await, "it did not answer within 200ms");
            // An answer in between begins the time anew.
            place.signal(&spec, Signal::CONT);
            eventually("it answers again", || async { health().await == Health::Serving }).await;
            place.signal(&spec, Signal::STOP);
            let silent_since = Instant::now();
            while silent_since.elapsed() < patience.silence + 2 * patience.answer && plan == Plan::Dedicated {
                unresponsive(&health().await, "it did not answer");
            }
            if plan == Plan::Shared {
                eventually("it is ended", || async {
                    matches!(health().await, Health::Unresponsive { reason } if reason.contains("it is ended"))
                })
                .await;
                assert!(silent_since.elapsed() >= patience.silence, "not before its time");
                assert_eq!(engine.ended(&spec).await, "its process was ended by signal 9");
                assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);
            } else {
                // Nobody but its owner waits for it.
                place.signal(&spec, Signal::CONT);
                eventually("it answers again", || async { health().await == Health::Serving }).await;
            }
            tenant.connect().await.done(&format!("SET {}k x", tenant.prefix)).await;
            engine.remove(&spec).await.unwrap();
        }
    });
}

#[test]
fn a_killed_cache_comes_back_empty_with_its_credentials() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Dedicated, &[]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        tenant.connect().await.done("SET a b").await;
        let (_, ()) = tokio::join!(engine.ended(&spec), async { place.kill(&spec) });
        assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);
        assert_eq!(tenant.connect().await.say::<u64>("DBSIZE").await.unwrap(), 0);
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn a_server_that_lost_its_data_is_not_served() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        for plan in [Plan::Dedicated, Plan::Shared] {
            let parameters: &[_] = if plan == Plan::Dedicated { &[("persistence", "durable")] } else { &[] };
            let spec = started(&engine, flavour, plan, parameters).await;
            let tenant = Tenant::new(&engine, &spec).await;
            // Even when it was empty by its tenant's own will.
            let mut session = tenant.connect().await;
            session.done(&format!("SET {}a b", tenant.prefix)).await;
            session.done(&format!("DEL {}a", tenant.prefix)).await;
            engine.stop(&spec).await.unwrap();
            assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);
            engine.stop(&spec).await.unwrap();

            let (files, away) = (place.data(&spec).join("appendonlydir"), place.root(&spec).join("away"));
            fs::rename(&files, &away).unwrap();
            for _ in 0..2 {
                let error = engine.start(&spec).await.unwrap_err();
                assert!(matches!(&error, EngineError::Permanent { .. }), "{error}");
                assert!(error.to_string().contains("came back empty"), "{error}");
                let health = engine.observe(&spec, &[], &[]).await.unwrap().health;
                assert!(matches!(health, Health::Down { .. }), "{health:?}");
                assert!(Session::connect(tenant.uri.as_str()).await.is_err(), "nobody is served");
            }
            fs::remove_dir_all(&files).unwrap();
            fs::rename(&away, &files).unwrap();
            engine.start(&spec).await.unwrap();
            tenant.connect().await;
            engine.remove(&spec).await.unwrap();
        }
    });
}

#[test]
fn data_of_another_cluster_is_refused() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let durable = &[("persistence", "durable")];
        let spec = started(&engine, flavour, Plan::Dedicated, durable).await;
        let other = started(&engine, flavour, Plan::Dedicated, durable).await;
        engine.stop(&spec).await.unwrap();
        engine.stop(&other).await.unwrap();
        // The whole directory, and the append-only file alone.
        for part in ["", "appendonlydir"] {
            let (right, wrong) = (place.data(&spec).join(part), place.data(&other).join(part));
            let away = place.root(&spec).join("away");
            let swap = || {
                fs::rename(&right, &away).unwrap();
                fs::rename(&wrong, &right).unwrap();
                fs::rename(&away, &wrong).unwrap();
            };
            swap();
            let error = engine.start(&spec).await.unwrap_err();
            assert!(matches!(&error, EngineError::Permanent { .. }), "{error}");
            assert!(error.to_string().contains("is that of another one"), "{error}");
            swap();
            engine.start(&spec).await.unwrap();
            engine.stop(&spec).await.unwrap();
        }
        // A directory without its record is nobody's.
        fs::remove_file(place.data(&spec).join("cluster.json")).unwrap();
        let error = engine.start(&spec).await.unwrap_err();
        assert!(error.to_string().contains("not initialised anew"), "{error}");
        engine.remove(&spec).await.unwrap();
        engine.remove(&other).await.unwrap();
    });
}

#[test]
fn lost_users_are_missed_and_made_again() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Shared, &[]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        engine.stop(&spec).await.unwrap();
        fs::remove_file(place.data(&spec).join("users.acl")).unwrap();
        engine.start(&spec).await.unwrap();
        let (instances, credentials) = ([tenant.instance.clone()], [tenant.credential.clone()]);
        let observation = engine.observe(&spec, &instances, &credentials).await.unwrap();
        assert_eq!(observation.instances[&tenant.instance.id], Presence::Missing);
        assert!(Session::connect(tenant.uri.as_str()).await.is_err());
        engine.provision(&spec, &tenant.instance).await.unwrap();
        engine.bind(&spec, &tenant.instance, &tenant.credential, &crate::place::PASSWORD.into()).await.unwrap();
        tenant.connect().await;
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn a_server_is_adopted_and_watched_by_the_next_control_plane() {
    run_both(|place, flavour| async move {
        let first = place.engine(flavour);
        let spec = started(&first, flavour, Plan::Dedicated, &[]).await;
        let tenant = Tenant::new(&first, &spec).await;
        let mut session = tenant.connect().await;
        let pid = place.server_pid(&spec);

        let second = place.engine(flavour);
        let error = second.start(&spec).await.unwrap_err();
        assert!(error.to_string().contains("another control plane"), "{error}");
        drop(first);

        // The record was lost to a crash, and the server is found all the same.
        fs::remove_file(place.root(&spec).join("process.json")).unwrap();
        assert_eq!(second.observe(&spec, &[], &[]).await.unwrap().health, Health::Serving);
        assert_eq!(second.start(&spec).await.unwrap().how, StartKind::Adopted);
        assert_eq!(place.server_pid(&spec), pid);
        session.done("PING").await;
        second.remove(&spec).await.unwrap();
    });
}
