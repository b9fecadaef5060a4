//! `mainstay doctor`: what this machine has and lacks.

use std::process::ExitCode;

use mainstay_cli::Global;

use super::{ConfigFlag, failed, runtime};
use crate::doctor::examine;
use crate::layer::engines;

/// Looks at this machine as the layer would use it.
#[derive(clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    config: ConfigFlag,
}

impl Doctor {
    pub fn run(&self, global: &Global) -> ExitCode {
        let config = self.config.load_for_development(global);
        let report = runtime().block_on(async {
            let engines = match &config {
                // A missing user for engines is one of the doctor's own checks.
                Ok(config) => engines(config, None).await.unwrap_or_default(),
                Err(_) => Vec::new(),
            };
            examine(config.as_ref(), &engines).await
        });
        if global.wants_json() {
            match serde_json::to_string_pretty(&report) {
                Ok(json) => println!("{json}"),
                Err(error) => return failed(&error),
            }
        } else {
            print!("{report}");
        }
        ExitCode::from(report.exit_code())
    }
}
