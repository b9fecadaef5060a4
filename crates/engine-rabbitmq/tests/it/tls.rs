//! Bindings that are told the port with TLS, and a node whose certificate is renewed under its clients.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties};
use mainstay_engine::{CertificateAuthority, ClusterSpec, Engine, EngineError, IssuedCertificate, StartKind};
use mainstay_engine_rabbitmq::{RabbitmqConfig, RabbitmqEngine};
use mainstay_types::{ClusterName, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use secrecy::{ExposeSecret, SecretString};

use crate::place::{PASSWORD, Place, Tenant, cluster, connect, eventually, run};

const TLS: (&str, &str) = ("tls", "true");

/// An authority whose certificates last an hour, and that can become another one.
#[derive(Debug)]
struct Authority(Mutex<(String, Issuer<'static, KeyPair>)>);

impl Authority {
    fn named(name: &str) -> (String, Issuer<'static, KeyPair>) {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().pem();
        (certificate, Issuer::new(parameters, key))
    }
}

#[async_trait]
impl CertificateAuthority for Authority {
    fn certificate(&self) -> Option<String> {
        Some(self.0.lock().unwrap().0.clone())
    }

    async fn issue(&self, _: &ClusterName, host: IpAddr) -> Result<IssuedCertificate, EngineError> {
        let key = KeyPair::generate().unwrap();
        let issuer = self.0.lock().unwrap();
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

#[test]
fn a_client_verifies_the_node_that_it_reaches() {
    run(async {
        let place = Place::new();
        let spec = cluster();
        // Begun without an authority, and adopted by a control plane that has one.
        let engine = place.engine();
        engine.start(&spec).await.unwrap();
        drop(engine);
        let authority = Arc::new(Authority(Mutex::new(Authority::named("first"))));
        let engine = RabbitmqEngine::new(RabbitmqConfig { authority: Some(authority.clone()), ..place.config() });
        assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Adopted);
        let plain = Tenant::new(&engine, &spec, &[]).await;
        let session = plain.connect().await;
        let refused = engine.provision(&spec, &with_tls(&plain)).await.unwrap_err();
        assert!(refused.to_string().contains("stop the cluster and start it again"), "{refused}");
        assert!(!changes(&engine, &spec).await.is_empty());
        engine.reconfigure(&spec).await.unwrap();
        assert_eq!(changes(&engine, &spec).await, Vec::<String>::new());
        assert!(session.create_channel().await.is_ok(), "its clients go on");
        drop(session);
        engine.stop(&spec).await.unwrap();
        engine.start(&spec).await.unwrap();

        let tenant = Tenant::new(&engine, &spec, &[TLS]).await;
        let given = engine.delivery(&spec, &tenant.instance, &tenant.credential, &PASSWORD.into());
        let certificates = given["certificates"].expose_secret().to_owned();
        assert!(tenant.uri.starts_with("amqps://") && given["port"].expose_secret() == place.tls_port.to_string());
        let session = verified(&tenant.uri, &certificates).await.unwrap();
        let stranger = Authority::named("stranger").0;
        for wrong in [verified(&tenant.uri, &stranger).await, connect(&tenant.uri).await] {
            assert!(wrong.is_err(), "a certificate that proves nothing is not accepted");
        }
        plain.connect().await;

        // Another authority: the next look tells, and the node is given a new certificate under its clients.
        *authority.0.lock().unwrap() = Authority::named("second");
        assert_eq!(changes(&engine, &spec).await, ["its certificate is of another authority"]);
        engine.reconfigure(&spec).await.unwrap();
        assert_eq!(changes(&engine, &spec).await, Vec::<String>::new());
        let renewed = authority.certificate().unwrap();
        eventually("the new certificate is in force", || async { verified(&tenant.uri, &renewed).await.is_ok() }).await;
        assert!(session.create_channel().await.is_ok(), "its clients go on");
        engine.remove(&spec).await.unwrap();
    });
}

fn with_tls(tenant: &Tenant) -> mainstay_engine::InstanceSpec {
    let parameters = [(TLS.0.to_owned(), TLS.1.to_owned())].into_iter().collect();
    mainstay_engine::InstanceSpec { parameters, ..tenant.instance.clone() }
}

async fn changes(engine: &RabbitmqEngine, spec: &ClusterSpec) -> Vec<String> {
    engine.observe(spec, &[], &[]).await.unwrap().changed_settings
}

async fn verified(uri: &str, authority: &str) -> Result<Connection, lapin::Error> {
    let config = OwnedTLSConfig { identity: None, cert_chain: Some(authority.to_owned()) };
    let runtime = lapin::runtime::default_runtime().unwrap();
    Connection::connect_with_config(uri, ConnectionProperties::default(), config, runtime).await
}
