//! Data moves from one engine to the other while it is used, and nothing that was acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mainstay_engine::{ClusterSpec, Engine, EngineError};
use mainstay_engine_redis::{Flavour, Progress, RedisEngine};
use mainstay_types::{Health, Plan, Presence};

use crate::place::{Place, Session, Tenant, eventually, run, started};

/// Longer than any test waits for a copy to become equal.
const PAUSE: Duration = Duration::from_secs(10);

async fn is_equal(new: &RedisEngine, to: &ClusterSpec, old: &RedisEngine, from: &ClusterSpec) -> bool {
    new.replication_progress(to, old, from).await.unwrap() == Progress::Behind { bytes: 0 }
}

/// Both engines, or none where one is not installed.
async fn both(place: &Place) -> Option<(RedisEngine, RedisEngine)> {
    let (old, new) = (place.engine(Flavour::Redis), place.engine(Flavour::Valkey));
    match new.availability().await {
        mainstay_engine::Availability::Installed { .. } => Some((old, new)),
        missing => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing:?}");
            eprintln!("SKIPPED: {missing:?}");
            None
        }
    }
}

#[test]
fn live_data_moves_from_redis_to_valkey_and_no_write_is_lost() {
    run(Flavour::Redis, |place| async move {
        let Some((old, new)) = both(&place).await else { return };
        for persistence in ["cache", "durable", "synced"] {
            let parameters = [("persistence", persistence), ("eviction", "noeviction")];
            let from = started(&old, Flavour::Redis, Plan::Dedicated, &parameters).await;
            let tenant = Tenant::new(&old, &from).await;
            let mut session = tenant.connect().await;
            for words in ["HSET h a b", "XADD x 1-1 a b", "SELECT 3", "SET other 1", "SELECT 0"] {
                session.done(words).await;
            }
            let library =
                "#!lua name=own\nredis.register_function{function_name='own', callback=function() return 'own' end}";
            redis::cmd("FUNCTION").arg("LOAD").arg(library).query_async::<()>(&mut session.0).await.unwrap();

            // Writers that connect again whenever they lose their session, and count what was acknowledged.
            let stop = Arc::new(AtomicBool::new(false));
            let acknowledged: Vec<Arc<AtomicU64>> = (0..4).map(|_| Arc::default()).collect();
            let writers: Vec<_> = acknowledged
                .iter()
                .enumerate()
                .map(|(writer, acknowledged)| {
                    tokio::spawn(write(tenant.uri.clone(), writer, acknowledged.clone(), stop.clone()))
                })
                .collect();
            let written = || acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).sum::<u64>();
            eventually("there are writes", || async { written() > 1_000 }).await;

            let mut to = started(&new, Flavour::Valkey, Plan::Dedicated, &parameters).await;
            for _ in 0..2 {
                new.replicate_from(&to, &old, &from).await.unwrap();
            }
            let observation = new.observe(&to, &[], &[]).await.unwrap();
            assert_eq!(observation.health, Health::Serving);
            assert!(
                Session::connect(format!("redis://127.0.0.1:{}", to.port).as_str()).await.is_err(),
                "a copy is closed"
            );
            eventually("little is missing", || async {
                let progress = new.replication_progress(&to, &old, &from).await.unwrap();
                matches!(progress, Progress::Behind { bytes } if bytes < 64 << 10)
            })
            .await;
            let error = new.promote(&to, &old, &from).await.unwrap_err();
            assert!(error.to_string().contains("is open"), "{error}");
            let before = written();
            eventually("it is written all the while", || async { written() > before + 1_000 }).await;

            let pause = Instant::now();
            old.pause_writes(&from, PAUSE).await.unwrap();
            eventually("nothing is missing", || is_equal(&new, &to, &old, &from)).await;
            for _ in 0..2 {
                old.close_to_clients(&from).await.unwrap();
            }
            eventually("nothing is missing still", || is_equal(&new, &to, &old, &from)).await;
            for _ in 0..2 {
                new.promote(&to, &old, &from).await.unwrap();
            }
            // The new one has the address that its clients know.
            to.port = from.port;
            for _ in 0..2 {
                new.open_to_clients(&to).await.unwrap();
            }
            let pause = pause.elapsed();

            let after = written();
            eventually("it is written again", || async { written() > after + 500 }).await;
            stop.store(true, Ordering::SeqCst);
            for writer in writers {
                writer.await.unwrap();
            }
            let mut session = tenant.connect().await;
            for (writer, count) in acknowledged.iter().enumerate() {
                for number in 0..count.load(Ordering::SeqCst) {
                    let found: Option<u64> = session.say(&format!("GET w{writer}:{number}")).await.unwrap();
                    assert_eq!(found, Some(number), "a write that was acknowledged is lost");
                }
            }
            assert_eq!(session.say::<String>("HGET h a").await.unwrap(), "b");
            assert_eq!(session.say::<String>("FCALL own 0").await.unwrap(), "own");
            session.done("SELECT 3").await;
            assert_eq!(session.say::<u64>("GET other").await.unwrap(), 1);
            eprintln!("{persistence}: {} writes, none lost; they waited {} ms", written(), pause.as_millis());

            // The same credential, as it should be, on a server that is as it should be.
            let credentials = [tenant.credential.clone()];
            let observation = new.observe(&to, std::slice::from_ref(&tenant.instance), &credentials).await.unwrap();
            assert_eq!(observation.changed_settings, Vec::<String>::new());
            assert_eq!(observation.instances[&tenant.instance.id], Presence::Present);
            assert_eq!(observation.credentials[&(tenant.credential.binding.clone(), 1)].presence, Presence::Present);

            // The old one does not open by itself, and the new one's data outlives it where it should.
            old.stop(&from).await.unwrap();
            assert!(old.start(&from).await.is_err(), "its port is the other's");
            old.remove(&from).await.unwrap();
            if persistence != "cache" {
                let (_, ()) = tokio::join!(new.ended(&to), async { place.kill(&to) });
                new.start(&to).await.unwrap();
                let found: u64 = tenant.connect().await.say("GET w0:0").await.unwrap();
                assert_eq!(found, 0);
            }
            new.remove(&to).await.unwrap();
        }
    });
}

