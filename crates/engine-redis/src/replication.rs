//! Moving a cluster's data to another cluster, of either engine, while it is used.
//!
//! ```text
//! replicate_from ─> replication_progress, until little is missing
//!     pause_writes (the source lets writes wait; reads go on)
//!     close_to_clients (the source; its clients' sessions end, and whatever they were told is done is done)
//!     replication_progress, until nothing is missing
//! promote ─> open_to_clients (the new one, on the port that its clients know)
//! ```
//!
//! Each operation can be repeated, and until `promote` everything can be undone: `open_to_clients` of the source, and the copy is
//! removed. What closes a cluster is on disk, so that none of the two opens by itself after a crash.

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_engine::supervise::refuse_taken_port;
use mainstay_engine::{ClusterSpec, EngineError};
use redis::RedisError;
use secrecy::SecretString;

use crate::admin::{failed, hashed};
use crate::cluster::Cluster;
use crate::config::{Flavour, RedisConfig};
use crate::copy::{Copy, Step};
use crate::engine::RedisEngine;
use crate::info::Info;
use crate::install::Version;
use crate::user::{self, FOLLOWER};
use crate::{data, gate, marker, observe, offering};

/// Random bytes of what a copy proves itself with to its source.
const SECRET_BYTES: usize = 32;

/// How far a cluster that follows another one has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It copies what was there in the beginning, or writes that to its own disk, or has lost its source.
    Copying,
    /// It has everything but so many bytes of what was written; none are missing where it is equal.
    Behind { bytes: u64 },
}

impl RedisEngine {
    /// Makes a running cluster of this engine, which loses all that it has, a copy of another one, and keeps it one. The
    /// copy gets the source's credentials too, and is closed to clients until it is opened.
    ///
    /// What cannot be copied is refused before anything is changed: from a newer format to an older one, between
    /// plans, into less memory, or out of TLS.
    pub async fn replicate_from(
        &self,
        to: &ClusterSpec,
        source: &RedisEngine,
        from: &ClusterSpec,
    ) -> Result<(), EngineError> {
        let (copy, original) = (self.running(to).await?, source.running(from).await?);
        let (ours, theirs) = (Info::ask(&copy.admin).await?, Info::ask(&original.admin).await?);
        refuse_impossible(to, (self.config.flavour, &ours), from, (source.config.flavour, &theirs))?;
        if let Some(Copy { step: Step::Complete | Step::Promoted, .. }) = Copy::read(&copy.directory)? {
            return Err(EngineError::permanent(
                format!("cluster {} is a whole copy already", to.name),
                "promote it, or remove it and begin anew",
            ));
        }
        if data::is_closed(&original.directory) {
            return Err(EngineError::permanent(
                format!("cluster {} is closed, so that nothing can follow it", from.name),
                "open it first",
            ));
        }
        Copy::new(original.record(from)?.identity, Step::Following).write(&copy.directory)?;
        self.close_to_clients(to).await?;
        self.copy_credentials(to, source, from).await?;
        if follows(&ours, from) {
            return Ok(());
        }
        let secret = draw_secret()?;
        let attempt = || failed(format!("cluster {} could not be made a copy of {}", to.name, from.name));
        let welcome = redis::cmd("ACL")
            .arg("SETUSER")
            .arg(FOLLOWER)
            .arg(&["reset", "on", "+psync", "+replconf", "+ping"])
            .arg(format!("#{}", hashed(&secret)))
            .clone();
        original.admin.query::<()>(&welcome).await.map_err(attempt())?;
        let tls = if offering::tls(from.plan, &from.parameters) { "yes" } else { "no" };
        let follow = redis::pipe()
            .add_command(redis::cmd("CONFIG").arg("SET").arg(follow_settings(&secret, tls)).clone())
            .ignore()
            .cmd("REPLICAOF")
            .arg(source.config.listen_address.to_string())
            .arg(from.port)
            .ignore()
            .clone();
        copy.admin.query_all::<()>(&follow).await.map_err(attempt())
    }

