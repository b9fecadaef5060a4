//! Commands that act on this machine rather than ask a running layer. One file each.

mod dataplane;
mod doctor;
mod down;
mod journal;
mod recover;
mod server;
mod summary;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use mainstay_cli::Global;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Config, LoadError, Overrides};

pub use dataplane::DataPlane;
pub use doctor::Doctor;
pub use down::Down;
pub use journal::Journal;
pub use recover::Recover;
pub use server::Server;
pub use up::Up;

/// Which configuration a local command acts by.
#[derive(clap::Args, Debug, Clone)]
pub struct ConfigFlag {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFlag {
    /// The configuration of `mainstay up`: development on files unless something says otherwise.
    fn load_for_development(&self, global: &Global) -> Result<Config, LoadError> {
        self.load(global, true)
    }

    fn load(&self, global: &Global, up: bool) -> Result<Config, LoadError> {
        Config::load(self.config.as_deref(), &Overrides { data_dir: Some(global.data_dir()), up, repository: None })
    }
}

/// Prints an error with its causes, and answers the exit code for it.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprint!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprint!(": {cause}");
        source = cause.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the operating system gives a process its threads and an event queue")
}

/// Turns true when the process is asked to stop: by Ctrl-C, by `kill`, by a service manager.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        let _ = sender.send(true);
        // The sender stays, so that the last value can be read for as long as somebody looks.
        sender.closed().await;
    });
    Ok(receiver)
}
