//! How records are read and changed.

use bytes::Bytes;
use mainstay_content::Damage;
use mainstay_dataplane::{Address, Claim, KeyId, Owner};
use mainstay_types::Timestamp;
use opendal::Buffer;

use crate::failure::Failure;
use crate::inventory::Intent;
use crate::keys::{self, DataId};
use crate::plane::Inner;
use crate::record::{Place, RECORD_LEN, Record};
use crate::store::Condition;

/// How often a record is read again because something else has changed it meanwhile, which one process alone never does
/// but by repeating a request whose answer was lost.
const MAX_CONFLICTS: usize = 5;

/// A record in the store.
pub(crate) enum Entry {
    Absent,
    Present { record: Record, version: Version },
    Damaged { damage: Damage, version: Version },
}

/// What a conditional write is conditional on.
#[derive(Debug, Clone)]
pub(crate) struct Version(Option<String>);

/// Content that is ready to be published.
pub(crate) struct Fresh {
    /// Nobody claims it yet.
    pub(crate) record: Record,
    /// What lies within the record, behind it.
    pub(crate) within: Bytes,
}

/// What became of fresh content.
pub(crate) struct Published {
    pub(crate) claim: Claim,
    pub(crate) key: Option<KeyId>,
    pub(crate) known: bool,
    /// Whether the fresh bytes are those that are kept.
    pub(crate) taken: bool,
    /// What nobody needs any more.
    pub(crate) unneeded: Option<Place>,
    /// By how much there is more than before, of contents and of bytes.
    contents: i64,
    bytes: i64,
}

/// What becomes of a fresh copy of content that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    Fresh,
    Old,
    /// The old copy is encrypted and damaged, and the fresh one plain: neither may be what is claimed.
    Neither,
}

/// Whether an earlier copy stays in place of a fresh one. What is encrypted stays so, and with the key that its readers
/// know; everything else is replaced, which costs no more than removing the fresh copy, and repairs what may be damaged.
fn keeping(old: &Record, fresh: &Record, damage_seen: bool) -> Keeping {
    match (old.key, fresh.key, damage_seen) {
        (Some(_), _, false) => Keeping::Old,
        (Some(_), None, true) => Keeping::Neither,
        (Some(_), Some(_), true) | (None, ..) => Keeping::Fresh,
    }
}

