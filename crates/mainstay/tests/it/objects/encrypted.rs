//! The S3 API over TLS, with a stock client that verifies it, while the daemon of the data plane dies in the middle of an
//! upload.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay_authority::Authority;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Bound;
use super::daemon::{Daemon, remote};
use super::stock::{python, succeed};
use crate::harness::{Layer, Options, until};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn boto3_verifies_the_layer_and_rides_through_the_death_of_the_daemon() {
    let Some(mut python) = python() else { return };
    let place = tempfile::tempdir().unwrap();
    let files = Files::issue(place.path());
    let mut environment = remote();
    environment.push(("Listen__TlsCertificate", files.certificate.to_str().unwrap().to_owned()));
    environment.push(("Listen__TlsKey", files.key.to_str().unwrap().to_owned()));
    let layer = Layer::new(Options { environment, ..Options::default() });
    let daemon = Daemon::start(&layer);
    let _running = Running(layer.command().arg("up").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    let call = |arguments: &[&str]| {
        let mut command = layer.command();
        command.env("MAINSTAY_ADDR", layer.address().replace("http://", "https://")).args(arguments);
        command.env("MAINSTAY_CACERT", &files.authority);
        command
    };
    until("the layer answers", PATIENCE, || call(&["status"]).output().unwrap().status.success().then_some(()));
    succeed(&mut call(&["create", "s3/v1", "encrypted"]));
    let bound = succeed(&mut call(&["bind", "encrypted", "--consumer", "app", "-o", "json"]));
    let bound = Bound::of(&serde_json::from_slice::<Value>(&bound).unwrap());
    assert!(bound.endpoint.starts_with("https://"), "{}", bound.endpoint);

    let pipe = place.path().join("pipe");
    succeed(Command::new("mkfifo").arg(&pipe));
    let world = json!({
        "endpoint": bound.endpoint, "region": bound.region, "bucket": bound.bucket, "access_key": bound.access_key,
        "secret_key": bound.secret_key, "ca": files.authority, "pipe": pipe,
    });
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/objects/encrypted.py"));
    let mut client = Running(python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    client.0.stdin.take().unwrap().write_all(world.to_string().as_bytes()).unwrap();
    let mut lines = BufReader::new(client.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "half");
    daemon.kill();
    std::fs::write(&pipe, "go on\n").unwrap();
    let _daemon = Daemon::start(&layer);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    println!("boto3: {rest:?}");
    assert!(client.0.wait().unwrap().success());
    assert_eq!(rest.last().map(String::as_str), Some("done"));
    assert_ne!(rest[0], "attempts: 1", "the death of the daemon was noticed");
}

/// What is needed for TLS, as files.
struct Files {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn issue(place: &Path) -> Self {
        let authority = Authority::generate().unwrap();
        let issued = authority.issue(&"layer".parse().unwrap(), IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(place.join(name), text).unwrap();
            place.join(name)
        };
        Self {
            authority: write("authority.pem", authority.certificate()),
            certificate: write("certificate.pem", &issued.certificate),
            key: write("key.pem", issued.key.expose_secret()),
        }
    }
}

/// A process that ends when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
