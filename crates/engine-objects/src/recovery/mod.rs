//! Backups of instances, and how they come back.
//!
//! A backup is an index, which is its one part, and the contents that the index refers to. These lie in the archive under their own
//! addresses, once however many objects and backups refer to them, so that a later backup brings what is new. Content that is
//! encrypted is decrypted on its way: the archive encrypts by itself, and needs no key of this store's.

mod assertion;
mod backup;
mod index;
mod rehearsal;
mod restore;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use mainstay_dataplane::Address;
use mainstay_engine::recovery::{Archive, Assertion, Backup, Recovery, Rehearsal, Restored, Scope, Until};
use mainstay_engine::supervise::Removals;
use mainstay_engine::{ClusterSpec, EngineError, InstanceSpec};
use mainstay_objects::Record;
use mainstay_types::InstanceId;

use crate::engine::ObjectStoreEngine;
use crate::{identity, names};

/// What restores make beside what is served.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    removals: Removals,
    /// Accounts that a restore of this process still needs.
    in_use: Arc<Mutex<BTreeSet<InstanceId>>>,
}

impl Scratch {
    fn in_use(&self) -> MutexGuard<'_, BTreeSet<InstanceId>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Recovery for ObjectStoreEngine {
    fn scope(&self) -> Scope {
        Scope::Instance
    }

    async fn back_up(
        &self,
        _: &ClusterSpec,
        instances: &[InstanceSpec],
        archive: &Archive,
    ) -> Result<Backup, EngineError> {
        self.require_service()?;
        let [instance] = instances else {
            return Err(EngineError::permanent(
                format!("{} instances were to be in one backup of the object store", instances.len()),
                "back each of them up by itself",
            ));
        };
        backup::take(self, instance, archive).await
    }

    async fn restore_cluster(
        &self,
        cluster: &ClusterSpec,
        _: &Backup,
        _: Until,
        _: &Archive,
    ) -> Result<Restored, EngineError> {
        Err(EngineError::permanent(
            format!("cluster {} is the object store itself, which has no data but its instances'", cluster.name),
            "start it, and restore its instances one by one",
        ))
    }

    async fn restore_instance(
        &self,
        _: &ClusterSpec,
        instance: &InstanceSpec,
        origin: &InstanceId,
        backup: &Backup,
        until: Until,
        archive: &Archive,
    ) -> Result<Restored, EngineError> {
        self.require_service()?;
        backup.admit_without_log(until)?;
        restore::restore(self, instance, origin, backup, archive).await?;
        let identity = identity::find(&self.objects).await?.ok_or_else(|| identity::lost("its index is empty"))?;
        Ok(Restored { identity, version: crate::engine::version(), newest: backup.ended_at })
    }

    async fn rehearse(
        &self,
        _: &ClusterSpec,
        instance: &InstanceSpec,
        backup: &Backup,
        assertions: &[Assertion],
        archive: &Archive,
    ) -> Result<Rehearsal, EngineError> {
        rehearsal::rehearse(instance, backup, assertions, archive).await
    }

    async fn contents(
        &self,
        backup: &Backup,
        archive: &Archive,
    ) -> Result<BoxStream<'static, Result<Address, EngineError>>, EngineError> {
        let records = index::read(backup, archive).await?;
        let addresses = records.map_ok(|record| {
            let pieces = match &record {
                Record::Entry(entry) => entry.pieces(),
                Record::Bucket { .. } | Record::End { .. } => &[],
            };
            let addresses: Vec<_> = pieces.iter().map(|piece| Ok(piece.address)).collect();
            futures::stream::iter(addresses)
        });
        Ok(addresses.try_flatten().boxed())
    }

    async fn clear_scratch(&self) -> Result<(), EngineError> {
        self.scratch.removals.finished().await;
        let scratch = self.objects.accounts().into_iter().map(|account| account.id).filter(names::is_scratch_account);
        for id in scratch {
            let in_use = self.scratch.in_use().contains(&id);
            if !in_use {
                self.remove_account(&id).await?;
            }
        }
        Ok(())
    }
}
