//! What a backup brings back of a dedicated cluster, beyond what the suite asks of every engine.

use std::time::{Duration, Instant};

use mainstay_engine::conformance::recovery::MemoryArchive;
use mainstay_engine::recovery::{Assertion, Recovery, Until};
use mainstay_engine::{ClusterSpec, Engine, InstanceSpec};
use mainstay_types::{Plan, Presence};
use redis::AsyncCommands;

use crate::place::{Place, Tenant, cluster, eventually, run, run_both, started};
use mainstay_engine_redis::Flavour;

/// Longer than a test, shorter than for ever.
const EXPIRES_AT_MS: u64 = 4_000_000_000_000;

/// Everything unusual at once: databases, names, kinds, expiry, a function of the owner's.
async fn fill(tenant: &Tenant) {
    let mut session = tenant.connect().await;
    session.done("SET plain text").await;
    session.done(&format!("SET expiring soon PXAT {EXPIRES_AT_MS}")).await;
    let _: () = session.0.set(b"\x00\xff binary \r\n * ? [".as_slice(), b"\xfe\x00".as_slice()).await.unwrap();
    let _: () = session.0.set("", "the empty name").await.unwrap();
    session.done("RPUSH list a b c").await;
    session.done("SADD set 1 2 3 x").await;
    session.done("ZADD zset 1.5 a -inf b").await;
    session.done("HSET hash f v g w").await;
    session.done("XADD stream 1-1 f v").await;
    session.done("XGROUP CREATE stream group 0").await;
    session.done("XREADGROUP GROUP group consumer COUNT 1 STREAMS stream >").await;
    session.done("PFADD loglog a b c").await;
    let large = vec![b'x'; 20 << 20];
    let _: () = session.0.set("large", large).await.unwrap();
    for number in 0..2_000 {
        let _: () = session.0.rpush("long", format!("element {number}")).await.unwrap();
    }
    session.done("SELECT 9").await;
    session.done("SET in-nine 9").await;
    let code = "#!lua name=own\nredis.register_function('own', function() return 'mine' end)";
    let _: String =
        redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(code).query_async(&mut session.0).await.unwrap();
}

async fn holds_all(tenant: &Tenant) {
    let mut session = tenant.connect().await;
    let expires: u64 = session.say("PEXPIRETIME expiring").await.unwrap();
    assert_eq!(expires, EXPIRES_AT_MS);
    let binary: Vec<u8> = session.0.get(b"\x00\xff binary \r\n * ? [".as_slice()).await.unwrap();
    assert_eq!(binary, b"\xfe\x00");
    let named: String = session.0.get("").await.unwrap();
    assert_eq!(named, "the empty name");
    for (words, expected) in [
        ("GET plain", "text"),
        ("LINDEX list 2", "c"),
        ("SCARD set", "4"),
        ("ZSCORE zset a", "1.5"),
        ("HGET hash g", "w"),
        ("XLEN stream", "1"),
        ("PFCOUNT loglog", "3"),
        ("STRLEN large", "20971520"),
        ("LLEN long", "2000"),
        ("FCALL own 0", "mine"),
        ("DBSIZE", "12"),
    ] {
        let found: redis::Value = session.say(words).await.unwrap();
        let found: String = redis::from_redis_value(found).unwrap();
        assert_eq!(found, expected, "{words}");
    }
    let pending: (u64, String, String, Vec<(String, String)>) = session.say("XPENDING stream group").await.unwrap();
    assert_eq!(pending.0, 1, "what a consumer has not acknowledged comes back");
    session.done("SELECT 9").await;
    assert_eq!(session.say::<String>("GET in-nine").await.unwrap(), "9");
}

async fn is_as_wanted(engine: &dyn Engine, spec: &ClusterSpec, tenant: &Tenant) {
    let seen =
        engine.observe(spec, std::slice::from_ref(&tenant.instance), std::slice::from_ref(&tenant.credential)).await;
    let seen = seen.unwrap();
    assert!(seen.instances.values().all(|presence| *presence == Presence::Present), "{seen:?}");
    assert!(seen.credentials.values().all(|seen| seen.presence == Presence::Present), "{seen:?}");
    assert_eq!(seen.changed_settings, Vec::<String>::new());
}

