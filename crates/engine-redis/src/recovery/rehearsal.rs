//! A backup looked at in a scratch server.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use mainstay_engine::recovery::{Archive, Assertion, Backup, Check, Rehearsal};
use mainstay_engine::supervise::run_program;
use mainstay_engine::{ClusterSpec, EngineError, InstanceSpec};
use mainstay_types::Plan;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};

use super::keys::Scan;
use super::scratch::{SNAPSHOT, Scratch};
use super::{command, notes};
use crate::admin::failed;
use crate::engine::RedisEngine;
use crate::info::Info;
use crate::{install, observe, rights};

/// How long the server's own tool may read a snapshot: the largest that is offered, from a slow disk.
const CHECK_PATIENCE: Duration = Duration::from_secs(900);
/// Values that are read as a sample.
const SAMPLE: usize = 200;
/// Who asserts: somebody who may what the instance's bindings may, and nothing else.
const OWNER: &str = "owner";

pub(super) async fn rehearse(
    engine: &RedisEngine,
    spec: &ClusterSpec,
    instance: &InstanceSpec,
    backup: &Backup,
    assertions: &[Assertion],
    archive: &Archive,
) -> Result<Rehearsal, EngineError> {
    let begin = Instant::now();
    let scratch = Scratch::lay_out(engine, backup, archive).await?;
    let recovery_time = begin.elapsed();
    archive.progress.stage("looking at the data");
    let checks = look(engine, spec, instance, backup, assertions, &scratch).await;
    scratch.remove().await;
    Ok(Rehearsal { recovery_time, newest: backup.ended_at, checks: checks? })
}

async fn look(
    engine: &RedisEngine,
    spec: &ClusterSpec,
    instance: &InstanceSpec,
    backup: &Backup,
    assertions: &[Assertion],
    scratch: &Scratch,
) -> Result<Vec<Check>, EngineError> {
    let attempt = || failed("the scratch server could not be asked");
    let info = Info::ask(&scratch.cluster.admin).await?;
    let mut checks = vec![check_file(engine, scratch).await, count_all(backup, &info)];
    let prefix = rights::prefix(spec.plan, &instance.id);
    let (found, sampled) = read_keys(spec, &info, scratch, &prefix).await.map_err(attempt())?;
    checks.push(count_of_instance(backup, spec, instance, &info, found));
    checks.push(sampled);
    if !assertions.is_empty() {
        let mut owner = become_owner(spec, scratch, &prefix).await?;
        for assertion in assertions {
            checks.push(assert(&mut owner, assertion).await);
        }
    }
    Ok(checks)
}

/// The server's program is its checker too, under that name.
async fn check_file(engine: &RedisEngine, scratch: &Scratch) -> Check {
    let name = format!("{}-check-rdb", engine.config.flavour.name());
    let program = install::program(engine.config.flavour, engine.config.bin_dir.as_deref()).unwrap_or_default();
    let mut check = Command::new(program);
    check.arg0(&name).arg(scratch.cluster.directory.data().join(SNAPSHOT));
    let (failure, seen) = match run_program(check, &[], &engine.config.user, CHECK_PATIENCE).await {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let counts = text.lines().filter_map(|line| line.strip_prefix("[info] "));
            (None, counts.collect::<Vec<_>>().join(", "))
        }
        Err(error) => (Some(error.to_string()), String::new()),
    };
    Check { name, failure, seen }
}

/// As many keys came back as were counted when the backup was made, those that have expired since among them.
fn count_all(backup: &Backup, info: &Info) -> Check {
    let number = |name: &str| info.number::<u64>(name).unwrap_or(0);
    let (loaded, expired) = (number("rdb_last_load_keys_loaded"), number("rdb_last_load_keys_expired"));
    let seen = format!("{loaded} keys, and {expired} that have expired");
    let failure = match notes::keys(backup) {
        Some(counted) if counted != loaded + expired => Some(format!("{counted} keys were backed up")),
        _ => None,
    };
    Check { name: "keys".to_owned(), failure, seen }
}

fn count_of_instance(backup: &Backup, spec: &ClusterSpec, instance: &InstanceSpec, info: &Info, found: u64) -> Check {
    // They expire while they are looked at, too.
    let may_be_gone = ["rdb_last_load_keys_expired", "expired_keys"];
    let may_be_gone: u64 = may_be_gone.iter().filter_map(|name| info.number::<u64>(name)).sum();
    let expiring: u64 = info.expiring();
    let failure = match notes::keys_of(backup, spec.plan, &instance.id) {
        Some(counted) if found > counted || found + may_be_gone + expiring < counted => {
            Some(format!("{counted} keys of the instance were backed up"))
        }
        _ => None,
    };
    Check { name: "keys of the instance".to_owned(), failure, seen: format!("{found} keys") }
}

/// Counts the instance's keys, and reads some of their values in full.
async fn read_keys(
    spec: &ClusterSpec,
    info: &Info,
    scratch: &Scratch,
    prefix: &str,
) -> Result<(u64, Check), RedisError> {
    let databases = if spec.plan == Plan::Shared { vec![0] } else { info.databases() };
    let (mut found, mut read, mut bytes) = (0, 0, 0);
    for database in databases {
        let mut connection = scratch.cluster.admin.connect_apart(database).await?;
        let mut scan = Scan::of(prefix);
        while let Some(names) = scan.next(&mut connection).await? {
            found += names.len() as u64;
            for name in names.iter().take(SAMPLE.saturating_sub(read)) {
                let value: Option<Vec<u8>> = redis::cmd("DUMP").arg(name).query_async(&mut connection).await?;
                read += 1;
                bytes += value.map_or(0, |value| value.len());
            }
        }
    }
    let seen = format!("{read} values of {bytes} bytes were read");
    Ok((found, Check { name: "a sample of values".to_owned(), failure: None, seen }))
}

/// In the scratch server there may be others' data too, which an owner must not ask for.
async fn become_owner(
    spec: &ClusterSpec,
    scratch: &Scratch,
    prefix: &str,
) -> Result<MultiplexedConnection, EngineError> {
    let attempt = || failed("the owner's assertions could not be asked");
    let commands = observe::commands(&scratch.cluster, spec.plan).await?;
    let mut user = redis::cmd("ACL").arg("SETUSER").arg(OWNER).arg(&["reset", "on", "nopass"]).clone();
    user.arg(format!("~{prefix}*")).arg(format!("&{prefix}*")).arg(&commands);
    scratch.cluster.admin.query::<()>(&user).await.map_err(attempt())?;
    let mut connection = scratch.cluster.admin.connect_apart(0).await.map_err(attempt())?;
    redis::cmd("AUTH").arg(OWNER).arg("").query_async::<()>(&mut connection).await.map_err(attempt())?;
    Ok(connection)
}

async fn assert(owner: &mut MultiplexedConnection, assertion: &Assertion) -> Check {
    let answer = match command::words(&assertion.query) {
        Ok(words) => {
            let mut command = redis::Cmd::new();
            words.iter().for_each(|word| _ = command.arg(word.as_slice()));
            command.query_async::<Value>(owner).await.map_err(|error| error.to_string())
        }
        Err(reason) => Err(reason.to_owned()),
    };
    let (failure, seen) = match answer {
        Ok(answer) => {
            let seen = command::printed(&answer);
            let differs = seen != assertion.expect;
            (differs.then(|| format!("it answered {seen:?}, and {:?} was expected", assertion.expect)), seen)
        }
        Err(reason) => (Some(reason), String::new()),
    };
    Check { name: format!("assertion {}", assertion.query), failure, seen }
}
