//! Running one of an engine's programs to its end.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::launch::confine;
use super::user::EngineUser;
use crate::EngineError;

/// How many of a failed program's last lines are repeated.
const REPEATED_LINES: usize = 3;

/// Runs a program as the engine's user, with no environment but `PATH` and this; an error has its last words.
pub async fn run_program(
    mut command: Command,
    environment: &[(&str, &str)],
    user: &EngineUser,
    patience: Duration,
) -> Result<Output, EngineError> {
    let program = command.get_program().to_string_lossy().into_owned();
    confine(&mut command, user);
    command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = tokio::process::Command::from(command).kill_on_drop(true).output();
    match tokio::time::timeout(patience, running).await {
        Err(_) => Err(EngineError::transient(format!("{program} did not end within {patience:?}"))),
        Ok(Err(error)) => Err(EngineError::transient_from(format!("{program} could not be started"), error)),
        Ok(Ok(output)) if output.status.success() => Ok(output),
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            let last = lines[lines.len().saturating_sub(REPEATED_LINES)..].join(" | ");
            Err(EngineError::transient(format!("{program} failed: {last}")))
        }
    }
}
