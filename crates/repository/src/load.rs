//! What the repository holds, read from its index records when it is opened.
//!
//! Records are read from the newest to the oldest, so that a summary is known before what it supersedes, which is not read
//! at all. Where a record cannot be read, the tables of the packs that no other one lists tell what was in it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use mainstay_dataplane::{Address, Owner, Trouble};

use crate::files::{Failure, Files, Listed};
use crate::inner::Inner;
use crate::keys::Keys;
use crate::pack::{self, Complete, PACKS, PackEntry};
use crate::recipe::Content;
use crate::record::{self, INDEX, Record};
use crate::state::{Entry, Held, KnownRecord, State};

/// Records and tables that are read at the same time.
pub(crate) const AT_ONCE: usize = 8;

/// How much of a pack's end is read at first: the tables of most packs are shorter.
const LIKELY_TABLE: u64 = 64 << 10;

/// What was read, and what could not be.
pub(crate) struct Loaded {
    pub(crate) state: State,
    /// Records that cannot be read, and why.
    pub(crate) damaged: Vec<(String, String)>,
}

#[derive(Default)]
struct Fold {
    state: State,
    contents: HashMap<Address, Content>,
    claims: BTreeMap<(Address, Owner), Held>,
    given_up: HashMap<(Address, Owner), u64>,
    superseded: HashSet<String>,
    damaged: Vec<(String, String)>,
}

pub(crate) async fn load(files: &Files, keys: &Arc<Keys>) -> Result<Loaded, Failure> {
    let listed: Vec<Listed> = files.list(INDEX).await?;
    let names: HashSet<&str> = listed.iter().map(|file| file.path.as_str()).collect();
    let newest_first = listed.clone().into_iter().rev().filter(|file| record::sequence_of(&file.path).is_some());
    let mut fold = Fold::default();
    let mut read = stream::iter(newest_first)
        .map(|file| async move {
            let bytes = files.read(&file.path, None).await;
            (file, bytes)
        })
        .buffered(AT_ONCE);
    while let Some((file, bytes)) = read.next().await {
        let name = file.path.clone();
        let sequence = record::sequence_of(&name).expect("what is no record was left out");
        fold.state.next_sequence = fold.state.next_sequence.max(sequence);
        if fold.superseded.contains(&name) {
            fold.state.stale.push(name);
            continue;
        }
        // A file that has gone since it was listed was superseded by a summary which has come since: whoever reads beside
        // one that gives room back reads again.
        let Some(mut bytes) = bytes? else {
            return Err(Failure::Unavailable(format!("{name} was removed while the index was read; try again")));
        };
        match Record::open(keys, &name, &mut bytes) {
            Ok(record) => fold.take(name, file.len, record, &names),
            Err(why) => fold.damaged.push((name, why)),
        }
    }
    drop(read);
    if !fold.damaged.is_empty() {
        fold.salvage(files, keys).await?;
    }
    Ok(fold.finish())
}

impl Fold {
    fn take(&mut self, name: String, len: u64, record: Record, listed: &HashSet<&str>) {
        let claims = record.says_more_than_packs();
        let Record { packs, contents, claims: claimed, given_up, last_claim, summary, .. } = record;
        let numbers = packs.iter().map(|pack| self.state.add_pack(pack)).collect();
        for content in contents {
            self.contents.entry(content.address).or_insert(content);
        }
        for claim in claimed {
            self.claim((claim.address, claim.owner), Held { claim: claim.claim, at: claim.at });
        }
        for given in given_up {
            let highest = self.given_up.entry((given.address, given.owner)).or_default();
            *highest = (*highest).max(given.claim.0);
        }
        self.state.last_claim = self.state.last_claim.max(last_claim.0);
        if let Some(summary) = summary
            && summary.parts.iter().all(|part| listed.contains(part.as_str()))
        {
            self.superseded.extend(summary.supersedes);
        }
        self.state.records.insert(name, KnownRecord { len, packs: numbers, claims });
    }

    fn claim(&mut self, of: (Address, Owner), held: Held) {
        let newest = self.claims.entry(of).or_insert(held);
        if newest.claim < held.claim {
            *newest = held;
        }
    }

    /// Reads the tables of packs that no record lists.
    async fn salvage(&mut self, files: &Files, keys: &Keys) -> Result<(), Failure> {
        let listed = files.list(PACKS).await?;
        let known = &self.state.packs;
        let lost =
            listed.iter().filter(|file| pack::name_of(&file.path).is_some_and(|name| known.number(&name).is_none()));
        let lost: Vec<Listed> = lost.cloned().collect();
        let mut tables = stream::iter(lost).map(|file| read_table(files, keys, file)).buffer_unordered(AT_ONCE);
        while let Some(table) = tables.next().await {
            let Some((entry, complete)) = table? else { continue };
            self.state.add_pack(&entry);
            for content in &complete.contents {
                self.contents.entry(content.address).or_insert_with(|| content.clone());
            }
            for claim in &complete.claims {
                self.claim((claim.address, claim.owner), Held { claim: claim.claim, at: claim.at });
                self.state.last_claim = self.state.last_claim.max(claim.claim.0);
            }
            self.state.unrecorded.packs.push(entry);
            self.state.unrecorded.complete.contents.extend(complete.contents);
            self.state.unrecorded.complete.claims.extend(complete.claims);
        }
        Ok(())
    }

