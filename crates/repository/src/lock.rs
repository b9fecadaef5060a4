//! Who writes: so that nothing is removed which another process relies on.
//!
//! Any number of processes may write at the same time: the names of what they write never meet, and records say the same
//! in any order. Removing is another thing, since what one process removes another may just find that it need not store. So each
//! process that writes says so in a file of its own below `locks/`, renews that while it goes on, and removes nothing while
//! another one's is there. A process that died is found out at once on the same machine, and after
//! [`STALE_AFTER`] on another.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_dataplane::Trouble;
use mainstay_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::{Failure, Files};
use crate::inner::Inner;

const LOCKS: &str = "locks/";

/// How often a process that writes says so.
const RENEW_AFTER: Duration = Duration::from_secs(5 * 60);

/// When a process counts as gone that has not said so since. Clocks may differ by a part of it.
const STALE_AFTER: Duration = Duration::from_secs(30 * 60);

/// When a process does not count on its own word any more, and looks whether anything was removed.
const LAPSED_AFTER: Duration = Duration::from_secs(15 * 60);

/// This process's word at one repository.
pub(crate) struct WriterLock {
    id: String,
    files: Files,
    /// When it was last given.
    given: tokio::sync::Mutex<Option<Instant>>,
    removing: AtomicBool,
}

/// What stands in a lock's file.
#[derive(Serialize, Deserialize)]
struct Holder {
    version: u8,
    host: String,
    boot: String,
    pid: u32,
    /// In the kernel's ticks since boot: pids come again.
    started: String,
    renewed_at: String,
    /// Whether it removes at the moment.
    removing: bool,
}

impl WriterLock {
    pub(crate) fn new(files: Files) -> Self {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the system gives random bytes");
        let id = uuid::Uuid::from_bytes(random).simple().to_string();
        ours().insert(id.clone());
        Self { id, files, given: tokio::sync::Mutex::default(), removing: AtomicBool::new(false) }
    }

    /// Says that this process writes, where that was not said lately.
    pub(crate) async fn hold(&self, inner: &Arc<Inner>) -> Result<(), Trouble> {
        let mut given = self.given.lock().await;
        match *given {
            Some(at) if at.elapsed() < RENEW_AFTER => return Ok(()),
            Some(at) if at.elapsed() < LAPSED_AFTER => self.write().await?,
            _ => {
                self.write().await?;
                if let Some(other) = self.others().await?.into_iter().find(|other| other.removing) {
                    self.files.remove(&self.path()).await?;
                    return Err(in_use(&other, "gives room back"));
                }
                inner.catch_up().await?;
            }
        }
        *given = Some(Instant::now());
        Ok(())
    }

    /// Says that this process removes, if no other one writes. The word is taken back by [`removed`](Self::removed).
    pub(crate) async fn begin_removing(&self, inner: &Arc<Inner>) -> Result<(), Trouble> {
        inner.may_write().await?;
        self.removing.store(true, Ordering::Relaxed);
        self.write().await?;
        let alone = match self.others().await {
            Ok(others) => others.first().map_or(Ok(()), |other| Err(in_use(other, "writes"))),
            Err(failure) => Err(failure.into()),
        };
        // What others have written while they were there is in use.
        let known = match alone {
            Ok(()) => inner.catch_up().await,
            alone => alone,
        };
        if known.is_err() {
            self.removed().await?;
        }
        known
    }

    pub(crate) async fn removed(&self) -> Result<(), Failure> {
        self.removing.store(false, Ordering::Relaxed);
        self.write().await
    }

    pub(crate) fn is_removing(&self) -> bool {
        self.removing.load(Ordering::Relaxed)
    }

    /// Takes the word back.
    pub(crate) async fn release(&self) -> Result<(), Failure> {
        let mut given = self.given.lock().await;
        if given.take().is_some() {
            self.files.remove(&self.path()).await?;
        }
        Ok(())
    }

    fn path(&self) -> String {
        format!("{LOCKS}{}", self.id)
    }

    async fn write(&self) -> Result<(), Failure> {
        let holder = Holder {
            version: 1,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot: boot(),
            pid: std::process::id(),
            started: started(std::process::id()).unwrap_or_default(),
            renewed_at: Timestamp::now().to_string(),
            removing: self.removing.load(Ordering::Relaxed),
        };
        let text = serde_json::to_vec_pretty(&holder).expect("a holder is plain JSON");
        self.files.write(&self.path(), text.into()).await
    }

    /// Other processes that write, or that may. What dead ones left is removed.
    async fn others(&self) -> Result<Vec<Holder>, Failure> {
        let mut others = Vec::new();
        for file in self.files.list(LOCKS).await? {
            let Some(id) = file.path.strip_prefix(LOCKS).filter(|id| *id != self.id) else { continue };
            let Some(text) = self.files.read(&file.path, None).await? else { continue };
            match serde_json::from_slice::<Holder>(&text) {
                Ok(holder) if !holder.is_gone(id) => others.push(holder),
                _ => self.files.remove(&file.path).await?,
            }
        }
        Ok(others)
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        ours().remove(&self.id);
    }
}

impl Holder {
    fn is_gone(&self, id: &str) -> bool {
        if self.boot == boot() && !self.boot.is_empty() {
            let process = started(self.pid).is_some_and(|started| started == self.started);
            return !process || (self.pid == std::process::id() && !ours().contains(id));
        }
        let renewed_at: Result<Timestamp, _> = self.renewed_at.parse();
        renewed_at.is_ok_and(|at| Timestamp::now().seconds_since(at) > STALE_AFTER.as_secs_f64())
    }
}

fn in_use(other: &Holder, does: &str) -> Trouble {
    let Holder { pid, host, renewed_at, .. } = other;
    Trouble::unavailable(format!(
        "process {pid} on {host} {does} in the repository (last seen at {renewed_at}); try again when it has ended, or {} \
         minutes after it was last seen",
        STALE_AFTER.as_secs() / 60
    ))
}

/// The locks of repositories that are open in this process.
fn ours() -> std::sync::MutexGuard<'static, HashSet<String>> {
    static OURS: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which run of which machine this is, and which of its numberings of processes; nothing where that cannot be told.
fn boot() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let processes = std::fs::read_link("/proc/self/ns/pid");
    match (boot, processes) {
        (Ok(boot), Ok(processes)) => format!("{} {}", boot.trim(), processes.display()),
        _ => String::new(),
    }
}

/// When a process was started (`proc_pid_stat(5)`, field 22, after the name in parentheses).
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}
