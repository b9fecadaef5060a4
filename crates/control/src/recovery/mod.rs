//! Recovery: backups are taken, brought back and proven as the plan says, and what is not kept any longer is removed.
//!
//! ```text
//! view ──plan_recovery──> work ──> engine's Recovery ──bytes──> depot (the repository)
//!                                        └──what came of it──> a command, and a document in the depot
//! ```
//! A recovery point counts once its document is in the depot: the journal's event follows, and a depot is restored from without
//! any journal.

mod attempt;
mod catalogue;
mod depot;
mod disaster;
mod document;
mod drill;
mod in_step;
mod logs;
mod points;
mod progress;
mod room;
mod sweep;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mainstay_domain::plan::{Work, plan_recovery};
use mainstay_types::{ClusterName, InstanceId, Timestamp, chain};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::control::Control;

use attempt::{Attempt, Ended};
use logs::Logs;
use sweep::Sweeper;

pub(crate) use catalogue::Catalogues;
pub use depot::{Depot, DepotError};
pub use disaster::{Reached, RecoverError, Recovered, RecoveredLayer, recover_clusters};
pub use document::{Document, LayerDocument, LayerPart, PointDocument, PointInstance, referred_contents};
pub use progress::Doing;
pub(crate) use progress::Watched;
pub use sweep::REFERRING_KINDS;
pub use window::Reachable;

/// Backups and restores at the same time: one reads and one writes, and consumers are to notice neither.
const AT_ONCE: usize = 2;
/// Drills at the same time: each is a cluster of its own beside those that serve.
const DRILLS_AT_ONCE: usize = 1;
/// Backups that are removed at the same time. They wait for whoever copies the repository, and nobody is to wait for them.
const EXPIRIES_AT_ONCE: usize = 1;
/// How long work whose outcome could not be recorded rests before it is tried again.
const REST: Duration = Duration::from_secs(20);
/// How long it rests where that could not be done yet, and nobody waits for it.
const LONG_REST: Duration = Duration::from_secs(3_600);
/// How long after one look at what is due the loop looks again at the earliest, however much happens: a look goes over all instances. Who
/// asks for something after a while is not kept waiting.
const BREATH: Duration = Duration::from_millis(200);
/// The longest that the loop sleeps, should time itself be set back.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Carries the recovery plan out, as it comes due.
pub struct RecoveryLoop {
    control: Control,
    depot: Arc<dyn Depot>,
    /// Each with how long it rests before it may be begun again.
    running: JoinSet<(Work, Option<Duration>)>,
    /// What is being worked on.
    busy: BTreeSet<Work>,
    resting: BTreeMap<Work, Instant>,
    sweeper: Sweeper,
    logs: Logs,
}

impl RecoveryLoop {
    /// A loop that does nothing until it is run; none where there is nowhere to keep backups.
    pub fn new(control: Control) -> Option<Self> {
        let depot = control.depot()?.clone();
        let (sweeper, logs) = (Sweeper::new(control.clone(), depot.clone()), Logs::new(control.clone(), depot.clone()));
        let (running, busy, resting) = (JoinSet::new(), BTreeSet::new(), BTreeMap::new());
        Some(Self { control, depot, running, busy, resting, sweeper, logs })
    }

