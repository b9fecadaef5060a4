//! What the engine offers, and the parameters of its instances read back.

use mainstay_types::{EngineName, Offering, ParameterKind, ParameterSpec, Parameters, Plan};

use crate::config::Flavour;

/// Memory for the data of a dedicated instance, in MiB, where nothing else is asked for.
const DEFAULT_MEMORY_MIB: u64 = 256;
/// Sessions that a dedicated instance takes where nothing else is asked for: enough for many processes with pools, and
/// each costs some 20 KB.
const DEFAULT_MAX_CONNECTIONS: u64 = 1_000;

/// What becomes of data when its server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It is gone.
    Cache,
    /// The append-only file is written before each acknowledgement and put on disk each second.
    Durable,
    /// The append-only file is on disk before each acknowledgement.
    Synced,
}

fn engines(flavours: &[Flavour]) -> Vec<EngineName> {
    flavours.iter().map(|flavour| flavour.name().parse().expect("the engine's name is valid")).collect()
}

/// The offering of this engine.
pub(crate) fn offering(flavour: Flavour, shared_port: u16) -> Offering {
    // A shared instance takes none: its memory is common to all on the cluster, and each binding has the same number of sessions.
    const DEDICATED: &[Plan] = &[Plan::Dedicated];
    Offering {
        contract: "redis/v1".parse().expect("the contract's name is valid"),
        engine: flavour.name().parse().expect("the engine's name is valid"),
        plans: vec![Plan::Dedicated, Plan::Shared],
        parameters: vec![
            ParameterSpec {
                name: "memory_mib",
                description: "Memory for the instance's data, in MiB (default 256)",
                kind: ParameterKind::Integer { min: 16, max: 1 << 20 },
                plans: DEDICATED,
            },
            ParameterSpec {
                name: "persistence",
                description: "What outlives the server: cache nothing; durable all but about the last second before a \
                              crash of the machine; synced all that was acknowledged",
                kind: ParameterKind::Choice(&["cache", "durable", "synced"]),
                plans: DEDICATED,
            },
            ParameterSpec {
                name: "eviction",
                description: "Which keys go when memory is full; noeviction refuses writes instead (where it is not set: \
                              allkeys-lru for a cache, noeviction for durable and synced)",
                kind: ParameterKind::Choice(&[
                    "noeviction",
                    "allkeys-lru",
                    "allkeys-lfu",
                    "volatile-lru",
                    "volatile-lfu",
                    "volatile-ttl",
                    "allkeys-random",
                    "volatile-random",
                ]),
                plans: DEDICATED,
            },
            ParameterSpec {
                name: "max_connections",
                description: "Sessions that the instance takes at once (default 1000)",
                kind: ParameterKind::Integer { min: 10, max: 50_000 },
                plans: DEDICATED,
            },
            ParameterSpec {
                name: "tls",
                description: "Whether clients connect with TLS, and only with it",
                kind: ParameterKind::Choice(&["false", "true"]),
                plans: DEDICATED,
            },
        ],
        shared_port,
        // Valkey reads what Redis wrote before the two went apart, and Redis nothing of what Valkey writes today.
        follows: match flavour {
            Flavour::Redis => engines(&[Flavour::Redis]),
            Flavour::Valkey => engines(&[Flavour::Valkey, Flavour::Redis]),
        },
    }
}

/// Memory for the data of a dedicated instance.
pub(crate) fn memory_mib(parameters: &Parameters) -> u64 {
    number(parameters, "memory_mib").unwrap_or(DEFAULT_MEMORY_MIB)
}

/// Sessions that a dedicated instance takes.
pub(crate) fn max_connections(parameters: &Parameters) -> u64 {
    number(parameters, "max_connections").unwrap_or(DEFAULT_MAX_CONNECTIONS)
}

/// What becomes of the data of a cluster. A shared one's is durable: its tenants do not choose.
pub(crate) fn persistence(plan: Plan, parameters: &Parameters) -> Persistence {
    match (plan, parameters.get("persistence")) {
        (Plan::Shared, _) | (Plan::Dedicated, Some("durable")) => Persistence::Durable,
        (Plan::Dedicated, Some("synced")) => Persistence::Synced,
        (Plan::Dedicated, _) => Persistence::Cache,
    }
}

/// When the append-only file of a cluster goes to disk, in the server's words.
pub(crate) fn fsync(plan: Plan, parameters: &Parameters) -> &'static str {
    match persistence(plan, parameters) {
        Persistence::Synced => "always",
        Persistence::Durable | Persistence::Cache => "everysec",
    }
}

/// Which keys go when memory is full. On a shared cluster none: a flood of one tenant would drive out another's.
pub(crate) fn eviction(plan: Plan, parameters: &Parameters) -> &str {
    match (plan, persistence(plan, parameters)) {
        (Plan::Shared, _) => "noeviction",
        (Plan::Dedicated, Persistence::Cache) => parameters.get("eviction").unwrap_or("allkeys-lru"),
        (Plan::Dedicated, _) => parameters.get("eviction").unwrap_or("noeviction"),
    }
}

/// Whether clients have to speak TLS.
pub(crate) fn tls(plan: Plan, parameters: &Parameters) -> bool {
    plan == Plan::Dedicated && parameters.get("tls") == Some("true")
}

/// A parameter whose value the offering has been held against when it was set.
fn number(parameters: &Parameters, name: &str) -> Option<u64> {
    parameters.get(name)?.parse().ok()
}
