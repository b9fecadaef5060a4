//! TLS on the port that plain clients use too.

use std::net::IpAddr;
use std::slice::from_ref;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay_engine::{CertificateAuthority, Engine, EngineError, IssuedCertificate};
use mainstay_engine_nats::{NatsConfig, NatsEngine};
use mainstay_types::{ClusterName, Presence, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use secrecy::{ExposeSecret, SecretString};

use crate::place::{Place, Tenant, cluster, run};

/// An authority whose certificates last an hour.
#[derive(Debug)]
struct Authority {
    issuer: Mutex<(String, Issuer<'static, KeyPair>)>,
}

fn make(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap().pem();
    (certificate, Issuer::new(parameters, key))
}

impl Authority {
    fn new() -> Arc<Self> {
        Arc::new(Self { issuer: Mutex::new(make("first")) })
    }

    fn replace(&self) {
        *self.issuer.lock().unwrap() = make("second");
    }
}

#[async_trait]
impl CertificateAuthority for Authority {
    fn certificate(&self) -> Option<String> {
        Some(self.issuer.lock().unwrap().0.clone())
    }

    async fn issue(&self, _: &ClusterName, host: IpAddr) -> Result<IssuedCertificate, EngineError> {
        let key = KeyPair::generate().unwrap();
        let issuer = self.issuer.lock().unwrap();
        let certificate = CertificateParams::new(vec![host.to_string()]).unwrap().signed_by(&key, &issuer.1).unwrap();
        Ok(IssuedCertificate {
            certificate: certificate.pem(),
            key: SecretString::from(key.serialize_pem()),
            authority: issuer.0.clone(),
            not_before: Timestamp::now(),
            not_after: Timestamp::now().plus_seconds(3_600),
        })
    }
}

async fn encrypted(uri: &str, certificate: &str) -> Result<async_nats::Client, async_nats::ConnectError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.crt");
    std::fs::write(&path, certificate).unwrap();
    async_nats::ConnectOptions::new().add_root_certificates(path).connect(uri).await
}

async fn answers(client: &async_nats::Client) -> bool {
    let account = client.request("$JS.API.INFO", "".into()).await;
    account.is_ok_and(|answer| answer.payload.starts_with(b"{\"type\""))
}

#[test]
fn one_port_serves_encrypted_and_plain_clients() {
    let Some(place) = Place::new() else { return };
    run(async {
        // A cluster that was there before there was an authority.
        let cluster = cluster();
        let plain_engine = place.engine();
        plain_engine.start(&cluster).await.unwrap();
        let plain = Tenant::new(&plain_engine, &cluster).await;
        let mut session = plain.wire().await;
        drop(plain_engine);

        let authority = Authority::new();
        let engine = NatsEngine::new(NatsConfig { authority: Some(authority.clone()), ..place.config() });
        let observation = engine.observe(&cluster, &[], &[]).await.unwrap();
        assert_eq!(observation.changed_settings, ["it has no certificate"]);
        engine.reconfigure(&cluster).await.unwrap();
        let observation = engine.observe(&cluster, &[], &[]).await.unwrap();
        assert!(observation.changed_settings.is_empty(), "{observation:?}");
        assert!(session.is_open().await, "plain sessions go on");
        assert!(plain.wire().await.is_open().await, "and plain clients come in");

        let tenant = Tenant::with(&engine, &cluster, &[("tls", "true")]).await;
        let password = crate::place::PASSWORD.into();
        let delivery = engine.delivery(&cluster, &tenant.instance, &tenant.credential, &password);
        let uri = delivery["uri"].expose_secret();
        assert!(uri.starts_with("tls://"), "{}", delivery["type"].expose_secret());
        let certificate = delivery["certificates"].expose_secret();
        let client = encrypted(uri, certificate).await.unwrap();
        assert!(answers(&client).await);
        assert!(async_nats::connect(uri).await.is_err(), "who does not know the authority does not trust the server");
        let stranger = make("stranger").0;
        assert!(encrypted(uri, &stranger).await.is_err(), "nor who knows another one");
        let plain_delivery = engine.delivery(&cluster, &plain.instance, &plain.credential, &password);
        assert!(!plain_delivery.contains_key("certificates"));

        // The authority is another: the certificate is renewed, and nobody is hung up on.
        authority.replace();
        let observation = engine.observe(&cluster, from_ref(&tenant.instance), &[]).await.unwrap();
        assert_eq!(observation.changed_settings, ["its certificate is of another authority"]);
        assert_eq!(observation.instances[&tenant.instance.id], Presence::Present);
        engine.reconfigure(&cluster).await.unwrap();
        assert!(answers(&client).await && session.is_open().await);
        let delivery = engine.delivery(&cluster, &tenant.instance, &tenant.credential, &password);
        let renewed = encrypted(uri, delivery["certificates"].expose_secret()).await.unwrap();
        assert!(answers(&renewed).await);
        assert!(encrypted(uri, certificate).await.is_err(), "the old authority's is no longer shown");

        // It is there after a start too.
        engine.stop(&cluster).await.unwrap();
        engine.start(&cluster).await.unwrap();
        assert!(answers(&encrypted(uri, delivery["certificates"].expose_secret()).await.unwrap()).await);
        assert!(plain.wire().await.is_open().await);
    });
}
