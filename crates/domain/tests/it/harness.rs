//! A journal in memory, and short ways to write commands down.

use std::sync::Arc;

use mainstay_domain::command::{
    Command, Context, CreateBinding, CreateInstance, Decision, DeleteBinding, DeleteInstance, MoveInstance, Rejection,
    ReplacePassword, Request, RotateBinding,
};
use mainstay_domain::event::{Actor, Event, Idempotency};
use mainstay_domain::recovery::{Means, Recoverable, Scope};
use mainstay_domain::view::View;
use mainstay_types::{
    BindingId, Digest, InstanceId, Offering, OperationId, ParameterKind, ParameterSpec, Parameters, Plan, TenantName,
    Timestamp,
};

/// A history, the view it folds into, and a clock that is set by hand.
pub struct Layer {
    pub events: Vec<Event>,
    pub view: View,
    pub now: Timestamp,
    drawn: u64,
}

impl Layer {
    pub fn new() -> Self {
        Self { events: Vec::new(), view: View::default(), now: Timestamp::from_micros(1_800_000_000_000_000), drawn: 0 }
    }

    /// Decides a command and records what follows.
    pub fn submit(&mut self, command: impl Into<Command>) -> Result<Decision, Rejection> {
        let decision = command.into().decide(&self.view, &self.context())?;
        for event in decision.events.clone() {
            let previous = self.events.last().map_or(Digest::ZERO, Event::digest);
            // As the journal has it: never before the event before.
            let time = self.view.time().map_or(self.now, |last| last.max(self.now));
            let event = event.record(self.view.sequence() + 1, time, previous);
            self.view.apply(&event).expect("what was decided fits onto the view it was decided on");
            self.events.push(event);
        }
        Ok(decision)
    }

    pub fn context(&self) -> Context {
        Context {
            now: self.now,
            actor: Actor::System,
            offerings: Arc::new([postgresql(), successor()]),
            recovery: Arc::new(recoverable()),
            dedicated_ports: 7500..=7503,
        }
    }

    /// The types of all events from a sequence number on.
    pub fn kinds_after(&self, sequence: u64) -> Vec<&str> {
        self.events.iter().filter(|event| event.sequence > sequence).map(|event| event.kind.as_str()).collect()
    }

    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    pub fn request(&mut self, key: Option<&str>) -> Request {
        let idempotency = key.map(|key| Idempotency { key: key.to_owned(), fingerprint: Digest::of(b"the same") });
        Request { operation: OperationId::from_random(self.draw()), idempotency }
    }

    pub fn create(&mut self, name: &str) -> CreateInstance {
        CreateInstance {
            request: self.request(None),
            tenant: tenant(),
            name: name.parse().unwrap(),
            contract: "postgresql/v1".parse().unwrap(),
            plan: None,
            engine: None,
            environment: None,
            parameters: Parameters::default(),
            id: InstanceId::from_random(self.draw()),
            busy_ports: Default::default(),
        }
    }

    pub fn delete(&mut self, name: &str, force: bool) -> DeleteInstance {
        DeleteInstance { request: self.request(None), tenant: tenant(), name: name.parse().unwrap(), force }
    }

    pub fn relocate(&mut self, name: &str) -> MoveInstance {
        MoveInstance {
            request: self.request(None),
            tenant: tenant(),
            name: name.parse().unwrap(),
            engine: None,
            plan: None,
            busy_ports: Default::default(),
        }
    }

    pub fn bind(&mut self, name: &str) -> CreateBinding {
        CreateBinding {
            request: self.request(None),
            tenant: tenant(),
            instance: name.parse().unwrap(),
            consumer: "web".parse().unwrap(),
            lease_seconds: None,
            id: BindingId::from_random(self.draw()),
            statements: None,
        }
    }

    pub fn replace(&mut self, id: &BindingId) -> ReplacePassword {
        ReplacePassword { request: self.request(None), tenant: tenant(), id: id.clone() }
    }

    pub fn rotate(&mut self, id: &BindingId) -> RotateBinding {
        RotateBinding { request: self.request(None), tenant: tenant(), id: id.clone(), overlap_seconds: Some(60) }
    }

    pub fn unbind(&mut self, id: &BindingId) -> DeleteBinding {
        DeleteBinding { request: self.request(None), tenant: tenant(), id: id.clone() }
    }
}

/// An engine that is backed up as a whole, with a log.
pub fn recoverable() -> Recoverable {
    [("postgresql".parse().unwrap(), Means { scope: Scope::Cluster, log: true })].into_iter().collect()
}

pub fn tenant() -> TenantName {
    TenantName::default_tenant()
}

/// An engine that takes over from the first, and from which nobody takes over.
fn successor() -> Offering {
    Offering { engine: "successor".parse().unwrap(), plans: vec![Plan::Dedicated], shared_port: 7433, ..postgresql() }
}

fn postgresql() -> Offering {
    Offering {
        contract: "postgresql/v1".parse().unwrap(),
        engine: "postgresql".parse().unwrap(),
        plans: vec![Plan::Shared, Plan::Dedicated],
        parameters: vec![ParameterSpec {
            name: "connection_limit",
            description: "Sessions at the same time",
            kind: ParameterKind::Integer { min: 1, max: 100 },
            plans: &[Plan::Shared, Plan::Dedicated],
        }],
        shared_port: 7432,
        follows: vec!["postgresql".parse().unwrap()],
    }
}
