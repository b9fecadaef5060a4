//! Evidence of drills: the journal's events, signed.
//!
//! Nothing of it is kept. What is said comes from the journal, which nobody changes, and the key from custody; the one that an event
//! is signed with is the one that there was then, so that the same journal gives the same bytes whenever they are asked for.

mod key;
mod statement;

use mainstay_custody::RecordError;
use mainstay_domain::event::Event;
use mainstay_domain::view::{EvidenceKey, REMEMBERED_DRILLS, View};
use mainstay_evidence::{Envelope, SigningKey};
use mainstay_journal::ReadError;
use mainstay_types::{InstanceName, Sequence, TenantName, Timestamp};

use crate::control::{Control, SubmitError};

/// Events that are read at once while drills are looked for that the view has forgotten.
const READ_AHEAD: usize = 1000;
/// The most events that one call looks through; where it stops short, its answer says where to go on.
const LOOKED_THROUGH: usize = 100 * READ_AHEAD;

/// Which evidence is wanted.
#[derive(Debug, Clone)]
pub struct EvidenceAsked {
    pub tenant: TenantName,
    /// Of this instance only, and of those that had its name before.
    pub instance: Option<InstanceName>,
    /// Of drills that ended at this moment or later.
    pub since: Option<Timestamp>,
    /// Of drills that ended before this moment.
    pub until: Option<Timestamp>,
    /// Of drills whose event comes after this one.
    pub after: Sequence,
    pub limit: usize,
}

/// Evidence in the order of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidencePage {
    pub evidence: Vec<Envelope>,
    /// After which event to go on; none where there is no more.
    pub next: Option<Sequence>,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    #[error("the key of evidence can not be had from custody now")]
    Custody(#[source] RecordError),
    #[error("key {number}, which evidence of that time is signed with, is not in custody any more")]
    KeyGone { number: u32 },
    #[error(transparent)]
    Journal(#[from] ReadError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl Control {
    /// Evidence of drills, signed.
    pub async fn drill_evidence(&self, asked: &EvidenceAsked) -> Result<EvidencePage, EvidenceError> {
        let (drills, next) = self.drill_events(asked).await?;
        let mut evidence = Vec::with_capacity(drills.len());
        if drills.is_empty() {
            return Ok(EvidencePage { evidence, next });
        }
        self.ensure_evidence_key().await?;
        let (view, layer) = (self.view(), self.layer().await?);
        let mut held: Option<(EvidenceKey, SigningKey)> = None;
        for event in drills {
            let Some(key) = view.evidence_key_of(event.sequence) else { continue };
            if held.as_ref().is_none_or(|(held, _)| held.number != key.number) {
                held = Some((key.clone(), self.signing_key(key).await?));
            }
            let statement = statement::of(&event, layer);
            evidence.extend(statement.zip(held.as_ref()).map(|(said, (_, key))| Envelope::seal(&said, key)));
        }
        Ok(EvidencePage { evidence, next })
    }

    /// The events of the drills that are asked for, and after which to go on.
    async fn drill_events(&self, asked: &EvidenceAsked) -> Result<(Vec<Event>, Option<Sequence>), ReadError> {
        let view = self.view();
        let (mut found, mut after) = (Vec::new(), asked.after);
        if let Some(remembered) = oldest_remembered(&view) {
            let mut looked_through = 0;
            while after + 1 < remembered {
                if looked_through >= LOOKED_THROUGH {
                    return Ok((found, Some(after)));
                }
                let events = self.journal().read(after, READ_AHEAD).await?;
                looked_through += READ_AHEAD;
                let before = events.into_iter().take_while(|event| event.sequence < remembered);
                after = remembered - 1;
                for event in before {
                    if found.len() == asked.limit {
                        return Ok((found, Some(event.sequence - 1)));
                    }
                    after = event.sequence;
                    if asked.wants_event(&event) {
                        found.push(event);
                    }
                }
            }
        }
        let remembered = view.drills().filter(|drill| {
            drill.sequence > after && asked.wants(Some(&drill.tenant), drill.instance.as_str(), drill.ended_at)
        });
        for drill in remembered {
            if found.len() == asked.limit {
                return Ok((found, Some(drill.sequence - 1)));
            }
            found.extend(self.journal().read(drill.sequence - 1, 1).await?);
        }
        Ok((found, None))
    }
}

impl EvidenceAsked {
    fn wants_event(&self, event: &Event) -> bool {
        statement::KINDS.contains(&event.kind.as_str())
            && self.wants(event.tenant.as_ref(), &event.subject.id, event.time)
    }

    fn wants(&self, tenant: Option<&TenantName>, instance: &str, ended_at: Timestamp) -> bool {
        tenant == Some(&self.tenant)
            && self.instance.as_ref().is_none_or(|wanted| wanted.as_str() == instance)
            && self.since.is_none_or(|since| ended_at >= since)
            && self.until.is_none_or(|until| ended_at < until)
    }
}

/// The oldest drill that the view remembers, where it may have forgotten older ones.
fn oldest_remembered(view: &View) -> Option<Sequence> {
    let is_full = view.drills().count() >= REMEMBERED_DRILLS;
    view.drills().next().filter(|_| is_full).map(|drill| drill.sequence)
}
