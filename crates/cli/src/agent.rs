//! `mainstay agent`: secrets rendered into files, again whenever they change.
//!
//! One thread does everything in turn. What is to be done and when are pure decisions ([`term`], [`template`], [`pace`]);
//! reading ([`sources`]), writing ([`target`]) and running the command ([`command`]) are the effects.

mod command;
mod identity;
mod pace;
mod report;
mod sources;
mod target;
mod template;
mod term;

use std::collections::BTreeSet;
use std::process;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::client::Client;
use crate::failure::Failure;

use command::{Ended, Follower};
use identity::{Identity, Kept};
use report::Report;
use sources::Sources;

pub(crate) use identity::Origin;
pub(crate) use target::{Mode, Target};
pub(crate) use template::Template;

/// How long an agent that was told to end may still take: a call to a server that does not answer takes longer.
const GRACE: Duration = Duration::from_secs(5);

/// What an agent is to do.
pub(crate) struct Plan {
    pub templates: Vec<(Template, Target)>,
    /// A line for `/bin/sh`.
    pub command: Option<String>,
    pub interval: Duration,
    pub once: bool,
    pub origin: Origin,
    /// The policies of the token that it makes for itself; with none it uses what it was given.
    pub narrow: Vec<String>,
}

enum Event {
    Stop,
    CommandEnded(Ended),
}

struct Agent {
    templates: Vec<(Template, Target)>,
    interval: Duration,
    identity: Identity,
    sources: Sources,
    follower: Follower,
    report: Report,
    /// Whether each file is what its template and the secrets say.
    complete: bool,
    /// Passes in a row that something kept from being done.
    failures: u32,
    next_poll: Instant,
}

/// Runs until it is told to end, or with `once` until all is done.
pub(crate) fn run(client: &Client, plan: Plan) -> Result<(), Failure> {
    for (template, target) in &plan.templates {
        template.check()?;
        target.check()?;
    }
    let once = plan.once;
    let (sender, events) = mpsc::channel();
    if !once {
        stop_on_signals(sender.clone())?;
    }
    let mut agent = Agent::new(client, plan);
    if once { agent.once(&sender, &events) } else { agent.forever(&sender, &events) }
}

/// Turns signals into an event, and where that is not heeded in time ends the process: files are whole at any moment.
fn stop_on_signals(events: Sender<Event>) -> Result<(), Failure> {
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| Failure::local("signals cannot be caught", error))?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            let _ = events.send(Event::Stop);
            thread::sleep(GRACE);
            process::exit(0);
        }
    });
    Ok(())
}

// === impl Agent ===

impl Agent {
    fn new(client: &Client, plan: Plan) -> Self {
        Self {
            templates: plan.templates,
            interval: plan.interval,
            identity: Identity::new(client.with_token(client.token().cloned()), plan.origin, plan.narrow),
            sources: Sources::default(),
            follower: Follower::new(plan.command),
            report: Report::default(),
            complete: false,
            failures: 0,
            next_poll: Instant::now(),
        }
    }

    /// One pass, and its command. The first failure ends it.
    fn once(&mut self, sender: &Sender<Event>, events: &Receiver<Event>) -> Result<(), Failure> {
        self.identity.keep(Instant::now(), &mut self.report)?;
        let (_, failed) = self.render();
        self.identity.leave(self.sources.has_leases());
        if let Some(failure) = failed.into_iter().next() {
            return Err(failure);
        }
        self.follower.start_if_due(Instant::now(), telling(sender), &mut self.report);
        while let Some(wait) = self.follower.running_for(Instant::now()) {
            match events.recv_timeout(wait) {
                Ok(Event::CommandEnded(ended)) => {
                    self.follower.ended(ended, Instant::now(), &mut self.report);
                    if !ended.success() {
                        return Err(Failure::OperationFailed {
                            what: "the command after the change".to_owned(),
                            reason: ended.to_string(),
                        });
                    }
                }
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.follower.end_overrun(Instant::now(), &mut self.report),
            }
        }
        Ok(())
    }

