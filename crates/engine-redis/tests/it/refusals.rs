//! What cannot be done is refused with its remedy.

use std::net::TcpListener;

use mainstay_engine::{Availability, CredentialSpec, Engine, EngineError};
use mainstay_engine_redis::RedisEngine;
use mainstay_types::Plan;

use crate::place::{PASSWORD, Place, Tenant, cluster, run_both, started};

#[test]
fn what_the_machine_does_not_have_is_refused() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        for (parameters, remedy) in [
            ([("memory_mib", "1048576")], "ask for less memory"),
            ([("tls", "true")], "configure the certificate authority"),
        ] {
            let spec = cluster(flavour, Plan::Dedicated, &parameters);
            match engine.start(&spec).await {
                Err(EngineError::Permanent { remedy: told, .. }) => assert!(told.contains(remedy), "{told}"),
                answer => panic!("{parameters:?}: {answer:?}"),
            }
            engine.remove(&spec).await.unwrap();
        }
    });
}

#[test]
fn an_engine_that_is_not_installed_is_named_with_its_package() {
    run_both(|place, flavour| async move {
        let empty = Place::new();
        let mut config = place.config(flavour);
        config.bin_dir = Some(empty.clusters.clone());
        let engine = RedisEngine::new(config);
        let package = format!("apt-get install {}-server", flavour.name());
        match engine.availability().await {
            Availability::Missing { remedy, .. } => assert!(remedy.contains(&package), "{remedy}"),
            found => panic!("{found:?}"),
        }
        match engine.start(&cluster(flavour, Plan::Shared, &[])).await {
            Err(EngineError::Permanent { remedy, .. }) => assert!(remedy.contains(&package), "{remedy}"),
            answer => panic!("{answer:?}"),
        }
    });
}

#[test]
fn a_taken_port_is_refused_and_named() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let mut spec = cluster(flavour, Plan::Dedicated, &[]);
        let taken = TcpListener::bind(("127.0.0.1", spec.port)).unwrap();
        let error = engine.start(&spec).await.unwrap_err();
        assert!(error.to_string().contains(&format!("port {}", spec.port)), "{error}");
        assert!(matches!(error, EngineError::Permanent { .. }), "{error}");
        drop(taken);
        spec.identity = Some(engine.start(&spec).await.unwrap().identity);
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn a_binding_needs_an_instance_and_carries_out_no_statements() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Shared, &[]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        let bound = CredentialSpec { statements: Some(vec!["+@all".to_owned()]), ..tenant.credential.clone() };
        let error = engine.bind(&spec, &tenant.instance, &bound, &PASSWORD.into()).await.unwrap_err();
        assert!(matches!(error, EngineError::Permanent { .. }), "{error}");
        engine.deprovision(&spec, &tenant.instance).await.unwrap();
        let error = engine.bind(&spec, &tenant.instance, &tenant.credential, &PASSWORD.into()).await.unwrap_err();
        assert!(error.to_string().contains("is not on cluster"), "{error}");
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn deprovisioning_a_shared_instance_removes_its_keys_and_no_others() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Shared, &[]).await;
        let (gone, kept) = (Tenant::new(&engine, &spec).await, Tenant::new(&engine, &spec).await);
        for tenant in [&gone, &kept] {
            let mut session = tenant.connect().await;
            let mut writes = redis::pipe();
            for number in 0..5_000 {
                writes.cmd("SET").arg(format!("{}{number}", tenant.prefix)).arg(number).ignore();
            }
            writes.query_async::<()>(&mut session.0).await.unwrap();
        }
        for _ in 0..2 {
            engine.deprovision(&spec, &gone.instance).await.unwrap();
        }
        assert_eq!(place.admin(&spec).await.say::<u64>("DBSIZE").await.unwrap(), 5_000);
        kept.connect().await.done(&format!("GET {}0", kept.prefix)).await;
        // Made again under the same id it is empty.
        engine.provision(&spec, &gone.instance).await.unwrap();
        let again = Tenant::bound(&engine, &spec, &gone.instance).await.unwrap();
        let found: Option<String> = again.connect().await.say(&format!("GET {}0", again.prefix)).await.unwrap();
        assert_eq!(found, None);
        engine.remove(&spec).await.unwrap();
    });
}
