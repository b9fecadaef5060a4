//! One attempt to let a new cluster take over from the one that an instance lives on.
//!
//! Each attempt begins where the last one ended, whichever control plane made it: the engine keeps how far it is. An attempt is
//! short, so that in between access can be ended and both clusters be looked at.

use std::sync::Arc;
use std::time::Duration;

use mainstay_domain::command::{MoveCompleted, MoveFailure};
use mainstay_domain::view::{Cluster, ClusterState, Instance};
use mainstay_engine::{ClusterSpec, Engine, EngineError, Following};
use mainstay_types::{InstanceId, Timestamp, chain};
use tokio::time::Instant;

use super::attempt::{Attempt, AttemptError};
use crate::control::spec;

/// How little may be missing for the new cluster to take over: what is copied within milliseconds, while writes wait.
const LITTLE_BYTES: u64 = 256 << 10;
/// How long one attempt follows until little is missing. Who wants to end a binding waits for it.
const FOLLOWING_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is asked meanwhile.
const FOLLOWING_PAUSE: Duration = Duration::from_millis(100);
/// How long an attempt waits until nothing else is done to the old cluster.
const SOURCE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a move may take as a whole: a copy of the largest cluster over a slow disk takes minutes. What was not done by then is given
/// up at the next fault, and the instance can be changed again.
const MOVE_PATIENCE_SECONDS: f64 = 3_600.0;

/// The two sides of a move.
struct Sides {
    to: ClusterSpec,
    source: Arc<dyn Engine>,
    from: Arc<Cluster>,
}

impl Attempt {
    /// Follows until little is missing, then takes over. It has succeeded also where much is missing still: it is planned again
    /// then.
    pub(super) async fn relocate(&self, id: &InstanceId) -> Result<(), AttemptError> {
        let Some(sides) = self.sides(id) else { return Ok(()) };
        let alone = tokio::time::timeout(SOURCE_PATIENCE, self.control.occupation().alone(&sides.from.name)).await;
        let busy = || EngineError::transient(format!("something else is being done to cluster {}", sides.from.name));
        let _alone = alone.map_err(|_| AttemptError::Engine(busy()))?;
        match self.attempt(&sides).await {
            Ok(None) if !self.is_overdue() => Ok(()),
            Ok(None) => self.give_up(id, &sides, "it takes too long: more is written than is copied".to_owned()).await,
            Ok(Some(pause)) => {
                let write_pause_milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(%id, write_pause_milliseconds, "an instance has moved");
                let (instance, cluster) = (id.clone(), self.cluster.name.clone());
                self.report(MoveCompleted { instance, cluster, write_pause_milliseconds }).await
            }
            Err(error @ EngineError::Permanent { .. }) => self.give_up(id, &sides, error.to_string()).await,
            Err(error) if self.is_hopeless(&sides) => self.give_up(id, &sides, chain(&error)).await,
            Err(error) => {
                // Clients are served while it is not tried.
                if let Err(error) = self.stay(&sides).await {
                    tracing::warn!(cluster = %sides.from.name, %error, "a cluster that is moved from may serve nobody");
                }
                Err(AttemptError::Engine(error))
            }
        }
    }

    /// What the move is between, unless it has ended.
    fn sides(&self, id: &InstanceId) -> Option<Sides> {
        let view = self.control.view();
        let moving = |instance: &&Arc<Instance>| instance.moving.as_ref() == Some(&self.cluster.name);
        let from = view.cluster(&view.instance_by_id(id).filter(moving)?.cluster)?.clone();
        let source = self.control.engine(&from.engine)?.clone();
        Some(Sides { to: spec(&self.cluster), source, from })
    }

    /// Answers for how long writes waited; none while much is missing.
    async fn attempt(&self, sides: &Sides) -> Result<Option<Duration>, EngineError> {
        let Sides { to, source, from } = sides;
        let from = &spec(from);
        let deadline = Instant::now() + FOLLOWING_PATIENCE;
        loop {
            let following = self.engine.follow(to, &**source, from).await?;
            tracing::debug!(cluster = %to.name, from = %from.name, ?following, "a cluster follows");
            match following {
                Following::Behind { bytes } if bytes <= LITTLE_BYTES => break,
                Following::Copying | Following::Behind { .. } if Instant::now() >= deadline => return Ok(None),
                Following::Copying | Following::Behind { .. } => tokio::time::sleep(FOLLOWING_PAUSE).await,
            }
        }
        let known = ClusterSpec { port: from.port, ..to.clone() };
        self.engine.take_over(&known, &**source, from).await.map(Some)
    }

    async fn stay(&self, sides: &Sides) -> Result<(), EngineError> {
        self.engine.stay(&sides.to, &*sides.source, &spec(&sides.from)).await
    }

    /// Lets the instance stay where it is; where that is not possible any more, the move has to come to its end.
    async fn give_up(&self, id: &InstanceId, sides: &Sides, reason: String) -> Result<(), AttemptError> {
        self.stay(sides).await.map_err(AttemptError::Engine)?;
        self.report(MoveFailure { instance: id.clone(), cluster: self.cluster.name.clone(), reason }).await
    }

    /// Whether a fault that may pass is not waited for any longer.
    fn is_hopeless(&self, sides: &Sides) -> bool {
        let failed = |cluster: &Cluster| cluster.state == ClusterState::Failed;
        failed(&self.cluster) || failed(&sides.from) || self.is_overdue()
    }

    fn is_overdue(&self) -> bool {
        Timestamp::now().seconds_since(self.cluster.created_at) > MOVE_PATIENCE_SECONDS
    }
}
