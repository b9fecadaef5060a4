//! The data plane's daemon, as a process that a test can do anything to.

use std::fs::OpenOptions;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Layer, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a layer needs in its environment to have one.
pub fn remote() -> Vec<(&'static str, String)> {
    vec![("DataPlane__Mode", "remote".to_owned())]
}

/// A running daemon. It ends when this is dropped.
pub struct Daemon(Child);

impl Daemon {
    /// Starts the daemon of a layer, and waits until it listens.
    pub fn start(layer: &Layer) -> Self {
        let socket = layer.data_dir().join("dataplane/plane.sock");
        let log = OpenOptions::new().append(true).create(true).open(layer.scratch().join("daemon.log")).unwrap();
        let mut command = layer.command();
        command.arg("dataplane").arg("--socket").arg(&socket).stdin(Stdio::null());
        let daemon = Self(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        until("the daemon listens", PATIENCE, || UnixStream::connect(&socket).ok());
        daemon
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.end();
    }

    /// Lets it do nothing any more, as a machine does that swaps, or a disk that hangs.
    pub fn stall(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}
