//! Backups of clusters that are used, and what comes back of them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_engine::conformance::recovery::MemoryArchive;
use mainstay_engine::recovery::{Assertion, Backup, Recovery, Until};
use mainstay_engine::supervise::confine;
use mainstay_engine::{ClusterSpec, Engine, EngineError};
use mainstay_engine_postgresql::PostgresqlEngine;
use mainstay_types::{Plan, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection;
use tokio::task::JoinHandle;

use crate::place::{Place, Tenant, cluster, count, eventually, execute, run};

/// What the product promises of a data directory that vanishes under writers.
const MOST_LOST: Duration = Duration::from_secs(1);

/// A cluster whose log is followed.
pub struct Followed {
    pub place: Place,
    pub engine: Arc<PostgresqlEngine>,
    pub spec: ClusterSpec,
    pub archive: MemoryArchive,
    pub follower: JoinHandle<EngineError>,
}

impl Followed {
    pub async fn new() -> Self {
        let place = Place::new();
        let engine = Arc::new(place.engine());
        let mut spec = cluster(Plan::Shared);
        spec.identity = Some(engine.start(&spec).await.unwrap().identity);
        let archive = MemoryArchive::default();
        let follower = follow(&engine, &spec, &archive);
        Self { place, engine, spec, archive, follower }
    }

    pub async fn back_up(&self) -> Backup {
        self.engine.back_up(&self.spec, &[], &self.archive.archive()).await.unwrap()
    }

    pub async fn restore(&self, tenant: &Tenant, backup: &Backup, until: Until) -> Result<(), EngineError> {
        let (instance, archive) = (&tenant.instance, self.archive.archive());
        self.engine.restore_instance(&self.spec, instance, &instance.id, backup, until, &archive).await.map(drop)
    }

    pub async fn latest(&self, backup: &Backup) -> Timestamp {
        self.engine.window(backup, &self.archive.archive()).await.unwrap().latest
    }

    fn program(&self, name: &str) -> Command {
        program(&self.place, &self.spec, name)
    }
}

/// One of the server's programs as a client of the superuser's.
pub fn program(place: &Place, spec: &ClusterSpec, name: &str) -> Command {
    let mut programs: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").unwrap().map(|entry| entry.unwrap().path().join("bin")).collect();
    programs.sort();
    let mut command = Command::new(programs.pop().unwrap().join(name));
    let run = place.clusters.join(spec.name.as_str()).join("run");
    command.current_dir("/").arg("-h").arg(run).args(["-p", &spec.port.to_string(), "-U", "mainstay"]);
    confine(&mut command, &place.config().user);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub fn follow(engine: &Arc<PostgresqlEngine>, spec: &ClusterSpec, archive: &MemoryArchive) -> JoinHandle<EngineError> {
    let (engine, spec, archive) = (engine.clone(), spec.clone(), archive.archive());
    tokio::spawn(async move { engine.follow_log(&spec, &archive).await })
}

#[test]
fn a_data_directory_that_vanishes_under_a_writer_loses_less_than_a_second() {
    run(async {
        let mut followed = Followed::new().await;
        let tenant = Tenant::new(&followed.engine, &followed.spec).await;
        let mut session = tenant.connect().await;
        execute(&mut session, "CREATE TABLE commits (id bigserial PRIMARY KEY)").await.unwrap();
        let backup = followed.back_up().await;

        let writer = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            while execute(&mut session, "INSERT INTO commits DEFAULT VALUES").await.is_ok() {
                acknowledged.push(Instant::now());
            }
            acknowledged
        });
        let begin = Instant::now();
        eventually("it is written to for some seconds", || async { begin.elapsed() > Duration::from_secs(3) }).await;
        let pid = followed.place.server_pid(&followed.spec);
        fs::remove_dir_all(followed.place.data(&followed.spec)).unwrap_or_default();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        let acknowledged = writer.await.unwrap();
        // What was received is kept, and then the follower says that it can not go on.
        let reason = (&mut followed.follower).await.unwrap();
        assert!(reason.to_string().contains("can not be followed now"), "{reason}");
        let _ = fs::remove_dir_all(followed.place.data(&followed.spec));

        let begin = Instant::now();
        let archive = followed.archive.archive();
        let restored = followed.engine.restore_cluster(&followed.spec, &backup, Until::Latest, &archive).await.unwrap();
        let restoring = begin.elapsed();
        assert_eq!(Some(restored.identity), followed.spec.identity);
        let found = count(&mut tenant.connect().await, "SELECT count(*) FROM commits").await as usize;
        let lost = match acknowledged.get(found) {
            Some(first) => *acknowledged.last().unwrap() - *first,
            None => Duration::ZERO,
        };
        eprintln!(
            "{found} of {} commits came back in {} ms; lost: {} ms of commits",
            acknowledged.len(),
            restoring.as_millis(),
            lost.as_millis()
        );
        assert!(lost < MOST_LOST, "{lost:?} of commits were lost");
        assert!(found <= acknowledged.len() + 1, "nothing is there that was not written");

        // The new timeline is followed, and moments on it and on the one before can be restored.
        let follower = follow(&followed.engine, &followed.spec, &followed.archive);
        execute(&mut tenant.connect().await, "INSERT INTO commits DEFAULT VALUES").await.unwrap();
        let written = Timestamp::now();
        eventually("the new timeline is kept", || async { followed.latest(&backup).await >= written }).await;
        followed.restore(&tenant, &backup, Until::Time(written)).await.unwrap();
        let query = "SELECT count(*) FROM commits";
        assert_eq!(count(&mut tenant.connect().await, query).await as usize, found + 1);
        followed.restore(&tenant, &backup, Until::Backup).await.unwrap();
        assert_eq!(count(&mut tenant.connect().await, query).await, 0);
        follower.abort();
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}

#[test]
fn a_timeline_that_never_served_is_forgotten() {
    run(async {
        let followed = Followed::new().await;
        let tenant = Tenant::new(&followed.engine, &followed.spec).await;
        execute(&mut tenant.connect().await, "CREATE TABLE commits (id bigserial PRIMARY KEY)").await.unwrap();
        let backup = followed.back_up().await;
        followed.follower.abort();
        // What is restored can not serve: somebody else has the port that it is to have.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let elsewhere = ClusterSpec { port: taken.local_addr().unwrap().port(), ..followed.spec.clone() };
        let archive = followed.archive.archive();
        followed.engine.restore_cluster(&elsewhere, &backup, Until::Latest, &archive).await.unwrap_err();
        let log = followed.archive.log();
        assert!(!log.is_empty() && !log.iter().any(|name| name.ends_with(".history")), "{log:?}");

        // What was there serves again, and what it writes can be restored.
        followed.engine.start(&followed.spec).await.unwrap();
        let follower = follow(&followed.engine, &followed.spec, &followed.archive);
        execute(&mut tenant.connect().await, "INSERT INTO commits DEFAULT VALUES").await.unwrap();
        let written = Timestamp::now();
        eventually("the log goes on", || async { followed.latest(&backup).await >= written }).await;
        followed.restore(&tenant, &backup, Until::Latest).await.unwrap();
        assert_eq!(count(&mut tenant.connect().await, "SELECT count(*) FROM commits").await, 1);
        follower.abort();
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}

#[test]
fn a_cluster_is_backed_up_while_it_is_written_to_heavily() {
    run(async {
        let followed = Followed::new().await;
        let tenant = Tenant::new(&followed.engine, &followed.spec).await;
        let database = tenant.database();
        assert!(followed.program("pgbench").args(["-i", "-q", "-s", "5", &database]).status().unwrap().success());
        let mut superuser = followed.place.superuser(&followed.spec, &database).await;
        execute(&mut superuser, &format!("REASSIGN OWNED BY mainstay TO {}", tenant.owner())).await.unwrap_or_default();
        for table in ["accounts", "branches", "tellers", "history"] {
            let own = format!("ALTER TABLE pgbench_{table} OWNER TO {}", tenant.owner());
            execute(&mut superuser, &own).await.unwrap();
        }
        let mut pgbench = followed.program("pgbench").args(["-n", "-c", "4", "-T", "8", &database]).spawn().unwrap();
        let begin = Instant::now();
        let backup = followed.back_up().await;
        let size = backup.parts[0].size as f64 / 1e6;
        eprintln!("backed up {size:.0} MB under load in {:.1} s", begin.elapsed().as_secs_f64());

        // From a commit until the archive says that it is in it.
        let mut delays = Vec::new();
        let mut writer = tenant.connect().await;
        execute(&mut writer, "CREATE TABLE probes (id bigserial)").await.unwrap();
        while pgbench.try_wait().unwrap().is_none() || delays.is_empty() {
            execute(&mut writer, "INSERT INTO probes DEFAULT VALUES").await.unwrap();
            let (moment, committed) = (Timestamp::now(), Instant::now());
            eventually("the commit is kept", || async { followed.latest(&backup).await >= moment }).await;
            delays.push(committed.elapsed());
        }
        delays.sort();
        let at = |part: usize| delays[(delays.len() - 1) * part / 100].as_millis();
        eprintln!("from commit to archive: {} ms p50, {} ms p99, of {}", at(50), at(99), delays.len());
        assert!(at(99) < 2_000, "{delays:?}");

        let balanced = Assertion {
            query: "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history), \
                    (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches)"
                .to_owned(),
            expect: "t|t".to_owned(),
        };
        let archive = followed.archive.archive();
        let begin = Instant::now();
        let rehearsal =
            followed.engine.rehearse(&followed.spec, &tenant.instance, &backup, &[balanced], &archive).await.unwrap();
        assert!(rehearsal.is_passed(), "{rehearsal:?}");
        eprintln!(
            "rehearsed in {:.1} s, served after {:.1} s: {:?}",
            begin.elapsed().as_secs_f64(),
            rehearsal.recovery_time.as_secs_f64(),
            rehearsal.checks.iter().map(|check| format!("{}: {}", check.name, check.seen)).collect::<Vec<_>>()
        );
        let names: Vec<_> = rehearsal.checks.iter().map(|check| check.name.as_str()).collect();
        for name in ["pg_verifybackup", "database", "heartbeat", "pg_amcheck", "pg_checksums"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let begin = Instant::now();
        followed.restore(&tenant, &backup, Until::Latest).await.unwrap();
        eprintln!("restored the instance in {:.1} s", begin.elapsed().as_secs_f64());
        assert_eq!(count(&mut tenant.connect().await, "SELECT count(*) FROM pgbench_accounts").await, 500_000);
        assert!(!followed.follower.is_finished());
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}

#[test]
fn one_of_many_databases_comes_back_with_its_rights() {
    run(async {
        let followed = Followed::new().await;
        let mut tenants = Vec::new();
        // Fifty are made for minutes on a busy machine.
        let databases = if std::env::var_os("MAINSTAY_SOAK_MINUTES").is_some() { 50 } else { 20 };
        for _ in 0..databases {
            let tenant = Tenant::new(&followed.engine, &followed.spec).await;
            let make = "CREATE TABLE kept (id int PRIMARY KEY); INSERT INTO kept VALUES (1)";
            execute(&mut tenant.connect().await, make).await.unwrap();
            tenants.push(tenant);
        }
        let tenant = &tenants[7];
        let mut session = tenant.connect().await;
        // What runs while it is restored is the tenant's, and must find itself to be nobody more than the tenant.
        let make = "CREATE EXTENSION citext; CREATE SCHEMA inner_schema; CREATE SEQUENCE inner_schema.numbers START 5; \
                    CREATE FUNCTION nobody_more(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN \
                      RESET SESSION AUTHORIZATION; RESET ROLE; \
                      IF (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN \
                        RAISE EXCEPTION 'a superuser runs it'; END IF; \
                      RETURN true; END $$; \
                    CREATE TABLE guarded (id int CHECK (nobody_more(id)), word citext DEFAULT 'x'); \
                    CREATE INDEX ON guarded (word); INSERT INTO guarded VALUES (1); \
                    SELECT lo_from_bytea(0, 'large');";
        execute(&mut session, make).await.unwrap();
        let shared = |statements: &'static [&'static str]| {
            let statements: Vec<String> = statements.iter().map(|text| (*text).to_owned()).collect();
            Tenant::bound(&followed.engine, &followed.spec, &tenant.instance, Some(statements))
        };
        let reader = shared(&["GRANT SELECT ON kept TO \"{{name}}\""]).await.unwrap();
        let gone = shared(&["GRANT SELECT ON kept TO \"{{name}}\""]).await.unwrap();
        let backup = followed.back_up().await;
        followed.engine.unbind(&followed.spec, &gone.credential).await.unwrap();
        execute(&mut session, "DROP TABLE kept, guarded").await.unwrap();
        let mut others = Vec::new();
        for (number, tenant) in tenants.iter().enumerate().filter(|(number, _)| *number != 7) {
            let mut session = tenant.connect().await;
            execute(&mut session, &format!("INSERT INTO kept VALUES ({})", number + 10)).await.unwrap();
            others.push(session);
        }

        followed.restore(tenant, &backup, Until::Backup).await.unwrap();
        assert!(session.ping().await.is_err(), "its own sessions end");
        for session in &mut others {
            assert_eq!(count(session, "SELECT count(*) FROM kept").await, 2, "others go on with what they have");
        }
        let mut session = tenant.connect().await;
        assert_eq!(count(&mut session, "SELECT count(*) FROM kept, guarded").await, 1);
        assert_eq!(count(&mut session, "SELECT nextval('inner_schema.numbers')").await, 5);
        assert_eq!(count(&mut session, "SELECT count(*) FROM pg_largeobject_metadata").await, 1);
        execute(&mut session, "INSERT INTO kept VALUES (2); DROP EXTENSION citext CASCADE").await.unwrap();
        assert_eq!(count(&mut reader.connect().await, "SELECT count(*) FROM kept").await, 2);
        assert!(execute(&mut reader.connect().await, "DELETE FROM kept").await.is_err());
        let credentials = [tenant.credential.clone(), reader.credential.clone()];
        let instances = std::slice::from_ref(&tenant.instance);
        let seen = followed.engine.observe(&followed.spec, instances, &credentials).await.unwrap();
        assert!(seen.changed_settings.is_empty(), "{seen:?}");
        let names = "SELECT count(*) FROM pg_database WHERE datname ~ '^(new|old)_'";
        assert_eq!(count(&mut followed.place.superuser(&followed.spec, "postgres").await, names).await, 0);
        let restorers = "SELECT count(*) FROM pg_roles WHERE rolname = 'mainstay_restorer'";
        assert_eq!(count(&mut followed.place.superuser(&followed.spec, "postgres").await, restorers).await, 0);
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}

#[test]
fn a_tablespace_elsewhere_is_refused_by_name() {
    run(async {
        let followed = Followed::new().await;
        let elsewhere = followed.place.clusters.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let user = followed.place.config().user;
        std::os::unix::fs::chown(&elsewhere, Some(user.uid), Some(user.gid)).unwrap();
        let mut superuser = followed.place.superuser(&followed.spec, "postgres").await;
        let make = format!("CREATE TABLESPACE fast LOCATION '{}'", elsewhere.display());
        execute(&mut superuser, &make).await.unwrap();
        let refused = followed.engine.back_up(&followed.spec, &[], &followed.archive.archive()).await.unwrap_err();
        assert!(matches!(refused, EngineError::Permanent { .. }));
        assert!(refused.to_string().contains("directory: fast; move"), "{refused}");
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}