    fn finish(mut self) -> Loaded {
        let mut entries: BTreeMap<Address, Entry> = BTreeMap::new();
        for ((address, owner), held) in self.claims {
            let gone = self.given_up.get(&(address, owner)).is_some_and(|given_up| *given_up >= held.claim.0);
            let Some(content) = self.contents.get(&address).filter(|_| !gone) else { continue };
            let entry = entries.entry(address).or_insert_with(|| Entry::new(content.clone()));
            entry.held[owner as usize] = Some(held);
        }
        entries.into_values().for_each(|entry| self.state.put(entry));
        self.state.unreadable.extend(self.damaged.iter().map(|(name, _)| name.clone()));
        self.state.stale.extend(self.damaged.iter().map(|(name, _)| name.clone()));
        Loaded { state: self.state, damaged: self.damaged }
    }
}

impl Inner {
    /// Reads the records that other processes have written since the repository was opened here. Where one of them has
    /// removed something, this process's word does not count any more.
    pub(crate) async fn catch_up(&self) -> Result<(), Trouble> {
        let _turn = self.turn.lock().await;
        let listed = self.files.list(INDEX).await?;
        let is_new = |file: &&Listed| {
            let state = self.state();
            record::sequence_of(&file.path).is_some()
                && !state.records.contains_key(&file.path)
                && !state.stale.contains(&file.path)
        };
        for file in listed.iter().filter(is_new).cloned().collect::<Vec<_>>() {
            let Some(mut bytes) = self.files.read(&file.path, None).await? else {
                return Err(self.removed_by_another());
            };
            let record = Record::open(&self.keys, &file.path, &mut bytes);
            let record = record.map_err(|why| Trouble::unavailable(format!("{} is damaged: {why}", file.path)))?;
            if record.summary.is_some() {
                return Err(self.removed_by_another());
            }
            self.state().take(file.path, file.len, record);
        }
        let listed: HashSet<String> = listed.into_iter().map(|file| file.path).collect();
        let gone = self.state().records.keys().any(|name| !listed.contains(name));
        if gone { Err(self.removed_by_another()) } else { Ok(()) }
    }

    /// The same for whoever misses something. While this process removes by itself no other one does.
    pub(crate) async fn look_again(&self) -> Result<(), Trouble> {
        if self.lock.is_removing() { Ok(()) } else { self.catch_up().await }
    }

    fn removed_by_another(&self) -> Trouble {
        self.set_outdated();
        Trouble::unavailable(
            "another process has given room back in this repository since it was opened here; try again",
        )
    }
}

impl State {
    /// Takes a record of another process in, which is no summary.
    fn take(&mut self, name: String, len: u64, record: Record) {
        let claims = record.says_more_than_packs();
        let Record { packs, contents, claims: claimed, given_up, last_claim, .. } = record;
        let packs = packs.iter().map(|pack| self.add_pack(pack)).collect();
        let contents: HashMap<Address, Content> =
            contents.into_iter().map(|content| (content.address, content)).collect();
        for claim in claimed {
            let known = self.contents.get(&claim.address).cloned();
            let Some(mut entry) = known.or_else(|| contents.get(&claim.address).cloned().map(Entry::new)) else {
                continue;
            };
            if entry.held(claim.owner).is_none_or(|held| held.claim < claim.claim) {
                entry.held[claim.owner as usize] = Some(Held { claim: claim.claim, at: claim.at });
                self.put(entry);
            }
        }
        for given in given_up {
            if let Some(mut entry) = self.contents.get(&given.address).cloned()
                && entry.held(given.owner).is_some_and(|held| held.claim <= given.claim)
            {
                entry.held[given.owner as usize] = None;
                self.put(entry);
            }
        }
        self.last_claim = self.last_claim.max(last_claim.0);
        self.next_sequence = self.next_sequence.max(record::sequence_of(&name).unwrap_or(0));
        self.records.insert(name, KnownRecord { len, packs, claims });
    }
}

/// The table at the end of a pack; nothing where it cannot be read, which verification tells.
pub(crate) async fn read_table(
    files: &Files,
    keys: &Keys,
    file: Listed,
) -> Result<Option<(PackEntry, Complete)>, Failure> {
    let Some(name) = pack::name_of(&file.path) else { return Ok(None) };
    let end = |len: u64| files.read(&file.path, Some(file.len.saturating_sub(len)..file.len));
    let Some(mut bytes) = end(LIKELY_TABLE.max(pack::LAST)).await? else { return Ok(None) };
    let Some(needed) = pack::end_len(&bytes) else { return Ok(None) };
    if needed > bytes.len() as u64 {
        if needed > file.len {
            return Ok(None);
        }
        let Some(more) = end(needed).await? else { return Ok(None) };
        bytes = more;
    }
    Ok(pack::read_table(keys, name, file.len, &mut bytes))
}
