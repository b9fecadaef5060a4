//! TLS for the API's listener, from two PEM files.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};

use crate::config::TlsFiles;

/// Why the API cannot be served in TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{} cannot be read as PEM; name a PEM file in {key}", file.display())]
    Pem {
        file: PathBuf,
        key: &'static str,
        #[source]
        source: pem::Error,
    },
    #[error("the key {} is not that of the certificate {}; name the two that belong together", key.display(), certificate.display())]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: tokio_rustls::rustls::Error,
    },
}

/// What answers TLS handshakes with these files.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let of_certificate =
        |source| TlsError::Pem { file: files.certificate.clone(), key: "Listen:TlsCertificate", source };
    let chain = CertificateDer::pem_file_iter(&files.certificate).map_err(of_certificate)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(of_certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::Pem {
        file: files.key.clone(),
        key: "Listen:TlsKey",
        source,
    })?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| TlsError::Pair { certificate: files.certificate.clone(), key: files.key.clone(), source })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
