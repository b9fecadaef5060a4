//! The accounts of a cluster, and how their changes come into force: written down, written for the server, read by the
//! server, and seen to have been read. Changes that are asked for at the same time come into force together.

use std::fs;
use std::mem;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{Process, Signal, read_file, write_derived_file};
use mainstay_types::Timestamp;
use tokio::sync::{Mutex, oneshot};

use crate::accounts::{Accounts, Change};
use crate::capacity::Capacity;
use crate::cluster::Cluster;
use crate::render::{self, FILE, Server};
use crate::{ledger, names};

/// How long the server may take to read its file again. With a thousand accounts it takes 0.3 s; it checks a password for
/// each open connection, which with sixty thousand takes most of a minute.
const RELOAD_PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked whether it has, one time right after the other: it answers within some 100 µs, and mostly has by then.
const ASKED_AT_ONCE: usize = 20;
/// How often it is asked after that.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// What the server logs when it refuses its file, before the reason.
const REFUSAL: &str = "Failed to reload server configuration: ";
/// How many of the log's last lines are looked at for that: other lines of a busy server come between.
const LOG_LINES: usize = 200;

/// What is known of a cluster's accounts, and what is waiting to become so.
#[derive(Debug, Default)]
pub(crate) struct Register {
    /// Who has it writes the files and has the server read them, one after the other.
    turn: Mutex<()>,
    /// As it is written, which the server may be reading still. Held for moments only, so that whoever looks at a cluster
    /// does not wait for the server.
    current: StdMutex<Option<Current>>,
    /// Bounded by its callers, each of which waits for its own.
    waiting: StdMutex<Vec<Waiting>>,
}

/// The accounts as they are written.
#[derive(Debug, Clone)]
struct Current {
    accounts: Accounts,
    /// The file that the server is known to have read; none where that is not known.
    in_force: Option<String>,
    /// Whether the server is reading the file.
    reading: bool,
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
    /// When the file was last written; none while the server is reading it.
    pub written_at: Option<Timestamp>,
}

