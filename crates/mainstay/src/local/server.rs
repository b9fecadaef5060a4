//! `mainstay server`: the control plane in production.

use std::process::ExitCode;

use mainstay_cli::Global;

use super::{ConfigFlag, failed, runtime, stop_signal};
use crate::config::Config;
use crate::layer::{Engines, Layer};
use crate::telemetry;

/// Runs the control plane until it is asked to stop. The engines go on without it.
#[derive(clap::Args)]
pub struct Server {
    #[command(flatten)]
    config: ConfigFlag,
}

impl Server {
    pub fn run(&self, global: &Global) -> ExitCode {
        match self.config.load(global, false) {
            Ok(config) => serve(config, Engines::Keep, || {}),
            Err(error) => failed(&error),
        }
    }
}

/// Builds a layer, runs it until the process is asked to stop, and drains it.
pub(super) fn serve(config: Config, engines: Engines, ready: impl FnOnce()) -> ExitCode {
    let tracing = match telemetry::init(&config.log, &config.telemetry) {
        Ok(tracing) => tracing,
        Err(error) => return failed(&error),
    };
    for refused in mainstay_custody::protect_process() {
        tracing::warn!("secrets in memory are less protected than they could be: {refused}");
    }
    let code = runtime().block_on(async {
        let stop = match stop_signal() {
            Ok(stop) => stop,
            Err(error) => return failed(&error),
        };
        let layer = match Layer::build(config).await {
            Ok(layer) => layer,
            Err(error) => return failed(&error),
        };
        let code = match layer.run(engines, stop, ready).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
        layer.close().await;
        code
    });
    tracing.shutdown();
    code
}
