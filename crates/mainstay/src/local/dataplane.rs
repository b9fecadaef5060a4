//! `mainstay dataplane`: the data plane as a process of its own, behind a Unix socket.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mainstay_cli::Global;
use mainstay_dataplane_remote::{BindError, Listener, serve};

use super::{ConfigFlag, failed, runtime, stop_signal};
use crate::config::{Config, ObjectBackend};
use crate::layer::{Plane, PlaneError};
use crate::telemetry;

/// Serves the data plane until it is asked to stop.
#[derive(clap::Args)]
pub struct DataPlane {
    /// The Unix socket that the control plane connects to; its file permissions are its lock
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    #[command(flatten)]
    config: ConfigFlag,
}

/// Why the data plane does not serve.
#[derive(Debug, thiserror::Error)]
enum DataPlaneError {
    #[error(
        "no store of objects is named; set Storage:ObjectStore:Driver (Storage__ObjectStore__Driver) to seed-fs or rustfs"
    )]
    NoBackend,
    #[error(transparent)]
    Plane(#[from] PlaneError),
    #[error("requests can not be told to stop")]
    Signal(#[source] std::io::Error),
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl DataPlane {
    pub fn run(&self, global: &Global) -> ExitCode {
        let config = match self.config.load_for_development(global) {
            Ok(config) => config,
            Err(error) => return failed(&error),
        };
        let tracing = match telemetry::init(&config.log, &config.telemetry) {
            Ok(tracing) => tracing,
            Err(error) => return failed(&error),
        };
        // Keys of content pass through this process too.
        for refused in mainstay_custody::protect_process() {
            tracing::warn!("keys in memory are less protected than they could be: {refused}");
        }
        let served = runtime().block_on(serve_until_stopped(&config, &self.socket));
        tracing.shutdown();
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        }
    }
}

async fn serve_until_stopped(config: &Config, socket: &Path) -> Result<(), DataPlaneError> {
    let backend: &ObjectBackend = &config.object_store.as_ref().ok_or(DataPlaneError::NoBackend)?.backend;
    let mut stop = stop_signal().map_err(DataPlaneError::Signal)?;
    let plane = Plane::open(backend).await?;
    let listener = Listener::bind(socket).await?;
    tracing::info!(socket = %socket.display(), "the data plane serves");
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    serve(listener, plane.plane.clone(), plane.inventory.clone(), stopped).await;
    plane.close().await;
    Ok(())
}
