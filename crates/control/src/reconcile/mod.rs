//! The reconcile loop: one worker for each cluster compares what should be with what is, and acts.

mod attempt;
mod pacing;
mod troubles;
mod worker;

use std::collections::HashMap;

use mainstay_types::ClusterName;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control::Control;
use worker::Worker;

pub(crate) use troubles::Troubles;

/// Runs a worker for every cluster of the view, as clusters come and go.
pub struct Reconciler {
    control: Control,
    workers: HashMap<ClusterName, JoinHandle<()>>,
}

impl Reconciler {
    /// A reconciler that does nothing until it is run.
    pub fn new(control: Control) -> Self {
        Self { control, workers: HashMap::new() }
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
            let worker = Worker::new(self.control.clone(), engine, cluster.name.clone(), stop.clone());
            self.workers.insert(cluster.name.clone(), tokio::spawn(worker.run()));
        }
    }
}
