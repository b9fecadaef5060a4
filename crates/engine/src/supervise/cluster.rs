//! A cluster that is one process: who may supervise it, how it is found, started, awaited, stopped and removed.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_types::ClusterName;
use rustix::process::Signal;
use tokio::sync::{Mutex, MutexGuard};

use super::appearance::Appearances;
use super::directory::{ClusterDirectory, ClusterLock};
use super::launch::Launch;
use super::log::EngineLog;
use super::process::{Process, StopStep};
use super::stragglers::end_stragglers;
use super::user::EngineUser;
use crate::EngineError;

/// How long what a killed engine left behind gets to end by itself. What waits for something does so at once; what
/// computes does not notice, and 5 s is all that a restart may take.
const STRAGGLER_PATIENCE: Duration = Duration::from_millis(200);
/// How often is looked whether an engine is ready: often while one that starts in milliseconds may become so, since whoever wants
/// a cache of its own waits for that; and then as rarely as nobody notices.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(5)];
/// For how long it is looked often.
const QUICK_START: Duration = Duration::from_millis(100);
/// How many log lines explain a failed start.
const EXPLAINING_LINES: usize = 4;

/// A cluster's directory and, while this control plane supervises it, its lock and its process.
#[derive(Debug)]
pub struct ClusterProcess {
    directory: ClusterDirectory,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    lock: Option<ClusterLock>,
    process: Option<Arc<Process>>,
}

/// A cluster while nobody else of this control plane starts, stops or removes it.
#[derive(Debug)]
pub struct Supervision<'a> {
    directory: &'a ClusterDirectory,
    held: MutexGuard<'a, Held>,
}

/// How far a start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Not yet, and it may take so long from its beginning.
    Within(Duration),
}

impl ClusterProcess {
    /// The cluster, of which nothing is known yet.
    pub fn new(directory: ClusterDirectory) -> Self {
        Self { directory, held: Mutex::default() }
    }

    pub fn directory(&self) -> &ClusterDirectory {
        &self.directory
    }

    /// Has the cluster for oneself.
    pub async fn supervise(&self) -> Supervision<'_> {
        Supervision { directory: &self.directory, held: self.held.lock().await }
    }

    /// The running process, found if an earlier control plane started it. What it was started as tells it from others.
    pub async fn process(&self, launch: impl FnOnce() -> Launch) -> Result<Option<Arc<Process>>, EngineError> {
        self.supervise().await.attach(launch)
    }

    /// Why it does not run, as far as that is known.
    pub async fn cause_of_end(&self) -> String {
        let held = self.held.lock().await;
        let cause = held.process.as_ref().and_then(|process| process.cause_of_end());
        cause.unwrap_or_else(|| "no process of it runs".to_owned())
    }

    /// Stops its process, each step in turn, and ends what that leaves behind.
    pub async fn stop(&self, launch: impl FnOnce() -> Launch, steps: &[StopStep]) -> Result<(), EngineError> {
        let launch = launch();
        let user = launch.user.clone();
        let mut supervision = self.supervise().await;
        if let Some(process) = supervision.attach(|| launch)? {
            process.stop(steps).await.map_err(|error| EngineError::transient_from("it could not be stopped", error))?;
        }
        supervision.end_stragglers(&user).await.map(drop)
    }

    /// Sends its process a signal, where one is known that runs and nobody is starting or stopping it.
    pub fn signal(&self, signal: Signal) {
        if let Ok(held) = self.held.try_lock()
            && let Some(process) = &held.process
        {
            process.signal(signal);
        }
    }

    /// Removes everything of it but its process, which has to be stopped.
    pub async fn remove(&self) -> Result<(), EngineError> {
        let mut supervision = self.supervise().await;
        if !self.directory.root().exists() {
            return Ok(());
        }
        supervision.lock()?;
        let directory = self.directory.clone();
        let removed = tokio::task::spawn_blocking(move || directory.remove()).await;
        supervision.held.lock = None;
        match removed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(EngineError::transient_from("its directory could not be removed", error)),
            Err(error) => Err(EngineError::transient_from("its directory could not be removed", error)),
        }
    }
}

