//! Figures of a server, named as in the OpenTelemetry collector's Redis receiver.

use crate::info::Info;

/// Names, and what they are called in the answer to `INFO`.
const FIGURES: [(&str, &str); 23] = [
    ("redis.uptime", "uptime_in_seconds"),
    ("redis.clients.connected", "connected_clients"),
    ("redis.clients.blocked", "blocked_clients"),
    ("redis.connections.received", "total_connections_received"),
    ("redis.connections.rejected", "rejected_connections"),
    ("redis.commands", "instantaneous_ops_per_sec"),
    ("redis.commands.processed", "total_commands_processed"),
    ("redis.keys.evicted", "evicted_keys"),
    ("redis.keys.expired", "expired_keys"),
    ("redis.keyspace.hits", "keyspace_hits"),
    ("redis.keyspace.misses", "keyspace_misses"),
    ("redis.latest_fork", "latest_fork_usec"),
    ("redis.maxmemory", "maxmemory"),
    ("redis.memory.used", "used_memory"),
    ("redis.memory.peak", "used_memory_peak"),
    ("redis.memory.rss", "used_memory_rss"),
    ("redis.memory.lua", "used_memory_lua"),
    ("redis.memory.fragmentation_ratio", "mem_fragmentation_ratio"),
    ("redis.net.input", "total_net_input_bytes"),
    ("redis.net.output", "total_net_output_bytes"),
    ("redis.rdb.changes_since_last_save", "rdb_changes_since_last_save"),
    ("redis.replication.offset", "master_repl_offset"),
    ("redis.slaves.connected", "connected_slaves"),
];

/// The figures that a server tells.
pub(crate) fn figures(info: &Info) -> Vec<(&'static str, f64)> {
    let told = FIGURES.iter().filter_map(|(name, told)| Some((*name, info.number(told)?)));
    told.chain([("redis.db.keys", info.keys() as f64)]).collect()
}
