//! How an engine's process is started: detached from us, confined, and with nothing of ours in its environment.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, setpriority_process, setrlimit, setsid, umask};

use super::directory::ClusterDirectory;
use super::log::EngineLog;
use super::user::EngineUser;

/// Files that an engine may have open. PostgreSQL wants 1,000 for each of its processes and some for sockets.
pub(super) const OPEN_FILES: u64 = 65_536;
/// Only the group and owner bits that a file asks for are cut: nothing that an engine makes is for others.
const UMASK: u32 = 0o077;
/// The badness of an engine to the kernel's out-of-memory killer: a machine that runs out of memory should
/// rather end something that can be started again without recovery.
const OOM_SCORE_ADJUSTMENT: &str = "-900";
/// That of a scratch cluster: nobody misses it, and what it was for can be done again.
const SCRATCH_OOM_SCORE_ADJUSTMENT: &str = "500";
/// How far a scratch cluster stands back for processor and disk (the niceness of nice(2), by which the kernel's schedulers for disks go
/// as well): a tenth of what a process that serves gets beside it.
const SCRATCH_NICENESS: i32 = 10;
/// Where an engine finds the programs that it runs itself.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program to be started for a cluster.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// All that the process finds in its environment, besides `PATH`.
    pub environment: Vec<(&'static str, String)>,
    pub user: EngineUser,
}

impl Launch {
    /// The arguments as the process shows them, the program first.
    pub(super) fn command(&self) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        std::iter::once(program).chain(self.arguments.iter().cloned()).collect()
    }

    /// Starts the program in the cluster's data directory, its output appended to the cluster's log.
    pub(super) fn spawn(&self, directory: &ClusterDirectory) -> io::Result<std::process::Child> {
        let log = EngineLog::new(directory).open()?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(directory.data());
        confine(&mut command, &self.user);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        let scratch = directory.is_scratch();
        if let (true, Some(pid)) = (scratch, Pid::from_raw(child.id().cast_signed())) {
            // Whoever may start a process may make it wait; all that it starts itself waits as it does.
            let _ = setpriority_process(Some(pid), SCRATCH_NICENESS);
        }
        // Only root may make a process safer, and in a container not even root: it is an attempt.
        let adjustment = if scratch { SCRATCH_OOM_SCORE_ADJUSTMENT } else { OOM_SCORE_ADJUSTMENT };
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), adjustment);
        Ok(child)
    }
}

/// Makes a command run as the engine's user, in a session of its own, with no environment but `PATH` and no input.
#[allow(unsafe_code)]
pub fn confine(command: &mut Command, user: &EngineUser) {
    command.env_clear().env("PATH", PATH).stdin(Stdio::null());
    if user.is_another() {
        // The standard library clears the supplementary groups with this, when we are root.
        command.uid(user.uid).gid(user.gid);
    }
    // SAFETY: between fork and exec only async-signal-safe functions may be called (signal-safety(7)). These are
    // bare system calls by way of rustix, which allocate nothing, take no lock and read no shared memory.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            umask(rustix::fs::Mode::from_bits_retain(UMASK));
            rustix::thread::set_no_new_privs(true)?;
            setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
            let allowed = rustix::process::getrlimit(Resource::Nofile).maximum;
            let files = allowed.map_or(OPEN_FILES, |allowed| allowed.min(OPEN_FILES));
            setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: Some(files) })?;
            Ok(())
        });
    }
}
