//! The worker of one cluster.
//!
//! It owns what was last seen of the cluster and which steps are in progress. Everything else it reads off the view
//! each time round, so that a worker that starts after a crash goes on where the last one was.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_domain::command::{ClusterDegradation, ClusterFailure};
use mainstay_domain::event::Actor;
use mainstay_domain::plan::{Plan, Step, Target, plan};
use mainstay_domain::view::{Cluster, ClusterState, InstanceState, View};
use mainstay_engine::supervise::{CrashHistory, Decision};
use mainstay_engine::{Engine, EngineError};
use mainstay_types::{ClusterName, Health, InstanceId, Observation, Timestamp, chain};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::Instrument;

use super::Tempo;
use super::attempt::{Attempt, AttemptError, Ended};
use super::pacing::{Key, Pacing};
use crate::control::{Control, spec};
use crate::credentials::{credential_spec, instance_spec};

/// How long a look may take before the cluster counts as unresponsive.
const OBSERVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Steps in progress at the same time on one cluster: enough to fill an engine's group commit, too few to starve its
/// consumers of connections.
const STEPS_AT_ONCE: usize = 8;
/// How long a cluster whose process ended may take to serve again before it counts as degraded: as long as a restart
/// is promised to take at most. Whoever asks after that is told the truth while the start goes on.
const SLOW_START: Duration = Duration::from_secs(5);
/// The longest the worker sleeps, should time itself be set back.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    control: Control,
    engine: Arc<dyn Engine>,
    name: ClusterName,
    stop: watch::Receiver<bool>,
    observe_every: Duration,

    observation: Option<Observation>,
    next_look: Instant,
    looking: bool,
    /// Instances that were worked on while the look in progress went on: what it says of them may be out of date.
    touched: HashSet<InstanceId>,
    /// Whether the process ended while the look in progress went on: all that it says may be out of date.
    outdated: bool,
    /// The end of the process that no start has followed yet.
    ended: Option<Ended>,
    history: CrashHistory,
    pacing: Pacing,
    busy: HashSet<Target>,
    running: JoinSet<Done>,
    /// The steps among what is running.
    steps: HashMap<Id, Step>,
    /// Resolves when the cluster's process ends; armed while it is known to run.
    end: Option<Pin<Box<dyn Future<Output = String> + Send>>>,
}

/// Something that ran beside the loop has come to its end.
#[allow(clippy::large_enum_variant, reason = "there are a handful of them at a time")]
enum Done {
    Looked(Observation),
    Stepped(Result<(), AttemptError>),
    Reported,
}

