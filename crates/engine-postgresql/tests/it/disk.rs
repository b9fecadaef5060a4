//! A disk that is full.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mainstay_engine::Engine;
use mainstay_types::Plan;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::place::{Place, Tenant, cluster, count, execute, run};

/// What is left free at first, in bytes: more than a relation grows by at once.
const ROOM: u64 = 8 << 20;

#[test]
fn a_full_disk_refuses_writes_and_heals_when_there_is_room() {
    run(async {
        let place = Place::new();
        let options = ["-t", "tmpfs", "-o", "size=200m,mode=0711", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(&place.clusters).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: a small file system can not be mounted here");
            return;
        }
        let engine = place.engine();
        let mut spec = cluster(Plan::Shared);
        spec.identity = Some(engine.start(&spec).await.unwrap().identity);
        let tenant = Tenant::new(&engine, &spec).await;
        let mut session = tenant.connect().await;
        execute(&mut session, "CREATE TABLE filler (row bigserial, text text)").await.unwrap();

        // Room for some rows, which are written until there is none.
        let ballast = place.clusters.join("ballast");
        let filled = fill(&ballast);
        File::options().write(true).open(&ballast).unwrap().set_len(filled - ROOM).unwrap();
        let insert = "INSERT INTO filler (text) SELECT repeat('x', 1000) FROM generate_series(1, 100)";
        let mut acknowledged = 0;
        let error = loop {
            match execute(&mut session, insert).await {
                Ok(()) => acknowledged += 100,
                Err(error) => break error,
            }
            assert!(acknowledged < 1_000_000, "a full disk refuses writes");
        };
        assert!(acknowledged > 0, "there was room for some");
        assert!(error.to_string().contains("No space left on device"), "{error}");

        // Not even room for the write-ahead log any more: the server itself goes down.
        fill(&place.clusters.join("ballast.more"));
        // A checkpoint of its own may already have brought it there.
        let mut rounds = 0;
        while let Ok(mut superuser) = place.try_superuser(&spec, "postgres").await {
            rounds += 1;
            assert!(rounds < 100, "a server without a log can not go on");
            // Whether it takes this or goes down over it, the next round tells.
            let next_segment = "CREATE TABLE filler (); DROP TABLE filler; SELECT pg_switch_wal()";
            let _ = execute(&mut superuser, next_segment).await;
        }
        // It recovers by itself as far as it can, for which it needs room too.
        let failed = match engine.start(&spec).await {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        eprintln!("refused after {acknowledged} rows, with {error}; then the start said: {failed}");

        std::fs::remove_file(&ballast).unwrap();
        std::fs::remove_file(place.clusters.join("ballast.more")).unwrap();
        // What the reconcile loop does: start until it serves.
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut session = loop {
            if let Err(error) = engine.start(&spec).await {
                eprintln!("start: {error}");
            } else if let Ok(session) = PgConnection::connect(&tenant.uri).await {
                break session;
            }
            assert!(Instant::now() < deadline, "it should serve again");
        };
        let found = count(&mut session, "SELECT count(*) FROM filler").await;
        assert!(found == acknowledged || found == acknowledged + 100, "{found} of {acknowledged} rows");
        execute(&mut session, insert).await.expect("writes are taken again");
        engine.remove(&spec).await.unwrap();
    });
}

/// Fills the disk with a file and gives its size.
fn fill(path: &Path) -> u64 {
    let mut file = File::create(path).unwrap();
    for block in [1 << 16, 512] {
        let zeros = vec![0; block];
        while file.write_all(&zeros).is_ok() {}
    }
    file.metadata().unwrap().len()
}