impl Supervision<'_> {
    /// Takes the cluster for this control plane. Its directory has to exist.
    pub fn lock(&mut self) -> Result<(), EngineError> {
        if self.held.lock.is_none() {
            self.held.lock = Some(self.directory.lock()?);
        }
        Ok(())
    }

    /// The running process, found if an earlier control plane started it.
    pub fn attach(&mut self, launch: impl FnOnce() -> Launch) -> Result<Option<Arc<Process>>, EngineError> {
        if let Some(process) = &self.held.process {
            return Ok(process.cause_of_end().is_none().then(|| process.clone()));
        }
        if !self.directory.root().exists() {
            return Ok(None);
        }
        self.lock()?;
        let found = Process::adopt(&launch(), self.directory)
            .map_err(|error| EngineError::transient_from("its process could not be adopted", error))?;
        self.held.process = found.map(Arc::new);
        Ok(self.held.process.clone())
    }

    /// Waits until nothing of a dead engine works in the data directory any more, and kills what takes too long.
    pub async fn end_stragglers(&self, user: &EngineUser) -> Result<(), EngineError> {
        let data = self.directory.data();
        let killed = end_stragglers(&data, user, STRAGGLER_PATIENCE).await.map_err(EngineError::transient)?;
        if killed > 0 {
            tracing::warn!(directory = %data.display(), killed, "ended processes that a dead engine left behind");
        }
        Ok(())
    }

    /// Starts the cluster's process and waits until it is ready, which is asked with its id. Nothing of an earlier one may
    /// live any more.
    pub async fn start<R: Future<Output = Readiness> + Send>(
        &mut self,
        launch: &Launch,
        readiness: impl FnMut(i32) -> R + Send,
    ) -> Result<Arc<Process>, EngineError> {
        let log_position = EngineLog::new(self.directory).position();
        let process = Process::start(launch, self.directory)
            .map_err(|error| EngineError::transient_from("the engine could not be started", error))?;
        let process = Arc::new(process);
        self.held.process = Some(process.clone());
        self.until_ready(&process, log_position, readiness).await?;
        Ok(process)
    }

    /// Waits until the process is ready; an error says what it logged after this position where it is not in time.
    pub async fn until_ready<R: Future<Output = Readiness> + Send>(
        &self,
        process: &Process,
        log_position: u64,
        mut readiness: impl FnMut(i32) -> R + Send,
    ) -> Result<(), EngineError> {
        let begin = Instant::now();
        let log = EngineLog::new(self.directory);
        let sockets = Appearances::of(&self.directory.run());
        loop {
            let patience = match readiness(process.pid()).await {
                Readiness::Ready => return Ok(()),
                Readiness::Within(patience) => patience,
            };
            if let Some(cause) = process.cause_of_end() {
                let lines = log.last_lines(EXPLAINING_LINES, log_position);
                return Err(EngineError::transient(format!("{cause} while it started, after it logged: {lines}")));
            }
            if begin.elapsed() > patience {
                let lines = log.last_lines(EXPLAINING_LINES, log_position);
                return Err(EngineError::transient(format!("it was not ready after {patience:?}; it logged: {lines}")));
            }
            let [often, rarely] = LOOK_AGAIN;
            let pause = if begin.elapsed() < QUICK_START { often } else { rarely };
            // Whether something has appeared or the time is over, it is looked again.
            let _ = tokio::time::timeout(pause, sockets.next()).await;
        }
    }
}

/// Another program on the port would only show in the engine's log. Between this look and the engine's own the port
/// can be taken all the same; then the log tells.
pub fn refuse_taken_port(address: SocketAddr, cluster: &ClusterName) -> Result<(), EngineError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(EngineError::permanent(
            format!(
                "port {} on {}, which cluster {cluster} listens on, is taken by another program",
                address.port(),
                address.ip()
            ),
            format!("stop that program (find it with: ss -ltnp 'sport = :{}')", address.port()),
        )),
        Err(error) => Err(EngineError::transient_from(format!("{address} can not be listened on"), error)),
    }
}

/// A cluster that has served has no data here any more.
pub fn data_gone(cluster: &ClusterName, data: &Path) -> EngineError {
    EngineError::permanent(
        format!("the data of cluster {cluster} is gone from {}, and it is not initialised anew", data.display()),
        "put the directory back or restore it from a backup; to accept the loss, delete the cluster's instances",
    )
}

/// Refuses data that is not the cluster's: its identity, named as its engine calls it, is another one.
pub fn refuse_another(
    cluster: &ClusterName,
    expected: Option<&str>,
    called: &str,
    found: &str,
) -> Result<(), EngineError> {
    match expected {
        Some(expected) if expected != found => Err(EngineError::permanent(
            format!(
                "the data of cluster {cluster} is that of another one (its {called} is {found} and should be \
                 {expected}), and it is not initialised anew"
            ),
            "put the right directory back or restore it from a backup",
        )),
        _ => Ok(()),
    }
}
