//! TLS on the port that plain clients use too.

use std::net::IpAddr;
use std::slice::from_ref;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay_engine::conformance::Delivery;
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

/// A client as an application has it: what the binding says, and the authority's certificate where it is given one.
async fn encrypted(delivery: &Delivery, certificate: Option<&str>) -> Result<async_nats::Client, String> {
    // Which one the client takes is not clear to it where others in the build bring another.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let text = |key: &str| delivery[key].expose_secret().to_owned();
    let folder = tempfile::tempdir().unwrap();
    // This client takes no user from a URI; others do.
    let mut options = async_nats::ConnectOptions::with_user_and_password(text("username"), text("password"));
    if let Some(certificate) = certificate {
        let path = folder.path().join("ca.crt");
        std::fs::write(&path, certificate).unwrap();
        options = options.add_root_certificates(path);
    }
    let connected = options.connect(text("uri")).await;
    connected.map_err(|error| {
        std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
            .map(ToString::to_string)
            .collect()
    })
}

fn assert_distrusted(connected: Result<async_nats::Client, String>) {
    let error = connected.map(drop).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
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
        assert!(delivery["uri"].expose_secret().starts_with("tls://"));
        let certificate = delivery["certificates"].expose_secret();
        let client = encrypted(&delivery, Some(certificate)).await.unwrap();
        assert!(answers(&client).await);
        // Who does not know the authority does not trust the server, nor who knows another one.
        assert_distrusted(encrypted(&delivery, None).await);
        assert_distrusted(encrypted(&delivery, Some(&make("stranger").0)).await);
        let plain_delivery = engine.delivery(&cluster, &plain.instance, &plain.credential, &password);
        assert!(!plain_delivery.contains_key("certificates"));

        // The authority is another: the certificate is renewed, and nobody is hung up on.
        authority.replace();
        let observation = engine.observe(&cluster, from_ref(&tenant.instance), &[]).await.unwrap();
        assert_eq!(observation.changed_settings, ["its certificate is of another authority"]);
        assert_eq!(observation.instances[&tenant.instance.id], Presence::Present);
        engine.reconfigure(&cluster).await.unwrap();
        assert!(answers(&client).await && session.is_open().await);
        let renewed = engine.delivery(&cluster, &tenant.instance, &tenant.credential, &password);
        let known = Some(renewed["certificates"].expose_secret());
        assert!(answers(&encrypted(&renewed, known).await.unwrap()).await);
        assert_distrusted(encrypted(&delivery, Some(certificate)).await);

        // It is there after a start too.
        engine.stop(&cluster).await.unwrap();
        engine.start(&cluster).await.unwrap();
        assert!(answers(&encrypted(&renewed, known).await.unwrap()).await);
        assert!(plain.wire().await.is_open().await);
    });
}
