//! What is kept for an owner, and what is left behind.

use futures::{StreamExt, TryStreamExt, stream};
use mainstay_content::Damage;
use mainstay_dataplane::{Address, Owner, Stored};
use mainstay_types::Timestamp;
use minicbor::{Decode, Encode};

use crate::failure::Failure;
use crate::keys::{self, CONTENTS, DataId, INTENTS};
use crate::plane::Inner;
use crate::publish::Entry;
use crate::record::Place;
use crate::store::{Listed, PAGE};

/// Records that are read at a time for a listing: it is work beside that of others.
const RECORDS_AT_A_TIME: usize = 16;

/// After this many seconds a request that was given up has been carried out or never will be: stores end requests within
/// minutes. Longer than any patience of ours.
const SETTLED_SECONDS: f64 = 600.0;

/// The version of the encoding of intents, its first byte.
const VERSION: u8 = 1;

/// Says that data may be nobody's, and whose it would be otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Intent {
    /// Its stream has not ended: no record names it.
    #[n(0)]
    Writing,
    /// The record of a content is about to name it.
    #[n(1)]
    Publishing(#[n(0)] Address),
    /// The record of a content has ceased to name it, or is about to.
    #[n(2)]
    Removing(#[n(0)] Address),
}

impl Intent {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoded = vec![VERSION];
        minicbor::encode(self, &mut encoded).expect("a vector takes all that is written");
        encoded
    }

    fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => minicbor::decode(rest).map_err(|_| Damage::Header("an intent cannot be read")),
            Some((version, _)) => Err(Damage::Version(*version)),
            None => Err(Damage::Header("an intent is empty")),
        }
    }

    fn address(&self) -> Option<Address> {
        match self {
            Self::Writing => None,
            Self::Publishing(address) | Self::Removing(address) => Some(*address),
        }
    }

    /// Whether the data may go that no record names. One that was about to name it may yet come: the request for it may
    /// have been given up by us and not by the store.
    fn lets_go(&self, settled: bool) -> bool {
        settled || !matches!(self, Self::Publishing(_))
    }
}

impl Inner {
    pub(crate) async fn contents(
        &self,
        owner: Owner,
        after: Option<Address>,
        limit: usize,
    ) -> Result<Vec<Stored>, Failure> {
        let mut contents = Vec::new();
        let mut after = after.map(|address| keys::record(&address));
        while contents.len() < limit {
            let page = self.store.list(CONTENTS, after.as_deref(), PAGE.min(limit - contents.len())).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            let addresses: Vec<Address> = page.iter().filter_map(|listed| keys::address_of(&listed.key)).collect();
            let stored: Vec<_> = stream::iter(addresses)
                .map(|address| async move { Ok::<_, Failure>((address, self.look_up(&address).await?)) })
                .buffered(RECORDS_AT_A_TIME)
                .try_collect()
                .await?;
            for (address, entry) in stored {
                match entry {
                    Entry::Present { record, .. } => contents.extend(record.stored(owner)),
                    Entry::Damaged { .. } => self.damage_seen.remember(address),
                    Entry::Absent => {}
                }
            }
        }
        Ok(contents)
    }

    /// Removes data that nobody refers to and nobody in this process uses. All of it has an intent.
    pub(crate) async fn reclaim(&self) -> Result<u64, Failure> {
        let mut freed = 0;
        let mut after = None;
        loop {
            let page = self.store.list(INTENTS, after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(freed) };
            after = Some(last.key.clone());
            for listed in &page {
                freed += self.settle(listed).await?;
            }
        }
    }

