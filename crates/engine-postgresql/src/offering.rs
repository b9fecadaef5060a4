//! What the engine offers, and the parameters of its instances read back.

use mainstay_types::{Offering, ParameterKind, ParameterSpec, Parameters, Plan};

/// Sessions per binding on a shared cluster, where nothing else is asked for: more than one application's pools
/// take, and small enough that several tenants fit below the cluster's limit.
const SHARED_CONNECTION_LIMIT: i32 = 50;
/// PostgreSQL's word for no limit: on a dedicated cluster the cluster's own limit is the instance's.
const UNLIMITED: i32 = -1;
/// Memory that a dedicated cluster is sized for, in MiB, where nothing else is asked for.
const DEDICATED_MEMORY_MIB: u64 = 512;
/// Sessions that a dedicated cluster takes, where nothing else is asked for: PostgreSQL's own default.
const DEDICATED_MAX_CONNECTIONS: u32 = 100;

/// The offering of this engine.
pub(crate) fn offering(shared_port: u16) -> Offering {
    Offering {
        contract: "postgresql/v1".parse().expect("the contract's name is valid"),
        engine: "postgresql".parse().expect("the engine's name is valid"),
        plans: vec![Plan::Shared, Plan::Dedicated],
        parameters: vec![
            ParameterSpec {
                name: "connection_limit",
                description: "Sessions that each binding may have open at once",
                kind: ParameterKind::Integer { min: 1, max: 1_000 },
                plans: &[Plan::Shared, Plan::Dedicated],
            },
            ParameterSpec {
                name: "memory_mib",
                description: "Memory that the instance's own server is sized for, in MiB",
                kind: ParameterKind::Integer { min: 128, max: 1 << 20 },
                plans: &[Plan::Dedicated],
            },
            ParameterSpec {
                name: "max_connections",
                description: "Sessions that the instance's own server takes at once",
                kind: ParameterKind::Integer { min: 20, max: 2_000 },
                plans: &[Plan::Dedicated],
            },
            ParameterSpec {
                name: "tls",
                description: "Whether the instance's own server is reached by TLS, and not without it",
                kind: ParameterKind::Choice(&["false", "true"]),
                plans: &[Plan::Dedicated],
            },
        ],
        shared_port,
        follows: Vec::new(),
    }
}

/// How many sessions each binding of an instance may have open.
pub(crate) fn connection_limit(plan: Plan, parameters: &Parameters) -> i32 {
    let default = match plan {
        Plan::Shared => SHARED_CONNECTION_LIMIT,
        Plan::Dedicated => UNLIMITED,
    };
    number(parameters, "connection_limit").unwrap_or(default)
}

/// The memory that a dedicated cluster is sized for.
pub(crate) fn memory_mib(parameters: &Parameters) -> u64 {
    number(parameters, "memory_mib").unwrap_or(DEDICATED_MEMORY_MIB)
}

/// The sessions that a dedicated cluster takes.
pub(crate) fn max_connections(parameters: &Parameters) -> u32 {
    number(parameters, "max_connections").unwrap_or(DEDICATED_MAX_CONNECTIONS)
}

/// Whether a cluster with these parameters is reached by TLS.
pub(crate) fn tls(parameters: &Parameters) -> bool {
    parameters.get("tls") == Some("true")
}

/// A parameter whose value the offering has been held against when it was set.
fn number<T: std::str::FromStr>(parameters: &Parameters, name: &str) -> Option<T> {
    parameters.get(name)?.parse().ok()
}
