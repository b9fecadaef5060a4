//! Dedicated clusters that speak TLS and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay_engine::{CertificateAuthority, ClusterSpec, Engine, EngineError, IssuedCertificate};
use mainstay_engine_redis::{Flavour, Progress, RedisEngine};
use mainstay_types::{ClusterName, Plan, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use secrecy::{ExposeSecret, SecretString};

use crate::place::{PASSWORD, Place, Session, Tenant, cluster, eventually, run};

const TLS: (&str, &str) = ("tls", "true");

/// An authority whose certificates last an hour, and that can become another one.
#[derive(Debug)]
struct Authority(Mutex<(String, Issuer<'static, KeyPair>)>);

/// A client that verifies whom it talks to: its authority and its address.
struct Verifying {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

fn make(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap().pem();
    (certificate, Issuer::new(parameters, key))
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

impl Verifying {
    /// None where the server is not the one that the certificate proves.
    fn connect(port: u16, tenant: &Tenant, certificate: &Path) -> Option<Self> {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-verify_return_error", "-verify_ip", "127.0.0.1"]);
        command.args(["-connect", &format!("127.0.0.1:{port}"), "-CAfile"]).arg(certificate);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut client = Self { child, input, output };
        let login = format!("AUTH {} {PASSWORD}", tenant.credential.username());
        (client.say(&login)? == "+OK").then_some(client)
    }

    fn say(&mut self, words: &str) -> Option<String> {
        self.input.write_all(format!("{words}\r\n").as_bytes()).ok()?;
        let mut line = String::new();
        self.output.read_line(&mut line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    }
}

impl Drop for Verifying {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn engine(place: &Place, flavour: Flavour, authority: &Arc<Authority>) -> RedisEngine {
    let mut config = place.config(flavour);
    config.authority = Some(authority.clone());
    RedisEngine::new(config)
}

/// A cluster that serves; none where the server was built without TLS, which has to be said.
async fn encrypted(engine: &RedisEngine, flavour: Flavour) -> Option<ClusterSpec> {
    let mut spec = cluster(flavour, Plan::Dedicated, &[TLS]);
    match engine.start(&spec).await {
        Ok(started) => {
            spec.identity = Some(started.identity);
            Some(spec)
        }
        Err(EngineError::Permanent { reason, remedy }) if reason.contains("without TLS") => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true") || flavour == Flavour::Valkey, "{reason}");
            eprintln!("SKIPPED: {reason}; {remedy}");
            engine.remove(&spec).await.unwrap();
            None
        }
        Err(error) => panic!("{error}: {error:?}"),
    }
}

#[test]
fn a_client_verifies_the_server_and_its_certificate_is_renewed() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        run(flavour, |place| async move {
            let authority = Arc::new(Authority(Mutex::new(make("first"))));
            let engine = engine(&place, flavour, &authority);
            let Some(spec) = encrypted(&engine, flavour).await else { return };
            let tenant = Tenant::new(&engine, &spec).await;
            let password = SecretString::from(PASSWORD);
            let delivery = engine.delivery(&spec, &tenant.instance, &tenant.credential, &password);
            assert!(tenant.uri.starts_with("rediss://"), "{}", tenant.uri);
            let (first, second) = (place.clusters.join("first.crt"), place.clusters.join("second.crt"));
            std::fs::write(&first, delivery["certificates"].expose_secret()).unwrap();
            let mut session = Verifying::connect(spec.port, &tenant, &first).unwrap();
            assert_eq!(session.say("PING").unwrap(), "+PONG");
            let plain = tenant.uri.replace("rediss://", "redis://");
            assert!(Session::connect(plain.as_str()).await.is_err(), "nobody comes in without TLS");
            assert_eq!(engine.observe(&spec, &[], &[]).await.unwrap().changed_settings, Vec::<String>::new());

            *authority.0.lock().unwrap() = make("second");
            std::fs::write(&second, authority.certificate().unwrap()).unwrap();
            let changes = engine.observe(&spec, &[], &[]).await.unwrap().changed_settings;
            assert_eq!(changes, ["its certificate is of another authority"]);
            engine.reconfigure(&spec).await.unwrap();
            assert_eq!(engine.observe(&spec, &[], &[]).await.unwrap().changed_settings, Vec::<String>::new());
            assert_eq!(session.say("PING").unwrap(), "+PONG", "a new certificate ends no session");
            assert!(
                Verifying::connect(spec.port, &tenant, &first).is_none(),
                "the old authority proves nothing any more"
            );
            assert!(Verifying::connect(spec.port, &tenant, &second).is_some());

            engine.stop(&spec).await.unwrap();
            engine.start(&spec).await.unwrap();
            assert!(Verifying::connect(spec.port, &tenant, &second).is_some());
            engine.remove(&spec).await.unwrap();
        });
    }
}

#[test]
fn data_moves_between_clusters_with_tls_and_never_out_of_it() {
    run(Flavour::Redis, |place| async move {
        let authority = Arc::new(Authority(Mutex::new(make("first"))));
        let engine = engine(&place, Flavour::Redis, &authority);
        let Some(from) = encrypted(&engine, Flavour::Redis).await else { return };
        let mut plain = cluster(Flavour::Redis, Plan::Dedicated, &[]);
        plain.identity = Some(engine.start(&plain).await.unwrap().identity);
        let error = engine.replicate_from(&plain, &engine, &from).await.unwrap_err();
        assert!(error.to_string().contains("tls=true"), "{error}");

        let to = encrypted(&engine, Flavour::Redis).await.unwrap();
        place.admin(&from).await.done("SET a b").await;
        // From plain text into TLS, and then from TLS to TLS.
        for source in [&plain, &from] {
            let target =
                if source.name == plain.name { encrypted(&engine, Flavour::Redis).await.unwrap() } else { to.clone() };
            engine.replicate_from(&target, &engine, source).await.unwrap();
            eventually("nothing is missing", || async {
                let progress = engine.replication_progress(&target, &engine, source).await.unwrap();
                progress == Progress::Behind { bytes: 0 }
            })
            .await;
            engine.close_to_clients(source).await.unwrap();
            engine.promote(&target, &engine, source).await.unwrap();
            engine.open_to_clients(&target).await.unwrap();
            assert_eq!(engine.observe(&target, &[], &[]).await.unwrap().changed_settings, Vec::<String>::new());
            engine.remove(source).await.unwrap();
        }
        assert_eq!(place.admin(&to).await.say::<String>("GET a").await.unwrap(), "b");
        assert!(engine.stop_all().await.is_empty());
    });
}
