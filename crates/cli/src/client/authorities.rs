//! The certificates that an https address is trusted by.

use std::io;
use std::path::Path;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::failure::Failure;
use crate::session::read_file;

/// The largest file of certificates: the bundle of all public authorities has some 200 KiB.
const LARGEST_FILE: usize = 4 << 20;

/// Certificates that somebody chose instead of the public authorities.
pub(crate) struct Authorities(Vec<Certificate<'static>>);

impl Authorities {
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let failed = |source: io::Error| {
            Failure::local(format!("the certificates in {} cannot be read", file.display()), source)
        };
        let pem = read_file(file, LARGEST_FILE).map_err(failed)?;
        let mut certificates = Vec::new();
        for item in parse_pem(pem.as_bytes()) {
            if let PemItem::Certificate(certificate) = item.map_err(|error| failed(io::Error::other(error)))? {
                certificates.push(certificate);
            }
        }
        if certificates.is_empty() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate in PEM")));
        }
        Ok(Self(certificates))
    }

    pub fn into_tls(self) -> TlsConfig {
        TlsConfig::builder().root_certs(RootCerts::new_with_certs(&self.0)).build()
    }
}
