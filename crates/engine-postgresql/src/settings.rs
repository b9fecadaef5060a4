//! The settings of a server, sized from the machine and the plan. Pure: the same inputs give the same text.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use mainstay_engine::supervise::Machine;
use mainstay_engine::{CertificateFiles, ClusterSpec};
use mainstay_types::Plan;

use crate::offering;
use crate::recovery::End;

/// Sessions kept for us when tenants have taken all others: our pool, and one connection per unbinding instance.
const RESERVED_CONNECTIONS: u32 = 10;
/// The write-ahead log between two checkpoints. More would make checkpoints rarer and recovery after a kill
/// longer; at the 120 MB/s or more that replay reaches, this is replayed within 5 s.
const MAX_WAL_MIB: u64 = 512;
/// Two segments, the least that the server takes.
const LEAST_WAL_MIB: u64 = 32;

/// Log that is kept for whoever copies it, before they lose their place: a copy that stands still must not fill the disk.
/// It is a tenth of that, and never more than hours of a busy server's log.
const MAX_KEPT_WAL_MIB: u64 = 16_384;
/// Senders of the log: one that follows it, one for a backup, and room for both to be begun anew before the server has
/// noticed that the earlier ones are gone. It is the server's own default, so that no server has to be started anew for it.
const WAL_SENDERS: u32 = 10;
/// What a scratch server takes for its cache. One that restores reads each page about once.
const SCRATCH_BUFFERS_MIB: u64 = 64;

/// What settings depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub cluster: &'a ClusterSpec,
    pub machine: Machine,
    pub listen_address: IpAddr,
    pub socket_directory: &'a Path,
    /// None where it does not speak TLS.
    pub certificate: Option<&'a CertificateFiles>,
}

/// The figures that are computed.
#[derive(Debug, PartialEq, Eq)]
struct Sizes {
    max_connections: u32,
    shared_buffers_mib: u64,
    effective_cache_mib: u64,
    work_mem_kib: u64,
    maintenance_mem_mib: u64,
    max_wal_mib: u64,
    max_kept_wal_mib: u64,
    min_wal_mib: u64,
    temp_file_limit_mib: u64,
    workers: u32,
}

/// What the settings of a scratch server depend on: one that nobody reaches but over its socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScratchInputs<'a> {
    pub cluster: &'a ClusterSpec,
    pub socket_directory: &'a Path,
    /// Where its log lies.
    pub wal: &'a Path,
    pub timeline: u32,
    pub end: End,
    /// Whether its data will serve, so that it has to be on disk.
    pub lasting: bool,
}

/// `postgresql.conf` of a scratch server, whole. It archives nothing and keeps nothing for anybody: what it was copied from
/// goes on serving, and has a log of its own.
pub(crate) fn render_scratch(inputs: &ScratchInputs<'_>) -> String {
    let mut text = String::from("# Written by Mainstay for a scratch cluster.\n");
    let mut set = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} = {value}");
    };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));

    set("cluster_name", &quoted(inputs.cluster.name.as_str()));
    set("listen_addresses", &"''");
    set("port", &inputs.cluster.port);
    set("unix_socket_directories", &quoted(&inputs.socket_directory.to_string_lossy()));
    set("unix_socket_permissions", &"0700");
    set("max_connections", &30);
    set("shared_buffers", &format!("{SCRATCH_BUFFERS_MIB}MB"));
    set("max_wal_size", &format!("{MAX_WAL_MIB}MB"));
    set("wal_level", &"replica");
    set("max_wal_senders", &2);
    set("max_replication_slots", &2);
    set("archive_mode", &"off");
    set("autovacuum", &"off");
    set("jit", &"off");
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        set(name, &if inputs.lasting { "on" } else { "off" });
    }
    set("recovery_init_sync_method", &"syncfs");
    // Nobody is let in before it is where it should be.
    set("hot_standby", &"off");
    let wal = shell_quoted(&inputs.wal.to_string_lossy()).replace('%', "%%");
    set("restore_command", &quoted(&format!("cp {wal}/%f \"%p\"")));
    set("recovery_target_timeline", &quoted(&inputs.timeline.to_string()));
    set("recovery_target_action", &"promote");
    match inputs.end {
        End::Consistent => set("recovery_target", &"immediate"),
        // This setting is read before the server knows what a `Z` is.
        End::At(moment) => {
            set("recovery_target_time", &quoted(&moment.to_string().replace('T', " ").replace('Z', "+00")))
        }
        End::Pieces => {}
    }
    set("log_destination", &"stderr");
    set("logging_collector", &"off");
    set("log_statement", &"none");
    set("log_min_error_statement", &"panic");
    set("timezone", &"UTC");
    set("lc_messages", &"C");
    text
}

