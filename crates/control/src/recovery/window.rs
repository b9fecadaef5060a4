//! Which moments can be had back now, read off what is in the depot.

use mainstay_domain::view::Instance;
use mainstay_types::{Timestamp, chain};

use super::attempt::{POINTS, archive};
use super::document::{Document, PointDocument};
use crate::control::Control;

/// The moments that an instance can be restored to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reachable {
    /// Spans of time, each of whose moments can be had, the oldest first. Without a log each is one moment long.
    pub spans: Vec<(Timestamp, Timestamp)>,
    /// Why there is nothing between two of them, or why a backup is of no use.
    pub gaps: Vec<String>,
}

impl Reachable {
    pub fn earliest(&self) -> Option<Timestamp> {
        self.spans.first().map(|span| span.0)
    }

    pub fn latest(&self) -> Option<Timestamp> {
        self.spans.iter().map(|span| span.1).max()
    }

    pub fn holds(&self, time: Timestamp) -> bool {
        self.spans.iter().any(|(from, until)| (*from..=*until).contains(&time))
    }

    /// Adds a span that begins no earlier than those before it.
    fn add(&mut self, from: Timestamp, until: Timestamp) {
        match self.spans.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => self.spans.push((from, until)),
        }
    }
}

impl Control {
    /// The moments that an instance can be restored to, looked up now: what is not in the depot is not told of.
    pub async fn reachable(&self, instance: &Instance) -> Reachable {
        let mut reachable = Reachable::default();
        let (Some(depot), Some(engine)) = (self.depot(), self.engine(&instance.engine)) else { return reachable };
        let Some(recovery) = engine.recovery() else { return reachable };
        let (view, mut spans) = (self.view(), Vec::new());
        for point in view.points_of(instance) {
            let window = async {
                let unknown = || "its document is gone".to_owned();
                let bytes = depot.get(POINTS, point.id.as_str()).await.map_err(|error| chain(&error))?;
                let bytes = bytes.ok_or_else(unknown)?;
                let document = PointDocument::from_bytes(point.id.as_str(), &bytes).map_err(|error| chain(&error))?;
                let archive = archive(self, depot, &point.cluster).await.map_err(|error| chain(&error))?;
                recovery.window(&document.backup, &archive).await.map_err(|error| chain(&error))
            };
            match window.await {
                Ok(window) => {
                    // Nothing that is newer than the wish to delete it is its own.
                    let latest = instance.unwanted_since.map_or(window.latest, |since| since.min(window.latest));
                    spans.push((window.earliest, latest));
                    reachable.gaps.extend(window.gap);
                }
                Err(reason) => reachable.gaps.push(format!("backup {} is of no use: {reason}", point.id)),
            }
        }
        reachable.gaps.dedup();
        // Backups come in the order in which they were made, and the clock may have been set back since.
        spans.sort();
        spans.into_iter().for_each(|(from, until)| reachable.add(from, until));
        reachable
    }

    /// The newest moment that an instance can be restored to, as far as this control plane has seen: nobody is asked.
    pub fn latest_recovery_point(&self, instance: &Instance) -> Option<Timestamp> {
        let view = self.view();
        let newest = view.points_of(instance).next_back()?;
        let has_log = self.recoverable().of(&instance.engine).is_some_and(|means| means.log);
        let identity = view.cluster(&newest.cluster).and_then(|cluster| cluster.identity.as_deref());
        let logged = has_log.then(|| self.catalogues().newest(&newest.cluster, identity)).flatten();
        Some(logged.map_or(newest.ended_at, |logged| logged.max(newest.ended_at)))
    }
}
