//! A cluster takes over from another one: the operations of [`replication`](crate::replication), one after the other, begun
//! again wherever an attempt ended.

use std::time::Duration;

use mainstay_engine::{ClusterSpec, EngineError, Following};
use mainstay_types::Timestamp;
use tokio::time::Instant;

use crate::admin::failed;
use crate::copy::{Copy, Step};
use crate::data;
use crate::engine::RedisEngine;
use crate::replication::Progress;
use crate::user::FOLLOWER;

/// How long the last bytes may take while writes wait: far longer than little takes, and shorter than what clients bear.
const EQUAL_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is asked for meanwhile.
const EQUAL_PAUSE: Duration = Duration::from_millis(2);
/// The longest that writes wait for a control plane that died meanwhile: until equal, before the source is closed and after.
const WRITE_PAUSE: Duration = Duration::from_secs(5);

pub(crate) async fn follow(
    engine: &RedisEngine,
    to: &ClusterSpec,
    source: &RedisEngine,
    from: &ClusterSpec,
) -> Result<Following, EngineError> {
    let copy = Copy::read(&engine.cluster(&to.name).directory)?;
    if copy.as_ref().is_some_and(|copy| copy.step != Step::Following) {
        return Ok(Following::Behind { bytes: 0 });
    }
    let (ours, theirs) = (engine.config.listen_address, source.config.listen_address);
    if ours != theirs {
        return Err(EngineError::permanent(
            format!("clients reach cluster {} at {theirs}, and {} would be at {ours}", from.name, to.name),
            "let both engines listen at one address (Listen:Redis, Listen:Valkey)",
        ));
    }
    let original = source.running(from).await?;
    if data::is_closed(&original.directory) {
        // Somebody was about to take over, and did not come to it. Until that is tried again clients are served.
        source.open_to_clients(from).await?;
    }
    if copy.is_some()
        && let Progress::Behind { bytes } = engine.replication_progress(to, source, from).await?
    {
        return Ok(Following::Behind { bytes });
    }
    engine.replicate_from(to, source, from).await?;
    Ok(match engine.replication_progress(to, source, from).await? {
        Progress::Copying => Following::Copying,
        Progress::Behind { bytes } => Following::Behind { bytes },
    })
}

pub(crate) async fn take_over(
    engine: &RedisEngine,
    to: &ClusterSpec,
    source: &RedisEngine,
    from: &ClusterSpec,
) -> Result<Duration, EngineError> {
    let directory = &engine.cluster(&to.name).directory;
    let mut copy = Copy::read(directory)?;
    if let Some(following) = copy.as_mut().filter(|copy| copy.step == Step::Following) {
        following.paused_at = Some(Timestamp::now().as_micros());
        following.write(directory)?;
        source.pause_writes(from, WRITE_PAUSE).await?;
        until_equal(engine, to, source, from).await?;
        source.close_to_clients(from).await?;
        until_equal(engine, to, source, from).await?;
    }
    engine.promote(to, source, from).await?;
    engine.open_to_clients(to).await?;
    let paused_at = copy.and_then(|copy| copy.paused_at).map(Timestamp::from_micros);
    let paused = paused_at.map_or(0.0, |paused_at| Timestamp::now().seconds_since(paused_at));
    Ok(Duration::try_from_secs_f64(paused).unwrap_or_default())
}

pub(crate) async fn stay(
    engine: &RedisEngine,
    to: &ClusterSpec,
    source: &RedisEngine,
    from: &ClusterSpec,
) -> Result<(), EngineError> {
    let directory = &engine.cluster(&to.name).directory;
    match Copy::read(directory)? {
        Some(Copy { step: Step::Promoted, .. }) => {
            return Err(EngineError::permanent(
                format!("cluster {} has taken over from {}, and may have been written to", to.name, from.name),
                "let the move come to its end: see why the new cluster does not serve",
            ));
        }
        // It was equal when nobody could write. From now on it is not.
        Some(mut copy) if copy.step == Step::Complete => {
            copy.step = Step::Following;
            copy.write(directory)?;
        }
        Some(_) | None => {}
    }
    let Ok(original) = source.running(from).await else {
        return data::keep_closed(&source.cluster(&from.name).directory, false);
    };
    source.resume_writes(from).await?;
    if data::is_closed(&original.directory) {
        source.open_to_clients(from).await?;
    }
    let forgotten = async {
        original.admin.query::<()>(redis::cmd("ACL").arg("DELUSER").arg(FOLLOWER)).await?;
        original.admin.save_users().await
    };
    forgotten.await.map_err(failed(format!("cluster {} could not forget its copy", from.name)))
}

/// Waits until nothing is missing.
async fn until_equal(
    engine: &RedisEngine,
    to: &ClusterSpec,
    source: &RedisEngine,
    from: &ClusterSpec,
) -> Result<(), EngineError> {
    let deadline = Instant::now() + EQUAL_PATIENCE;
    loop {
        match engine.replication_progress(to, source, from).await? {
            Progress::Behind { bytes: 0 } => return Ok(()),
            progress if Instant::now() >= deadline => {
                return Err(EngineError::transient(format!(
                    "cluster {} did not become equal to {} within {EQUAL_PATIENCE:?}: {progress:?}",
                    to.name, from.name
                )));
            }
            _ => tokio::time::sleep(EQUAL_PAUSE).await,
        }
    }
}