/// A word of the shell's that is this text. It has no backslash, which the server would take for its own.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// `postgresql.conf`, whole.
pub(crate) fn render(inputs: &Inputs<'_>) -> String {
    let sizes = sizes(inputs.cluster, inputs.machine);
    let mut text = String::from("# Written by Mainstay. What is changed here is changed back.\n");
    let mut set = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} = {value}");
    };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));

    set("cluster_name", &quoted(inputs.cluster.name.as_str()));
    set("listen_addresses", &quoted(&inputs.listen_address.to_string()));
    set("port", &inputs.cluster.port);
    set("unix_socket_directories", &quoted(&inputs.socket_directory.to_string_lossy()));
    set("unix_socket_permissions", &"0700");
    set("max_connections", &(sizes.max_connections + RESERVED_CONNECTIONS));
    set("superuser_reserved_connections", &RESERVED_CONNECTIONS);
    set("authentication_timeout", &"10s");
    set("password_encryption", &"scram-sha-256");
    match inputs.certificate {
        None => set("ssl", &"off"),
        Some(files) => {
            set("ssl", &"on");
            set("ssl_min_protocol_version", &quoted("TLSv1.2"));
            set("ssl_cert_file", &quoted(&files.certificate.to_string_lossy()));
            set("ssl_key_file", &quoted(&files.key.to_string_lossy()));
        }
    }
    // A client that is gone is noticed within about two minutes, so that its connection counts no more.
    set("tcp_keepalives_idle", &60);
    set("tcp_keepalives_interval", &15);
    set("tcp_keepalives_count", &4);

    set("shared_buffers", &format!("{}MB", sizes.shared_buffers_mib));
    set("effective_cache_size", &format!("{}MB", sizes.effective_cache_mib));
    set("work_mem", &format!("{}kB", sizes.work_mem_kib));
    set("maintenance_work_mem", &format!("{}MB", sizes.maintenance_mem_mib));
    set("temp_file_limit", &format!("{}MB", sizes.temp_file_limit_mib));
    set("max_worker_processes", &(sizes.workers + 6));
    set("max_parallel_workers", &sizes.workers);
    set("max_parallel_workers_per_gather", &(sizes.workers / 2));
    set("max_parallel_maintenance_workers", &(sizes.workers / 2));
    // Compiling costs a burst of memory per session and pays in long analytical queries only.
    set("jit", &"off");

    set("fsync", &"on");
    set("full_page_writes", &"on");
    set("synchronous_commit", &"on");
    set("wal_level", &"replica");
    set("max_wal_senders", &WAL_SENDERS);
    set("max_replication_slots", &WAL_SENDERS);
    set("max_slot_wal_keep_size", &format!("{}MB", sizes.max_kept_wal_mib));
    set("wal_compression", &"on");
    set("max_wal_size", &format!("{}MB", sizes.max_wal_mib));
    set("min_wal_size", &format!("{}MB", sizes.min_wal_mib));
    // What lies between two checkpoints is what a killed server goes through before it serves again. A new
    // database alone is 300 files, so time bounds it and not only the size of the log.
    set("checkpoint_timeout", &"2min");
    // One call instead of opening each of the 300 files that every database has.
    set("recovery_init_sync_method", &"syncfs");
    set("random_page_cost", &"1.1");
    set("restart_after_crash", &"on");

    // To the standard error, which is a file of ours; no statement ever, since one can hold a secret.
    set("log_destination", &"stderr");
    set("logging_collector", &"off");
    set("log_statement", &"none");
    set("log_min_error_statement", &"panic");
    set("log_min_duration_statement", &-1);
    set("log_parameter_max_length_on_error", &0);
    set("log_line_prefix", &quoted("%m [%p] %q%u@%d "));
    set("log_timezone", &quoted("UTC"));
    set("timezone", &quoted("UTC"));
    set("datestyle", &quoted("iso, mdy"));
    set("lc_messages", &quoted("C"));
    set("default_text_search_config", &quoted("pg_catalog.english"));
    text
}

