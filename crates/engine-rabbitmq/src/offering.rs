//! What the engine offers, and the parameters of its instances read back.

use mainstay_types::{Offering, ParameterKind, ParameterSpec, Parameters, Plan};

/// Connections of an instance where nothing else is asked for: several applications' pools.
const MAX_CONNECTIONS: u64 = 100;
/// Channels of a binding where nothing else is asked for. A channel takes some 50 KiB of the node's memory.
const MAX_CHANNELS: u64 = 1_000;
/// Queues of an instance where nothing else is asked for.
const MAX_QUEUES: u64 = 200;
/// Messages that wait in one queue where nothing else is asked for, in MiB.
const MAX_QUEUE_MIB: u64 = 64;

/// The offering of this engine.
pub(crate) fn offering(shared_port: u16) -> Offering {
    let shared = |name, description, min, max| ParameterSpec {
        name,
        description,
        kind: ParameterKind::Integer { min, max },
        plans: &[Plan::Shared],
    };
    Offering {
        contract: "amqp/v1".parse().expect("the contract's name is valid"),
        engine: "rabbitmq".parse().expect("the engine's name is valid"),
        plans: vec![Plan::Shared],
        parameters: vec![
            shared("max_connections", "Connections that the instance takes at once, of all its bindings", 1, 5_000),
            shared("max_channels", "Channels that each binding may have open at once", 1, 20_000),
            shared("max_queues", "Queues that the instance may have", 1, 10_000),
            shared(
                "max_queue_mib",
                "Message bodies that may wait in each queue, in MiB; beyond it a publisher is refused, or the oldest \
                 dropped where a classic queue was declared with x-overflow=drop-head. What consumers hold without \
                 acknowledgement is not counted",
                1,
                1 << 20,
            ),
            ParameterSpec {
                name: "tls",
                description: "Whether bindings are told the port with TLS",
                kind: ParameterKind::Choice(&["false", "true"]),
                plans: &[Plan::Shared],
            },
        ],
        shared_port,
        follows: Vec::new(),
    }
}

/// What an instance may take of the node it shares with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub connections: u64,
    /// Of each binding.
    pub channels: u64,
    pub queues: u64,
    /// Of messages that wait in one queue.
    pub queue_bytes: u64,
}

impl Limits {
    /// What these parameters say, which the offering has been held against when they were set.
    pub fn of(parameters: &Parameters) -> Self {
        let number = |name, default| parameters.get(name).and_then(|value| value.parse().ok()).unwrap_or(default);
        Self {
            connections: number("max_connections", MAX_CONNECTIONS),
            channels: number("max_channels", MAX_CHANNELS),
            queues: number("max_queues", MAX_QUEUES),
            queue_bytes: number("max_queue_mib", MAX_QUEUE_MIB) << 20,
        }
    }
}

/// Whether an instance's bindings are told the port with TLS.
pub(crate) fn tls(parameters: &Parameters) -> bool {
    parameters.get("tls") == Some("true")
}

#[cfg(test)]
mod tests {
    use super::{Limits, offering};
    use mainstay_types::Parameters;

    #[test]
    fn what_is_set_counts_and_the_rest_has_a_default() {
        let set: Parameters = [("max_queues".to_owned(), "7".to_owned())].into_iter().collect();
        let limits = Limits::of(&set);
        assert_eq!(limits, Limits { queues: 7, ..Limits::of(&Parameters::default()) });
        assert_eq!(limits.queue_bytes, 64 << 20);
    }

    #[test]
    fn the_engine_is_found_by_its_clusters_names() {
        assert_eq!(offering(7472).engine.to_string(), "rabbitmq");
    }
}