    /// Carries out an intent, and answers the bytes that it freed.
    async fn settle(&self, listed: &Listed) -> Result<u64, Failure> {
        let Some(data) = DataId::of_intent(&listed.key) else { return Ok(0) };
        let Some(found) = self.store.get(&listed.key, None).await? else { return Ok(0) };
        let intent = match Intent::decode(&found.into_bytes()) {
            Ok(intent) => intent,
            Err(damage) => {
                tracing::warn!(key = listed.key, %damage, "left as it is in the object store");
                return Ok(0);
            }
        };
        // Nobody begins to use the data while its record is locked, nor finds it without one.
        let _alone = match intent.address() {
            Some(address) => Some(self.lock(&address).write().await),
            None => None,
        };
        if self.in_use.contains(&data) {
            return Ok(0);
        }
        let settled = listed.modified.is_some_and(|at| Timestamp::now().seconds_since(at) > SETTLED_SECONDS);
        let mut freed = 0;
        if !self.names(intent.address(), &data).await? {
            if !intent.lets_go(settled) {
                return Ok(0);
            }
            freed = self.remove_all_of(&data).await?;
        }
        if settled {
            self.store.delete(std::slice::from_ref(&listed.key)).await?;
        }
        Ok(freed)
    }

    /// Whether the record of a content names data.
    async fn names(&self, address: Option<Address>, data: &DataId) -> Result<bool, Failure> {
        let Some(address) = address else { return Ok(false) };
        Ok(match self.look_up(&address).await? {
            Entry::Present { record, .. } => record.place.data() == Some(*data),
            Entry::Absent => false,
            // It cannot be known.
            Entry::Damaged { .. } => true,
        })
    }

    /// Removes whatever there is of data.
    async fn remove_all_of(&self, data: &DataId) -> Result<u64, Failure> {
        let mut freed = 0;
        loop {
            let page = self.store.list(&data.folder(), None, PAGE).await?;
            if page.is_empty() {
                return Ok(freed);
            }
            let bytes: u64 = page.iter().map(|listed| listed.size).sum();
            let keys: Vec<String> = page.into_iter().map(|listed| listed.key).collect();
            self.store.delete(&keys).await?;
            self.census.add(0, -(bytes as i64));
            freed += bytes;
        }
    }

    /// Removes what no record names any more, where nobody reads it; otherwise it waits to be reclaimed. It fails without
    /// harm: there is an intent.
    pub(crate) async fn remove_unneeded(&self, place: &Place) {
        let Place::Apart { data, stored_len, segment_len, .. } = place else { return };
        if self.in_use.contains(data) {
            return;
        }
        let segments = stored_len.div_ceil(u64::from((*segment_len).max(1)));
        let mut keys: Vec<String> = (0..segments).map(|number| data.segment(number)).collect();
        keys.push(data.header());
        match self.store.delete(&keys).await {
            Ok(()) => {
                self.census.add(0, -(place.len() as i64));
                self.forget_intent(*data).await;
            }
            Err(failure) => tracing::warn!(%data, ?failure, "data that nobody needs waits to be reclaimed"),
        }
    }

    /// Says no more that data may be nobody's. An intent that stays is harmless: what it says is looked up.
    pub(crate) async fn forget_intent(&self, data: DataId) {
        if let Err(failure) = self.store.delete(&[data.intent()]).await {
            tracing::debug!(%data, ?failure, "an intent stays in the object store until it is reclaimed");
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_dataplane::Address;

    use super::Intent;

    /// An intent as version 1 wrote it.
    const SAMPLE_1: &[u8] = include_bytes!("../samples/intent-1.cbor");

    #[test]
    fn an_intent_of_version_1_is_read() {
        let intent = Intent::Publishing(Address::of(b"content"));
        assert_eq!(Intent::decode(SAMPLE_1), Ok(intent.clone()));
        assert_eq!(intent.encode(), SAMPLE_1);
        assert!(Intent::decode(&[]).is_err() && Intent::decode(&[2, 0]).is_err() && Intent::decode(&[1]).is_err());
    }

    #[test]
    fn only_what_may_yet_be_published_waits() {
        let address = Address::of(b"");
        for (intent, settled, lets_go) in [
            (Intent::Writing, false, true),
            (Intent::Removing(address), false, true),
            (Intent::Publishing(address), false, false),
            (Intent::Publishing(address), true, true),
        ] {
            assert_eq!(intent.lets_go(settled), lets_go, "{intent:?}");
        }
    }
}
