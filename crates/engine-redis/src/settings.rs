//! The settings of a server, sized from the plan and the machine. Pure: the same inputs give the same settings.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use mainstay_engine::supervise::Machine;
use mainstay_engine::{CertificateFiles, ClusterSpec, EngineError};
use mainstay_types::Plan;

use crate::offering::{self, Persistence};

/// Sessions of a shared cluster. More than one address has ports for (some 28,000), so that one tenant on one machine does not
/// take them all.
const SHARED_MAX_CONNECTIONS: u64 = 40_000;
/// Sessions that one binding of a shared cluster may have: more than an application's pools take. The server counts nobody's, so
/// that a binding with more is ended as a whole when it is next looked at.
pub(crate) const SHARED_SESSIONS_OF_ONE: u32 = 500;
/// Sessions of a dedicated cluster beyond those that were promised: ours, and that of a server that copies this one.
const OUR_CONNECTIONS: u64 = 2;
/// A shared cluster may fill this part of the machine's memory.
const SHARED_MEMORY_DIVISOR: u64 = 4;
/// Files that are open besides connections; the server itself sets 32 aside.
const OTHER_FILES: u64 = 96;
/// Memory that all clients' buffers together may take before the greediest client is dropped, so that no client fills the memory
/// that is for data.
const CLIENT_MEMORY_PERCENT: u64 = 20;
/// What replicas and subscribers may leave unread is the server's own default.
const OTHER_OUTPUT: &str = "slave 268435456 67108864 60 pubsub 33554432 8388608 60";
/// The largest value and argument: a shared server reads it whole before anybody else is served.
const SHARED_LARGEST_ARGUMENT: u64 = 64 << 20;
const DEDICATED_LARGEST_ARGUMENT: u64 = 512 << 20;
/// What is kept for a replica that lost its connection, so that it need not copy everything again.
const REPLICATION_BACKLOG: u64 = 16 << 20;

/// What settings depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub cluster: &'a ClusterSpec,
    pub machine: Machine,
    pub listen_address: IpAddr,
    pub socket: &'a Path,
    pub users: &'a Path,
    /// The certificate of a cluster that speaks TLS.
    pub certificate: Option<&'a CertificateFiles>,
}

