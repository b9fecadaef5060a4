//! What the engine offers, and the parameters of its instances read back.

use mainstay_types::{Offering, ParameterKind, ParameterSpec, Parameters, Plan};

/// What an account may have where nothing else is asked for. Storage and memory are promises that a cluster keeps back
/// room for, so that their defaults are those of an ordinary application and not of the largest.
const DEFAULTS: Limits = Limits {
    storage_mib: 512,
    memory_mib: 16,
    max_streams: 50,
    max_consumers: 100,
    max_connections: 100,
    max_payload_kib: 1_024,
};

/// The largest message that an account can be allowed, in KiB: the largest that the server's makers advise.
pub(crate) const LARGEST_PAYLOAD_KIB: u64 = 8 << 10;
/// The most connections that an account can be allowed.
const MOST_CONNECTIONS: i64 = 10_000;

/// What an account may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Limits {
    pub storage_mib: u64,
    pub memory_mib: u64,
    pub max_streams: u64,
    pub max_consumers: u64,
    pub max_connections: u64,
    pub max_payload_kib: u64,
}

impl Limits {
    /// The least that an account can have.
    pub const LEAST: Self = Self {
        storage_mib: 1,
        memory_mib: 1,
        max_streams: 1,
        max_consumers: 1,
        max_connections: 1,
        max_payload_kib: 1,
    };

    /// What an instance with these parameters may have. The offering has been held against them when they were set.
    pub fn of(parameters: &Parameters) -> Self {
        let number = |name, default| parameters.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        Self {
            storage_mib: number("storage_mib", DEFAULTS.storage_mib),
            memory_mib: number("memory_mib", DEFAULTS.memory_mib),
            max_streams: number("max_streams", DEFAULTS.max_streams),
            max_consumers: number("max_consumers", DEFAULTS.max_consumers),
            max_connections: number("max_connections", DEFAULTS.max_connections),
            max_payload_kib: number("max_payload_kib", DEFAULTS.max_payload_kib),
        }
    }
}

/// Whether an instance's clients are to come by TLS.
pub(crate) fn is_encrypted(parameters: &Parameters) -> bool {
    parameters.get("tls") == Some("true")
}

/// The offering of this engine.
pub(crate) fn offering(shared_port: u16) -> Offering {
    let number = |name, description, min, max| ParameterSpec {
        name,
        description,
        kind: ParameterKind::Integer { min, max },
        plans: &[Plan::Shared],
    };
    Offering {
        contract: "nats/v1".parse().expect("the contract's name is valid"),
        engine: "nats".parse().expect("the engine's name is valid"),
        plans: vec![Plan::Shared],
        parameters: vec![
            number("storage_mib", "Room on disk for its streams, in MiB; 512 by default", 1, 16 << 20),
            number(
                "memory_mib",
                "Room in memory for its streams that are kept there, in MiB; 16 by default",
                1,
                1 << 20,
            ),
            number("max_streams", "Streams that it may have; 50 by default", 1, 10_000),
            number("max_consumers", "Consumers that each of its streams may have; 100 by default", 1, 10_000),
            number("max_connections", "Connections that it may have open at once; 100 by default", 1, MOST_CONNECTIONS),
            number(
                "max_payload_kib",
                "The largest message that it may publish, in KiB; 1024 by default",
                1,
                LARGEST_PAYLOAD_KIB as i64,
            ),
            ParameterSpec {
                name: "tls",
                description: "Whether its bindings are told to come by TLS, and what to verify the server with",
                kind: ParameterKind::Choice(&["false", "true"]),
                plans: &[Plan::Shared],
            },
        ],
        shared_port,
        follows: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::Parameters;

    use super::{DEFAULTS, Limits, offering};

    #[test]
    fn what_is_not_set_has_a_default_that_its_description_names() {
        assert_eq!(Limits::of(&Parameters::default()), DEFAULTS);
        let some = [("storage_mib".to_owned(), "7".to_owned())].into_iter().collect();
        assert_eq!(Limits::of(&some), Limits { storage_mib: 7, ..DEFAULTS });
        let described = |name, value: u64| {
            let offering = offering(1);
            let parameter = offering.parameters.iter().find(|parameter| parameter.name == name).unwrap();
            assert!(parameter.description.ends_with(&format!("; {value} by default")), "{name}");
            assert_eq!(parameter.kind.check(&value.to_string()), Ok(()));
        };
        described("storage_mib", DEFAULTS.storage_mib);
        described("memory_mib", DEFAULTS.memory_mib);
        described("max_streams", DEFAULTS.max_streams);
        described("max_consumers", DEFAULTS.max_consumers);
        described("max_connections", DEFAULTS.max_connections);
        described("max_payload_kib", DEFAULTS.max_payload_kib);
    }
}
