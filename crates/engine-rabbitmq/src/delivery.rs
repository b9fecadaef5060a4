//! What a consumer connects with.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mainstay_engine::{CredentialSpec, InstanceSpec};
use secrecy::{ExposeSecret, SecretString};

use crate::names::virtual_host;
use crate::percent::encode;

/// How a client reaches the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub host: IpAddr,
    pub port: u16,
    /// The certificate of the authority that clients verify with, where the port is one with TLS.
    pub tls: Option<Option<String>>,
}

/// The keys and values of a binding. Ids need no encoding in a URI; a password may.
pub(crate) fn delivery(
    endpoint: Endpoint,
    instance: &InstanceSpec,
    credential: &CredentialSpec,
    password: &SecretString,
) -> BTreeMap<&'static str, SecretString> {
    let Endpoint { host, port, tls } = endpoint;
    let (user, virtual_host) = (credential.username(), virtual_host(&instance.id));
    let scheme = if tls.is_some() { "amqps" } else { "amqp" };
    let encoded = encode(password.expose_secret());
    let uri = format!("{scheme}://{user}:{encoded}@{}/{virtual_host}", SocketAddr::new(host, port));
    let certificates = tls.flatten().map(|certificate| ("certificates", certificate.into()));
    BTreeMap::from([
        ("type", "rabbitmq".into()),
        ("provider", "mainstay".into()),
        ("host", host.to_string().into()),
        ("port", port.to_string().into()),
        ("virtual-host", virtual_host.into()),
        ("username", user.into()),
        ("password", password.clone()),
        ("uri", uri.into()),
    ])
    .into_iter()
    .chain(certificates)
    .collect()
}

#[cfg(test)]
mod tests {
    use mainstay_engine::{CredentialSpec, InstanceSpec};
    use mainstay_types::{BindingId, InstanceId, InstanceName, Parameters, Timestamp};
    use secrecy::ExposeSecret;

    use super::{Endpoint, delivery};

    #[test]
    fn a_password_is_encoded_in_the_uri_alone() {
        let instance = InstanceSpec {
            id: InstanceId::from_random(0),
            name: InstanceName::first(),
            parameters: Parameters::default(),
        };
        let credential = CredentialSpec {
            binding: BindingId::from_random(0),
            generation: 1,
            login: 1,
            instance: instance.id.clone(),
            valid_until: Timestamp::from_micros(0),
            statements: None,
        };
        let endpoint = Endpoint { host: "::1".parse().unwrap(), port: 7471, tls: Some(Some("PEM".to_owned())) };
        let given = delivery(endpoint.clone(), &instance, &credential, &"p/w".into());
        assert_eq!(given["password"].expose_secret(), "p/w");
        assert_eq!(given["certificates"].expose_secret(), "PEM");
        let uri = "amqps://b_000000000000_1:p%2Fw@[::1]:7471/i_000000000000";
        assert_eq!(given["uri"].expose_secret(), uri);
        let plain = delivery(Endpoint { tls: None, ..endpoint }, &instance, &credential, &"p".into());
        assert!(plain["uri"].expose_secret().starts_with("amqp://") && !plain.contains_key("certificates"));
    }
}
