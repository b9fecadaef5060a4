//! Instances and credentials on a cluster that serves.

use std::slice::from_ref;
use std::sync::Arc;

use mainstay_types::{Presence, Timestamp};
use secrecy::SecretString;

use super::{
    Fixture, Nature, credential, credential_presence, eventually, instance_presence, secrets, specs, statements,
};
use crate::{ClusterSpec, CredentialSpec, Engine};

pub(super) async fn run(fixture: &dyn Fixture) {
    let mut spec = fixture.cluster();
    let engine = fixture.engine().await;
    spec.identity = Some(engine.start(&spec).await.unwrap().identity);

    operations_can_be_repeated(&engine, fixture, &spec).await;
    generations_overlap(&engine, fixture, &spec).await;
    a_password_is_replaced(&engine, fixture, &spec).await;
    statements::are_carried_out(&engine, fixture, &spec).await;
    damage_is_seen_and_repaired(&engine, fixture, &spec).await;
    if fixture.refuses_expired() {
        credentials_expire(&engine, fixture, &spec).await;
    }
    many_at_once(&engine, fixture, &spec).await;
    secrets::stay_secret(&engine, fixture, &spec).await;

    engine.remove(&spec).await.unwrap();
    assert_eq!(fixture.remains(&spec), Vec::<String>::new(), "removal leaves nothing");
}

async fn operations_can_be_repeated(engine: &Arc<dyn Engine>, fixture: &dyn Fixture, spec: &ClusterSpec) {
    let (instance, bound) = specs(10);
    let password = password("repeated");
    let delivery = engine.delivery(spec, &instance, &bound, &password);
    assert!(engine.bind(spec, &instance, &bound, &password).await.is_err(), "there is no instance yet");
    for _ in 0..2 {
        engine.provision(spec, &instance).await.unwrap();
    }
    for _ in 0..2 {
        engine.bind(spec, &instance, &bound, &password).await.unwrap();
    }
    let mut session = fixture.connect(&delivery).await.unwrap();
    engine.provision(spec, &instance).await.unwrap();
    engine.bind(spec, &instance, &bound, &password).await.unwrap();
    assert!(session.is_open().await, "repeating leaves sessions alone");
    let wrong = engine.delivery(spec, &instance, &bound, &"wrong".into());
    assert!(fixture.connect(&wrong).await.is_none(), "a wrong password is refused");

    let observation = engine.observe(spec, from_ref(&instance), from_ref(&bound)).await.unwrap();
    let seen = &observation.credentials[&(bound.binding.clone(), bound.generation)];
    let sessions = u32::from(fixture.nature() == Nature::Processes);
    assert_eq!((&seen.presence, seen.sessions), (&Presence::Present, sessions));

    for _ in 0..2 {
        engine.unbind(spec, &bound).await.unwrap();
        assert!(!session.is_open().await, "unbinding ends sessions");
        assert!(fixture.connect(&delivery).await.is_none(), "an unbound credential is refused");
    }
    engine.bind(spec, &instance, &bound, &password).await.unwrap();
    for _ in 0..2 {
        engine.deprovision(spec, &instance).await.unwrap();
        assert!(fixture.connect(&delivery).await.is_none(), "an instance that is gone refuses");
    }
    engine.unbind(spec, &bound).await.unwrap();
}

async fn generations_overlap(engine: &Arc<dyn Engine>, fixture: &dyn Fixture, spec: &ClusterSpec) {
    let (instance, old) = specs(20);
    let new = CredentialSpec { generation: 2, login: 2, ..old.clone() };
    let (old_password, new_password) = (password("old"), password("new"));
    engine.provision(spec, &instance).await.unwrap();
    engine.bind(spec, &instance, &old, &old_password).await.unwrap();
    let mut session = fixture.connect(&engine.delivery(spec, &instance, &old, &old_password)).await.unwrap();
    engine.bind(spec, &instance, &new, &new_password).await.unwrap();
    let mut next_session = fixture.connect(&engine.delivery(spec, &instance, &new, &new_password)).await.unwrap();
    assert!(session.is_open().await, "rotation leaves the old generation's sessions alone");
    assert!(fixture.connect(&engine.delivery(spec, &instance, &old, &old_password)).await.is_some());

    engine.unbind(spec, &old).await.unwrap();
    assert!(!session.is_open().await && next_session.is_open().await, "only the old generation ends");
    assert!(fixture.connect(&engine.delivery(spec, &instance, &old, &old_password)).await.is_none());
    assert!(fixture.connect(&engine.delivery(spec, &instance, &new, &new_password)).await.is_some());
    engine.deprovision(spec, &instance).await.unwrap();
}