/// Settings as the server itself tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Those that a running server keeps as it was started with, or does not tell.
    fixed: Vec<(&'static str, String)>,
    /// Those that a running server takes.
    pub adjustable: Vec<(&'static str, String)>,
}

impl Settings {
    /// What they are for a cluster.
    pub fn of(inputs: &Inputs<'_>) -> Self {
        let (plan, parameters) = (inputs.cluster.plan, &inputs.cluster.parameters);
        let persistence = offering::persistence(plan, parameters);
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let fixed = vec![
            // Opened once the server was looked at (see `gate`).
            ("port", "0".to_owned()),
            ("unixsocket", path(inputs.socket)),
            ("unixsocketperm", "700".to_owned()),
            ("aclfile", path(inputs.users)),
            // A database of its own separates nothing: every user of a shared cluster could select it.
            ("databases", if plan == Plan::Shared { "1" } else { "16" }.to_owned()),
            // So that its process is found by what it was started as.
            ("set-proc-title", "no".to_owned()),
            ("daemonize", "no".to_owned()),
            ("logfile", String::new()),
            // What a client restores is checked: a forged value could crash the server. Not told with the others.
            ("sanitize-dump-payload", "clients".to_owned()),
            ("enable-module-command", "no".to_owned()),
            ("enable-debug-command", "no".to_owned()),
            ("enable-protected-configs", "no".to_owned()),
        ];
        let (connections, largest_argument) = match plan {
            Plan::Shared => (SHARED_MAX_CONNECTIONS, SHARED_LARGEST_ARGUMENT),
            Plan::Dedicated => (offering::max_connections(parameters) + OUR_CONNECTIONS, DEDICATED_LARGEST_ARGUMENT),
        };
        let connections = connections.min(inputs.machine.open_files.saturating_sub(OTHER_FILES));
        let output = (memory_mib(inputs) << 20) * CLIENT_MEMORY_PERCENT / 100;
        let appendonly = if persistence == Persistence::Cache { "no" } else { "yes" };
        let mut adjustable = vec![
            ("bind", inputs.listen_address.to_string()),
            ("maxclients", connections.to_string()),
            ("maxmemory", (memory_mib(inputs) << 20).to_string()),
            ("maxmemory-policy", offering::eviction(plan, parameters).to_owned()),
            ("maxmemory-clients", format!("{CLIENT_MEMORY_PERCENT}%")),
            // The limit above is looked at between commands, and one command can ask for a value a million times.
            ("client-output-buffer-limit", format!("normal {output} 0 0 {OTHER_OUTPUT}")),
            ("proto-max-bulk-len", largest_argument.to_string()),
            ("save", String::new()),
            ("appendonly", appendonly.to_owned()),
            ("appendfsync", offering::fsync(plan, parameters).to_owned()),
            ("no-appendfsync-on-rewrite", "no".to_owned()),
            ("lazyfree-lazy-user-flush", "yes".to_owned()),
            ("repl-diskless-sync-delay", "0".to_owned()),
            ("repl-backlog-size", REPLICATION_BACKLOG.to_string()),
        ];
        if let Some(files) = inputs.certificate {
            adjustable.extend([
                ("tls-cert-file", path(&files.certificate)),
                ("tls-key-file", path(&files.key)),
                ("tls-ca-cert-file", path(&files.authority)),
                // Clients prove who they are with a password.
                ("tls-auth-clients", "no".to_owned()),
                // Makes a server that was built without TLS refuse to start, which it would tell too late otherwise.
                ("tls-replication", "yes".to_owned()),
            ]);
        }
        Self { fixed, adjustable }
    }

    /// The configuration file, whole.
    pub fn render(&self) -> String {
        let mut text = String::from("# Written by Mainstay. What is changed here is changed back.\n");
        for (name, value) in self.fixed.iter().chain(&self.adjustable) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} {}", quoted(value));
        }
        text
    }

    /// The adjustable settings that a server has otherwise, each as one sentence. It is asked for the value in force.
    pub fn changed(&self, in_force: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let adjustable = self.adjustable.iter();
        adjustable
            .filter_map(|(name, wanted)| match in_force(name) {
                Some(found) if found == *wanted => None,
                Some(found) => Some(format!("{name} is {found:?} and should be {wanted:?}")),
                None => Some(format!("{name} is not known to it")),
            })
            .collect()
    }
}

/// The memory that a cluster may take for data.
pub(crate) fn memory_mib(inputs: &Inputs<'_>) -> u64 {
    match inputs.cluster.plan {
        Plan::Shared => inputs.machine.memory_mib / SHARED_MEMORY_DIVISOR,
        Plan::Dedicated => offering::memory_mib(&inputs.cluster.parameters),
    }
}

/// Refuses what the machine does not have.
pub(crate) fn refuse_beyond_machine(cluster: &ClusterSpec, machine: Machine) -> Result<(), EngineError> {
    if cluster.plan == Plan::Shared {
        return Ok(());
    }
    let (memory, connections) =
        (offering::memory_mib(&cluster.parameters), offering::max_connections(&cluster.parameters));
    if memory > machine.memory_mib {
        return Err(EngineError::permanent(
            format!(
                "memory_mib is {memory} for cluster {}, and this machine has {} MiB",
                cluster.name, machine.memory_mib
            ),
            "ask for less memory than the machine has, or for a machine with more",
        ));
    }
    let most = machine.open_files.saturating_sub(OTHER_FILES);
    if connections > most {
        return Err(EngineError::permanent(
            format!(
                "max_connections is {connections} for cluster {}, and a process may have {most} here",
                cluster.name
            ),
            "ask for fewer connections, or raise the limit of open files (ulimit -Hn) that Mainstay is started with",
        ));
    }
    Ok(())
}