impl Worker {
    pub(super) fn new(
        control: Control,
        engine: Arc<dyn Engine>,
        name: ClusterName,
        tempo: &Tempo,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            control,
            engine,
            name,
            stop,
            observe_every: tempo.observe_every,
            observation: None,
            next_look: Instant::now(),
            looking: false,
            touched: HashSet::new(),
            outdated: false,
            ended: None,
            history: CrashHistory::new(tempo.restarts.clone()),
            pacing: Pacing::default(),
            busy: HashSet::new(),
            running: JoinSet::new(),
            steps: HashMap::new(),
            end: None,
        }
    }

    /// Works until the cluster is gone or the control plane stops; then finishes the steps in progress.
    pub(super) async fn run(mut self) {
        let mut views = self.control.journal().watch();
        while !*self.stop.borrow_and_update() {
            let view = views.borrow_and_update().clone();
            let Some(cluster) = view.cluster(&self.name).cloned() else { break };
            self.look_if_due(&view, &cluster);
            let wake = self.act(&view, &cluster);
            tokio::select! {
                changed = views.changed() => if changed.is_err() { break },
                changed = self.stop.changed() => if changed.is_err() { break },
                Some(done) = self.running.join_next_with_id() => self.finish(done),
                cause = ended(&mut self.end) => self.process_ended(cause),
                () = tokio::time::sleep(wake) => {}
            }
        }
        while let Some(done) = self.running.join_next_with_id().await {
            self.finish(done);
        }
        self.control.troubles().forget(&self.name);
        self.control.occupation().forget(&self.name);
    }

    fn look_if_due(&mut self, view: &Arc<View>, cluster: &Arc<Cluster>) {
        let due = Instant::now() >= self.next_look;
        if !due || self.looking || self.busy.contains(&Target::Cluster) || cluster.state == ClusterState::Retired {
            return;
        }
        self.looking = true;
        self.outdated = false;
        // A step that is in progress now may end before the engine looks, and the look still be told of before it.
        let instance = |target: &Target| match target {
            Target::Instance(instance) => Some(instance.clone()),
            Target::Cluster | Target::Journal => None,
        };
        self.touched = self.busy.iter().filter_map(instance).collect();
        let (engine, view, cluster) = (self.engine.clone(), view.clone(), cluster.clone());
        self.running.spawn(async move { Done::Looked(look(&*engine, &view, &cluster).await) });
    }

    /// Begins every step that is called for and may begin now; answers how long nothing more will be due.
    fn act(&mut self, view: &Arc<View>, cluster: &Arc<Cluster>) -> Duration {
        let now = Timestamp::now();
        let Plan { steps, next_due } = plan(view, &self.name, self.observation.as_ref(), now);
        let mut wake = LONGEST_SLEEP.min(self.tell_of_slow_start(cluster));
        if !self.looking {
            wake = wake.min(self.next_look.saturating_duration_since(Instant::now()));
        }
        if let Some(due) = next_due {
            wake = wake.min(until(due, now));
        }
        for step in steps {
            let target = step.target();
            let exclusive = target == Target::Cluster;
            if self.busy.contains(&Target::Cluster) || self.busy.len() >= STEPS_AT_ONCE {
                break;
            }
            if self.busy.contains(&target) {
                continue;
            }
            // What has to wait because it failed holds up nothing else.
            if let Err(not_before) = self.may_begin(&step, now) {
                wake = wake.min(until(not_before, now));
                continue;
            }
            // What wants the cluster for itself lets nothing else begin until the cluster is free.
            if exclusive && (self.looking || !self.busy.is_empty()) {
                break;
            }
            self.begin(step, view, cluster);
            if exclusive {
                break;
            }
        }
        wake
    }

    /// Records that the cluster does not serve once its start takes long; answers when that would be.
    fn tell_of_slow_start(&mut self, cluster: &Cluster) -> Duration {
        let Some(ended) = self.ended.as_mut().filter(|ended| !ended.told) else { return LONGEST_SLEEP };
        let left = SLOW_START.saturating_sub(ended.at.elapsed());
        if left.is_zero() {
            ended.told = true;
            if cluster.state == ClusterState::Ready {
                let reason = format!("its process ended, and it is being started: {}", ended.cause);
                self.report_degradation(reason);
            }
            return LONGEST_SLEEP;
        }
        left
    }

    /// Whether a step may begin now, and if not, when.
    fn may_begin(&mut self, step: &Step, now: Timestamp) -> Result<(), Timestamp> {
        if let Step::Start { .. } = step {
            return match self.history.decide(now) {
                Decision::Start => Ok(()),
                Decision::Wait { until } => Err(until),
                Decision::GiveUp { retry_at, .. } => Err(retry_at),
            };
        }
        match self.pacing.wait_until(&Key::of(step), now) {
            None => Ok(()),
            Some(not_before) => Err(not_before),
        }
    }

    fn begin(&mut self, step: Step, view: &Arc<View>, cluster: &Arc<Cluster>) {
        let target = step.target();
        if let Target::Instance(instance) = &target {
            self.touched.insert(instance.clone());
        }
        if matches!(step, Step::Start { .. } | Step::Remove) {
            // Its end is no news while it is started, and none any more once it is removed.
            self.end = None;
        }
        self.busy.insert(target);
        let attempt = Attempt {
            control: self.control.clone(),
            engine: self.engine.clone(),
            cluster: cluster.clone(),
            view: view.clone(),
            ended: self.ended.clone(),
        };
        let span = tracing::info_span!("step", cluster = %self.name, node = %cluster.node, step = step.name());
        let planned = step.clone();
        let carry_out = async move { Done::Stepped(attempt.carry_out(&planned).await) };
        let id = self.running.spawn(carry_out.instrument(span)).id();
        self.steps.insert(id, step);
    }

    fn finish(&mut self, done: Result<(Id, Done), JoinError>) {
        let id = match &done {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        match (self.steps.remove(&id), done) {
            (Some(step), Ok((_, Done::Stepped(outcome)))) => self.stepped(step, outcome),
            (Some(step), Err(error)) => self.stepped(step, Err(AttemptError::Panicked(error))),
            (_, Ok((_, Done::Looked(observation)))) => self.looked(observation),
            (None, Err(error)) => {
                tracing::error!(cluster = %self.name, %error, "a look at the cluster ended badly");
                self.looking = false;
                self.next_look = Instant::now() + self.observe_every;
            }
            (_, Ok((_, Done::Reported | Done::Stepped(_)))) => {}
        }
    }

    fn looked(&mut self, mut observation: Observation) {
        self.looking = false;
        if self.outdated {
            self.next_look = Instant::now();
            return;
        }
        self.next_look = Instant::now() + self.observe_every;
        let view = self.control.view();
        let touched = |instance: &InstanceId| self.touched.contains(instance);
        observation.instances.retain(|instance, _| !touched(instance));
        observation
            .credentials
            .retain(|(binding, _), _| view.binding(binding).is_some_and(|binding| !touched(&binding.instance_id)));
        self.control.troubles().looked(&self.name, &observation.health);
        match &observation.health {
            // The look may tell of the end before whoever waits for the end does.
            Health::Down { cause } if self.end.is_some() => self.process_ended(cause.clone()),
            Health::Down { cause } => tracing::debug!(cluster = %self.name, cause, "the cluster is down"),
            Health::Serving | Health::Hindered { .. } | Health::Unresponsive { .. } if self.end.is_none() => {
                self.watch_for_end(&view)
            }
            Health::Serving | Health::Hindered { .. } | Health::Unresponsive { .. } => {}
        }
        self.observation = Some(observation);
    }

    fn watch_for_end(&mut self, view: &View) {
        let Some(cluster) = view.cluster(&self.name) else { return };
        let (engine, spec) = (self.engine.clone(), spec(cluster));
        self.end = Some(Box::pin(async move { engine.ended(&spec).await }));
    }

    fn process_ended(&mut self, cause: String) {
        self.end = None;
        self.outdated = self.looking;
        tracing::warn!(cluster = %self.name, cause, "the engine's process ended");
        self.control.troubles().down(&self.name, cause.clone());
        let now = Timestamp::now();
        self.history.record(now, cause.clone());
        // An end that a start follows soon is told of by the start alone.
        if let Decision::GiveUp { reason, .. } = self.history.decide(now) {
            self.report_failure(reason);
        }
        self.ended.get_or_insert(Ended { at: Instant::now(), cause: cause.clone(), told: false });
        self.observation = Some(Observation::without_service(Health::Down { cause }));
    }

    fn stepped(&mut self, step: Step, outcome: Result<(), AttemptError>) {
        let target = step.target();
        self.busy.remove(&target);
        match &outcome {
            Ok(()) => self.pacing.succeeded(&Key::of(&step)),
            Err(error) => self.step_failed(&step, error),
        }
        match target {
            Target::Cluster => {
                // Whatever came of it, only a new look tells how the cluster is now. What a start was for does not wait for the
                // look: a cluster that has started serves, as far as anybody knows. Where nothing was ready on it before, nothing can
                // be missing, and the look does not keep the server from its first instance.
                self.next_look = Instant::now();
                if outcome.is_ok() {
                    let started = matches!(step, Step::Start { .. });
                    if started && !self.has_ready_instances() {
                        self.next_look += self.observe_every;
                        self.control.troubles().looked(&self.name, &Health::Serving);
                    }
                    self.observation = started.then(just_started);
                    if let Step::Move { instance } = &step {
                        self.control.troubles().clear(instance);
                    }
                }
                if let (Step::Start { .. }, Ok(())) = (&step, &outcome) {
                    self.ended = None;
                    // From now on, so that an end before the first look counts as one too.
                    self.watch_for_end(&self.control.view());
                }
            }
            Target::Instance(instance) => {
                if outcome.is_ok() {
                    self.control.troubles().clear(&instance);
                    self.forget_seen(&instance);
                }
            }
            Target::Journal => {}
        }
    }

    fn has_ready_instances(&self) -> bool {
        let view = self.control.view();
        view.instances_on(&self.name).any(|instance| instance.state == InstanceState::Ready)
    }

    /// What was seen of an instance before a step on it is out of date after the step.
    fn forget_seen(&mut self, instance: &InstanceId) {
        let view = self.control.view();
        if let Some(observation) = &mut self.observation {
            observation.instances.remove(instance);
            observation
                .credentials
                .retain(|(binding, _), _| view.binding(binding).is_some_and(|b| b.instance_id != *instance));
        }
    }

    fn step_failed(&mut self, step: &Step, error: &AttemptError) {
        let now = Timestamp::now();
        let reason = chain(error);
        tracing::warn!(cluster = %self.name, step = step.name(), reason, "a step failed and will be tried again");
        if let Target::Instance(instance) = step.target() {
            self.control.troubles().set(&instance, reason);
            self.pacing.failed(Key::of(step), now);
            return;
        }
        if let Step::Move { instance } = step {
            self.control.troubles().set(instance, format!("it does not get on with its move: {reason}"));
        }
        if let Step::Remove = step {
            for instance in self.control.view().instances_on(&self.name) {
                self.control.troubles().set(&instance.id, reason.clone());
            }
        }
        let Step::Start { .. } = step else {
            self.pacing.failed(Key::of(step), now);
            return;
        };
        let AttemptError::Engine(error) = error else {
            // It serves; only the record of it is missing, which the next look leads to again.
            self.history.record(now, reason);
            return;
        };
        let permanent = matches!(error, EngineError::Permanent { .. });
        let reason = chain(error);
        self.control.troubles().down(&self.name, reason.clone());
        self.history.record(now, reason.clone());
        match self.history.decide(now) {
            _ if permanent => self.report_failure(reason),
            Decision::GiveUp { reason, .. } => self.report_failure(reason),
            Decision::Start | Decision::Wait { .. } => self.report_degradation(reason),
        }
    }

    fn report_failure(&mut self, reason: String) {
        self.report(ClusterFailure { cluster: self.name.clone(), reason });
    }

    fn report_degradation(&mut self, reason: String) {
        self.report(ClusterDegradation { cluster: self.name.clone(), reason });
    }

    /// Records what became of the cluster, beside the loop. When the journal can not take it now, the next failure
    /// reports it again.
    fn report(&mut self, command: impl Into<mainstay_domain::command::Command>) {
        let (control, command) = (self.control.clone(), command.into());
        let name = self.name.clone();
        self.running.spawn(async move {
            if let Err(error) = control.submit(Actor::System, command).await {
                tracing::warn!(cluster = %name, reason = chain(&error), "the state of a cluster could not be recorded");
            }
            Done::Reported
        });
    }
}

