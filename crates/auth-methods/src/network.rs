//! Networks that a login or a token may come from.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A network, and the text that somebody wrote for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    text: String,
    net: IpNet,
}

/// Text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {text}")]
pub(crate) struct InvalidNetwork {
    text: String,
}

/// Whether a request may come from where it does: from everywhere where no network is named.
pub(crate) fn admits(networks: &[Network], remote: Option<IpAddr>) -> bool {
    networks.is_empty() || remote.is_some_and(|remote| networks.iter().any(|network| network.contains(remote)))
}

/// Whether every one of the networks lies within one of the bounds. Without bounds there is nothing to stay within.
pub(crate) fn within(networks: &[Network], bounds: &[Network]) -> bool {
    let inside = |network: &Network| bounds.iter().any(|bound| bound.net.contains(&network.net));
    bounds.is_empty() || networks.iter().all(inside)
}

/// The texts of networks, as Vault quotes a list in its messages.
pub(crate) fn quoted(networks: &[Network]) -> String {
    let texts: Vec<String> = networks.iter().map(|network| format!("{:?}", network.text)).collect();
    format!("[{}]", texts.join(" "))
}

// === impl Network ===

impl Network {
    /// A network in CIDR notation: `10.0.0.0/8`.
    pub fn cidr(text: &str) -> Result<Self, InvalidNetwork> {
        let text = text.trim();
        let net = text.parse().map_err(|_| InvalidNetwork { text: text.to_owned() })?;
        Ok(Self { text: text.to_owned(), net })
    }

    /// A network in CIDR notation or an address, which is shown without its mask then: as tokens show them.
    pub fn address_or_cidr(text: &str) -> Result<Self, InvalidNetwork> {
        let text = text.trim();
        let net: IpNet = match text.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => text.parse().map_err(|_| InvalidNetwork { text: text.to_owned() })?,
        };
        let shown = if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() };
        Ok(Self { text: shown, net })
    }

    /// In CIDR notation, whatever was written.
    pub fn to_cidr(&self) -> String {
        self.net.to_string()
    }

    fn contains(&self, address: IpAddr) -> bool {
        // A socket that serves both families shows 10.0.0.1 as ::ffff:10.0.0.1.
        self.net.contains(&address.to_canonical())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let network = if text.contains('/') { Self::cidr(&text) } else { Self::address_or_cidr(&text) };
        network.map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, admits, within};

    fn cidrs(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::cidr(text).unwrap()).collect()
    }

    #[test]
    fn an_address_is_admitted_where_a_network_holds_it() {
        let table = [
            (&["10.0.0.0/8"][..], "10.1.2.3", true),
            (&["10.0.0.0/8"], "11.0.0.1", false),
            (&["10.0.0.0/8"], "::ffff:10.1.2.3", true),
            (&["10.0.0.0/8", "fd00::/8"], "fd00::1", true),
            (&["0.0.0.0/0"], "fd00::1", false),
            (&[], "11.0.0.1", true),
        ];
        for (networks, address, admitted) in table {
            assert_eq!(admits(&cidrs(networks), Some(address.parse().unwrap())), admitted, "{networks:?} {address}");
        }
        assert!(!admits(&cidrs(&["0.0.0.0/0"]), None) && admits(&[], None));
    }

    #[test]
    fn networks_stay_within_their_bounds() {
        assert!(within(&cidrs(&["10.1.0.0/16"]), &cidrs(&["10.0.0.0/8"])));
        assert!(!within(&cidrs(&["10.0.0.0/7"]), &cidrs(&["10.0.0.0/8"])));
        assert!(!within(&cidrs(&["10.1.0.0/16", "11.0.0.0/8"]), &cidrs(&["10.0.0.0/8"])));
        assert!(within(&cidrs(&["11.0.0.0/8"]), &[]));
    }

    #[test]
    fn what_was_written_is_kept_and_tokens_show_addresses_without_a_mask() {
        assert_eq!(Network::cidr(" 127.0.0.1/32 ").unwrap().to_string(), "127.0.0.1/32");
        for (text, shown, cidr) in [
            ("127.0.0.1/32", "127.0.0.1", "127.0.0.1/32"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1/32"),
            ("127.0.0.1/8", "127.0.0.1/8", "127.0.0.1/8"),
            ("::1", "::1", "::1/128"),
        ] {
            let network = Network::address_or_cidr(text).unwrap();
            assert_eq!((network.to_string().as_str(), network.to_cidr().as_str()), (shown, cidr));
            let stored = serde_json::to_string(&network).unwrap();
            assert_eq!(serde_json::from_str::<Network>(&stored).unwrap(), network);
        }
        assert!(Network::cidr("127.0.0.1").is_err() && Network::address_or_cidr("here").is_err());
    }
}
