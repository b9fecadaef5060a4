//! Contracts, engines and plans.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::InvalidText;
use crate::text::text_type;

fn contract(text: &str) -> Result<(), &'static str> {
    let rule = "write it as PROTOCOL/vN, for example postgresql/v1";
    let (protocol, version) = text.split_once("/v").ok_or(rule)?;
    let protocol_fits =
        (1..=32).contains(&protocol.len()) && protocol.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let version_fits =
        (1..=3).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_digit()) && !version.starts_with('0');
    if protocol_fits && version_fits { Ok(()) } else { Err(rule) }
}

fn engine(text: &str) -> Result<(), &'static str> {
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if fits { Ok(()) } else { Err("use lowercase letters and digits, for example postgresql") }
}

text_type!(
    /// A versioned service interface, named by the protocol that its clients speak: `postgresql/v1`.
    ContractRef, "contract", contract
);
text_type!(
    /// The software that fulfils a contract: `postgresql`, `valkey`, `nats`.
    EngineName, "engine", engine
);

/// A promise about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// On a cluster with others.
    #[n(0)]
    Shared,
    /// On a cluster of its own.
    #[n(1)]
    Dedicated,
}

impl Plan {
    /// The plan's name, as people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Plan::Shared => "shared",
            Plan::Dedicated => "dedicated",
        }
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Plan {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Plan::Shared, Plan::Dedicated]
            .into_iter()
            .find(|plan| plan.as_str() == text)
            .ok_or_else(|| InvalidText::new("plan", text, "the plans are shared and dedicated"))
    }
}

#[cfg(test)]
mod tests {
    use super::{ContractRef, Plan};

    #[test]
    fn contracts() {
        for good in ["postgresql/v1", "s3/v12", "nats/v1"] {
            assert!(good.parse::<ContractRef>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "postgresql",
            "postgresql/",
            "postgresql/1",
            "/v1",
            "postgresql/v0",
            "postgresql/v01",
            "PostgreSQL/v1",
            "a/v1/v2",
        ] {
            assert!(bad.parse::<ContractRef>().is_err(), "{bad:?} should be refused");
        }
    }

    #[test]
    fn plans_are_read_as_they_are_written() {
        for plan in [Plan::Shared, Plan::Dedicated] {
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        assert!("Shared".parse::<Plan>().is_err());
    }
}
