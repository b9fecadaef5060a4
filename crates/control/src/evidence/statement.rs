//! What an event of the journal says, as a statement. Pure: an event has one statement, for ever.

use mainstay_domain::event::{Body, DrillCheck, DrillRecord, DrilledPart, DrilledPoint, Event};
use mainstay_evidence::{
    AssertionShown, CheckShown, Digests, DrillShown, Entry, InstanceShown, Measured, RecoveryPointShown, Statement,
    Subject,
};
use mainstay_types::{BackupId, Digest, InstanceId, Timestamp};

/// The types of the events that evidence is about.
pub(super) const KINDS: [&str; 2] = ["v1.drill.passed", "v1.drill.failed"];

/// What both outcomes tell.
struct Told {
    instance: InstanceId,
    backup: Option<BackupId>,
    began_at: Timestamp,
    checks: Vec<DrillCheck>,
    record: Option<Box<DrillRecord>>,
    /// What a drill that passed has measured: the time to recover, and what was missing.
    measured: Option<(u64, u64)>,
    /// Why one failed.
    reason: Option<String>,
}

/// The statement about a drill; none for any other event.
pub(super) fn of(event: &Event, layer: Digest) -> Option<Statement> {
    let Told { instance, backup, began_at, checks, record, measured, reason } = told(event)?;
    let record = record.as_deref();
    let point = record.and_then(|record| record.point.as_ref());
    let drill = DrillShown {
        result: if reason.is_none() { "passed" } else { "failed" }.to_owned(),
        reason,
        instance: InstanceShown {
            id: instance.to_string(),
            tenant: event.tenant.as_ref()?.to_string(),
            name: event.subject.id.clone(),
            contract: record.map(|record| record.contract.to_string()),
            engine: record.map(|record| record.engine.to_string()),
        },
        recovery_point: backup.as_ref().map(|backup| recovery_point(backup, point)),
        checks: checks.into_iter().map(check).collect(),
        assertions: record.map(assertions).unwrap_or_default(),
        measured: Measured {
            rto_milliseconds: measured
                .map(|(recovery_time, _)| recovery_time)
                .or(record.and_then(|record| record.recovery_time_milliseconds)),
            rpo_milliseconds: measured.map(|(_, loss)| loss).or(record.and_then(|record| {
                let loss = began_at.as_micros().saturating_sub(record.newest?.as_micros());
                Some(u64::try_from(loss / 1000).unwrap_or(0))
            })),
            newest_change: record.and_then(|record| record.newest).map(|newest| newest.to_string()),
        },
        began_at: began_at.to_string(),
        ended_at: event.time.to_string(),
        journal: Entry {
            layer: layer.to_string(),
            sequence: event.sequence,
            kind: event.kind.clone(),
            digest: event.digest().to_string(),
            previous: event.previous.to_string(),
        },
        mainstay_version: record.map(|record| record.version.clone()),
    };
    let parts = point.map(|point| point.parts.as_slice()).unwrap_or_default();
    let parts: Vec<_> = backup.iter().flat_map(|backup| parts.iter().map(move |part| subject(backup, part))).collect();
    Some(Statement::about(drill, parts))
}

fn told(event: &Event) -> Option<Told> {
    match event.body().ok()? {
        Body::DrillPassed(passed) => Some(Told {
            instance: passed.instance,
            backup: Some(passed.backup),
            began_at: passed.began_at,
            checks: passed.checks,
            record: passed.record,
            measured: Some((passed.recovery_time_milliseconds, passed.loss_milliseconds)),
            reason: None,
        }),
        Body::DrillFailed(failed) => Some(Told {
            instance: failed.instance,
            backup: failed.backup,
            began_at: failed.began_at,
            checks: failed.checks,
            record: failed.record,
            measured: None,
            reason: Some(failed.reason),
        }),
        _ => None,
    }
}

fn recovery_point(backup: &BackupId, point: Option<&DrilledPoint>) -> RecoveryPointShown {
    RecoveryPointShown {
        id: backup.to_string(),
        engine_version: point.map(|point| point.engine_version.clone()),
        began_at: point.map(|point| point.began_at.to_string()),
        ended_at: point.map(|point| point.ended_at.to_string()),
        parts: point.and_then(|point| point.parts_total),
    }
}

fn check(check: DrillCheck) -> CheckShown {
    let DrillCheck { name, failure, seen } = check;
    CheckShown { name, passed: failure.is_none(), seen, failure }
}

fn assertions(record: &DrillRecord) -> Vec<AssertionShown> {
    let shown = |asked: &mainstay_domain::event::AskedAssertion| AssertionShown {
        query: asked.assertion.query.clone(),
        expected: asked.assertion.expect.clone(),
        met: asked.met,
    };
    record.assertions.iter().map(shown).collect()
}

fn subject(backup: &BackupId, part: &DrilledPart) -> Subject {
    let sha256: String = part.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = Digests { blake3: Some(part.address.to_string()), sha256: Some(sha256) };
    Subject { name: format!("{backup}/{}", part.name), digest }
}
