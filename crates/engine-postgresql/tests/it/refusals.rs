//! Starts that are refused, each with what a person has to do.

use std::fs;
use std::net::TcpListener;

use mainstay_engine::{Availability, ClusterSpec, Engine, EngineError};
use mainstay_types::Plan;

use crate::place::{Place, cluster, overwrite, run};

#[test]
fn a_start_that_would_do_harm_is_refused() {
    run(async {
        let place = Place::new();
        let engine = place.engine();
        let mut spec = cluster(Plan::Dedicated);
        spec.identity = Some(engine.start(&spec).await.unwrap().identity);
        engine.stop(&spec).await.unwrap();
        let data = place.data(&spec);

        // The data of another major version.
        let version = fs::read_to_string(data.join("PG_VERSION")).unwrap();
        overwrite(&data.join("PG_VERSION"), "11\n");
        let message = refusal(&engine, &spec).await;
        for expected in ["PostgreSQL 11", "apt-get install postgresql-11", version.trim()] {
            assert!(message.contains(expected), "{expected:?} is not in {message}");
        }
        overwrite(&data.join("PG_VERSION"), &version);

        // The data of another cluster.
        let another = ClusterSpec { identity: Some("1234567890".to_owned()), ..spec.clone() };
        let message = refusal(&engine, &another).await;
        assert!(message.contains("1234567890") && message.contains("not initialised anew"), "{message}");

        // A port that is taken.
        let listener = TcpListener::bind(("127.0.0.1", spec.port)).unwrap();
        let message = refusal(&engine, &spec).await;
        assert!(message.contains(&format!("port {}", spec.port)) && message.contains("ss -ltnp"), "{message}");
        drop(listener);

        // Data that is half gone.
        fs::rename(data.join("PG_VERSION"), data.join("PG_VERSION.away")).unwrap();
        let message = refusal(&engine, &spec).await;
        assert!(message.contains("not initialised anew"), "{message}");
        fs::rename(data.join("PG_VERSION.away"), data.join("PG_VERSION")).unwrap();

        // A file that the server does not start with: it says so, and what it logged.
        overwrite(&data.join("postgresql.auto.conf"), "work_mem = 'much'\n");
        let error = engine.start(&spec).await.unwrap_err();
        assert!(matches!(error, EngineError::Transient { .. }));
        assert!(error.to_string().contains("work_mem"), "{error}");
        overwrite(&data.join("postgresql.auto.conf"), "");

        engine.start(&spec).await.unwrap();
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn a_path_too_long_for_a_socket_is_refused() {
    run(async {
        let place = Place::new();
        let mut config = place.config();
        config.clusters_dir = place.clusters.join("x".repeat(100));
        let engine = mainstay_engine_postgresql::PostgresqlEngine::new(config);
        let message = refusal(&engine, &cluster(Plan::Shared)).await;
        assert!(message.contains("107") && message.contains("shorter path"), "{message}");
    });
}

#[test]
fn missing_programs_are_named_with_their_remedy() {
    run(async {
        let place = Place::new();
        let mut config = place.config();
        assert!(matches!(place.engine().availability().await, Availability::Installed { .. }));
        config.bin_dir = Some("/nonexistent/bin".into());
        let engine = mainstay_engine_postgresql::PostgresqlEngine::new(config);
        let Availability::Missing { reason, remedy } = engine.availability().await else { panic!("it is missing") };
        assert!(reason.contains("/nonexistent/bin") && remedy.contains("apt-get install"), "{reason}; {remedy}");
        let message = refusal(&engine, &cluster(Plan::Shared)).await;
        assert!(message.contains("apt-get install postgresql"), "{message}");
    });
}

async fn refusal(engine: &dyn Engine, spec: &ClusterSpec) -> String {
    match engine.start(spec).await {
        Err(error @ EngineError::Permanent { .. }) => error.to_string(),
        other => panic!("the start should be refused: {other:?}"),
    }
}
