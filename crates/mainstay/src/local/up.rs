//! `mainstay up`: the whole layer on this machine, in the foreground or beside it.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use mainstay_cli::Global;

use super::server::serve;
use super::summary::summary;
use super::{ConfigFlag, failed};
use crate::config::Config;
use crate::layer::{DataDir, DataDirError, Engines};

/// How long a layer in the background may take until it answers. Opening a journal of 10^6 events takes 2 s at most.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is asked meanwhile.
const READY_POLL: Duration = Duration::from_millis(20);
/// The log of a layer in the background is put aside at the next start once it is larger.
const LOG_LIMIT: u64 = 16 << 20;
/// How many of its last lines explain a start that failed.
const LAST_LINES: usize = 10;

/// Starts the layer, and stops it with its engines on Ctrl-C.
#[derive(clap::Args)]
pub struct Up {
    /// Start it in the background and return once it answers
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    config: ConfigFlag,
}

/// Why a layer did not come up in the background.
#[derive(Debug, thiserror::Error)]
enum DetachError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("the log file {} cannot be written", .0.display())]
    Log(PathBuf, #[source] std::io::Error),
    #[error("the layer's process cannot be started")]
    Spawn(#[source] std::io::Error),
    #[error("the layer stopped before it answered:\n{0}")]
    Ended(String),
    #[error("the layer did not answer on {address} within {} s; its log is {}", READY_TIMEOUT.as_secs(), log.display())]
    NotReady { address: SocketAddr, log: PathBuf },
}

impl Up {
    pub fn run(&self, global: &Global) -> ExitCode {
        let config = match self.config.load_for_development(global) {
            Ok(config) => config,
            Err(error) => return failed(&error),
        };
        let summary = summary(&config, global);
        if !self.detach {
            return serve(config, Engines::Stop, move || print!("Mainstay is up.\n{summary}"));
        }
        match self.start_detached(&config) {
            Ok(started) => {
                print!("{started}\n{summary}");
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        }
    }

    /// Starts this program again in a session of its own, and waits until it answers.
    fn start_detached(&self, config: &Config) -> Result<String, DetachError> {
        if let Some(holder) = DataDir::holder(&config.data_dir)? {
            wait_until_ready(config, None)?;
            return Ok(format!("The layer runs already (process {}).", holder.pid));
        }
        let log = log_file(&config.data_dir)?;
        let program = std::env::current_exe().map_err(DetachError::Spawn)?;
        let mut command = Command::new(program);
        command.arg("up").arg("--data-dir").arg(&config.data_dir);
        if let Some(file) = &self.config.config {
            command.arg("--config").arg(file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let mut child = command.spawn().map_err(DetachError::Spawn)?;
        wait_until_ready(config, Some(&mut child))?;
        Ok(format!("The layer runs (process {}); its log is {}.", child.id(), log_path(&config.data_dir).display()))
    }
}

/// Waits until the layer answers; its engines are being started then.
fn wait_until_ready(config: &Config, mut child: Option<&mut Child>) -> Result<(), DetachError> {
    let deadline = Instant::now() + READY_TIMEOUT;
    while Instant::now() < deadline {
        if let Some(child) = &mut child
            && let Ok(Some(_)) = child.try_wait()
        {
            return Err(DetachError::Ended(last_lines(&log_path(&config.data_dir))));
        }
        if DataDir::holder(&config.data_dir)?.is_some_and(|holder| holder.serves) {
            return Ok(());
        }
        std::thread::sleep(READY_POLL);
    }
    Err(DetachError::NotReady { address: config.listen.api, log: log_path(&config.data_dir) })
}

fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.join("mainstay.log")
}

fn log_file(data_dir: &Path) -> Result<File, DetachError> {
    let path = log_path(data_dir);
    let open = || {
        std::fs::create_dir_all(data_dir)?;
        if std::fs::metadata(&path).is_ok_and(|found| found.len() > LOG_LIMIT) {
            std::fs::rename(&path, path.with_extension("log.1"))?;
        }
        OpenOptions::new().append(true).create(true).mode(0o600).open(&path)
    };
    open().map_err(|error| DetachError::Log(path.clone(), error))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
