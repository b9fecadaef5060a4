//! The way to a location that is spoken to over HTTP: OpenDAL's services.

use mainstay_transport::Transport;
use opendal::services::{S3, Webdav};
use opendal::{HttpTransporter, OperationContext, Operator};
use secrecy::ExposeSecret;

use crate::{Credentials, Location, OpenError};

/// Nothing is sent yet.
pub(super) fn build(location: &Location, credentials: &Credentials) -> Result<Operator, OpenError> {
    let unusable = |error: opendal::Error| OpenError::credentials(location, error.message());
    match (location, credentials) {
        (Location::S3 { bucket, prefix, endpoint, region }, Credentials::AccessKey { id, secret }) => {
            let service = S3::default()
                .endpoint(endpoint)
                .region(region)
                .bucket(bucket)
                .root(prefix)
                .access_key_id(id)
                .secret_access_key(secret.expose_secret())
                // The store finds what is damaged on the way to it, before it acknowledges.
                .checksum_algorithm("crc32c")
                // Nothing but the configuration says which credentials are used.
                .disable_config_load()
                .disable_ec2_metadata();
            over_http(location, endpoint.starts_with("https:"), Operator::new(service).map_err(unusable)?)
        }
        (Location::S3 { .. }, _) => Err(OpenError::credentials(location, "it needs an access key and its secret")),
        (Location::WebDav { tls, authority, path }, Credentials::Password { .. } | Credentials::None) => {
            let scheme = if *tls { "https" } else { "http" };
            let mut service = Webdav::default().endpoint(&format!("{scheme}://{authority}")).root(path);
            if let Credentials::Password { user, password } = credentials {
                service = service.username(user).password(password.expose_secret());
            }
            over_http(location, *tls, Operator::new(service).map_err(unusable)?)
        }
        (Location::WebDav { .. }, _) => Err(OpenError::credentials(location, "it needs a user and a password")),
        (Location::Directory(_) | Location::Sftp { .. }, _) => {
            unreachable!("only stores and WebDAV servers are spoken to by OpenDAL")
        }
    }
}

fn over_http(location: &Location, with_tls: bool, operator: Operator) -> Result<Operator, OpenError> {
    let transport = Transport::new(with_tls).map_err(|error| {
        OpenError::credentials(location, format!("this machine's certificate authorities cannot be read: {error}"))
    })?;
    Ok(operator.with_context(OperationContext::new().with_http_transport(HttpTransporter::new(transport))))
}
