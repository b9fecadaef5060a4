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
        // A missing user for engines is one of the doctor's own checks.
        let engines = config.as_ref().ok().and_then(|config| engines(config).ok()).unwrap_or_default();
        let report = runtime().block_on(examine(config.as_ref(), &engines));
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
