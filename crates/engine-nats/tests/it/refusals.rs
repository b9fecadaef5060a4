//! What can not be done is refused, with what to do about it.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use mainstay_engine::{Availability, Engine, EngineError};
use mainstay_engine_nats::{NatsConfig, NatsEngine};

use crate::place::{PASSWORD, Place, Tenant, cluster, credential, instance, run};

fn permanent(error: &EngineError, words: &str) {
    assert!(matches!(error, EngineError::Permanent { .. }), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_server_that_is_not_installed() {
    let Some(place) = Place::new() else { return };
    run(async {
        let config = NatsConfig { bin_dir: Some("/nonexistent".into()), ..place.config() };
        let engine = NatsEngine::new(config);
        match engine.availability().await {
            Availability::Missing { reason, remedy } => {
                assert!(reason.contains("/nonexistent") && remedy.contains("apt-get install nats-server"));
            }
            other => panic!("{other:?}"),
        }
        permanent(&engine.start(&cluster()).await.unwrap_err(), "apt-get install nats-server");
        assert!(matches!(place.engine().availability().await, Availability::Installed { .. }));
    });
}

#[test]
fn a_port_that_is_taken() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = (place.engine(), cluster());
        let listener = TcpListener::bind(("127.0.0.1", cluster.port)).unwrap();
        permanent(&engine.start(&cluster).await.unwrap_err(), "is taken by another program");
        drop(listener);
        engine.start(&cluster).await.unwrap();
    });
}

#[test]
fn more_than_the_machine_has() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        for (name, value) in [("storage_mib", "16777216"), ("memory_mib", "1048576")] {
            let error = engine.provision(&cluster, &instance(&[(name, value)])).await.unwrap_err();
            permanent(&error, &format!("at most --set {name}="));
        }
        permanent(&engine.provision(&cluster, &instance(&[("tls", "true")])).await.unwrap_err(), "authority");
        let tenant = Tenant::new(&engine, &cluster).await;
        let long = "x".repeat(73).into();
        let error = engine.bind(&cluster, &tenant.instance, &credential(&tenant.instance), &long).await.unwrap_err();
        permanent(&error, "71 bytes");
        assert!(!error.to_string().contains("xxx"));
    });
}

#[test]
fn files_are_nobody_elses() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let tenant = Tenant::new(&engine, &cluster).await;
        let root = place.root(&cluster);
        for file in ["accounts.json", "admin.secret", "data/nats.conf"] {
            let metadata = std::fs::metadata(root.join(file)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{file}");
            let is_engines = file.starts_with("data");
            let expected = if is_engines { place.config().user.uid } else { rustix::process::geteuid().as_raw() };
            assert_eq!(metadata.uid(), expected, "{file}");
            let text = std::fs::read_to_string(root.join(file)).unwrap();
            assert!(!text.contains(PASSWORD), "{file}");
        }
        let secret = std::fs::read_to_string(root.join("admin.secret")).unwrap();
        assert!(!std::fs::read_to_string(place.file(&cluster)).unwrap().contains(&secret));
        assert!(!place.log(&cluster).contains(&secret));
        assert!(tenant.wire().await.is_open().await);

        // A list of accounts that a later version wrote is not touched.
        engine.stop(&cluster).await.unwrap();
        let ledger = root.join("accounts.json");
        let text = std::fs::read_to_string(&ledger).unwrap();
        std::fs::write(&ledger, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
        permanent(&engine.start(&cluster).await.unwrap_err(), "has format 2");
        std::fs::write(&ledger, text).unwrap();
        engine.start(&cluster).await.unwrap();
        assert!(tenant.wire().await.is_open().await);
    });
}
