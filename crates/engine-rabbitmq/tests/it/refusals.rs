//! Starts and instances that are refused, each with what a person has to do.

use std::fs;
use std::net::TcpListener;

use mainstay_engine::{Availability, ClusterSpec, Engine, EngineError, InstanceSpec};
use mainstay_engine_rabbitmq::RabbitmqEngine;
use mainstay_types::{InstanceId, InstanceName};

use crate::place::{Place, cluster, run, shared};

#[test]
fn a_start_that_would_do_harm_is_refused() {
    run(async {
        let place = Place::new();
        let engine = place.engine();
        let mut spec = cluster();

        // A port that is taken.
        let listener = TcpListener::bind(("127.0.0.1", spec.port)).unwrap();
        let message = refusal(engine.start(&spec).await);
        assert!(message.contains(&format!("port {}", spec.port)) && message.contains("ss -ltnp"), "{message}");
        drop(listener);

        spec.identity = Some("0123".to_owned());
        let message = refusal(engine.start(&spec).await);
        assert!(message.contains("is that of another one") && message.contains("0123"), "{message}");
        fs::write(place.path(&spec, "data/identity.json"), "{}").unwrap();
        let message = refusal(engine.start(&spec).await);
        assert!(message.contains("not initialised anew"), "{message}");
        fs::remove_dir_all(place.path(&spec, "data")).unwrap();
        let message = refusal(engine.start(&spec).await);
        assert!(message.contains("is gone from"), "{message}");
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn missing_programs_are_named_with_their_remedy() {
    run(async {
        let place = Place::new();
        let mut config = place.config();
        config.bin_dir = Some("/nonexistent/sbin".into());
        let engine = RabbitmqEngine::new(config);
        let Availability::Missing { reason, remedy } = engine.availability().await else { panic!("it is missing") };
        assert!(reason.contains("/nonexistent/sbin") && remedy.contains("apt-get install rabbitmq-server"), "{reason}");
        let message = refusal(engine.start(&cluster()).await);
        assert!(message.contains("apt-get install rabbitmq-server"), "{message}");
    });
}

#[test]
fn an_instance_that_the_machine_cannot_hold_is_refused() {
    run(async {
        let shared = shared().await;
        for (name, value, expected) in
            [("max_queue_mib", (1 << 20).to_string(), "choose at most"), ("tls", "true".to_owned(), "authority")]
        {
            let parameters = [(name.to_owned(), value)].into_iter().collect();
            let instance = InstanceSpec { id: InstanceId::from_random(1), name: InstanceName::first(), parameters };
            let message = refusal(shared.engine.provision(&shared.cluster, &instance).await);
            assert!(message.contains(name) && message.contains(expected), "{message}");
        }
        let stopped = ClusterSpec { name: "rabbitmq-absent".parse().unwrap(), ..shared.cluster.clone() };
        assert!(shared.engine.figures(&stopped).await.is_err());
    });
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, EngineError>) -> String {
    match answer {
        Err(error @ EngineError::Permanent { .. }) => error.to_string(),
        other => panic!("it should be refused: {other:?}"),
    }
}
