//! Scripts that do not end. While one runs a server carries out nothing else, so that whoever has one run could keep access
//! that is to be taken away.

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{Signal, StopStep};
use redis::RedisError;

use crate::admin::Admin;
use crate::cluster::Cluster;
use crate::config::RedisConfig;
use crate::data;
use crate::user::User;

/// How often a script is interrupted before its server is ended: another one may begin before we have our turn.
const INTERRUPTIONS: usize = 3;
/// A server that runs a script hears no other signal, and one that loses its process loses nothing that it acknowledged and keeps.
const KILL: [StopStep; 1] = [StopStep { signal: Signal::KILL, patience: std::time::Duration::from_secs(10) }];

/// Takes access away from users, also while a script runs. Where scripts cannot be interrupted, their users are taken from the
/// server's file and the server is ended, which supervision starts again; the error is that of the last attempt then, and whoever
/// tries again finds the users gone.
pub(crate) async fn take_away<T, F: Future<Output = Result<T, RedisError>>>(
    cluster: &Cluster,
    config: &RedisConfig,
    is_going: impl Fn(&str, &User) -> bool,
    mut act: impl FnMut() -> F,
) -> Result<T, RedisError> {
    for _ in 0..INTERRUPTIONS {
        match act().await {
            Err(error) if is_busy(&error) => interrupt(&cluster.admin).await,
            answer => return answer,
        }
    }
    let answer = act().await;
    if answer.as_ref().is_err_and(is_busy)
        && let Err(error) = shut_out(cluster, config, is_going).await
    {
        tracing::warn!(directory = %cluster.directory.root().display(), %error, "a server that runs a script could not be ended");
    }
    answer
}

/// Whether a server refuses because it runs a script.
pub(crate) fn is_busy(error: &RedisError) -> bool {
    error.code() == Some("BUSY")
}

/// Ends the script or function that runs, which the server refuses where it has written something.
async fn interrupt(admin: &Admin) {
    for kind in ["SCRIPT", "FUNCTION"] {
        // Of the two one is always refused, and the next attempt shows what came of it.
        let _ = admin.query::<()>(redis::cmd(kind).arg("KILL")).await;
    }
}

async fn shut_out(
    cluster: &Cluster,
    config: &RedisConfig,
    is_going: impl Fn(&str, &User) -> bool,
) -> Result<(), EngineError> {
    data::remove_users(&cluster.directory, is_going, &config.user)?;
    let Some(process) = cluster.process(config).await? else { return Ok(()) };
    process.stop(&KILL).await.map_err(|error| EngineError::transient_from("it could not be ended", error))?;
    tracing::warn!(
        directory = %cluster.directory.root().display(),
        "ended a server that ran a script without end, to take access away"
    );
    Ok(())
}
