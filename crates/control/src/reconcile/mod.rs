//! The reconcile loop: one worker for each cluster compares what should be with what is, and acts.

mod attempt;
mod moving;
mod occupation;
mod pacing;
mod troubles;
mod worker;

use std::collections::HashMap;
use std::time::Duration;

use mainstay_engine::supervise::RestartPolicy;
use mainstay_types::ClusterName;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control::Control;
use worker::Worker;

pub(crate) use occupation::Occupation;
pub(crate) use troubles::Troubles;

/// Runs a worker for every cluster of the view, as clusters come and go.
pub struct Reconciler {
    control: Control,
    tempo: Tempo,
    workers: HashMap<ClusterName, JoinHandle<()>>,
}

/// How fast the loop goes about its work where nothing drives it.
#[derive(Debug, Clone)]
pub struct Tempo {
    /// How often a cluster is looked at when nothing else gives cause to. What another hand has changed is seen, and
    /// mended, within this time.
    pub observe_every: Duration,
    /// How the starts of a cluster that does not run are spaced out.
    pub restarts: RestartPolicy,
}

impl Default for Tempo {
    fn default() -> Self {
        Self { observe_every: Duration::from_secs(5), restarts: RestartPolicy::default() }
    }
}

impl Reconciler {
    /// A reconciler that does nothing until it is run.
    pub fn new(control: Control) -> Self {
        Self { control, tempo: Tempo::default(), workers: HashMap::new() }
    }

    /// The same reconciler at another tempo, for whoever can not wait.
    pub fn with_tempo(self, tempo: Tempo) -> Self {
        Self { tempo, ..self }
    }

    /// Runs until `stop` turns true; then waits for the steps in progress, each of which has its own bound.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut views = self.control.journal().watch();
        while !*stop.borrow_and_update() {
            self.spawn_missing(&stop);
            tokio::select! {
                changed = views.changed() => if changed.is_err() { break },
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        for (cluster, worker) in self.workers {
            if let Err(error) = worker.await {
                tracing::error!(%cluster, %error, "the worker of a cluster ended badly");
            }
        }
    }

    fn spawn_missing(&mut self, stop: &watch::Receiver<bool>) {
        self.workers.retain(|_, worker| !worker.is_finished());
        let view = self.control.view();
        for cluster in view.clusters() {
            if self.workers.contains_key(&cluster.name) {
                continue;
            }
            let Some(engine) = self.control.engine(&cluster.engine).cloned() else {
                tracing::error!(cluster = %cluster.name, engine = %cluster.engine, "this version lacks the cluster's engine");
                continue;
            };
            let worker = Worker::new(self.control.clone(), engine, cluster.name.clone(), &self.tempo, stop.clone());
            self.workers.insert(cluster.name.clone(), tokio::spawn(worker.run()));
        }
    }
}
