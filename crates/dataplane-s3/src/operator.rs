//! The way to the store: OpenDAL's S3 over one HTTP client.

use std::time::Duration;

use opendal::{HttpTransporter, OperationContext, Operator, services::S3};
use opendal_http_transport_reqwest::ReqwestTransport;
use secrecy::ExposeSecret;

use crate::{OpenError, S3Config};

/// A store that is there takes a connection within milliseconds, one on another continent within one second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than what stores and the balancers before them keep a silent connection for.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that are kept while nobody uses them: as many as there are clients at a busy time, with their read-ahead.
const IDLE_CONNECTIONS: usize = 64;

/// Nothing is sent yet.
pub(crate) fn build(config: &S3Config) -> Result<Operator, OpenError> {
    let unusable = |reason: String| OpenError::Endpoint { endpoint: config.endpoint.clone(), reason };
    if !config.endpoint.starts_with("http://") && !config.endpoint.starts_with("https://") {
        return Err(unusable("it has no scheme".into()));
    }
    reqwest::Url::parse(&config.endpoint).map_err(|error| unusable(error.to_string()))?;
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| unusable(error.to_string()))?;
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
    let transport = HttpTransporter::new(ReqwestTransport::new(client));
    Ok(operator.with_context(OperationContext::new().with_http_transport(transport)))
}
