//! The port that clients come by: opened once a server was looked at, closed while its data moves elsewhere.

use mainstay_engine::{ClusterSpec, EngineError};
use mainstay_types::Plan;

use crate::admin::{Admin, failed};
use crate::offering;

/// The setting that is the port of a cluster.
fn setting(spec: &ClusterSpec) -> &'static str {
    if offering::tls(spec.plan, &spec.parameters) { "tls-port" } else { "port" }
}

/// Lets clients in, on the cluster's port.
pub(crate) async fn open(admin: &Admin, spec: &ClusterSpec) -> Result<(), EngineError> {
    let open = redis::cmd("CONFIG").arg("SET").arg(setting(spec)).arg(spec.port).clone();
    admin.query(&open).await.map_err(failed(format!("port {} of cluster {} could not be opened", spec.port, spec.name)))
}

/// Lets no client in any more, and ends the sessions of those that are. What they were told is done is done by then.
pub(crate) async fn close(admin: &Admin, spec: &ClusterSpec) -> Result<(), EngineError> {
    let kill = |kind: &str| redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes").clone();
    let commands = redis::pipe()
        .cmd("CONFIG")
        .arg("SET")
        .arg(setting(spec))
        .arg(0)
        .ignore()
        .add_command(kill("normal"))
        .ignore()
        .add_command(kill("pubsub"))
        .ignore()
        .clone();
    admin.query_all(&commands).await.map_err(failed(format!("cluster {} could not be closed", spec.name)))
}

/// Why the port is not as it should be, by the value of its setting; none where it is.
pub(crate) fn changed(spec: &ClusterSpec, closed: bool, in_force: impl Fn(&str) -> Option<String>) -> Option<String> {
    let wanted = if closed { 0 } else { spec.port };
    // A port without TLS beside one with it would be a way around it.
    let plain = (spec.plan == Plan::Dedicated && setting(spec) == "tls-port").then_some(("port", 0));
    let ports = plain.into_iter().chain([(setting(spec), wanted)]);
    let mut wrong = ports.filter_map(|(name, wanted)| {
        let found = in_force(name).unwrap_or_default();
        (found != wanted.to_string()).then(|| format!("{name} is {found:?} and should be \"{wanted}\""))
    });
    wrong.next()
}