fn sizes(cluster: &ClusterSpec, machine: Machine) -> Sizes {
    // What the server may use, of which it takes a quarter for itself. A shared cluster leaves the machine's
    // other half to the applications beside it.
    let (memory, max_connections) = match cluster.plan {
        Plan::Shared => {
            let memory = machine.memory_mib / 2;
            (memory, (memory / 16).clamp(100, 500) as u32)
        }
        Plan::Dedicated => (offering::memory_mib(&cluster.parameters), offering::max_connections(&cluster.parameters)),
    };
    let shared_buffers_mib = (memory / 4).clamp(16, 8_192);
    // A query may take several times its work_mem, and not all sessions run one at once.
    let work_mem_kib = ((memory - memory / 4) * 1_024 / u64::from(max_connections) / 2).clamp(1_024, 65_536);
    let max_wal_mib = (machine.disk_mib / 8).clamp(2 * LEAST_WAL_MIB, MAX_WAL_MIB);
    Sizes {
        max_connections,
        shared_buffers_mib,
        effective_cache_mib: (memory * 3 / 4).max(64),
        work_mem_kib,
        maintenance_mem_mib: (memory / 16).clamp(16, 1_024),
        max_wal_mib,
        max_kept_wal_mib: (machine.disk_mib / 10).clamp(2 * LEAST_WAL_MIB, MAX_KEPT_WAL_MIB),
        min_wal_mib: (max_wal_mib / 4).max(LEAST_WAL_MIB),
        // One session's sort must not fill the disk that all others write to.
        temp_file_limit_mib: (machine.disk_mib / 8).max(64),
        workers: machine.cores.clamp(2, 32),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;

    use mainstay_engine::ClusterSpec;
    use mainstay_engine::supervise::Machine;
    use mainstay_types::{NodeName, Plan};

    use super::{Inputs, ScratchInputs, render, render_scratch, sizes};
    use crate::recovery::End;

    fn machine(memory_mib: u64, cores: u32, disk_mib: u64) -> Machine {
        Machine { memory_mib, cores, disk_mib, open_files: 65_536 }
    }

    fn cluster(plan: Plan, parameters: &[(&str, &str)]) -> ClusterSpec {
        ClusterSpec {
            name: "postgresql-shared".parse().unwrap(),
            node: NodeName::local(),
            plan,
            port: 7432,
            parameters: parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            identity: None,
        }
    }

    #[test]
    fn a_shared_cluster_is_sized_from_the_machine() {
        for (memory_mib, disk_mib, connections, buffers, wal) in [
            (512, 200, 100, 64, 64),
            (2_048, 10_000, 100, 256, 512),
            (16_384, 500_000, 500, 2_048, 512),
            (262_144, 4_000_000, 500, 8_192, 512),
        ] {
            let sizes = sizes(&cluster(Plan::Shared, &[]), machine(memory_mib, 2, disk_mib));
            let seen = (sizes.max_connections, sizes.shared_buffers_mib, sizes.max_wal_mib);
            assert_eq!(seen, (connections, buffers, wal), "{memory_mib} MiB of memory, {disk_mib} MiB of disk");
        }
    }

    #[test]
    fn a_dedicated_cluster_is_sized_from_its_parameters() {
        let machine = machine(16_384, 8, 100_000);
        let small = sizes(&cluster(Plan::Dedicated, &[("memory_mib", "256"), ("max_connections", "20")]), machine);
        assert_eq!((small.max_connections, small.shared_buffers_mib, small.work_mem_kib), (20, 64, 4_915));
        let large = sizes(&cluster(Plan::Dedicated, &[("memory_mib", "8192")]), machine);
        assert_eq!((large.max_connections, large.shared_buffers_mib, large.work_mem_kib), (100, 2_048, 31_457));
    }

    #[test]
    fn the_text_keeps_data_and_secrets_safe() {
        let (cluster, machine) = (cluster(Plan::Shared, &[]), machine(4_096, 2, 50_000));
        let inputs = Inputs {
            cluster: &cluster,
            machine,
            listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            socket_directory: Path::new("/srv/it's here/run"),
            certificate: None,
        };
        let text = render(&inputs);
        for line in [
            "port = 7432",
            "listen_addresses = '127.0.0.1'",
            "unix_socket_directories = '/srv/it''s here/run'",
            "fsync = on",
            "full_page_writes = on",
            "log_statement = none",
            "max_slot_wal_keep_size = 5000MB",
            "log_min_error_statement = panic",
            "password_encryption = scram-sha-256",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in:\n{text}");
        }
        assert_eq!(text, render(&inputs));
    }

    #[test]
    fn a_scratch_server_is_out_of_everybodys_reach() {
        let cluster = cluster(Plan::Dedicated, &[]);
        let inputs = ScratchInputs {
            cluster: &cluster,
            socket_directory: Path::new("/srv/run"),
            wal: Path::new("/srv/it's 5%/wal"),
            timeline: 3,
            end: End::At("2026-11-21T12:00:00.5Z".parse().unwrap()),
            lasting: false,
        };
        let text = render_scratch(&inputs);
        for line in [
            "listen_addresses = ''",
            "archive_mode = off",
            "hot_standby = off",
            "recovery_target_timeline = '3'",
            "recovery_target_time = '2026-11-21 12:00:00.500000+00'",
            r#"restore_command = 'cp ''/srv/it''"''"''s 5%%/wal''/%f "%p"'"#,
            "fsync = off",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in:\n{text}");
        }
        assert!(render_scratch(&ScratchInputs { lasting: true, ..inputs }).contains("fsync = on"));
    }

    #[test]
    fn parameters_that_a_plan_does_not_know_change_nothing() {
        let machine = machine(4_096, 2, 50_000);
        let with = sizes(&cluster(Plan::Shared, &[("memory_mib", "128")]), machine);
        assert_eq!(with, sizes(&cluster(Plan::Shared, &[]), machine));
    }
}
