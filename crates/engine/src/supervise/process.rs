//! One running engine process, our own child or one that an earlier control plane started.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::directory::ClusterDirectory;
use super::launch::Launch;
use super::log::EngineLog;
use super::procfs;
use super::record::ProcessRecord;

/// How often the size of a running engine's log is looked at.
const LOG_CHECK: Duration = Duration::from_secs(30);

/// A process that serves a cluster. Dropping it leaves the process running.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    ended: watch::Receiver<Option<String>>,
}

/// Why a process could not be started, watched or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("{} could not be started", program.display())]
    Spawn {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("process {pid} could not be watched")]
    Watch {
        pid: Pid,
        #[source]
        source: std::io::Error,
    },
    #[error("process {pid} did not end after it was sent {signals}")]
    DoesNotEnd { pid: Pid, signals: String },
}

/// One step of stopping: a signal, and how long to wait for the end after it.
#[derive(Debug, Clone, Copy)]
pub struct StopStep {
    pub signal: Signal,
    pub patience: Duration,
}

impl Process {
    /// Starts a program for a cluster and puts on record which process it is. Has to be called within a runtime.
    pub fn start(launch: &Launch, directory: &ClusterDirectory) -> Result<Self, ProcessError> {
        let child = launch
            .spawn(directory)
            .map_err(|source| ProcessError::Spawn { program: launch.program.clone(), source })?;
        // The child is reaped through its pidfd, like an adopted process; the standard library's handle has
        // nothing left to do. A pid always fits: the kernel gave it.
        let pid = Pid::from_child(&child);
        if let Some(record) = ProcessRecord::of(pid)
            && let Err(error) = record.write(directory)
        {
            // The process is found by its working directory then. A full disk must not keep an engine from starting.
            tracing::warn!(%pid, %error, "could not put the engine's process on record");
        }
        Self::watch(pid, directory)
    }

    /// Finds the process that an earlier control plane started for a cluster, when it still lives.
    ///
    /// By the record, and where that is lost to a crash right after the start, by working directory and command.
    pub fn adopt(launch: &Launch, directory: &ClusterDirectory) -> Result<Option<Self>, ProcessError> {
        if let Some(record) = ProcessRecord::read(directory)
            && let Some(pid) = record.is_alive()
        {
            let process = Self::watch(pid, directory)?;
            // Looked at again now that the pidfd holds the pid: it may have gone to another process meanwhile.
            return Ok(record.is_alive().map(|_| process));
        }
        let command = launch.command();
        let found = procfs::in_directory(&directory.data(), launch.user.uid);
        let is_leader = |pid: &&Pid| {
            procfs::command(**pid) == command
                && procfs::stat(**pid).is_some_and(|stat| found.iter().all(|other| other.as_raw_pid() != stat.parent))
        };
        let Some(pid) = found.iter().find(is_leader) else { return Ok(None) };
        let process = Self::watch(*pid, directory)?;
        if let Some(record) = ProcessRecord::of(*pid)
            && let Err(error) = record.write(directory)
        {
            tracing::warn!(%pid, %error, "could not put the engine's process on record");
        }
        Ok(Some(process))
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// Why it ended; none while it lives.
    pub fn cause_of_end(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    /// Resolves with the cause once it has ended.
    pub async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(cause) => cause.clone().unwrap_or_default(),
            // The watching task is gone only when the runtime shuts down.
            Err(_) => "it is no longer watched".to_owned(),
        }
    }

    /// Sends it a signal; one that has ended is as good.
    pub fn signal(&self, signal: Signal) {
        // Fails only for a process that has ended: the pidfd names no other, and it is ours to signal.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Stops it: each signal in turn, until it has ended.
    pub async fn stop(&self, steps: &[StopStep]) -> Result<String, ProcessError> {
        for step in steps {
            self.signal(step.signal);
            if let Ok(cause) = tokio::time::timeout(step.patience, self.ended()).await {
                return Ok(cause);
            }
        }
        let signals = steps.iter().map(|step| format!("{:?}", step.signal)).collect::<Vec<_>>().join(", ");
        Err(ProcessError::DoesNotEnd { pid: self.pid, signals })
    }

    fn watch(pid: Pid, directory: &ClusterDirectory) -> Result<Self, ProcessError> {
        let failed = |source: std::io::Error| ProcessError::Watch { pid, source };
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        let watched = watchable(pidfd.try_clone().map_err(failed)?).map_err(failed)?;
        let (sender, ended) = watch::channel(None);
        tokio::spawn(watch_until_end(watched, EngineLog::new(directory), directory.clone(), sender));
        Ok(Self { pid, pidfd, ended })
    }
}

#[allow(unsafe_code)]
pub(super) fn watchable(descriptor: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open until it is dropped and always gives the same descriptor; the `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register(descriptor) }?)
}

/// Waits for the end, reaps the process where it is our child, and keeps its log bounded meanwhile.
async fn watch_until_end(
    pidfd: AsyncFd<OwnedFd>,
    log: EngineLog,
    directory: ClusterDirectory,
    sender: watch::Sender<Option<String>>,
) {
    let mut log_check = tokio::time::interval(LOG_CHECK);
    loop {
        tokio::select! {
            // A pidfd is readable once its process has ended (pidfd_open(2)).
            _ = pidfd.readable() => break,
            _ = log_check.tick() => rotate(&log).await,
            // Nobody holds the process any more: another control plane may, and then rotates its log.
            () = sender.closed() => return,
        }
    }
    ProcessRecord::remove(&directory);
    sender.send_replace(Some(reap(pidfd.get_ref())));
}

async fn rotate(log: &EngineLog) {
    let log = log.clone();
    let rotated = tokio::task::spawn_blocking(move || log.rotate()).await;
    if let Ok(Err(error)) = rotated {
        tracing::warn!(%error, "could not rotate an engine's log");
    }
}

/// The cause of an end, which only the parent learns.
fn reap(pidfd: &OwnedFd) -> String {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        return match waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(pidfd)), options) {
            Ok(Some(status)) => cause(&status),
            Err(Errno::INTR) => continue,
            Ok(None) | Err(_) => "its process ended".to_owned(),
        };
    }
}

fn cause(status: &WaitIdStatus) -> String {
    match (status.terminating_signal(), status.exit_status()) {
        (Some(signal), _) => format!("its process was ended by signal {signal}"),
        (None, Some(code)) => format!("its process exited with code {code}"),
        (None, None) => "its process ended".to_owned(),
    }
}
