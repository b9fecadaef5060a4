//! A disk that is full.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use mainstay_engine::Engine;
use mainstay_types::Plan;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::place::{Place, Tenant, cluster, count, execute, run};

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

        // First room for nothing but small writes, then for nothing at all.
        let ballast = place.clusters.join("ballast");
        fill(&ballast);
        let insert = "INSERT INTO filler (text) SELECT repeat('x', 1000) FROM generate_series(1, 100)";
        let mut acknowledged = 0;
        let mut refused = None;
        for _ in 0..10_000 {
            match execute(&mut session, insert).await {
                Ok(()) => acknowledged += 100,
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let error = refused.expect("a full disk refuses writes");
        eprintln!("refused after {acknowledged} rows: {error}");

        std::fs::remove_file(&ballast).unwrap();
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

fn fill(path: &std::path::Path) {
    let mut file = File::create(path).unwrap();
    let block = vec![0; 1 << 16];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&[0; 512]).is_ok() {}
}