    /// Gives a copy the credentials that its source has, as they are: no password is known or changed.
    pub async fn copy_credentials(
        &self,
        to: &ClusterSpec,
        source: &RedisEngine,
        from: &ClusterSpec,
    ) -> Result<(), EngineError> {
        let (copy, original) = (self.running(to).await?, source.running(from).await?);
        let allowed = observe::commands(&copy, to.plan).await?;
        let copied = async {
            let (theirs, ours) = (observe::users(&original).await?, observe::users(&copy).await?);
            let mut commands = redis::pipe();
            for (name, user) in theirs.iter().filter(|(name, _)| user::belongs_to_tenants(name)) {
                let set = commands.cmd("ACL").arg("SETUSER").arg(name).arg(user.acl(&allowed));
                set.ignore();
            }
            let gone = ours.keys().filter(|name| user::belongs_to_tenants(name) && !theirs.contains_key(*name));
            for name in gone {
                commands.cmd("ACL").arg("DELUSER").arg(name).ignore();
            }
            if commands.is_empty() {
                return Ok(());
            }
            copy.admin.query_all::<()>(&commands).await?;
            copy.admin.save_users().await
        };
        let copied: Result<(), RedisError> = copied.await;
        copied.map_err(failed(format!("the credentials of cluster {} could not be copied", from.name)))
    }

    /// How far the copy has come.
    pub async fn replication_progress(
        &self,
        to: &ClusterSpec,
        source: &RedisEngine,
        from: &ClusterSpec,
    ) -> Result<Progress, EngineError> {
        let (copy, original) = (self.running(to).await?, source.running(from).await?);
        // The source first: what it has said by then is what the copy is held against.
        let theirs = Info::ask(&original.admin).await?;
        let ours = Info::ask(&copy.admin).await?;
        Ok(progress(&theirs, &ours, from))
    }

    /// Lets the clients' writes wait for at most so long; reads go on. The server itself ends the pause, so that nobody
    /// waits for a control plane that died.
    pub async fn pause_writes(&self, from: &ClusterSpec, at_most: Duration) -> Result<(), EngineError> {
        let milliseconds = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
        let pause = redis::cmd("CLIENT").arg("PAUSE").arg(milliseconds).arg("WRITE").clone();
        let paused = self.running(from).await?.admin.query(&pause).await;
        paused.map_err(failed(format!("the writes of cluster {} could not be paused", from.name)))
    }

    /// Lets writes go on.
    pub async fn resume_writes(&self, from: &ClusterSpec) -> Result<(), EngineError> {
        let resumed = self.running(from).await?.admin.query(redis::cmd("CLIENT").arg("UNPAUSE")).await;
        resumed.map_err(failed(format!("the writes of cluster {} could not be resumed", from.name)))
    }

    /// Lets no client in and ends the sessions that there are, until the cluster is opened; whoever follows it goes on. Its
    /// port is free then.
    pub async fn close_to_clients(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        let cluster = self.running(spec).await?;
        data::keep_closed(&cluster.directory, true)?;
        gate::close(&cluster.admin, spec).await
    }

    /// Lets clients in, on the port that the cluster has now.
    pub async fn open_to_clients(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        let cluster = self.running(spec).await?;
        if Copy::is_unfinished(&cluster.directory)? {
            return Err(EngineError::permanent(
                format!("cluster {} is a copy that is not whole, and serves nobody", spec.name),
                "promote it first",
            ));
        }
        if data::is_closed(&cluster.directory) {
            refuse_taken_port(SocketAddr::new(self.config.listen_address, spec.port), &spec.name)?;
        }
        gate::open(&cluster.admin, spec).await?;
        data::keep_closed(&cluster.directory, false)
    }

    /// Makes a copy that is equal to its source, which has to be closed, stand for itself, with an identity of its own.
    pub async fn promote(&self, to: &ClusterSpec, source: &RedisEngine, from: &ClusterSpec) -> Result<(), EngineError> {
        let copy = self.running(to).await?;
        let Some(mut state) = Copy::read(&copy.directory)? else {
            return Err(EngineError::permanent(
                format!("cluster {} is no copy", to.name),
                "copy a cluster to it first",
            ));
        };
        if state.step == Step::Promoted {
            return Ok(());
        }
        if state.step == Step::Following {
            self.see_complete(to, source, from).await?;
            state.step = Step::Complete;
            state.write(&copy.directory)?;
        }
        stand_alone(&copy, &self.config, to).await?;
        state.step = Step::Promoted;
        state.write(&copy.directory)?;
        // One that runs no more knows nobody who could follow it.
        if let Ok(original) = source.running(from).await {
            let forgotten = original.admin.query::<()>(redis::cmd("ACL").arg("DELUSER").arg(FOLLOWER)).await;
            forgotten.map_err(failed(format!("cluster {} could not forget its copy", from.name)))?;
            original.admin.save_users().await.map_err(failed("the users could not be saved"))?;
        }
        Ok(())
    }