/// A generation under the name of the one before: only the password is another.
async fn a_password_is_replaced(engine: &Arc<dyn Engine>, fixture: &dyn Fixture, spec: &ClusterSpec) {
    let (instance, old) = specs(25);
    let new = CredentialSpec { generation: 2, ..old.clone() };
    let (old_password, new_password) = (password("replaced"), password("replacing"));
    engine.provision(spec, &instance).await.unwrap();
    engine.bind(spec, &instance, &old, &old_password).await.unwrap();
    let mut session = fixture.connect(&engine.delivery(spec, &instance, &old, &old_password)).await.unwrap();
    for _ in 0..2 {
        engine.bind(spec, &instance, &new, &new_password).await.unwrap();
    }
    let delivery = engine.delivery(spec, &instance, &new, &new_password);
    assert_eq!(new.username(), old.username());
    let outlives = fixture.sessions_outlive_passwords();
    assert_eq!(session.is_open().await, outlives, "a new password ends no session where a session is proved once");
    assert!(
        fixture.connect(&engine.delivery(spec, &instance, &old, &old_password)).await.is_none(),
        "the old one is refused"
    );
    assert!(fixture.connect(&delivery).await.is_some());
    let observation = engine.observe(spec, from_ref(&instance), from_ref(&new)).await.unwrap();
    assert_eq!(credential_presence(&observation, &new), &Presence::Present);
    engine.unbind(spec, &new).await.unwrap();
    assert!(fixture.connect(&delivery).await.is_none());
    engine.deprovision(spec, &instance).await.unwrap();
}

async fn damage_is_seen_and_repaired(engine: &Arc<dyn Engine>, fixture: &dyn Fixture, spec: &ClusterSpec) {
    let (instance, bound) = specs(30);
    let password = password("damaged");
    let (instances, credentials) = ([instance.clone()], [bound.clone()]);
    engine.provision(spec, &instance).await.unwrap();
    engine.bind(spec, &instance, &bound, &password).await.unwrap();

    fixture.drop_credential(spec, &bound).await;
    let observation = engine.observe(spec, &instances, &credentials).await.unwrap();
    assert_eq!(credential_presence(&observation, &bound), &Presence::Missing);
    assert_eq!(instance_presence(&observation, &instance), &Presence::Present);
    engine.bind(spec, &instance, &bound, &password).await.unwrap();
    assert!(fixture.connect(&engine.delivery(spec, &instance, &bound, &password)).await.is_some());

    let later = CredentialSpec { valid_until: bound.valid_until.plus_seconds(60), ..bound.clone() };
    let observation = engine.observe(spec, &instances, from_ref(&later)).await.unwrap();
    assert!(matches!(credential_presence(&observation, &later), Presence::Drifted { .. }), "{observation:?}");
    engine.bind(spec, &instance, &later, &password).await.unwrap();
    let observation = engine.observe(spec, &instances, from_ref(&later)).await.unwrap();
    assert_eq!(credential_presence(&observation, &later), &Presence::Present, "binding renews");

    fixture.drop_instance(spec, &instance).await;
    let observation = engine.observe(spec, &instances, &[]).await.unwrap();
    assert_eq!(instance_presence(&observation, &instance), &Presence::Missing);
    engine.unbind(spec, &later).await.unwrap();
    engine.deprovision(spec, &instance).await.unwrap();
}

async fn credentials_expire(engine: &Arc<dyn Engine>, fixture: &dyn Fixture, spec: &ClusterSpec) {
    let (instance, bound) = specs(40);
    // Two whole seconds from now at least one is left to see it work.
    let soon = CredentialSpec { valid_until: Timestamp::now().plus_seconds(2).whole_seconds(), ..bound };
    let password = password("expiring");
    engine.provision(spec, &instance).await.unwrap();
    engine.bind(spec, &instance, &soon, &password).await.unwrap();
    let delivery = engine.delivery(spec, &instance, &soon, &password);
    assert!(fixture.connect(&delivery).await.is_some());
    eventually("an expired credential is refused", || async { fixture.connect(&delivery).await.is_none() }).await;
    assert!(Timestamp::now() >= soon.valid_until, "and not before its time");
    engine.deprovision(spec, &instance).await.unwrap();
}

/// Different instances of one cluster are worked on at the same time. Clients come once that is over: NATS refuses whoever is just
/// saying who it is while the server reads its accounts again, whichever of them changed, and such a client tries again.
async fn many_at_once(engine: &Arc<dyn Engine>, fixture: &dyn Fixture, spec: &ClusterSpec) {
    let tasks = (50..58).map(|number| {
        let (engine, spec) = (engine.clone(), spec.clone());
        tokio::spawn(async move {
            let (instance, first) = specs(number);
            let second = credential(&instance, number + 100, 1);
            let password = password("parallel");
            engine.provision(&spec, &instance).await.unwrap();
            engine.bind(&spec, &instance, &first, &password).await.unwrap();
            engine.bind(&spec, &instance, &second, &password).await.unwrap();
            engine.unbind(&spec, &first).await.unwrap();
            (instance, first, second, password)
        })
    });
    let mut made = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        made.push(task.await.unwrap());
    }
    for (instance, first, second, password) in made {
        assert!(fixture.connect(&engine.delivery(spec, &instance, &second, &password)).await.is_some());
        assert!(fixture.connect(&engine.delivery(spec, &instance, &first, &password)).await.is_none());
        engine.deprovision(spec, &instance).await.unwrap();
    }
}

fn password(word: &str) -> SecretString {
    format!("conformance-{word}-{}", Timestamp::now().as_micros()).into()
}