    /// Runs until `stop` turns true. What is in progress then is dropped, and planned again by whoever runs next.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        clear_scratch(&self.control).await;
        let in_step = in_step::keep_in_step(self.control.clone(), self.depot.clone());
        let _in_step = AbortOnDropHandle::new(tokio::spawn(in_step));
        let mut views = self.control.journal().watch();
        while !*stop.borrow_and_update() {
            views.mark_unchanged();
            self.logs.keep_up();
            let looked = Instant::now();
            let sleep = self.begin_what_is_due();
            tokio::select! {
                changed = views.changed() => if changed.is_err() { break },
                changed = stop.changed() => if changed.is_err() { break },
                Some(ended) = self.running.join_next() => self.ended(ended),
                () = tokio::time::sleep(sleep) => {}
            }
            tokio::time::sleep_until(looked + BREATH).await;
        }
        self.running.shutdown().await;
        self.logs.stop().await;
    }

    /// Begins what is due and may begin now; answers how long to sleep at most.
    fn begin_what_is_due(&mut self) -> Duration {
        let (now, at) = (Timestamp::now(), Instant::now());
        self.resting.retain(|_, until| *until > at);
        let view = self.control.view();
        let plan = plan_recovery(&view, self.control.recoverable(), now);
        for work in plan.work {
            if !self.busy.contains(&work) && !self.resting.contains_key(&work) && self.has_room(&work) {
                self.begin(work);
            }
        }
        let due = plan.next_due.map(|due| Duration::from_secs_f64(due.seconds_since(now)));
        let rested = self.resting.values().min().map(|until| until.saturating_duration_since(at));
        [due, rested].into_iter().flatten().fold(LONGEST_SLEEP, Duration::min)
    }

    /// Whether work may begin beside what is in progress. Nothing else is done with an instance or a cluster meanwhile.
    fn has_room(&self, work: &Work) -> bool {
        let lane = Lane::of(work);
        let alike = self.busy.iter().filter(|busy| Lane::of(busy) == lane).count();
        let limit = match lane {
            Lane::Serve => AT_ONCE,
            Lane::Drill => DRILLS_AT_ONCE,
            Lane::Expire => EXPIRIES_AT_ONCE,
        };
        let place = self.place(work);
        let in_the_way = |busy: &&Work| match (lane, Lane::of(busy)) {
            // A drill has a cluster of its own, and reads what is there.
            (Lane::Serve, Lane::Serve) | (Lane::Expire, Lane::Drill) => place.is_some() && self.place(busy) == place,
            _ => false,
        };
        let apart = !self.busy.iter().any(|busy| in_the_way(&busy));
        alike < limit && apart
    }

    /// The cluster that work is about.
    fn place(&self, work: &Work) -> Option<ClusterName> {
        let of = |id: &InstanceId| self.control.view().instance_by_id(id).map(|instance| instance.cluster.clone());
        match work {
            Work::BackUp { cluster, .. } => Some(cluster.clone()),
            Work::Restore { instance } | Work::Drill { instance } => of(instance),
            Work::Expire { backup } => self.control.view().point(backup).map(|point| point.cluster.clone()),
        }
    }

    fn begin(&mut self, work: Work) {
        self.busy.insert(work.clone());
        if let Work::Restore { instance } = &work {
            self.logs.make_way_for(instance);
        }
        let attempt = Attempt {
            progress: self.control.watched().begin(&work, &self.control.view()),
            control: self.control.clone(),
            depot: self.depot.clone(),
            sweeper: self.sweeper.clone(),
        };
        self.running.spawn(async move {
            let rest = match attempt.carry_out(&work).await {
                Ok(Ended::Recorded) => None,
                Ok(Ended::Postponed) => Some(LONG_REST),
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(?work, error, "what came of recovery work is not on record; it is done again");
                    Some(REST)
                }
            };
            (work, rest)
        });
    }

    fn ended(&mut self, ended: Result<(Work, Option<Duration>), tokio::task::JoinError>) {
        match ended {
            Ok((work, rest)) => {
                self.busy.remove(&work);
                if let Some(rest) = rest {
                    self.resting.insert(work, Instant::now() + rest);
                }
            }
            Err(error) => {
                // Which work it was is lost with it: all that is planned still is begun anew.
                tracing::error!(%error, "recovery work panicked, which is a mistake in this version");
                let rest = Instant::now() + REST;
                if self.running.is_empty() {
                    self.resting.extend(std::mem::take(&mut self.busy).into_iter().map(|work| (work, rest)));
                }
            }
        }
    }
}

/// Removes the scratch clusters of control planes that are gone.
async fn clear_scratch(control: &Control) {
    for engine in control.engines() {
        let Some(recovery) = engine.recovery() else { continue };
        if let Err(error) = recovery.clear_scratch().await {
            let engine = &engine.offering().engine;
            tracing::error!(%engine, error = chain(&error), "scratch clusters of an earlier control plane are left");
        }
    }
}

/// Work that is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// What changes or reads clusters that serve.
    Serve,
    Drill,
    Expire,
}

impl Lane {
    fn of(work: &Work) -> Self {
        match work {
            Work::BackUp { .. } | Work::Restore { .. } => Self::Serve,
            Work::Drill { .. } => Self::Drill,
            Work::Expire { .. } => Self::Expire,
        }
    }
}
