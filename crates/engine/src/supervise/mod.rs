//! Engine processes: how they are started, found again, watched and ended.
//!
//! An engine outlives the control plane. Nothing that it needs goes through us: its output goes straight to a
//! file, it runs in a session of its own, and what the next control plane must know to find it again is on disk.

mod appearance;
mod cluster;
mod directory;
mod file;
mod history;
mod launch;
mod listener;
mod log;
mod machine;
mod process;
mod procfs;
mod program;
mod record;
mod scratch;
mod stragglers;
mod user;

pub use cluster::{ClusterProcess, Readiness, Supervision, data_gone, refuse_another, refuse_taken_port};
pub use directory::{ClusterDirectory, ClusterLock, DirectoryError};
pub use file::{admin_secret, changed_file, read_file, sync_file, write_derived_file, write_file, write_own_file};
pub use history::{CrashHistory, Decision, RestartPolicy};
pub use launch::{Launch, confine};
pub use listener::{busy_ports, listener_owner};
pub use log::EngineLog;
pub use machine::Machine;
pub use process::{Process, ProcessError, StopStep};
pub use program::run_program;
pub use rustix::process::Signal;
pub use scratch::{Removal, Removals};
pub use stragglers::end_stragglers;
pub use user::{EngineUser, UserError};
