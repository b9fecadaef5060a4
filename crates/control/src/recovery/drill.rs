//! One drill: the newest recovery point comes back into a scratch cluster, and what was seen is put on record.

use std::time::Duration;

use mainstay_domain::command::DrillDone;
use mainstay_domain::event::{
    AskedAssertion, DrillCheck, DrillFailed, DrillPassed, DrillRecord, DrilledPart, DrilledPoint,
};
use mainstay_domain::view::{Instance, RecoveryPoint};
use mainstay_engine::recovery::{Assertion, Check, Part, Rehearsal};
use mainstay_types::{InstanceId, Timestamp, chain};

use super::attempt::{Attempt, Failure, Site, in_time, recovery};
use super::document::PointDocument;
use super::room::{self, NoRoom};
use crate::control::spec;
use crate::credentials::instance_spec;

/// Parts of a backup that are named on record: more than one of PostgreSQL has, and few enough for an event. The others hang on
/// those by what they refer to, or are told by their number.
const PARTS_NAMED: usize = 100;

/// What came of a drill, and what is to be said of it afterwards.
struct Ended {
    outcome: Result<Rehearsal, String>,
    record: Box<DrillRecord>,
}

impl Attempt {
    /// Tries the newest recovery point; none where the instance is gone.
    pub(super) async fn drill(&self, id: &InstanceId) -> Option<DrillDone> {
        let began_at = Timestamp::now();
        let site = self.site(id).ok()?;
        let newest = site.view.points_of(&site.instance).next_back().cloned();
        let Ended { outcome, mut record } = self.rehearse_newest(&site, newest.as_deref()).await;
        let (instance, backup) = (id.clone(), newest.map(|point| point.id.clone()));
        let checks = outcome.as_ref().map(|rehearsal| rehearsal.checks.iter().map(recorded).collect());
        let checks = checks.unwrap_or_default();
        if let Ok(rehearsal) = &outcome {
            record.recovery_time_milliseconds = Some(milliseconds(rehearsal.recovery_time));
            record.newest = Some(rehearsal.newest);
        }
        let judged = outcome.and_then(|rehearsal| shortcoming(&rehearsal).map_or(Ok(rehearsal), Err));
        Some(match (judged, backup) {
            (Ok(rehearsal), Some(backup)) => DrillDone::Passed(DrillPassed {
                instance,
                backup,
                began_at,
                recovery_time_milliseconds: milliseconds(rehearsal.recovery_time),
                loss_milliseconds: loss_milliseconds(began_at, rehearsal.newest),
                checks,
                record: Some(record),
            }),
            (judged, backup) => {
                let reason = judged.err().unwrap_or_default();
                let of = backup.as_ref().map(tracing::field::display);
                tracing::warn!(instance = %id, backup = of, reason, "a drill did not pass");
                DrillDone::Failed(DrillFailed { instance, backup, began_at, reason, checks, record: Some(record) })
            }
        })
    }

    async fn rehearse_newest(&self, site: &Site, newest: Option<&RecoveryPoint>) -> Ended {
        let mut record = Box::new(record(&site.instance, newest));
        let outcome = match newest {
            None => Err("there is no backup of it where it is now; back it up first".to_owned()),
            Some(point) => {
                let rehearsed = in_time(self.rehearse(site, point, &mut record)).await;
                rehearsed.map_err(|failure| chain(&failure))
            }
        };
        if let Ok(rehearsal) = &outcome {
            answer(&mut record.assertions, &rehearsal.checks);
        }
        Ended { outcome, record }
    }