    fn forever(&mut self, sender: &Sender<Event>, events: &Receiver<Event>) -> Result<(), Failure> {
        for (template, target) in &self.templates {
            let (source, file) = (template.name(), target.destination().display().to_string());
            self.report.info("watching", &[("template", &source), ("file", &file)]);
        }
        let mut told = false;
        loop {
            let now = Instant::now();
            self.pass(now);
            if !told && self.complete {
                for query in self.sources.queries() {
                    self.report.info("watching", &[("secret", &query.to_string())]);
                }
                told = true;
            }
            self.follower.end_overrun(now, &mut self.report);
            self.follower.start_if_due(now, telling(sender), &mut self.report);
            match events.recv_timeout(self.next_wake().saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::CommandEnded(ended)) => self.follower.ended(ended, Instant::now(), &mut self.report),
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.follower.stop();
                    self.identity.leave(self.sources.has_leases());
                    self.report.info("stopped", &[]);
                    return Ok(());
                }
            }
        }
    }

    /// Does what is due: keeps the token, looks at the secrets, renders what changed.
    fn pass(&mut self, now: Instant) {
        let polling = self.next_poll <= now;
        let kept = match self.identity.keep(now, &mut self.report) {
            Ok(kept) => kept,
            Err(failure) => {
                self.report.failing("token", &failure.chain());
                return self.again_later(now);
            }
        };
        self.report.fine("token");
        if kept == Kept::Replaced {
            self.sources.replace_leases();
        }
        let refreshed = self.sources.refresh(self.identity.vault(), now, polling, &mut self.report);
        let mut denied = refreshed.denied;
        let mut failed = refreshed.failed;
        if refreshed.changed || !self.complete {
            let (asked, failures) = self.render();
            self.complete = failures.is_empty();
            if self.complete {
                self.sources.keep_only(&asked);
            }
            denied |= failures.iter().any(is_denied);
            failed |= !failures.is_empty();
        }
        // Once in a row of failures: where another token is refused as well, it is the policies, and not the token.
        if denied && self.failures == 0 {
            self.identity.distrust();
        }
        if failed {
            self.again_later(now);
        } else if polling {
            self.failures = 0;
            self.next_poll = now + pace::pause(self.interval, 0, pace::draw());
        }
    }

    fn again_later(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.next_poll = now + pace::pause(self.interval, self.failures, pace::draw());
    }

    /// Renders all templates and writes what differs. Returns the secrets that they ask for, and what went wrong.
    fn render(&mut self) -> (BTreeSet<template::Query>, Vec<Failure>) {
        let (mut asked, mut failures) = (BTreeSet::new(), Vec::new());
        for (template, target) in &self.templates {
            let subject = target.destination().display().to_string();
            match self.sources.render(template, self.identity.vault(), Instant::now()) {
                Ok((text, queries)) => {
                    asked.extend(queries);
                    match target.write(text.expose_secret()) {
                        Ok(true) => {
                            self.report.info("rendered", &[("file", &subject)]);
                            self.follower.want();
                        }
                        Ok(false) => {}
                        Err(failure) => {
                            self.report.failing(&subject, &failure.chain());
                            failures.push(failure);
                            continue;
                        }
                    }
                    self.report.fine(&subject);
                }
                Err(failure) => {
                    self.report.failing(&subject, &format!("{}; the file stays as it was", failure.chain()));
                    let may_pass = failure.may_pass();
                    failures.push(failure);
                    // Where nobody answers, asking for the next file would only wait again.
                    if may_pass {
                        break;
                    }
                }
            }
        }
        (asked, failures)
    }

    fn next_wake(&self) -> Instant {
        let due = [self.identity.due(), self.sources.due(), self.follower.due()].into_iter().flatten().min();
        // What is overdue after a failure waits for the pause that follows failures.
        let earliest = if self.failures > 0 { self.next_poll } else { Instant::now() + pace::SHORTEST };
        let follower = self.follower.due();
        let wake = due.map_or(self.next_poll, |due| due.min(self.next_poll)).max(earliest);
        follower.map_or(wake, |due| due.min(wake))
    }
}

/// Tells the agent's thread how a command ended.
fn telling(events: &Sender<Event>) -> impl Fn(Ended) + Send + 'static {
    let events = events.clone();
    move |ended| {
        // It fails only where the agent has ended, and nobody waits any more.
        let _ = events.send(Event::CommandEnded(ended));
    }
}

fn is_denied(failure: &Failure) -> bool {
    matches!(failure, Failure::Custody(refusal) if refusal.is_denied())
}