#[test]
fn an_instance_of_its_own_comes_back_with_all_that_was_in_it() {
    run_both(|place, flavour| async move {
        for persistence in ["cache", "durable"] {
            let engine = place.engine(flavour);
            let spec = started(&engine, flavour, Plan::Dedicated, &[("persistence", persistence)]).await;
            let tenant = Tenant::new(&engine, &spec).await;
            fill(&tenant).await;
            let kept = MemoryArchive::default();
            let archive = kept.archive();
            let instances = std::slice::from_ref(&tenant.instance);
            let backup = engine.back_up(&spec, instances, &archive).await.unwrap();
            assert_eq!(backup.note("keys").unwrap(), "13");
            assert_eq!((backup.note("keys.db0").unwrap(), backup.note("keys.db9").unwrap()), ("12", "1"));

            let assertions =
                [("GET plain", "text"), ("LRANGE list 0 -1", "a\nb\nc"), ("EXISTS nothing", "0"), ("GET nothing", "")];
            let assertions = assertions.map(|(query, expect)| Assertion { query: query.into(), expect: expect.into() });
            let rehearsal = engine.rehearse(&spec, &tenant.instance, &backup, &assertions, &archive).await.unwrap();
            assert!(rehearsal.is_passed(), "{rehearsal:?}");
            eprintln!(
                "{} {persistence}: {:?} until it answered; {:?}",
                flavour.name(),
                rehearsal.recovery_time,
                rehearsal.checks
            );

            let mut session = tenant.connect().await;
            session.done("FLUSHALL").await;
            session.done("SET later x").await;
            let restored =
                engine.restore_instance(&spec, &tenant.instance, &tenant.instance.id, &backup, Until::Latest, &archive);
            restored.await.unwrap();
            assert!(session.say::<()>("PING").await.is_err(), "sessions of the instance are ended");
            holds_all(&tenant).await;
            is_as_wanted(&engine, &spec, &tenant).await;

            // The whole cluster, with nothing left of it.
            engine.stop(&spec).await.unwrap();
            std::fs::remove_dir_all(place.data(&spec)).unwrap();
            let restored = engine.restore_cluster(&spec, &backup, Until::Latest, &archive).await.unwrap();
            assert_eq!(Some(restored.identity), spec.identity);
            holds_all(&tenant).await;
            is_as_wanted(&engine, &spec, &tenant).await;
            survives_a_restart(&place, &engine, &spec, &tenant, persistence).await;
            engine.remove(&spec).await.unwrap();
        }
    });
}

/// What came back is the server's own by now: on disk where it outlives servers, and nowhere where it does not.
async fn survives_a_restart(
    place: &Place,
    engine: &mainstay_engine_redis::RedisEngine,
    spec: &ClusterSpec,
    tenant: &Tenant,
    persistence: &str,
) {
    let mut session = tenant.connect().await;
    session.done("SET after 1").await;
    engine.stop(spec).await.unwrap();
    engine.start(spec).await.unwrap();
    let mut session = tenant.connect().await;
    let after: Option<String> = session.say("GET after").await.unwrap();
    let plain: Option<String> = session.say("GET plain").await.unwrap();
    match persistence {
        "cache" => assert_eq!((after, plain), (None, None), "a cache comes back empty"),
        _ => assert_eq!((after.as_deref(), plain.as_deref()), (Some("1"), Some("text"))),
    }
    let left: Vec<_> = std::fs::read_dir(place.root(spec)).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("data.")), "{left:?}");
}