    async fn rehearse(
        &self,
        site: &Site,
        newest: &RecoveryPoint,
        record: &mut DrillRecord,
    ) -> Result<Rehearsal, Failure> {
        let place = self.control.data_dir();
        let point = self.point(&newest.id).await?;
        name_parts(record, &point);
        if let Some(place) = place {
            room::admit(place, newest.bytes)?;
        }
        let archive = self.archive(&point.cluster).await?;
        let assertions = &site.instance.recovery.policy.assertions;
        let (spec, instance) = (spec(&site.cluster), instance_spec(&site.instance));
        let recovery = recovery(&*site.engine)?;
        let rehearsal = recovery.rehearse(&spec, &instance, &point.backup, assertions, &archive);
        let Some(place) = place else { return Ok(rehearsal.await?) };
        let short: NoRoom = tokio::select! {
            rehearsed = rehearsal => return Ok(rehearsed?),
            short = room::run_short(place) => short,
        };
        // The room that it took is given back before anything else is begun.
        if let Err(error) = recovery.clear_scratch().await {
            tracing::error!(error = chain(&error), "what a drill left that was ended is not removed yet");
        }
        Err(short.into())
    }
}

fn record(instance: &Instance, newest: Option<&RecoveryPoint>) -> DrillRecord {
    let point = newest.map(|point| DrilledPoint {
        engine_version: point.version.clone(),
        began_at: point.began_at,
        ended_at: point.ended_at,
        parts: Vec::new(),
        parts_total: None,
    });
    let asked = |assertion: &Assertion| AskedAssertion { assertion: assertion.clone(), met: None };
    DrillRecord {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        contract: instance.contract.clone(),
        engine: instance.engine.clone(),
        point,
        recovery_time_milliseconds: None,
        newest: None,
        assertions: instance.recovery.policy.assertions.iter().map(asked).collect(),
    }
}

fn name_parts(record: &mut DrillRecord, document: &PointDocument) {
    let Some(point) = &mut record.point else { return };
    let named =
        |part: &Part| DrilledPart { name: part.name.clone(), address: *part.address.digest(), sha256: part.sha256.0 };
    point.parts = document.backup.parts.iter().take(PARTS_NAMED).map(named).collect();
    point.parts_total = Some(document.backup.parts.len() as u64);
}

/// Says of assertions whether they were met. They were asked in their order, so that those that ask alike are told apart.
fn answer(asked: &mut [AskedAssertion], checks: &[Check]) {
    let mut checks = checks;
    for AskedAssertion { assertion, met } in asked {
        let Some(at) = checks.iter().position(|check| check.asks(assertion)) else { continue };
        *met = Some(checks[at].failure.is_none());
        checks = &checks[at + 1..];
    }
}

/// Why a rehearsal is none that passed.
fn shortcoming(rehearsal: &Rehearsal) -> Option<String> {
    if rehearsal.is_passed() {
        return None;
    }
    let failures = rehearsal.checks.iter().filter_map(|check| Some((&check.name, check.failure.as_ref()?)));
    let told: Vec<_> = failures.map(|(name, failure)| format!("{name}: {failure}")).collect();
    Some(if told.is_empty() { "nothing was looked at".to_owned() } else { told.join("; ") })
}

fn recorded(check: &Check) -> DrillCheck {
    DrillCheck { name: check.name.clone(), failure: check.failure.clone(), seen: check.seen.clone() }
}

fn loss_milliseconds(began_at: Timestamp, newest: Timestamp) -> u64 {
    milliseconds(Duration::from_secs_f64(began_at.seconds_since(newest)))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use mainstay_domain::event::AskedAssertion;
    use mainstay_engine::recovery::{Assertion, Check};

    #[test]
    fn assertions_that_ask_alike_are_told_apart() {
        let check = |name: &str, passed: bool| {
            let failure = (!passed).then(|| "it is 2".to_owned());
            Check { name: name.to_owned(), failure, seen: "2".to_owned() }
        };
        let asked = |query: &str, expect: &str| {
            let assertion = Assertion { query: query.to_owned(), expect: expect.to_owned() };
            AskedAssertion { assertion, met: None }
        };
        let checks = [check("streams", true), check("assertion n", false), check("assertion n", true)];
        let mut all = [asked("n", "1"), asked("gone", "1"), asked("n", "2")];
        super::answer(&mut all, &checks);
        assert_eq!(all.map(|asked| asked.met), [Some(false), None, Some(true)]);
    }
}