/// In double quotes, as `sdssplitargs` reads it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;

    use mainstay_engine::ClusterSpec;
    use mainstay_types::{NodeName, Plan};

    use super::{Inputs, Machine, Settings, quoted, refuse_beyond_machine};

    const MACHINE: Machine = Machine { memory_mib: 4_096, cores: 2, disk_mib: 50_000, open_files: 65_536 };

    fn spec(plan: Plan, parameters: &[(&str, &str)]) -> ClusterSpec {
        ClusterSpec {
            name: "redis-1".parse().unwrap(),
            node: NodeName::local(),
            plan,
            port: 7479,
            parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            identity: None,
        }
    }

    fn settings(plan: Plan, parameters: &[(&str, &str)]) -> Settings {
        Settings::of(&Inputs {
            cluster: &spec(plan, parameters),
            machine: MACHINE,
            listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            socket: Path::new("/c/run/admin.sock"),
            users: Path::new("/c/data/users.acl"),
            certificate: None,
        })
    }

    #[test]
    fn a_plan_and_its_parameters_make_the_settings() {
        type Case<'a> = (Plan, &'a [(&'a str, &'a str)], [(&'a str, &'a str); 4]);
        let cases: [Case<'_>; 4] = [
            (
                Plan::Dedicated,
                &[],
                [
                    ("maxmemory", "268435456"),
                    ("maxmemory-policy", "allkeys-lru"),
                    ("appendonly", "no"),
                    ("maxclients", "1002"),
                ],
            ),
            (
                Plan::Dedicated,
                &[("persistence", "durable"), ("memory_mib", "16")],
                [
                    ("maxmemory", "16777216"),
                    ("maxmemory-policy", "noeviction"),
                    ("appendonly", "yes"),
                    ("appendfsync", "everysec"),
                ],
            ),
            (
                Plan::Dedicated,
                &[("persistence", "synced"), ("eviction", "volatile-ttl"), ("max_connections", "20")],
                [
                    ("maxclients", "22"),
                    ("maxmemory-policy", "volatile-ttl"),
                    ("appendonly", "yes"),
                    ("appendfsync", "always"),
                ],
            ),
            (
                Plan::Shared,
                &[],
                [
                    ("maxmemory", "1073741824"),
                    ("maxmemory-policy", "noeviction"),
                    ("appendonly", "yes"),
                    ("maxclients", "40000"),
                ],
            ),
        ];
        for (plan, parameters, expected) in cases {
            let settings = settings(plan, parameters);
            for (name, value) in expected {
                assert!(settings.adjustable.contains(&(name, value.to_owned())), "{name} {value}: {settings:?}");
            }
        }
    }

    #[test]
    fn what_is_otherwise_is_told() {
        let settings = settings(Plan::Dedicated, &[]);
        let in_force =
            |name: &str| settings.adjustable.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        assert_eq!(settings.changed(in_force), Vec::<String>::new());
        let changed =
            settings.changed(|name| if name == "appendonly" { Some("yes".to_owned()) } else { in_force(name) });
        assert_eq!(changed, ["appendonly is \"yes\" and should be \"no\""]);
    }

    #[test]
    fn more_than_the_machine_has_is_refused() {
        assert!(refuse_beyond_machine(&spec(Plan::Dedicated, &[("memory_mib", "4096")]), MACHINE).is_ok());
        let error = refuse_beyond_machine(&spec(Plan::Dedicated, &[("memory_mib", "4097")]), MACHINE).unwrap_err();
        assert!(error.to_string().contains("this machine has 4096 MiB; ask for less"), "{error}");
        let few = Machine { open_files: 1_024, ..MACHINE };
        let error = refuse_beyond_machine(&spec(Plan::Dedicated, &[]), few).unwrap_err();
        assert!(error.to_string().contains("ulimit"), "{error}");
    }

    #[test]
    fn values_are_quoted() {
        assert_eq!(quoted(""), "\"\"");
        assert_eq!(quoted("a \"b\" \\"), "\"a \\\"b\\\" \\\\\"");
    }
}
