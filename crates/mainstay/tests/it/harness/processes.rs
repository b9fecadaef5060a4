//! Processes that are not the test's own children, and the runtime for clients that need one.

use rustix::process::{Pid, Signal, kill_process as send, test_kill_process};
use tokio::runtime::Runtime;

/// Ends a process at once, as a crash does.
pub fn kill_process(pid: i32) {
    send(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Whether a process runs. One that has ended and waits to be collected does not.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state comes after the name, which is in parentheses and may hold anything (proc_pid_stat(5)).
    let state = stat.rsplit(')').next().unwrap_or_default().split_whitespace().next();
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !matches!(state, None | Some("Z"))
}

/// A runtime for one test.
pub fn runtime() -> Runtime {
    Runtime::new().unwrap()
}
