//! Passwords are nowhere but where they belong.

use std::fs;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{Fixture, specs};
use crate::{ClusterSpec, Engine};

/// Binds, fails to bind, and then looks for the password in the log and in every process's arguments and environment.
pub(super) async fn stay_secret(engine: &Arc<dyn Engine>, fixture: &dyn Fixture, spec: &ClusterSpec) {
    let (instance, bound) = specs(60);
    let password = SecretString::from("conformance-never-seen-0123456789");
    let mut failure = String::new();
    if let Err(error) = engine.bind(spec, &instance, &bound, &password).await {
        failure = format!("{error} {error:?}");
    }
    engine.provision(spec, &instance).await.unwrap();
    engine.bind(spec, &instance, &bound, &password).await.unwrap();
    engine.bind(spec, &instance, &bound, &password).await.unwrap();
    let _session = fixture.connect(&engine.delivery(spec, &instance, &bound, &password)).await.unwrap();
    assert!(!format!("{:?}", engine.delivery(spec, &instance, &bound, &password)).contains(password.expose_secret()));
    engine.unbind(spec, &bound).await.unwrap();

    assert!(!failure.contains(password.expose_secret()), "an error holds a password");
    let log = fixture.log(spec);
    assert!(!log.contains(password.expose_secret()), "the engine's log holds a password");
    assert!(!log.contains("SCRAM-SHA-256$"), "the engine's log holds a verifier");
    for file in ["cmdline", "environ"] {
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let bytes = fs::read(process.path().join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(password.expose_secret()), "{file} of {:?} holds a password", process.path());
        }
    }
    engine.deprovision(spec, &instance).await.unwrap();
}
