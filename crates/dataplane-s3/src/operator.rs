//! The way to the store: OpenDAL's S3, which signs requests and reads answers.

use hyper::Uri;
use mainstay_transport::Transport;
use opendal::{HttpTransporter, OperationContext, Operator, services::S3};
use secrecy::ExposeSecret;

use crate::{OpenError, S3Config};

/// Nothing is sent yet.
pub fn build(config: &S3Config) -> Result<Operator, OpenError> {
    let unusable = |reason: String| OpenError::Endpoint { endpoint: config.endpoint.clone(), reason };
    let endpoint: Uri = config.endpoint.parse().map_err(|error| unusable(format!("{error}")))?;
    let with_tls = match endpoint.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(unusable("it has no scheme".into())),
    };
    if config.bucket.is_empty() {
        return Err(unusable("no bucket is named".into()));
    }
    let transport = Transport::new(with_tls)
        .map_err(|error| unusable(format!("this machine's certificate authorities cannot be read: {error}")))?;
    let service = S3::default()
        .endpoint(&config.endpoint)
        .region(&config.region)
        .bucket(&config.bucket)
        .root(&config.prefix)
        .access_key_id(&config.access_key_id)
        .secret_access_key(config.secret_access_key.expose_secret())
        // The store finds what is damaged on the way to it, before it acknowledges.
        .checksum_algorithm("crc32c")
        // Nothing but the configuration says which credentials are used.
        .disable_config_load()
        .disable_ec2_metadata();
    let operator = Operator::new(service).map_err(|error| unusable(error.message().to_owned()))?;
    Ok(operator.with_context(OperationContext::new().with_http_transport(HttpTransporter::new(transport))))
}
