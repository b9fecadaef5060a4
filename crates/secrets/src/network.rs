//! Networks that a token may come from.

use std::net::IpAddr;

use ipnet::IpNet;
use mainstay_secrets_engine::Refusal;

/// Checks that texts are networks in CIDR notation, or single addresses.
pub(crate) fn check(networks: &[String]) -> Result<(), Refusal> {
    match networks.iter().find(|network| parse(network).is_none()) {
        Some(wrong) => Err(Refusal::invalid(format!("{wrong:?} is no network in CIDR notation, like 10.0.0.0/8"))),
        None => Ok(()),
    }
}

/// Whether an address is in one of some networks. An address that is not known is in none.
pub(crate) fn allows(networks: &[String], address: Option<IpAddr>) -> bool {
    networks.is_empty()
        || address.is_some_and(|address| {
            networks
                .iter()
                .filter_map(|network| parse(network))
                .any(|network| network.contains(&address.to_canonical()))
        })
}

fn parse(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
