//! What credentials are allowed, as ACL rules. Pure.

use mainstay_types::{InstanceId, Plan};

use crate::config::Flavour;
use crate::install::Version;

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
/// all: the reasons are in the tests that attack it. Scripts are left out because one that does not end serves nobody else.
const SHARED: [&str; 33] = [
    "-@all",
    "+@read",
    "+@write",
    "+@pubsub",
    "+@transaction",
    "+@connection",
    "+@stream",
    "+@blocking",
    "-@scripting",
    "-@admin",
    "-@dangerous",
    "-scan",
    "-keys",
    "-randomkey",
    "-dbsize",
    "-swapdb",
    "-flushdb",
    "-flushall",
    "-pubsub",
    "-client",
    "+client|setname",
    "+client|getname",
    "+client|id",
    "+client|info",
    "-select",
    "-command",
    "-lolwut",
    "-move",
    "-wait",
    "-asking",
    "-readonly",
    "-readwrite",
    "-memory",
];

/// Which commands a credential may use.
pub(crate) fn commands(plan: Plan, flavour: Flavour, version: Version) -> Vec<&'static str> {
    let mut rules = match plan {
        Plan::Dedicated => DEDICATED.to_vec(),
        Plan::Shared => SHARED.to_vec(),
    };
    // Libraries tell their name with it when they connect, and a refusal fills the log of refusals.
    let knows_setinfo = flavour == Flavour::Valkey || version >= Version::new(7, 2, 0);
    if plan == Plan::Shared && knows_setinfo {
        rules.push("+client|setinfo");
    }
    rules
}

/// What the keys and channels of an instance begin with.
pub(crate) fn prefix(plan: Plan, instance: &InstanceId) -> String {
    match plan {
        Plan::Dedicated => String::new(),
        // An id consists of digits and lowercase letters, so that it means itself in a pattern.
        Plan::Shared => format!("{}:", instance.suffix()),
    }
}