    async fn see_complete(
        &self,
        to: &ClusterSpec,
        source: &RedisEngine,
        from: &ClusterSpec,
    ) -> Result<(), EngineError> {
        let original = source.running(from).await?;
        if !data::is_closed(&original.directory) {
            return Err(EngineError::permanent(
                format!("cluster {} is open, so that its copy is never whole", from.name),
                "close it first",
            ));
        }
        self.copy_credentials(to, source, from).await?;
        match self.replication_progress(to, source, from).await? {
            Progress::Behind { bytes: 0 } => Ok(()),
            Progress::Behind { bytes } => {
                Err(EngineError::transient(format!("cluster {} is {bytes} bytes behind {}", to.name, from.name)))
            }
            Progress::Copying => {
                Err(EngineError::transient(format!("cluster {} does not have all of {} yet", to.name, from.name)))
            }
        }
    }
}

/// Ends following, and puts in place what belongs to this cluster and not to its source.
async fn stand_alone(copy: &Cluster, config: &RedisConfig, to: &ClusterSpec) -> Result<(), EngineError> {
    let tls = if offering::tls(to.plan, &to.parameters) { "yes" } else { "no" };
    let alone = redis::pipe()
        .cmd("REPLICAOF")
        .arg("NO")
        .arg("ONE")
        .ignore()
        .add_command(redis::cmd("CONFIG").arg("SET").arg(follow_settings(&SecretString::from(""), tls)).clone())
        .ignore()
        .clone();
    copy.admin.query_all::<()>(&alone).await.map_err(failed(format!("cluster {} could not be promoted", to.name)))?;
    if offering::persistence(to.plan, &to.parameters) == offering::Persistence::Cache {
        return marker::remove(&copy.admin).await;
    }
    let fsync = offering::fsync(to.plan, &to.parameters);
    let record = copy.record(to)?;
    marker::write(&copy.admin, &record.identity, fsync).await?;
    data::write_record(&copy.directory, &record.marked(), &config.user)
}

fn follow_settings(secret: &SecretString, tls: &str) -> Vec<String> {
    use secrecy::ExposeSecret;
    let user = if secret.expose_secret().is_empty() { "" } else { FOLLOWER };
    ["masteruser", user, "masterauth", secret.expose_secret(), "tls-replication", tls].map(str::to_owned).to_vec()
}

fn draw_secret() -> Result<SecretString, EngineError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

/// Whether a server follows the one on this port, or is about to.
fn follows(info: &Info, from: &ClusterSpec) -> bool {
    info.is_replica()
        && info.number("master_port") == Some(from.port)
        && (info.text("master_link_status") == "up" || info.text("master_sync_in_progress") == "1")
}

fn progress(source: &Info, copy: &Info, from: &ClusterSpec) -> Progress {
    let linked = follows(copy, from) && copy.text("master_link_status") == "up";
    // What it got is not on its own disk before its append-only file was written anew.
    let writing = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"].iter().any(|name| copy.text(name) == "1");
    let failed = copy.text("aof_enabled") == "1" && copy.text("aof_last_bgrewrite_status") != "ok";
    match (source.number::<u64>("master_repl_offset"), copy.number::<u64>("slave_repl_offset")) {
        (Some(said), Some(heard)) if linked && !writing && !failed => {
            Progress::Behind { bytes: said.saturating_sub(heard) }
        }
        _ => Progress::Copying,
    }
}

/// Refuses what could not end well.
fn refuse_impossible(
    to: &ClusterSpec,
    (to_flavour, ours): (Flavour, &Info),
    from: &ClusterSpec,
    (from_flavour, theirs): (Flavour, &Info),
) -> Result<(), EngineError> {
    let unknown = || EngineError::transient("a server does not tell its version");
    let target = (to_flavour, ours.version(to_flavour).ok_or_else(unknown)?);
    let source = (from_flavour, theirs.version(from_flavour).ok_or_else(unknown)?);
    if !reads_format_of(target, source) {
        return Err(EngineError::permanent(
            format!(
                "{} {} does not read the data format of {} {}",
                target.0.name(),
                target.1,
                source.0.name(),
                source.1
            ),
            "move to an engine and a version that read it: Valkey reads what Redis up to 7.2 writes, and each reads what \
             older versions of its own write",
        ));
    }
    if to.plan != from.plan {
        return Err(EngineError::permanent(
            format!(
                "cluster {} is {} and {} is {}, where keys have other names",
                from.name, from.plan, to.name, to.plan
            ),
            "move between clusters of one plan",
        ));
    }
    if offering::tls(from.plan, &from.parameters) && !offering::tls(to.plan, &to.parameters) {
        return Err(EngineError::permanent(
            format!("cluster {} speaks TLS and {} does not", from.name, to.name),
            "make the new cluster with tls=true",
        ));
    }
    // What a server uses is a little more than what counts against its limit, so that a copy with the same limit always fits.
    let memory = |info: &Info, name: &str| info.number::<u64>(name).unwrap_or(0);
    let (needed, allowed) = (memory(theirs, "used_memory"), memory(ours, "maxmemory"));
    if allowed < memory(theirs, "maxmemory") && allowed < needed {
        return Err(EngineError::permanent(
            format!("cluster {} uses {} KiB, and {} may use {} KiB", from.name, needed >> 10, to.name, allowed >> 10),
            "make the new cluster with a larger memory_mib",
        ));
    }
    Ok(())
}