impl Register {
    /// Makes a change, and answers once the server has it.
    pub async fn change(cluster: &Arc<Cluster>, change: Change) -> Result<(), EngineError> {
        let (answer, mut answered) = oneshot::channel();
        cluster.register.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { change, answer });
        // In a task of its own, which goes on when its caller does not wait any longer: others may be waiting for it.
        let task = tokio::spawn({
            let cluster = cluster.clone();
            async move {
                // Whoever has the turn before may make this change too. All answers are given when a turn is over, so
                // that one is never given up in its middle.
                tokio::select! {
                    biased;
                    answer = &mut answered => return answer,
                    () = cluster.register.take_turn(&cluster) => {}
                }
                answered.await
            }
        });
        // Once this is over, nothing of it holds the cluster any more.
        match task.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(EngineError::transient("the change was given up")),
        }
    }

    /// Writes the server's files anew and has it read them, whether or not anything is another.
    pub async fn put_in_force_anew(&self, cluster: &Cluster, process: &Process) -> Result<(), EngineError> {
        let _turn = self.turn.lock().await;
        let accounts = self.with(cluster, |current| {
            current.in_force = None;
            current.accounts.clone()
        })?;
        self.put_in_force(cluster, process, accounts).await
    }

    /// Writes the files for a server that is about to be started.
    pub async fn prepare(&self, cluster: &Cluster) -> Result<(), EngineError> {
        let _turn = self.turn.lock().await;
        *self.current() = None;
        self.with(cluster, |current| {
            let text = render(cluster, &current.accounts)?;
            write(cluster, &current.accounts, &text)?;
            // What a starting server finds, it has read once it answers.
            current.in_force = Some(text);
            Ok(())
        })?
    }

    /// The accounts as they are written.
    pub fn accounts(&self, cluster: &Cluster) -> Result<Accounts, EngineError> {
        self.with(cluster, |current| current.accounts.clone())
    }

    /// Looks at the accounts and at the server's file.
    pub fn look(&self, cluster: &Cluster) -> Result<Look, EngineError> {
        self.with(cluster, |current| {
            let path = cluster.directory.data().join(FILE);
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
            let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).filter(|_| !current.reading);
            Ok(Look {
                expected: render(cluster, &current.accounts)?,
                accounts: current.accounts.clone(),
                found: read_file(path),
                written_at: since.map(|since| Timestamp::from_micros(since.as_micros().try_into().unwrap_or(i64::MAX))),
            })
        })?
    }

    /// Makes all changes that wait.
    async fn take_turn(&self, cluster: &Cluster) {
        // The process before the turn: who starts the cluster has the one and then wants the other.
        let process = cluster.running().await;
        let _turn = self.turn.lock().await;
        let waiting = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return;
        }
        let accounts = self.accounts(cluster);
        let (process, mut accounts) = match (process, accounts) {
            (Ok(process), Ok(accounts)) => (process, accounts),
            (Err(error), _) | (_, Err(error)) => return refuse(waiting, &error),
        };
        let capacity = Capacity::look(&cluster.config.clusters_dir);
        let apply = |Waiting { change, answer }| (answer, accounts.apply(change, &capacity));
        let applied: Vec<_> = waiting.into_iter().map(apply).collect();
        let done = self.put_in_force(cluster, &process, accounts).await;
        for (answer, accepted) in applied {
            // Who does not wait any longer does not need an answer.
            let _ = answer.send(accepted.and_then(|()| done.as_ref().copied().map_err(repeated)));
        }
    }

    /// Makes these accounts those that the server has. Where it refuses them, everything is as it was before. The turn has
    /// to be the caller's.
    async fn put_in_force(&self, cluster: &Cluster, process: &Process, next: Accounts) -> Result<(), EngineError> {
        let text = render(cluster, &next)?;
        let found = read_file(cluster.directory.data().join(FILE));
        let is_written = found.is_ok_and(|found| found == text);
        let kept = next.clone();
        let before = self.with(cluster, |current| {
            let is_read = is_written && current.in_force.as_ref() == Some(&text);
            if is_read {
                // What the server does not know of may be another all the same.
                ledger::write(&cluster.directory, &next)?;
                current.accounts = next;
                return Ok(None);
            }
            let before = mem::replace(&mut current.accounts, next);
            (current.in_force, current.reading) = (None, true);
            match write_for_server(cluster, &text) {
                Ok(()) => Ok(Some(before)),
                Err(error) => restore(cluster, current, before).and(Err(error)),
            }
        })??;
        let Some(before) = before else { return Ok(()) };
        // Put on disk while the server reads. Nobody has an answer yet: what only one of the two has after a crash is done again.
        let directory = cluster.directory.clone();
        let keep = tokio::task::spawn_blocking(move || ledger::write(&directory, &kept));
        let reading = Reading(self);
        let (read, kept) = futures::future::join(reload(cluster, process), keep).await;
        drop(reading);
        let kept = kept.map_err(|error| EngineError::transient_from("the accounts could not be written down", error));
        self.with(cluster, |current| match read.and(kept.and_then(|kept| kept)) {
            Ok(()) => {
                current.in_force = Some(text);
                Ok(())
            }
            // The server goes on with what it had, and would find that again if it were started anew.
            Err(error) => restore(cluster, current, before).and(Err(error)),
        })?
    }

    /// Does something with the accounts, which are read first where they are not known yet.
    fn with<T>(&self, cluster: &Cluster, act: impl FnOnce(&mut Current) -> T) -> Result<T, EngineError> {
        let mut current = self.current();
        let current = match &mut *current {
            Some(current) => current,
            none => {
                let accounts = ledger::read(&cluster.directory, &cluster.secret()?)?.without_guests();
                none.insert(Current { accounts, in_force: None, reading: false })
            }
        };
        Ok(act(current))
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        // What a panic leaves half-done is in the files, which are compared with it at every look.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, the server is reading its file; also who does not wait any longer says when that is over.
struct Reading<'a>(&'a Register);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(current) = &mut *self.0.current() {
            current.reading = false;
        }
    }
}

fn render(cluster: &Cluster, accounts: &Accounts) -> Result<String, EngineError> {
    let server = Server {
        cluster: &cluster.name,
        address: cluster.address,
        keeper: &names::keeper(&cluster.secret()?),
        connections: Capacity::connections(),
        encrypted: cluster.is_certified(),
        confines_accounts: cluster.admin.confines_accounts(),
    };
    Ok(render::render(&server, accounts))
}

/// Writes both files: ours, and the server's with this text.
fn write(cluster: &Cluster, accounts: &Accounts, text: &str) -> Result<(), EngineError> {
    ledger::write(&cluster.directory, accounts)?;
    write_for_server(cluster, text)
}

fn write_for_server(cluster: &Cluster, text: &str) -> Result<(), EngineError> {
    // Written anew from ours whenever the server is started.
    write_derived_file(&cluster.directory.data(), FILE, text, &cluster.config.user)
}

/// Brings back what was before a change that did not come into force.
fn restore(cluster: &Cluster, current: &mut Current, before: Accounts) -> Result<(), EngineError> {
    (current.accounts, current.reading) = (before, false);
    let text = render(cluster, &current.accounts)?;
    write(cluster, &current.accounts, &text)
}

/// Has the server read its file again, and waits until it has.
async fn reload(cluster: &Cluster, process: &Process) -> Result<(), EngineError> {
    let (begin, position, before) = (Instant::now(), cluster.log().position(), Timestamp::now());
    process.signal(Signal::HUP);
    let mut asked = 0;
    loop {
        asked += 1;
        let answer = cluster.admin.server(&cluster.secret()?).await;
        // Both are the machine's one clock, and the server looks at it when it is done.
        if answer.as_ref().is_ok_and(|server| server.config_load_time >= before) {
            return Ok(());
        }
        if answer.is_ok() && asked < ASKED_AT_ONCE {
            continue;
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
