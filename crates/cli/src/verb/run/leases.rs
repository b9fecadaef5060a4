//! Bindings that are renewed while a command runs and ended after it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use mainstay_types::{BindingId, ConsumerName, InstanceName};
use serde::Serialize;

use crate::client::Client;
use crate::duration::Seconds;
use crate::failure::Failure;
use crate::output;
use crate::resource::Bound;
use crate::verb::bind::NewBinding;

/// After a renewal that failed: often enough that a restart of the control plane costs no lease.
const RETRY: Duration = Duration::from_secs(5);

/// The bindings of one command. They are ended when this is dropped.
pub(super) struct Leases<'a> {
    client: &'a Client,
    ttl: Seconds,
    bindings: Vec<BindingId>,
}

#[derive(Serialize)]
struct Renewal {
    ttl: Seconds,
}

impl<'a> Leases<'a> {
    pub fn new(client: &'a Client, ttl: Seconds) -> Self {
        Self { client, ttl, bindings: Vec::new() }
    }

    /// Makes one binding more.
    pub fn bind(&mut self, instance: &InstanceName, consumer: &ConsumerName) -> Result<Bound, Failure> {
        let body = NewBinding { consumer, ttl: Some(self.ttl) };
        let answer = self.client.post_until_done(&format!("/instances/{instance}/bindings"), &body)?;
        let bound: Bound = output::read(&answer)?;
        self.bindings.push(bound.id.clone());
        Ok(bound)
    }

    /// Does something and renews the bindings meanwhile, each time half their lease is over.
    pub fn renewed_while<T>(&self, work: impl FnOnce() -> T) -> T {
        let half = Duration::from_secs(self.ttl.get()) / 2;
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
    }
}