/// What is known of a cluster that has started: that it serves, and nothing of what is on it.
fn just_started() -> Observation {
    let (instances, credentials) = Default::default();
    Observation { health: Health::Serving, instances, credentials, changed_settings: Vec::new() }
}

/// Looks at a cluster and at all that should be on it.
async fn look(engine: &dyn Engine, view: &View, cluster: &Cluster) -> Observation {
    let ready = || view.instances_on(&cluster.name).filter(|instance| instance.state == InstanceState::Ready);
    let instances: Vec<_> = ready().map(|instance| instance_spec(instance)).collect();
    let credentials: Vec<_> = ready()
        .flat_map(|instance| view.bindings_of(instance))
        .filter(|binding| binding.is_live())
        .flat_map(|binding| binding.credentials.iter().map(move |credential| (binding, credential)))
        .filter(|(binding, credential)| credential.applied == Some(binding.valid_until(credential)))
        .filter(|(binding, credential)| binding.successor(credential).is_none())
        .map(|(binding, credential)| credential_spec(binding, credential))
        .collect();
    let spec = spec(cluster);
    let look = engine.observe(&spec, &instances, &credentials);
    match tokio::time::timeout(OBSERVE_TIMEOUT, look).await {
        Ok(Ok(observation)) => observation,
        Ok(Err(error)) => Observation::without_service(Health::Unresponsive { reason: chain(&error) }),
        Err(_) => Observation::without_service(Health::Unresponsive {
            reason: format!("it did not answer within {} s", OBSERVE_TIMEOUT.as_secs()),
        }),
    }
}

/// Resolves when the awaited process ends; never while none is awaited.
async fn ended(end: &mut Option<Pin<Box<dyn Future<Output = String> + Send>>>) -> String {
    match end {
        Some(end) => end.await,
        None => std::future::pending().await,
    }
}

/// How long until a moment; nothing once it has passed.
fn until(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::from_secs_f64(moment.seconds_since(now))
}
