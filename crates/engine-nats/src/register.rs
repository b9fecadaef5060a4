//! The accounts of a cluster, and how their changes come into force: written down, written for the server, read by the
//! server, and seen to have been read. Changes that are asked for at the same time come into force together.

use std::fs;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{Process, Signal, write_file};
use mainstay_types::Timestamp;
use tokio::sync::{Mutex, MutexGuard, oneshot};

use crate::accounts::{Accounts, Change};
use crate::capacity::Capacity;
use crate::cluster::Cluster;
use crate::render::{self, FILE, Server};
use crate::{ledger, names};

/// How long the server may take to read its file again. With a thousand accounts it takes 0.3 s; it checks a password for
/// each open connection, which with sixty thousand takes most of a minute.
const RELOAD_PATIENCE: Duration = Duration::from_secs(120);
/// How often is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// What the server logs when it refuses its file, before the reason.
const REFUSAL: &str = "Failed to reload server configuration: ";
/// How many of the log's last lines are looked at for that: other lines of a busy server come between.
const LOG_LINES: usize = 200;

/// What is known of a cluster's accounts, and what is waiting to become so.
#[derive(Debug, Default)]
pub(crate) struct Register {
    current: Mutex<Option<Current>>,
    /// Bounded by its callers, each of which waits for its own.
    waiting: StdMutex<Vec<Waiting>>,
}

/// The accounts as they are in force.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub accounts: Accounts,
    /// The file that the server is known to have read; none where that is not known.
    in_force: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    change: Change,
    answer: oneshot::Sender<Result<(), EngineError>>,
}

/// The accounts as they are, and the file as it is and as it should be, all of one moment.
#[derive(Debug)]
pub(crate) struct Look {
    pub accounts: Accounts,
    pub expected: String,
    pub found: std::io::Result<String>,
    /// When the file was last written.
    pub written_at: Option<Timestamp>,
}

impl Register {
    /// Makes a change, and answers once the server has it.
    pub async fn change(cluster: &Arc<Cluster>, change: Change) -> Result<(), EngineError> {
        let (answer, answered) = oneshot::channel();
        let waiting = || cluster.register.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting().push(Waiting { change, answer });
        // In a task of its own, which goes on when its caller does not wait any longer: others may be waiting for it.
        tokio::spawn({
            let cluster = cluster.clone();
            async move { cluster.register.take_turn(&cluster).await }
        });
        let gone = |_| EngineError::transient("the change was given up because the control plane ends");
        answered.await.unwrap_or_else(|error| Err(gone(error)))
    }

    /// Writes the server's files anew and has it read them, whether or not anything is another.
    pub async fn put_in_force_anew(&self, cluster: &Cluster, process: &Process) -> Result<(), EngineError> {
        let mut current = self.lock(cluster).await?;
        let Some(current) = current.as_mut() else { return Ok(()) };
        current.in_force = None;
        let accounts = current.accounts.clone();
        put_in_force(cluster, process, current, accounts).await
    }

    /// Writes the files for a server that is about to be started.
    pub async fn prepare(&self, cluster: &Cluster) -> Result<(), EngineError> {
        let mut current = self.current.lock().await;
        let accounts = ledger::read(&cluster.directory, &cluster.secret()?)?;
        ledger::write(&cluster.directory, &accounts)?;
        let text = render(cluster, &accounts)?;
        write_file(&cluster.directory.data(), FILE, &text, &cluster.config.user)?;
        // What a starting server finds, it has read once it answers.
        *current = Some(Current { accounts, in_force: Some(text) });
        Ok(())
    }

    /// Looks at the accounts and at the server's file.
    pub async fn look(&self, cluster: &Cluster) -> Result<Look, EngineError> {
        let current = self.lock(cluster).await?;
        let Some(Current { accounts, .. }) = current.clone() else {
            return Err(EngineError::transient("the cluster's accounts are not known"));
        };
        let path = cluster.directory.data().join(FILE);
        let expected = render(cluster, &accounts)?;
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        let written_at = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let written_at =
            written_at.map(|since| Timestamp::from_micros(since.as_micros().try_into().unwrap_or(i64::MAX)));
        Ok(Look { accounts, expected, found: fs::read_to_string(path), written_at })
    }

