//! Bindings and leased secrets that are renewed while a command runs and ended after it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use mainstay_types::{BindingId, ConsumerName, InstanceName};
use serde::Serialize;
use serde_json::json;

use crate::client::Client;
use crate::duration::Seconds;
use crate::failure::Failure;
use crate::output;
use crate::resource::Bound;
use crate::secret::{Lease, Location, Secret, SecretPath};
use crate::verb::bind::NewBinding;

/// After a renewal that failed: often enough that a restart of the control plane costs no lease.
const RETRY: Duration = Duration::from_secs(5);

/// However short a lease is, renewing it is no busy loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The bindings and the leased secrets of one command. They are ended when this is dropped.
pub(super) struct Leases<'a> {
    client: &'a Client,
    ttl: Seconds,
    bindings: Vec<BindingId>,
    secrets: Vec<Lease>,
}

#[derive(Serialize)]
struct Renewal {
    ttl: Seconds,
}

impl<'a> Leases<'a> {
    pub fn new(client: &'a Client, ttl: Seconds) -> Self {
        Self { client, ttl, bindings: Vec::new(), secrets: Vec::new() }
    }

    /// Makes one binding more.
    pub fn bind(&mut self, instance: &InstanceName, consumer: &ConsumerName) -> Result<Bound, Failure> {
        let body = NewBinding { consumer, ttl: Some(self.ttl) };
        let answer = self.client.post_until_done(&format!("/instances/{instance}/bindings"), &body)?;
        let bound: Bound = output::read(&answer)?;
        self.bindings.push(bound.id.clone());
        Ok(bound)
    }

    /// Reads a secret; what was made for this reader is its until the command ends.
    pub fn read(&mut self, path: &SecretPath) -> Result<Secret, Failure> {
        let vault = self.client.vault();
        let location = Location::find_secret(vault, path)?;
        let secret = location.understand(&location.read(vault, None)?)?;
        if let Some(lease) = &secret.lease {
            if !lease.renewable {
                output::message(&format!("warning: {path} serves for {}s and cannot be renewed", lease.seconds));
            }
            self.secrets.push(lease.clone());
        }
        Ok(secret)
    }

    /// Does something and renews what is leased meanwhile, each time half of the shortest lease is over.
    pub fn renewed_while<T>(&self, work: impl FnOnce() -> T) -> T {
        let bindings = (!self.bindings.is_empty()).then_some(self.ttl.get());
        let secrets = self.secrets.iter().filter(|lease| lease.renewable).map(|lease| lease.seconds);
        let Some(shortest) = bindings.into_iter().chain(secrets).min() else { return work() };
        let half = (Duration::from_secs(shortest) / 2).max(SHORTEST_PAUSE);
        thread::scope(|scope| {
            let (done, ended) = mpsc::channel::<()>();
            scope.spawn(move || {
                let mut pause = half;
                while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    pause = if self.renew() { half } else { RETRY.min(half) };
                }
            });
            let result = work();
            drop(done);
            result
        })
    }

    fn renew(&self) -> bool {
        let mut all = true;
        for binding in &self.bindings {
            let renewed = self.client.post(&format!("/bindings/{binding}/renew"), &[], &Renewal { ttl: self.ttl });
            if let Err(failure) = renewed {
                output::error(&format!("binding {binding} was not renewed: {}", failure.chain()), None);
                all = false;
            }
        }
        for lease in self.secrets.iter().filter(|lease| lease.renewable) {
            let body = json!({ "lease_id": lease.id, "increment": lease.seconds });
            if let Err(failure) = self.client.vault().write("sys/leases/renew", &body) {
                output::error(&format!("lease {} was not renewed: {}", lease.id, failure.chain()), None);
                all = false;
            }
        }
        all
    }
}

impl Drop for Leases<'_> {
    fn drop(&mut self) {
        for binding in &self.bindings {
            if let Err(failure) = self.client.delete(&format!("/bindings/{binding}"), &[]) {
                let remedy = format!("it ends by itself when its lease does, or with `mainstay unbind {binding}`");
                output::error(&format!("binding {binding} was not ended: {}", failure.chain()), Some(&remedy));
            }
        }
        for lease in &self.secrets {
            if let Err(failure) = self.client.vault().write("sys/leases/revoke", &json!({ "lease_id": lease.id })) {
                let remedy = format!("it ends by itself, or with `mainstay custody revoke {}`", lease.id);
                output::error(&format!("lease {} was not ended: {}", lease.id, failure.chain()), Some(&remedy));
            }
        }
    }
}