#[test]
fn a_cluster_comes_back_in_the_place_of_another_one_and_an_empty_one_too() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let parameters = [("persistence", "durable")];
        let spec = started(&engine, flavour, Plan::Dedicated, &parameters).await;
        let tenant = Tenant::new(&engine, &spec).await;
        let kept = MemoryArchive::default();
        let archive = kept.archive();
        let empty = engine.back_up(&spec, std::slice::from_ref(&tenant.instance), &archive).await.unwrap();
        tenant.connect().await.done("SET a 1").await;
        let full = engine.back_up(&spec, std::slice::from_ref(&tenant.instance), &archive).await.unwrap();
        let rehearsal = engine.rehearse(&spec, &tenant.instance, &empty, &[], &archive).await.unwrap();
        assert!(rehearsal.is_passed(), "{rehearsal:?}");

        let other = started(&engine, flavour, Plan::Dedicated, &parameters).await;
        for (backup, keys) in [(&full, "1"), (&empty, "0")] {
            let restored = engine.restore_cluster(&other, backup, Until::Backup, &archive).await.unwrap();
            assert_eq!(Some(restored.identity), other.identity, "it stays the cluster that it was");
            let keys_found: String = place.admin(&other).await.say("DBSIZE").await.unwrap();
            assert_eq!(keys_found, keys);
            engine.stop(&other).await.unwrap();
            engine.start(&other).await.unwrap();
        }
        // None was known of this one, and it is the cluster that was backed up.
        let new = cluster(flavour, Plan::Dedicated, &parameters);
        let restored = engine.restore_cluster(&new, &full, Until::Backup, &archive).await.unwrap();
        assert_eq!(Some(restored.identity), spec.identity);
        for spec in [&spec, &other, &new] {
            engine.remove(spec).await.unwrap();
        }
    });
}

/// The next control plane finds what a dead one has left.
#[test]
fn a_scratch_cluster_of_a_dead_control_plane_is_cleared() {
    run(Flavour::Redis, |place| async move {
        let engine = place.engine(Flavour::Redis);
        let spec = started(&engine, Flavour::Redis, Plan::Shared, &[]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        tenant.connect().await.done(&format!("SET {}a 1", tenant.prefix)).await;
        let kept = MemoryArchive::default();
        let archive = kept.archive();
        let backup = engine.back_up(&spec, std::slice::from_ref(&tenant.instance), &archive).await.unwrap();

        // A runtime that ends in the middle is a control plane that dies, but that its locks are freed with it.
        let (config, instance) = (place.config(Flavour::Redis), tenant.instance.clone());
        let (spec_there, archive_there, backup_there) = (spec.clone(), kept.archive(), backup.clone());
        let dying = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let engine = mainstay_engine_redis::RedisEngine::new(config);
            runtime.block_on(async {
                let rehearsing = engine.rehearse(&spec_there, &instance, &backup_there, &[], &archive_there);
                let _ = tokio::time::timeout(Duration::from_millis(60), rehearsing).await;
            });
        });
        dying.join().unwrap();
        engine.clear_scratch().await.unwrap();
        eventually("nothing of it is left", || async {
            engine.clear_scratch().await.unwrap();
            place.scratch_remains().is_empty() && place.scratch_processes().is_empty()
        })
        .await;
        engine.remove(&spec).await.unwrap();
    });
}

/// Measured, not asserted: how fast a snapshot goes, and what it takes.
#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture how_fast"]
fn how_fast_a_backup_is() {
    run(Flavour::Redis, |place| async move {
        let engine = place.engine(Flavour::Redis);
        let spec = started(&engine, Flavour::Redis, Plan::Dedicated, &[("memory_mib", "1024")]).await;
        let tenant: Tenant = Tenant::new(&engine, &spec).await;
        let instances: &[InstanceSpec] = std::slice::from_ref(&tenant.instance);
        let mut session = tenant.connect().await;
        for batch in 0..200 {
            let mut commands = redis::pipe();
            for number in 0..1_000 {
                commands.set(format!("key:{batch}:{number}"), "v".repeat(500)).ignore();
            }
            commands.query_async::<()>(&mut session.0).await.unwrap();
        }
        let kept = MemoryArchive::default();
        let archive = kept.archive();
        let begin = Instant::now();
        let backup = engine.back_up(&spec, instances, &archive).await.unwrap();
        let size = backup.parts[0].size as f64 / f64::from(1 << 20);
        eprintln!("{size:.0} MiB, 200,000 keys: backed up in {:?}", begin.elapsed());
        let begin = Instant::now();
        let rehearsal = engine.rehearse(&spec, &tenant.instance, &backup, &[], &archive).await.unwrap();
        eprintln!("rehearsed in {:?}, served after {:?}", begin.elapsed(), rehearsal.recovery_time);
        let begin = Instant::now();
        let id = &tenant.instance.id;
        engine.restore_instance(&spec, &tenant.instance, id, &backup, Until::Backup, &archive).await.unwrap();
        eprintln!("restored in {:?}", begin.elapsed());
        engine.remove(&spec).await.unwrap();
    });
}