    /// Makes all changes that wait.
    async fn take_turn(&self, cluster: &Cluster) {
        // The process first: who starts the cluster has that and then wants the register.
        let process = cluster.running().await;
        let mut current = self.current.lock().await;
        let waiting = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return;
        }
        let loaded = load(cluster, &mut current);
        let (process, current) = match (process, loaded) {
            (Ok(process), Ok(current)) => (process, current),
            (Err(error), _) | (_, Err(error)) => return refuse(waiting, &error),
        };
        let capacity = Capacity::look(&cluster.config.clusters_dir);
        let mut accounts = current.accounts.clone();
        let mut accepted = Vec::with_capacity(waiting.len());
        for Waiting { change, answer } in waiting {
            match accounts.apply(change, &capacity) {
                Ok(()) => accepted.push(answer),
                // Who does not wait any longer does not need an answer.
                Err(error) => drop(answer.send(Err(error))),
            }
        }
        let done = put_in_force(cluster, &process, current, accounts).await;
        for answer in accepted {
            let _ = answer.send(done.as_ref().copied().map_err(repeated));
        }
    }

    async fn lock(&self, cluster: &Cluster) -> Result<MutexGuard<'_, Option<Current>>, EngineError> {
        let mut current = self.current.lock().await;
        load(cluster, &mut current)?;
        Ok(current)
    }
}

fn load<'a>(cluster: &Cluster, current: &'a mut Option<Current>) -> Result<&'a mut Current, EngineError> {
    if current.is_none() {
        let accounts = ledger::read(&cluster.directory, &cluster.secret()?)?;
        *current = Some(Current { accounts, in_force: None });
    }
    current.as_mut().ok_or_else(|| EngineError::transient("the cluster's accounts are not known"))
}

fn render(cluster: &Cluster, accounts: &Accounts) -> Result<String, EngineError> {
    let server = Server {
        cluster: &cluster.name,
        address: SocketAddr::new(cluster.config.listen_address, cluster.address.port()),
        keeper: &names::keeper(&cluster.secret()?),
        connections: Capacity::look(&cluster.config.clusters_dir).connections,
        encrypted: cluster.is_certified(),
    };
    Ok(render::render(&server, accounts))
}

/// Makes these accounts those that the server has. Where it refuses them, everything is as it was before.
async fn put_in_force(
    cluster: &Cluster,
    process: &Process,
    current: &mut Current,
    accounts: Accounts,
) -> Result<(), EngineError> {
    let data = cluster.directory.data();
    let text = render(cluster, &accounts)?;
    ledger::write(&cluster.directory, &accounts)?;
    let is_written = fs::read_to_string(data.join(FILE)).is_ok_and(|found| found == text);
    if !is_written || current.in_force.as_ref() != Some(&text) {
        current.in_force = None;
        let written = write_file(&data, FILE, &text, &cluster.config.user);
        let read = match written {
            Ok(()) => reload(cluster, process).await,
            Err(error) => Err(error),
        };
        if let Err(error) = read {
            // The server goes on with what it had, and would find that again if it were started anew.
            let before = render(cluster, &current.accounts)?;
            ledger::write(&cluster.directory, &current.accounts)?;
            write_file(&data, FILE, &before, &cluster.config.user)?;
            return Err(error);
        }
    }
    *current = Current { accounts, in_force: Some(text) };
    Ok(())
}

/// Has the server read its file again, and waits until it has.
async fn reload(cluster: &Cluster, process: &Process) -> Result<(), EngineError> {
    let (begin, position, before) = (Instant::now(), cluster.log().position(), Timestamp::now());
    process.signal(Signal::HUP);
    loop {
        let answer = cluster.admin.server(&cluster.secret()?).await;
        // Both are the machine's one clock, and the server looks at it when it is done.
        if answer.as_ref().is_ok_and(|server| server.config_load_time >= before) {
            return Ok(());
        }
        let log = cluster.log().last_lines(LOG_LINES, position);
        if let Some((_, reason)) = log.split_once(REFUSAL) {
            let reason = reason.split(" | ").next().unwrap_or(reason);
            return Err(EngineError::permanent(
                format!(
                    "the server of cluster {} goes on as before and refuses what it was told: {reason}",
                    cluster.name
                ),
                "stop the cluster and start it again where the reason is a setting that a running server does not change",
            ));
        }
        if let Some(cause) = process.cause_of_end() {
            return Err(EngineError::transient(format!("{cause} while it read its configuration")));
        }
        if begin.elapsed() > RELOAD_PATIENCE {
            let reason = format!("the server of cluster {} did not read its configuration in time", cluster.name);
            return Err(match answer {
                Ok(_) => EngineError::transient(reason),
                Err(error) => EngineError::transient_from(reason, error),
            });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn refuse(waiting: Vec<Waiting>, error: &EngineError) {
    for Waiting { answer, .. } in waiting {
        let _ = answer.send(Err(repeated(error)));
    }
}

/// The same error for each of several who wait, as text: its cause can not be had twice.
fn repeated(error: &EngineError) -> EngineError {
    match error {
        EngineError::Permanent { reason, remedy } => EngineError::permanent(reason, remedy),
        EngineError::Transient { .. } => EngineError::transient(mainstay_types::chain(error)),
    }
}
