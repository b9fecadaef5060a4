//! A cluster's life: started, adopted, killed, stopped, damaged, removed.

use mainstay_types::Health;

use super::{Fixture, Nature, specs};
use crate::{EngineError, StartKind};

pub(super) async fn run(fixture: &dyn Fixture) {
    let mut spec = fixture.cluster();
    let engine = fixture.engine().await;
    let (instance, credential) = specs(1);
    let password = "lifecycle-password".into();

    let observation = engine.observe(&spec, &[], &[]).await.unwrap();
    assert!(matches!(observation.health, Health::Down { .. }), "a new cluster is down: {observation:?}");
    engine.ended(&spec).await;
    engine.stop(&spec).await.unwrap();

    let first = engine.start(&spec).await.unwrap();
    assert_eq!(first.how, StartKind::Initialised);
    assert!(!first.identity.is_empty() && !first.version.is_empty());
    let again = engine.start(&spec).await.unwrap();
    assert_eq!(again.how, StartKind::Adopted, "starting what runs changes nothing");
    assert_eq!(again.identity, first.identity);
    spec.identity = Some(first.identity.clone());

    engine.provision(&spec, &instance).await.unwrap();
    engine.bind(&spec, &instance, &credential, &password).await.unwrap();
    let delivery = engine.delivery(&spec, &instance, &credential, &password);
    let mut session = fixture.connect(&delivery).await.unwrap();
    assert!(!engine.figures(&spec).await.unwrap().is_empty());

    // The control plane ends, and the next one finds the cluster: without a client noticing where it has a process.
    drop(engine);
    let engine = fixture.engine().await;
    if fixture.nature() == Nature::Processes {
        let observation = engine.observe(&spec, &[], &[]).await.unwrap();
        assert_eq!(observation.health, Health::Serving, "a running cluster is found again");
        assert_eq!(observation.changed_settings, Vec::<String>::new());
        assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Adopted);
    } else {
        assert!(fixture.connect(&delivery).await.is_none(), "it ended with the control plane");
        let started = engine.start(&spec).await.unwrap();
        assert_eq!((started.how, &started.identity), (StartKind::Started, &first.identity));
    }
    assert!(session.is_open().await, "the next control plane leaves sessions alone");

    // A settings change is noticed and repaired.
    if fixture.change_setting(&spec).await {
        let observation = engine.observe(&spec, &[], &[]).await.unwrap();
        assert!(!observation.changed_settings.is_empty(), "a changed setting is noticed");
    }
    engine.reconfigure(&spec).await.unwrap();
    let observation = engine.observe(&spec, &[], &[]).await.unwrap();
    assert_eq!(observation.changed_settings, Vec::<String>::new(), "a changed setting is repaired");
    assert!(session.is_open().await, "repairing settings leaves sessions alone");

    // It is killed: the end is reported, and the next start brings everything back.
    let (cause, ()) = tokio::join!(engine.ended(&spec), fixture.kill(&spec));
    assert!(!cause.is_empty());
    let observation = engine.observe(&spec, &[], &[]).await.unwrap();
    assert!(matches!(observation.health, Health::Down { .. }), "{observation:?}");
    assert!(engine.provision(&spec, &instance).await.is_err(), "nothing can be provisioned on a dead cluster");
    fixture.revive(&spec).await;
    let restarted = engine.start(&spec).await.unwrap();
    assert_eq!((restarted.how, &restarted.identity), (StartKind::Started, &first.identity));
    assert!(fixture.connect(&delivery).await.is_some(), "credentials survive a kill");

    engine.stop(&spec).await.unwrap();
    engine.stop(&spec).await.unwrap();
    assert!(fixture.connect(&delivery).await.is_none());
    assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);
    assert!(fixture.connect(&delivery).await.is_some(), "credentials survive a stop");

    // One that knows nothing of the cluster stops it too; one that ended with it has nothing to stop.
    drop(engine);
    let engine = fixture.engine().await;
    assert!(engine.stop_all().await.is_empty());
    assert!(fixture.connect(&delivery).await.is_none(), "everything is stopped");
    assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);

    // Data that is gone is not made anew as if nothing had happened.
    engine.stop(&spec).await.unwrap();
    drop(engine);
    fixture.lose_data(&spec).await;
    let engine = fixture.engine().await;
    let error = engine.start(&spec).await.unwrap_err();
    assert!(matches!(error, EngineError::Permanent { .. }), "{error}");
    assert!(error.to_string().contains("not initialised anew"), "{error}");

    engine.remove(&spec).await.unwrap();
    engine.remove(&spec).await.unwrap();
    assert_eq!(fixture.remains(&spec), Vec::<String>::new(), "removal leaves nothing");
}