/// Writes one key after the other, each until it is acknowledged.
async fn write(uri: String, writer: usize, acknowledged: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let mut session = None;
    while !stop.load(Ordering::SeqCst) {
        let number = acknowledged.load(Ordering::SeqCst);
        if session.is_none() {
            session = Session::connect(uri.as_str()).await.ok();
        }
        if let Some(open) = &mut session {
            match open.say::<()>(&format!("SET w{writer}:{number} {number}")).await {
                Ok(()) => acknowledged.store(number + 1, Ordering::SeqCst),
                Err(_) => session = None,
            }
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_move_is_given_up_and_the_source_goes_on() {
    run(Flavour::Redis, |place| async move {
        let Some((old, new)) = both(&place).await else { return };
        let durable = [("persistence", "durable")];
        let from = started(&old, Flavour::Redis, Plan::Dedicated, &durable).await;
        let tenant = Tenant::new(&old, &from).await;
        tenant.connect().await.done("SET a b").await;
        let to = started(&new, Flavour::Valkey, Plan::Dedicated, &durable).await;
        new.replicate_from(&to, &old, &from).await.unwrap();
        eventually("nothing is missing", || is_equal(&new, &to, &old, &from)).await;

        // A copy whose server ended stands for nothing, and follows again when it is asked to.
        let (_, ()) = tokio::join!(new.ended(&to), async { place.kill(&to) });
        new.start(&to).await.unwrap();
        assert!(Session::connect(format!("redis://127.0.0.1:{}", to.port).as_str()).await.is_err(), "a copy is closed");
        let error = new.open_to_clients(&to).await.unwrap_err();
        assert!(error.to_string().contains("not whole"), "{error}");
        old.close_to_clients(&from).await.unwrap();
        assert!(new.promote(&to, &old, &from).await.is_err(), "it does not follow");
        assert!(new.replicate_from(&to, &old, &from).await.is_err(), "nothing follows what is closed");
        // Closed stays closed over a restart.
        old.stop(&from).await.unwrap();
        old.start(&from).await.unwrap();
        assert!(Session::connect(tenant.uri.as_str()).await.is_err());
        assert_eq!(old.observe(&from, &[], &[]).await.unwrap().changed_settings, Vec::<String>::new());

        old.open_to_clients(&from).await.unwrap();
        new.replicate_from(&to, &old, &from).await.unwrap();
        eventually("nothing is missing again", || is_equal(&new, &to, &old, &from)).await;
        old.pause_writes(&from, PAUSE).await.unwrap();
        old.resume_writes(&from).await.unwrap();
        new.remove(&to).await.unwrap();
        let mut session = tenant.connect().await;
        session.done("SET a c").await;
        assert_eq!(session.say::<String>("GET a").await.unwrap(), "c");
        old.remove(&from).await.unwrap();
    });
}

#[test]
fn what_cannot_move_is_refused_before_anything_changes() {
    run(Flavour::Redis, |place| async move {
        let Some((old, new)) = both(&place).await else { return };
        let redis = started(&old, Flavour::Redis, Plan::Dedicated, &[]).await;
        let valkey = started(&new, Flavour::Valkey, Plan::Dedicated, &[]).await;
        let shared = started(&new, Flavour::Valkey, Plan::Shared, &[]).await;
        let refused = |answer: Result<(), EngineError>, reason: &str| match answer {
            Err(error @ EngineError::Permanent { .. }) => assert!(error.to_string().contains(reason), "{error}"),
            answer => panic!("{reason}: {answer:?}"),
        };
        refused(old.replicate_from(&redis, &new, &valkey).await, "does not read the data format of valkey 9");
        refused(new.replicate_from(&shared, &old, &redis).await, "is dedicated and");
        refused(new.promote(&valkey, &old, &redis).await, "is no copy");
        place.admin(&valkey).await.done("CONFIG SET maxmemory 500kb").await;
        refused(new.replicate_from(&valkey, &old, &redis).await, "larger memory_mib");
        let tenant = Tenant::new(&old, &redis).await;
        tenant.connect().await.done("SET a b").await;
        for (engine, spec) in [(&old, &redis), (&new, &valkey), (&new, &shared)] {
            engine.remove(spec).await.unwrap();
        }
    });
}
