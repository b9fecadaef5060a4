//! The view as bytes: what a snapshot stores, and what shows that a replay equals the live fold.

use std::sync::Arc;

use mainstay_types::{OperationId, Sequence, Timestamp};
use minicbor::{Decode, Encode, Encoder};

use super::{
    Binding, Cluster, Drill, DrillCounts, EvidenceKey, Instance, Operation, Orphan, RecoveryPoint, Rewind, Token, View,
};
use crate::event::Event;

impl View {
    /// The version of the snapshot's form. A snapshot of another version is not read: the journal is replayed.
    pub const FORMAT: u32 = 5;
}

/// The owned form that a snapshot is read into before the indexes are rebuilt.
#[derive(Decode)]
struct Stored {
    #[n(0)]
    sequence: Sequence,
    #[n(1)]
    time: Option<Timestamp>,
    #[n(2)]
    instances: Vec<Instance>,
    #[n(3)]
    clusters: Vec<Cluster>,
    #[n(4)]
    bindings: Vec<Binding>,
    #[n(5)]
    operations: Vec<Operation>,
    #[n(6)]
    tokens: Vec<Token>,
    #[n(7)]
    finished: Vec<OperationId>,
    #[n(8)]
    custody_position: Option<u64>,
    #[n(9)]
    scrubbed_at: Option<Timestamp>,
    #[n(10)]
    recovery_key_acknowledged_at: Option<Timestamp>,
    #[n(11)]
    points: Vec<RecoveryPoint>,
    #[n(12)]
    drills: Vec<Drill>,
    #[n(13)]
    deleted: Vec<Instance>,
    #[n(14)]
    drill_counts: DrillCounts,
    #[n(15)]
    evidence_keys: Vec<EvidenceKey>,
    #[n(16)]
    rewinds: Vec<Rewind>,
    #[n(17)]
    orphans: Vec<Orphan>,
}

impl<C> Encode<C> for View {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.array(18)?.u64(self.sequence)?.encode_with(self.time, context)?;
        records(encoder, context, self.instances.values().map(Arc::as_ref))?;
        records(encoder, context, self.clusters.values().map(Arc::as_ref))?;
        records(encoder, context, self.bindings.values().map(Arc::as_ref))?;
        records(encoder, context, self.operations.values().map(Arc::as_ref))?;
        records(encoder, context, self.tokens.values().map(Arc::as_ref))?;
        records(encoder, context, self.finished.iter())?;
        encoder.u64(self.custody_position)?.encode_with(self.scrubbed_at, context)?;
        encoder.encode_with(self.recovery_key_acknowledged_at, context)?;
        records(encoder, context, self.points.values().map(Arc::as_ref))?;
        records(encoder, context, self.drills.iter().map(Arc::as_ref))?;
        records(encoder, context, self.deleted.iter().map(Arc::as_ref))?;
        encoder.encode_with(self.drill_counts, context)?;
        records(encoder, context, self.evidence_keys.iter())?;
        records(encoder, context, self.rewinds.iter())?;
        records(encoder, context, self.orphans.values())
    }
}

fn records<'a, T, C, W>(
    encoder: &mut Encoder<W>,
    context: &mut C,
    records: impl ExactSizeIterator<Item = &'a T>,
) -> Result<(), minicbor::encode::Error<W::Error>>
where
    T: Encode<C> + 'a,
    W: minicbor::encode::Write,
{
    encoder.array(records.len() as u64)?;
    for record in records {
        record.encode(encoder, context)?;
    }
    Ok(())
}

impl<'b, C> Decode<'b, C> for View {
    fn decode(decoder: &mut minicbor::Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        let stored = Stored::decode(decoder, context)?;
        let mut view = View { sequence: stored.sequence, time: stored.time, ..View::default() };
        for cluster in stored.clusters {
            view.clusters.insert(cluster.name.clone(), cluster.into());
        }
        for instance in stored.instances {
            view.insert_instance(instance);
        }
        for binding in stored.bindings {
            view.insert_binding(binding);
        }
        for operation in stored.operations {
            view.insert_operation(operation);
        }
        for token in stored.tokens {
            view.tokens.insert(token.id.clone(), token.into());
        }
        view.custody_position = stored.custody_position.unwrap_or(0);
        view.scrubbed_at = stored.scrubbed_at;
        view.recovery_key_acknowledged_at = stored.recovery_key_acknowledged_at;
        for point in stored.points {
            view.insert_point(point);
        }
        view.drills = stored.drills.into_iter().map(Arc::new).collect();
        view.deleted = stored.deleted.into_iter().map(Arc::new).collect();
        view.drill_counts = stored.drill_counts;
        view.evidence_keys = stored.evidence_keys.into_iter().collect();
        view.rewinds = stored.rewinds.into_iter().collect();
        view.orphans = stored.orphans.into_iter().map(|orphan| (orphan.backup.clone(), orphan)).collect();
        view.finished = stored.finished.into_iter().collect();
        Ok(view)
    }
}

impl View {
    /// Folds a whole history from its first event.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, super::ApplyError> {
        let mut view = View::default();
        for event in events {
            view.apply(event)?;
        }
        Ok(view)
    }
}
