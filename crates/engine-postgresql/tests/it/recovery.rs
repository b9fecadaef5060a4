//! A server that is killed comes back with all that it acknowledged.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use mainstay_engine::{Engine, EngineError, StartKind};
use mainstay_types::{Health, Plan};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection;

use crate::place::{Place, Tenant, cluster, count, eventually, execute, run};

/// What the product promises for a killed server.
const BACK_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_killed_server_loses_no_commit_and_is_back_in_time() {
    run(async {
        let place = Place::new();
        let engine = place.engine();
        let mut spec = cluster(Plan::Dedicated);
        // A crash in the middle of making the data directory leaves this behind.
        fs::create_dir_all(place.clusters.join(spec.name.as_str()).join("data.new/half-made")).unwrap();
        let started = engine.start(&spec).await.unwrap();
        assert_eq!(started.how, StartKind::Initialised);
        spec.identity = Some(started.identity);
        let tenant = Tenant::new(&engine, &spec).await;
        let mut session = tenant.connect().await;
        execute(&mut session, "CREATE TABLE commits (id bigserial PRIMARY KEY)").await.unwrap();

        // One backend computes without ever looking whether the server lives.
        let mut busy = tenant.connect().await;
        let busy_pid = count(&mut busy, "SELECT pg_backend_pid()::int8").await;
        let computing = tokio::spawn(async move {
            let endless = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 10000000) b";
            let _ = execute(&mut busy, endless).await;
        });
        let mut watcher = place.superuser(&spec, "postgres").await;
        let active = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {busy_pid} AND state = 'active'");
        let deadline = Instant::now() + Duration::from_secs(10);
        while count(&mut watcher, &active).await == 0 {
            assert!(Instant::now() < deadline);
        }

        // Commits until the server is killed under them.
        let writer = tokio::spawn(async move {
            let mut acknowledged = 0;
            while execute(&mut session, "INSERT INTO commits DEFAULT VALUES").await.is_ok() {
                acknowledged += 1;
            }
            acknowledged
        });
        let enough = || async {
            count(&mut place.superuser(&spec, &tenant.database()).await, "SELECT count(*) FROM commits").await > 50
        };
        eventually("there are commits", enough).await;
        let killed_at = Instant::now();
        kill_process(Pid::from_raw(place.server_pid(&spec)).unwrap(), Signal::KILL).unwrap();
        assert_eq!(engine.ended(&spec).await, "its process was ended by signal 9");
        let health = engine.observe(&spec, &[], &[]).await.unwrap().health;
        assert_eq!(health, Health::Down { cause: "its process was ended by signal 9".to_owned() });
        assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);
        let mut session = tenant.connect().await;
        let outage = killed_at.elapsed();
        assert!(outage < BACK_WITHIN, "the outage took {outage:?}; the server logged:\n{}", place.log(&spec));

        let acknowledged: i64 = writer.await.unwrap();
        let found = count(&mut session, "SELECT count(*) FROM commits").await;
        // The last statement may have been committed without its acknowledgement having been heard.
        assert!((acknowledged..=acknowledged + 1).contains(&found), "{found} of {acknowledged} commits");
        computing.await.unwrap();
        eprintln!("serving again after {} ms, {found} commits", outage.as_millis());
        engine.stop(&spec).await.unwrap();
    });
}

#[test]
fn a_server_is_adopted_and_watched_by_the_next_control_plane() {
    run(async {
        let place = Place::new();
        let first = place.engine();
        let mut spec = cluster(Plan::Dedicated);
        spec.identity = Some(first.start(&spec).await.unwrap().identity);
        let tenant = Tenant::new(&first, &spec).await;
        let mut session = tenant.connect().await;
        let pid = place.server_pid(&spec);
        assert_ne!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 0, "it does not run as root");

        // As long as the first lives, a second one is refused.
        let second = place.engine();
        let error = second.start(&spec).await.unwrap_err();
        assert!(matches!(&error, EngineError::Permanent { .. }), "{error}");
        assert!(error.to_string().contains("another control plane"), "{error}");
        drop(first);

        // The record was lost to a crash, and the server is found all the same.
        fs::remove_file(place.clusters.join(spec.name.as_str()).join("process.json")).unwrap();
        assert_eq!(second.observe(&spec, &[], &[]).await.unwrap().health, Health::Serving);
        assert_eq!(second.start(&spec).await.unwrap().how, StartKind::Adopted);
        assert_eq!(place.server_pid(&spec), pid);
        session.ping().await.unwrap();

        let (cause, ()) = tokio::join!(second.ended(&spec), async {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        });
        assert!(cause.contains("ended"), "{cause}");
        assert_eq!(second.start(&spec).await.unwrap().how, StartKind::Started);
        second.remove(&spec).await.unwrap();
    });
}

#[test]
fn a_stale_lock_that_names_a_living_process_does_not_hinder_a_start() {
    run(async {
        let place = Place::new();
        let engine = place.engine();
        let mut spec = cluster(Plan::Dedicated);
        spec.identity = Some(engine.start(&spec).await.unwrap().identity);
        let pid_file = place.data(&spec).join("postmaster.pid");
        let text = fs::read_to_string(&pid_file).unwrap();
        let pid = place.server_pid(&spec);
        let (_, ()) = tokio::join!(engine.ended(&spec), async {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        });
        // A program of the same user has the dead server's process id.
        let mut command = std::process::Command::new("sleep");
        command.arg("60");
        mainstay_engine::supervise::confine(&mut command, &place.config().user);
        let mut sleeper = command.spawn().unwrap();
        fs::write(&pid_file, text.replace(&pid.to_string(), &sleeper.id().to_string())).unwrap();
        assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        engine.stop(&spec).await.unwrap();
    });
}