impl Inner {
    /// Publishes content, and claims it for an owner.
    pub(crate) async fn publish(&self, fresh: &Fresh, owner: Owner) -> Result<Published, Failure> {
        let address = fresh.record.address;
        let _alone = self.lock(&address).write().await;
        // What was written in the attempt before, whose answer may have been lost.
        let mut attempted: Option<(Record, Published)> = None;
        for _ in 0..MAX_CONFLICTS {
            let entry = self.look_up(&address).await?;
            if let Some((record, published)) = attempted.take_if(|(record, _)| entry.is(record)) {
                return Ok(self.published(&record, published));
            }
            let Some((record, within, published)) = self.prepare(fresh, owner, &entry).await? else { continue };
            if let Some(data) = published.unneeded.as_ref().filter(|_| published.taken).and_then(Place::data) {
                self.note(data, &Intent::Removing(address)).await?;
            }
            match self.write_record(&record, within, entry.version()).await {
                Ok(()) => return Ok(self.published(&record, published)),
                Err(Failure::Unmet) => attempted = Some((record, published)),
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Unmet)
    }

    /// The record that is to stand in place of an entry, and what lies within it; nothing where the entry is outdated.
    async fn prepare(
        &self,
        fresh: &Fresh,
        owner: Owner,
        entry: &Entry,
    ) -> Result<Option<(Record, Bytes, Published)>, Failure> {
        let address = fresh.record.address;
        let now = Timestamp::now();
        let mut record = fresh.record.clone();
        let mut within = fresh.within.clone();
        let mut taken = true;
        let (mut unneeded, mut old_len) = (None, 0);
        match entry {
            Entry::Absent => {}
            Entry::Present { record: old, version } => {
                old_len = len_with_content(old);
                match keeping(old, &fresh.record, self.damage_seen.contains(&address)) {
                    Keeping::Old => {
                        record = old.clone();
                        let Some(kept) = self.within(old, Some(version)).await? else { return Ok(None) };
                        within = kept;
                        taken = false;
                        unneeded = Some(fresh.record.place.clone());
                    }
                    Keeping::Fresh => {
                        record = record.with_claims_of(old);
                        unneeded = Some(old.place.clone());
                    }
                    Keeping::Neither => {
                        return Err(Failure::Unavailable(format!(
                            "content {address} is damaged and was encrypted: delete it first, or store it encrypted again"
                        )));
                    }
                }
            }
            Entry::Damaged { damage, .. } => {
                tracing::error!(%address, %damage, "a damaged record is replaced; all owners get a claim");
                record.claim_for_all(self.next_claim(None, now), now);
            }
        }
        let claim = self.next_claim(record.newest_claim(), now);
        record.claim(owner, claim, now);
        let published = Published {
            claim,
            key: record.key,
            known: matches!(entry, Entry::Present { .. }),
            taken,
            unneeded,
            contents: i64::from(matches!(entry, Entry::Absent)),
            bytes: len_with_content(&record) - old_len,
        };
        Ok(Some((record, within, published)))
    }

    /// Takes note of what the store has taken.
    fn published(&self, record: &Record, published: Published) -> Published {
        self.layouts.remove(&record.address);
        if published.taken {
            self.damage_seen.forget(&record.address);
        }
        self.census.add(published.contents, published.bytes);
        published
    }

    /// Reads a record, without what lies within it. The lock of the content is held.
    pub(crate) async fn look_up(&self, address: &Address) -> Result<Entry, Failure> {
        let first = self.read_record(address, Some(RECORD_LEN as u64)).await?;
        // What was damaged on its way here, and not where it lies, is not damaged twice.
        let entry = match first {
            (Entry::Damaged { .. }, _) => self.read_record(address, Some(RECORD_LEN as u64)).await?,
            entry => entry,
        };
        Ok(entry.0)
    }

    /// Reads a record or as much of it as is asked for, and the bytes behind it.
    pub(crate) async fn read_record(&self, address: &Address, len: Option<u64>) -> Result<(Entry, Bytes), Failure> {
        let Some(found) = self.store.get(&keys::record(address), len.map(|len| 0..len)).await? else {
            return Ok((Entry::Absent, Bytes::new()));
        };
        let version = Version(found.etag.clone());
        let mut bytes = found.into_bytes();
        Ok(match Record::decode(address, &bytes) {
            Ok(record) => (Entry::Present { record, version }, bytes.split_off(RECORD_LEN)),
            Err(damage) => (Entry::Damaged { damage, version }, Bytes::new()),
        })
    }

    /// What lies within a record that is to be written anew; nothing where it is another one by now.
    pub(crate) async fn within(&self, record: &Record, version: Option<&Version>) -> Result<Option<Bytes>, Failure> {
        let Place::Within { len } = record.place else { return Ok(Some(Bytes::new())) };
        let (entry, within) = self.read_record(&record.address, None).await?;
        let same = matches!(entry, Entry::Present { record: found, version: Version(etag) }
            if found == *record && version.is_none_or(|Version(known)| *known == etag));
        if same && within.len() != len as usize {
            return Err(Failure::Unavailable(format!("the record of {} is cut off", record.address)));
        }
        Ok(same.then_some(within))
    }

    /// Writes a record in place of a version of it, or where there is none.
    pub(crate) async fn write_record(
        &self,
        record: &Record,
        within: Bytes,
        version: Option<&Version>,
    ) -> Result<(), Failure> {
        let condition = match version {
            _ if !self.conditional => Condition::None,
            None => Condition::Absent,
            Some(Version(Some(etag))) => Condition::Unchanged(etag),
            Some(Version(None)) => Condition::None,
        };
        let body = Buffer::from(vec![Bytes::from(record.encode()), within]);
        self.store.put(&keys::record(&record.address), body, condition).await
    }

    /// Says in the store that data may be nobody's.
    pub(crate) async fn note(&self, data: DataId, intent: &Intent) -> Result<(), Failure> {
        self.store.put(&data.intent(), intent.encode(), Condition::None).await
    }
}

impl Entry {
    fn version(&self) -> Option<&Version> {
        match self {
            Self::Absent => None,
            Self::Present { version, .. } | Self::Damaged { version, .. } => Some(version),
        }
    }

    fn is(&self, other: &Record) -> bool {
        matches!(self, Self::Present { record, .. } if record == other)
    }
}

/// Bytes of a record's object. Data apart is counted where it is written and removed.
pub(crate) fn len_with_content(record: &Record) -> i64 {
    let within = if record.place.data().is_none() { record.place.len() } else { 0 };
    RECORD_LEN as i64 + within as i64
}

#[cfg(test)]
mod tests {
    use mainstay_dataplane::{Address, KeyId, Sha256};

    use super::Keeping::{self, Fresh, Neither, Old};
    use super::keeping;
    use crate::record::{Place, Record};

    #[test]
    fn what_is_encrypted_stays_unless_it_is_damaged() {
        let record = |key: Option<u32>| {
            Record::new(Address::of(b""), 0, Sha256([0; 32]), key.map(KeyId), Place::Within { len: 0 })
        };
        let expected: [(Option<u32>, Option<u32>, bool, Keeping); 7] = [
            (None, None, false, Fresh),
            (None, Some(1), false, Fresh),
            (None, None, true, Fresh),
            (Some(1), None, false, Old),
            (Some(1), Some(2), false, Old),
            (Some(1), Some(2), true, Fresh),
            (Some(1), None, true, Neither),
        ];
        for (old, fresh, seen, kept) in expected {
            assert_eq!(keeping(&record(old), &record(fresh), seen), kept, "{old:?} {fresh:?} {seen}");
        }
    }
}
