//! Giving up a claim.

use mainstay_dataplane::{Delete, Deletion};

use crate::failure::Failure;
use crate::inventory::Intent;
use crate::keys;
use crate::plane::Inner;
use crate::publish::{Entry, len_with_content};
use crate::record::{GivenUp, Place, Record};

/// How often a record is read again because something else has changed it meanwhile.
const MAX_CONFLICTS: usize = 5;

impl Inner {
    pub(crate) async fn delete(&self, request: Delete) -> Result<Deletion, Failure> {
        let Delete { owner, address, claim } = request;
        let alone = self.lock(&address).write().await;
        for _ in 0..MAX_CONFLICTS {
            let (record, version) = match self.look_up(&address).await? {
                Entry::Absent => return Ok(Deletion::Absent),
                Entry::Present { record, version } => (record, version),
                // Nobody can read the content any more, whoever claims it.
                Entry::Damaged { damage, .. } => {
                    tracing::error!(%address, %damage, "a damaged record is deleted");
                    self.delete_record(&address).await?;
                    return Ok(Deletion::Deleted);
                }
            };
            match record.clone().give_up(owner, claim) {
                GivenUp::Unchanged(deletion) => return Ok(deletion),
                GivenUp::Kept(kept) => {
                    let Some(within) = self.within(&record, Some(&version)).await? else { continue };
                    match self.write_record(&kept, within, Some(&version)).await {
                        Err(Failure::Unmet) => continue,
                        result => result?,
                    }
                }
                GivenUp::Gone => {
                    self.delete_content(&record).await?;
                    drop(alone);
                    self.remove_unneeded(&record.place).await;
                }
            }
            return Ok(Deletion::Deleted);
        }
        Err(Failure::Unmet)
    }

    async fn delete_content(&self, record: &Record) -> Result<(), Failure> {
        if let Place::Apart { data, .. } = record.place {
            match self.note(data, &Intent::Removing(record.address)).await {
                // Deleting makes room. Without the intent, a crash right now would leave the data behind.
                Err(Failure::Full(reason)) => tracing::warn!(reason, "content is deleted without an intent"),
                result => result?,
            }
        }
        self.delete_record(&record.address).await?;
        self.census.add(0, -len_with_content(record));
        Ok(())
    }

    async fn delete_record(&self, address: &mainstay_dataplane::Address) -> Result<(), Failure> {
        self.store.delete(&[keys::record(address)]).await?;
        self.layouts.remove(address);
        self.damage_seen.forget(address);
        self.census.add(-1, 0);
        Ok(())
    }
}