/// Whether one server reads what another writes when it is copied.
fn reads_format_of(target: (Flavour, Version), source: (Flavour, Version)) -> bool {
    // Where the two went apart; what either wrote until then both read.
    const LAST_COMMON: u16 = 11;
    let (reads, writes) = (format(target), format(source));
    writes <= reads && (target.0 == source.0 || writes <= LAST_COMMON)
}

/// The number of the format that a server writes copies in (`RDB_VERSION` in its `rdb.h`).
fn format((flavour, version): (Flavour, Version)) -> u16 {
    match (flavour, version.major, version.minor) {
        (Flavour::Redis, 7, 0 | 1) => 10,
        (Flavour::Redis, 7, 2 | 3) | (Flavour::Valkey, 7 | 8, _) => 11,
        (Flavour::Redis, 7, _) | (Flavour::Redis, 8, 0 | 1) => 12,
        // Later versions of Redis are taken to write something that only they read.
        (Flavour::Redis, major, minor) => 13_u16.saturating_add(major.saturating_mul(100)).saturating_add(minor),
        // Valkey has numbers of its own since 9.0, so that nobody takes one format for the other.
        (Flavour::Valkey, major, _) => 71_u16.saturating_add(major),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_engine::ClusterSpec;
    use mainstay_types::{NodeName, Parameters, Plan};

    use super::{Flavour, Info, Progress, Version, progress, reads_format_of};

    #[test]
    fn formats() {
        let redis = |major, minor| (Flavour::Redis, Version::new(major, minor, 0));
        let valkey = |major, minor| (Flavour::Valkey, Version::new(major, minor, 0));
        for (target, source, expected) in [
            (valkey(9, 1), redis(7, 0), true),
            (valkey(8, 0), redis(7, 2), true),
            (redis(7, 2), valkey(8, 0), true),
            (redis(8, 2), valkey(7, 2), true),
            (redis(7, 0), redis(7, 0), true),
            (valkey(9, 1), valkey(8, 0), true),
            (redis(8, 2), redis(7, 0), true),
            (redis(7, 0), valkey(9, 1), false),
            (redis(7, 0), valkey(8, 0), false),
            (valkey(8, 0), valkey(9, 0), false),
            (valkey(9, 1), redis(7, 4), false),
            (valkey(9, 1), redis(8, 0), false),
            (redis(8, 2), valkey(9, 0), false),
            (redis(7, 0), redis(7, 2), false),
        ] {
            assert_eq!(reads_format_of(target, source), expected, "{source:?} to {target:?}");
        }
    }

    #[test]
    fn a_copy_is_equal_when_it_heard_and_wrote_all() {
        let from = ClusterSpec {
            name: "redis-1".parse().unwrap(),
            node: NodeName::local(),
            plan: Plan::Dedicated,
            port: 7479,
            parameters: Parameters::default(),
            identity: None,
        };
        let source = Info::parse("master_repl_offset:100");
        let good = "role:slave\nmaster_port:7479\nmaster_link_status:up\nslave_repl_offset:90\naof_enabled:1\n\
                    aof_last_bgrewrite_status:ok\naof_rewrite_in_progress:0\n";
        for (change, expected) in [
            (("", ""), Progress::Behind { bytes: 10 }),
            (("offset:90", "offset:100"), Progress::Behind { bytes: 0 }),
            (("offset:90", "offset:101"), Progress::Behind { bytes: 0 }),
            (("status:up", "status:down"), Progress::Copying),
            (("role:slave", "role:master"), Progress::Copying),
            (("in_progress:0", "in_progress:1"), Progress::Copying),
            (("status:ok", "status:err"), Progress::Copying),
            (("port:7479", "port:7480"), Progress::Copying),
        ] {
            let copy = Info::parse(&good.replace(change.0, change.1));
            assert_eq!(progress(&source, &copy, &from), expected, "{change:?}");
        }
    }
}
