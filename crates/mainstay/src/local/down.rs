//! `mainstay down`: stops the layer on this machine, control plane and engines. The data stays.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mainstay_cli::Global;
use mainstay_engine::EngineError;
use mainstay_engine::supervise::UserError;
use mainstay_types::ClusterName;
use rustix::process::{Pid, Signal, kill_process};

use super::{ConfigFlag, failed, runtime};
use crate::config::Config;
use crate::layer::{DataDir, DataDirError, engines, stop_all};

/// How long the layer may take to stop: its requests drain within 10 s, and an engine writes out what it holds.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is looked at meanwhile.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Stops the layer; the data stays.
#[derive(clap::Args)]
pub struct Down {
    #[command(flatten)]
    config: ConfigFlag,
}

/// Why the layer did not stop.
#[derive(Debug, thiserror::Error)]
enum DownError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("process {0} cannot be told to stop; use the account that started it")]
    Signal(i32, #[source] rustix::io::Errno),
    #[error("process {pid} did not stop within {} s; its log says what it waits for", STOP_TIMEOUT.as_secs())]
    Timeout { pid: i32 },
    #[error("the engines cannot be found")]
    User(#[from] UserError),
    #[error("cluster {0} did not stop; its log is in its folder under clusters/ in the data directory")]
    Engine(ClusterName, #[source] EngineError),
}

impl Down {
    pub fn run(&self, global: &Global) -> ExitCode {
        let config = match self.config.load_for_development(global) {
            Ok(config) => config,
            Err(error) => return failed(&error),
        };
        match stop(config) {
            Ok(message) => {
                println!("{message}");
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        }
    }
}

fn stop(config: Config) -> Result<String, DownError> {
    let data_dir = config.data_dir.clone();
    let stopped = stop_control_plane(&config)?;
    if !data_dir.join("clusters").exists() {
        return Ok(match stopped {
            true => "The layer is stopped; its data stays.".to_owned(),
            false => format!("No layer runs on {}.", data_dir.display()),
        });
    }
    // A control plane that was killed, or that runs as a service, has left its engines running. They are found by
    // what is on disk, so that they are stopped whatever has become of the journal.
    let _held = DataDir::take(&config)?;
    let failures = runtime().block_on(async { Ok::<_, DownError>(stop_all(&engines(&config, None).await?).await) })?;
    if let Some((cluster, error)) = failures.into_iter().next() {
        return Err(DownError::Engine(cluster, error));
    }
    Ok(format!("The layer on {} is stopped; its data stays.", data_dir.display()))
}

/// Stops the process that holds the data directory; answers whether there was one.
fn stop_control_plane(config: &Config) -> Result<bool, DownError> {
    let Some(holder) = DataDir::holder(&config.data_dir)? else { return Ok(false) };
    let Some(pid) = Pid::from_raw(holder.pid) else { return Ok(false) };
    match kill_process(pid, Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(DownError::Signal(holder.pid, error)),
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    while DataDir::holder(&config.data_dir)?.is_some() {
        if Instant::now() > deadline {
            return Err(DownError::Timeout { pid: holder.pid });
        }
        std::thread::sleep(STOP_POLL);
    }
    Ok(true)
}
