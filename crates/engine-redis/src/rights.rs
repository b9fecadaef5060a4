//! What credentials are allowed, as ACL rules. Pure.

use mainstay_types::{InstanceId, Plan};

/// All but what administers the server: its settings, users, persistence, replication and other people's sessions.
///
/// `MIGRATE` would let the server connect to any address. Our function library must stay (see [`crate::marker`]), and a
/// debugged script forks the server. `ROLE` tells a client library which kind of server it has, and `SLOWLOG` and `LATENCY`
/// what is slow; they belong to administration and harm nobody.
const DEDICATED: [&str; 12] = [
    "+@all",
    "-@admin",
    "-migrate",
    "-function|delete",
    "-function|flush",
    "-function|restore",
    "-script|debug",
    "+role",
    "+slowlog|get",
    "+slowlog|len",
    "+latency|latest",
    "+latency|history",
];

/// What works on keys and channels that it names, and nothing that looks beyond them, tells of others, or stops the server for
/// all: the reasons are in the tests that attack it. Scripts are not in it because one that does not end serves nobody else.
///
/// By kinds of data, and what works on all kinds one by one: a command that a later version brings for all keys is not allowed
/// by itself (`CLUSTERSCAN` of Valkey 9 would be, with the others that read).
const SHARED: [&str; 53] = [
    "-@all",
    "+@string",
    "+@bitmap",
    "+@hash",
    "+@list",
    "+@set",
    "+@sortedset",
    "+@stream",
    "+@hyperloglog",
    "+@geo",
    "+@transaction",
    "-@admin",
    "-@dangerous",
    "+copy",
    "+del",
    "+dump",
    "+exists",
    "+expire",
    "+expireat",
    "+expiretime",
    "+object|encoding",
    "+object|freq",
    "+object|idletime",
    "+object|refcount",
    "+persist",
    "+pexpire",
    "+pexpireat",
    "+pexpiretime",
    "+pttl",
    "+rename",
    "+renamenx",
    "+touch",
    "+ttl",
    "+type",
    "+unlink",
    "+publish",
    "+subscribe",
    "+psubscribe",
    "+unsubscribe",
    "+punsubscribe",
    "+spublish",
    "+ssubscribe",
    "+sunsubscribe",
    "+auth",
    "+echo",
    "+hello",
    "+ping",
    "+quit",
    "+reset",
    "+client|getname",
    "+client|id",
    "+client|info",
    "+client|setname",
];

/// What libraries tell of themselves when they connect, where a server knows it: a refusal would fill the log of refusals.
pub(crate) const SETINFO: &str = "client|setinfo";

/// Which commands a credential may use.
pub(crate) fn commands(plan: Plan, knows_setinfo: bool) -> Vec<&'static str> {
    match plan {
        Plan::Dedicated => DEDICATED.to_vec(),
        Plan::Shared => {
            let setinfo = knows_setinfo.then_some("+client|setinfo");
            SHARED.into_iter().chain(setinfo).collect()
        }
    }
}

/// What the keys and channels of an instance begin with.
pub(crate) fn prefix(plan: Plan, instance: &InstanceId) -> String {
    match plan {
        Plan::Dedicated => String::new(),
        // An id consists of digits and lowercase letters, so that it means itself in a pattern.
        Plan::Shared => format!("{}:", instance.suffix()),
    }
}
