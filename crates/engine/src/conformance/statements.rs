//! Credentials that are allowed what their statements say.

use std::slice::from_ref;
use std::sync::Arc;

use mainstay_types::Presence;
use secrecy::SecretString;

use super::{Fixture, credential, credential_presence, specs};
use crate::{ClusterSpec, CredentialSpec, Engine, EngineError};

pub(super) async fn are_carried_out(engine: &Arc<dyn Engine>, fixture: &dyn Fixture, spec: &ClusterSpec) {
    let (instance, plain) = specs(70);
    let password = SecretString::from("conformance-statements");
    let Some((statements, refused)) = fixture.statements() else {
        let bound = CredentialSpec { statements: Some(vec!["anything".to_owned()]), ..plain };
        engine.provision(spec, &instance).await.unwrap();
        match engine.bind(spec, &instance, &bound, &password).await {
            Err(EngineError::Permanent { .. }) => {}
            answer => panic!("statements are refused where none are carried out: {answer:?}"),
        }
        assert!(fixture.connect(&engine.delivery(spec, &instance, &bound, &password)).await.is_none());
        return engine.deprovision(spec, &instance).await.unwrap();
    };
    let bound = CredentialSpec { statements: Some(statements.clone()), ..plain };
    let presence = async |bound: &CredentialSpec| {
        let observation = engine.observe(spec, from_ref(&instance), from_ref(bound)).await.unwrap();
        credential_presence(&observation, bound).clone()
    };
    engine.provision(spec, &instance).await.unwrap();
    for _ in 0..2 {
        engine.bind(spec, &instance, &bound, &password).await.unwrap();
        assert_eq!(presence(&bound).await, Presence::Present);
    }
    let delivery = engine.delivery(spec, &instance, &bound, &password);
    let mut session = fixture.connect(&delivery).await.unwrap();

    // What was lost is made again.
    fixture.drop_credential(spec, &bound).await;
    assert_eq!(presence(&bound).await, Presence::Missing);
    engine.bind(spec, &instance, &bound, &password).await.unwrap();
    assert_eq!(presence(&bound).await, Presence::Present);
    drop(session);
    session = fixture.connect(&delivery).await.unwrap();

    // A renewal repeats no statement, and so does not mind one that would fail by now.
    let renewed = CredentialSpec {
        valid_until: bound.valid_until.plus_seconds(60),
        statements: Some(vec![refused.clone()]),
        ..bound.clone()
    };
    engine.bind(spec, &instance, &renewed, &password).await.unwrap();
    assert_eq!(presence(&renewed).await, Presence::Present);
    assert!(session.is_open().await, "a renewal leaves sessions alone");

    for _ in 0..2 {
        engine.unbind(spec, &renewed).await.unwrap();
        assert!(!session.is_open().await && fixture.connect(&delivery).await.is_none(), "unbinding ends it");
    }

    let failing = CredentialSpec {
        statements: Some(statements.into_iter().chain([refused]).collect()),
        ..credential(&instance, 71, 1)
    };
    match engine.bind(spec, &instance, &failing, &password).await {
        Err(EngineError::Permanent { .. }) => {}
        answer => panic!("a statement that fails is a permanent error: {answer:?}"),
    }
    assert_eq!(presence(&failing).await, Presence::Missing, "nothing is left behind");
    engine.unbind(spec, &failing).await.unwrap();
    engine.deprovision(spec, &instance).await.unwrap();
}
