//! Certificates of clusters: who issues them, and where a cluster keeps its own.
//!
//! ```text
//! clusters/NAME/ certificate.json  ours: until when the certificate is good, and of which authority it is
//!                tls/server.crt    the engine's, 0600: the certificate, its authority's behind it
//!                tls/server.key    the engine's, 0600
//!                tls/ca.crt        the engine's, 0600: the authority's certificate
//! ```

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use mainstay_types::{ClusterName, Digest, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::EngineError;
use crate::supervise::{ClusterDirectory, EngineUser, write_file, write_own_file};

/// The record, and the version of its form.
const NAME: &str = "certificate.json";
const FORMAT: u32 = 1;

/// Issues certificates that prove to clients which cluster they reached.
#[async_trait]
pub trait CertificateAuthority: fmt::Debug + Send + Sync {
    /// The certificate, PEM, that clients verify with; none while it is not known.
    fn certificate(&self) -> Option<String>;

    /// A certificate for a cluster that its clients reach at this address.
    async fn issue(&self, cluster: &ClusterName, host: IpAddr) -> Result<IssuedCertificate, EngineError>;
}

/// A certificate with its key.
#[derive(Debug)]
pub struct IssuedCertificate {
    /// PEM.
    pub certificate: String,
    /// PKCS #8, PEM.
    pub key: SecretString,
    /// The certificate of the authority, PEM.
    pub authority: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// The files of a cluster's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    format: u32,
    /// Of the authority's certificate.
    authority: String,
    /// From when on a new one is asked for: two thirds of its life.
    renew_at: i64,
    not_after: i64,
    host: IpAddr,
}

impl CertificateFiles {
    /// Where a cluster's are.
    pub fn of(directory: &ClusterDirectory) -> Self {
        let tls = directory.root().join("tls");
        Self { certificate: tls.join("server.crt"), key: tls.join("server.key"), authority: tls.join("ca.crt") }
    }

    /// Sees to it that the cluster has a certificate with a good part of its life ahead, and answers whether that is a
    /// new one, which the engine has to be told of. The cluster has to be locked.
    ///
    /// An authority that issues nothing now is no error while the certificate that is there is good.
    pub async fn renew(
        directory: &ClusterDirectory,
        user: &EngineUser,
        cluster: &ClusterName,
        host: IpAddr,
        authority: &dyn CertificateAuthority,
    ) -> Result<bool, EngineError> {
        let (record, now) = (Record::read(directory), Timestamp::now().as_micros());
        let due = Self::renewal_reason(directory, host, authority).is_some();
        if !due {
            return Ok(false);
        }
        let issued = match authority.issue(cluster, host).await {
            Ok(issued) => issued,
            Err(error) if record.is_some_and(|record| record.host == host && now < record.not_after) => {
                tracing::warn!(%cluster, %error, "the cluster's certificate could not be renewed; it keeps the one it has");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let tls = directory.make_empty("tls.new", user)?;
        let chain = format!("{}{}", issued.certificate, issued.authority);
        write_file(&tls, "server.crt", &chain, user)?;
        write_file(&tls, "server.key", issued.key.expose_secret(), user)?;
        write_file(&tls, "ca.crt", &issued.authority, user)?;
        let failed = |error| EngineError::transient_from("the cluster's certificate could not be put in place", error);
        // A crash between these leaves no certificate, and the next start asks for one.
        let place = directory.root().join("tls");
        Record::remove(directory).map_err(failed)?;
        match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::rename(&tls, &place).map_err(failed)?;
        let life = issued.not_after.as_micros() - issued.not_before.as_micros();
        let record = Record {
            format: FORMAT,
            authority: Digest::of(issued.authority.as_bytes()).to_string(),
            renew_at: issued.not_before.as_micros() + life / 3 * 2,
            not_after: issued.not_after.as_micros(),
            host,
        };
        record.write(directory)?;
        Ok(true)
    }

    /// Why the cluster needs a new certificate; none while it does not.
    pub fn renewal_reason(
        directory: &ClusterDirectory,
        host: IpAddr,
        authority: &dyn CertificateAuthority,
    ) -> Option<String> {
        let Some(record) = Record::read(directory) else { return Some("it has no certificate".to_owned()) };
        let current = authority.certificate().map(|pem| Digest::of(pem.as_bytes()).to_string());
        if record.host != host {
            return Some(format!("its certificate is for {}, and it listens on {host}", record.host));
        }
        if current.is_some_and(|current| current != record.authority) {
            return Some("its certificate is of another authority".to_owned());
        }
        (Timestamp::now().as_micros() >= record.renew_at).then(|| "its certificate comes to its end".to_owned())
    }
}

impl Record {
    fn path(directory: &ClusterDirectory) -> PathBuf {
        directory.root().join(NAME)
    }

    fn read(directory: &ClusterDirectory) -> Option<Self> {
        let text = fs::read(Self::path(directory)).ok()?;
        serde_json::from_slice::<Self>(&text).ok().filter(|record| record.format == FORMAT)
    }

    fn write(&self, directory: &ClusterDirectory) -> Result<(), EngineError> {
        let text = serde_json::to_string(self).expect("numbers and texts are always JSON");
        write_own_file(directory.root(), NAME, &text)
    }

    fn remove(directory: &ClusterDirectory) -> std::io::Result<()> {
        match fs::remove_file(Self::path(directory)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
