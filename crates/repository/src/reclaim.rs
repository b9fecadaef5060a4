//! Giving room back.
//!
//! ```text
//! mark      every chunk of every content that is claimed or being read
//! choose    packs that nothing marked is in, and packs with much room that is dead; none that a running ingest relies on
//! rewrite   what is marked in the latter, into new packs
//! sum up    write a summary in place of the records that say what is no more
//! remove    records first, then packs, then what no record and no running ingest knows
//! ```
//!
//! Whatever a crash interrupts is done again by the next one: until the summary is there the old records count, and all that they
//! list is there; from then on the old ones are ignored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use mainstay_dataplane::{Claim, ServeError, Trouble};
use mainstay_types::{Digest, Timestamp};

use crate::chunk::ChunkRef;
use crate::files::Failure;
use crate::inner::Inner;
use crate::keys::Place;
use crate::load::AT_ONCE;
use crate::pack::{self, Complete, PACK_LEN, PACKS, PackBuilder, PackEntry};
use crate::recipe::Recipe;
use crate::record::{self, Record, Summary};

/// A pack is rewritten when this part of it is dead: below that, moving what is alive costs more than the room is worth.
const DEAD_PART: (u64, u64) = (1, 4);

/// Packs that are shorter are put together, when there are enough of them to fill one.
const SMALL_PACK: u64 = PACK_LEN as u64 / 4;
const MANY_SMALL: usize = 16;

/// Dead bytes below which a pack is not rewritten, whatever part of it they are.
const WORTH_IT: u64 = 4096;

/// Records that are shorter are summed up along with others, when there are enough of them.
const SMALL_RECORD: u64 = 256 << 10;
const MANY_RECORDS: usize = 32;

/// Chunks that a part of a summary lists: some 3 MB.
const PART_CHUNKS: usize = 64 << 10;

/// Files without an owner are left alone while they are younger, but for those of this machine's directories, where a
/// process that writes is always seen: a server's clock may differ, and a lock may just be on its way.
const ORPHANS_AFTER: Duration = Duration::from_secs(60 * 60);

/// Packs by their number: what each is called, and how long it is.
type Chosen = HashMap<u32, (Digest, u64)>;

/// Packs by what becomes of them.
#[derive(Default)]
struct Choice {
    remove: Chosen,
    rewrite: Chosen,
}

/// What was rewritten.
#[derive(Default)]
struct Rewritten {
    new: Vec<PackEntry>,
    /// Packs of which all that is alive is in new ones.
    gone: Chosen,
    filling: PackBuilder,
    /// Packs of which something is in the one that is being filled.
    waiting: Chosen,
}

impl Inner {
    pub(crate) async fn reclaim(self: &Arc<Self>) -> Result<u64, Trouble> {
        let _removing = self.removing.lock().await;
        self.lock.begin_removing(self).await?;
        let freed = self.reclaim_alone().await;
        let ended = self.lock.removed().await;
        let freed = freed?;
        ended?;
        Ok(freed)
    }

    async fn reclaim_alone(self: &Arc<Self>) -> Result<u64, Trouble> {
        let horizon = self.mark().await?;
        let choice = self.choose(horizon).await;
        let mut rewritten = Rewritten::default();
        let rewriting = self.rewrite(&choice.rewrite, &mut rewritten).await;
        let Rewritten { new, gone, .. } = rewritten;
        let mut leaving = choice.remove.clone();
        leaving.extend(gone);
        let summed = match rewriting {
            // Without room for what is rewritten, what is dead as a whole goes all the same.
            Ok(()) | Err(Failure::Full(_)) => self.sum_up(&new, &leaving).await,
            Err(failure) => Err(failure.into()),
        };
        if summed.is_err() {
            self.adopt(&new);
        }
        self.keep(&choice);
        let mut freed = 0;
        if let Some(records) = summed? {
            self.remove_records(records).await?;
            freed = self.remove_packs(&leaving).await?;
        }
        freed += self.remove_orphans().await?;
        let added: u64 = new.iter().map(|entry| entry.len).sum();
        Ok(freed.saturating_sub(added))
    }

    /// Packs that were written for a summary which was not: records may list them already, and what is in them counts.
    fn adopt(&self, new: &[PackEntry]) {
        let mut state = self.state();
        for entry in new {
            state.add_pack(entry);
            state.arriving.remove(&entry.name);
            state.unrecorded.packs.push(entry.clone());
        }
    }

    /// Marks what is alive. Answers from when on an ingest that may be running has relied on packs.
    async fn mark(self: &Arc<Self>) -> Result<u64, Trouble> {
        let (live, horizon) = {
            let mut state = self.state();
            state.index.clear_marks();
            (state.live(), state.horizon())
        };
        for content in live {
            match &content.recipe {
                Recipe::Direct(chunks) => self.mark_all(chunks),
                Recipe::Lists(lists) => {
                    for list in lists {
                        self.mark_all(&[list.chunk]);
                        match self.read_list(content.address, list).await {
                            Ok(chunks) => self.mark_all(&chunks),
                            Err(ServeError::Trouble(trouble)) => return Err(trouble),
                            // What the list named may be alive.
                            Err(damaged) => {
                                return Err(Trouble::unavailable(format!(
                                    "nothing is removed while it is unknown what is in use: {damaged}; restore what is damaged \
                                     from another copy of the repository, or give the content up"
                                )));
                            }
                        }
                    }
                }
            }
        }
        Ok(horizon)
    }

    fn mark_all(&self, chunks: &[ChunkRef]) {
        let mut state = self.state();
        for chunk in chunks {
            state.index.mark(&chunk.id);
        }
    }

    /// Chooses packs, on which nobody relies from then on.
    async fn choose(self: &Arc<Self>, horizon: u64) -> Choice {
        let _turn = self.turn.lock().await;
        let now = Timestamp::now();
        let mut state = self.state();
        let mut alive: HashMap<u32, u64> = HashMap::new();
        state.index.for_each_marked(|at| *alive.entry(at.pack).or_default() += u64::from(at.stored_len));
        let may_go = |pack: &crate::state::KnownPack| {
            !pack.is_relied_on(horizon) && self.immutable_until(pack.written_at, now).is_none()
        };
        let unrecorded: HashSet<Digest> = state.unrecorded.packs.iter().map(|pack| pack.name).collect();
        let mut choice = Choice::default();
        let mut small = HashMap::new();
        for (number, pack) in state.packs.iter().filter(|(_, pack)| may_go(pack)) {
            let alive = alive.get(&number).copied().unwrap_or(0);
            let dead = pack.len.saturating_sub(alive);
            let chosen = (pack.name, pack.len);
            if alive == 0 {
                choice.remove.insert(number, chosen);
            } else if unrecorded.contains(&pack.name) {
                // The next record lists it.
            } else if dead * DEAD_PART.1 > pack.len * DEAD_PART.0 && dead > WORTH_IT {
                choice.rewrite.insert(number, chosen);
            } else if pack.len < SMALL_PACK {
                small.insert(number, chosen);
            }
        }
        if small.len() >= MANY_SMALL {
            choice.rewrite.extend(small);
        }
        for number in choice.remove.keys().chain(choice.rewrite.keys()) {
            state.packs.get_mut(*number).expect("it was just there").leaving = true;
        }
        let removed: HashSet<Digest> = choice.remove.values().map(|(name, _)| *name).collect();
        state.unrecorded.packs.retain(|pack| !removed.contains(&pack.name));
        choice
    }

    /// Packs stay, after all.
    fn keep(&self, choice: &Choice) {
        let mut state = self.state();
        for number in choice.remove.keys().chain(choice.rewrite.keys()) {
            if let Some(pack) = state.packs.get_mut(*number) {
                pack.leaving = false;
            }
        }
    }

    /// Moves what is alive into new packs.
    async fn rewrite(self: &Arc<Self>, packs: &Chosen, rewritten: &mut Rewritten) -> Result<(), Failure> {
        for (number, (name, len)) in packs {
            let path = pack::path(name);
            let Some(mut bytes) = self.files.read(&path, None).await? else { continue };
            let moved = {
                let inner = Arc::clone(self);
                let (name, number) = (*name, *number);
                crate::blocking(move || inner.alive_in(name, number, &mut bytes)).await
            };
            match moved {
                Ok(moved) => {
                    rewritten.filling.append(&moved);
                    rewritten.waiting.insert(*number, (*name, *len));
                }
                Err(what) => {
                    // It is left where it is, for verification to name it and for another copy to heal it.
                    tracing::error!(what, path, location = %self.location, "a pack is damaged and is not rewritten");
                }
            }
            if rewritten.filling.is_full() {
                self.flush(rewritten).await?;
            }
        }
        self.flush(rewritten).await
    }

    async fn flush(self: &Arc<Self>, rewritten: &mut Rewritten) -> Result<(), Failure> {
        let full = std::mem::take(&mut rewritten.filling);
        if !full.is_empty() {
            let pack = self.store_pack(full, Complete::default()).await?;
            rewritten.new.push(pack.entry);
        }
        rewritten.gone.extend(rewritten.waiting.drain());
        Ok(())
    }

    /// The chunks of a pack that are alive and to be read there; otherwise what of it is damaged.
    fn alive_in(&self, name: Digest, number: u32, bytes: &mut [u8]) -> Result<PackBuilder, String> {
        let len = bytes.len() as u64;
        let end = pack::end_len(bytes).filter(|end| *end <= len).ok_or("its end")?;
        let mut table = bytes[(len - end) as usize..].to_vec();
        let (entry, _) = pack::read_table(&self.keys, name, len, &mut table).ok_or("its table")?;
        let mut alive = PackBuilder::default();
        for line in entry.lines.0 {
            let is_here = |at: crate::index::At| at.pack == number && at.offset == line.offset;
            let wanted = {
                let state = self.state();
                state.index.is_marked(&line.chunk.id) && state.index.get(&line.chunk.id).is_some_and(is_here)
            };
            if wanted {
                let sealed = &bytes[line.range()];
                // Damage is not carried on.
                let mut opened = sealed.to_vec();
                self.keys.open(Place::Chunk(&line.chunk.id), &mut opened).ok_or_else(|| line.chunk.id.to_string())?;
                alive.push(line.chunk, sealed);
            }
        }
        Ok(alive)
    }

    /// Writes a summary, where records say what is no more or are many. Answers the records that say nothing from then on.
    async fn sum_up(self: &Arc<Self>, new: &[PackEntry], leaving: &Chosen) -> Result<Option<Vec<String>>, Trouble> {
        let (superseded, mut stale, complete, last_claim, sequences) = {
            let _turn = self.turn.lock().await;
            let mut state = self.state();
            let mut superseded = Vec::new();
            let (changed, mut small) = (!new.is_empty() || !leaving.is_empty() || !state.stale.is_empty(), 0);
            let mut chunks = 0usize;
            for (name, known) in &state.records {
                let mentions = known.packs.iter().any(|pack| leaving.contains_key(pack));
                if mentions || known.claims || known.len < SMALL_RECORD {
                    small += 1;
                    chunks += known.len as usize / 44;
                    superseded.push(name.clone());
                }
            }
            if !changed && small < MANY_RECORDS {
                return Ok(None);
            }
            let parts = (chunks + new.len() * 1024) / PART_CHUNKS * 2 + 8;
            let sequences: Vec<u64> = (0..parts).map(|_| state.draw_sequence()).collect();
            (superseded, std::mem::take(&mut state.stale), state.complete(), state.last_claim, sequences)
        };
        let written = self.write_summary(new, leaving, &superseded, &stale, complete, last_claim, sequences).await;
        let mut state = self.state();
        if let Err(failure) = written {
            state.stale.append(&mut stale);
            return Err(failure.into());
        }
        for name in &superseded {
            state.records.remove(name);
        }
        stale.extend(superseded);
        for entry in new {
            state.add_pack(entry);
            state.arriving.remove(&entry.name);
        }
        for number in leaving.keys() {
            state.packs.remove(*number);
        }
        let crate::state::State { index, packs, .. } = &mut *state;
        index.retain(|at| packs.get(at.pack).is_some());
        // Until they are removed.
        state.stale = stale.clone();
        Ok(Some(stale))
    }

    #[allow(clippy::too_many_arguments, reason = "it is the second half of the one function that calls it")]
    async fn write_summary(
        self: &Arc<Self>,
        new: &[PackEntry],
        leaving: &Chosen,
        superseded: &[String],
        stale: &[String],
        complete: Complete,
        last_claim: u64,
        sequences: Vec<u64>,
    ) -> Result<(), Failure> {
        let now = Timestamp::now();
        let gone: HashSet<Digest> = leaving.values().map(|(name, _)| *name).collect();
        let mut sequences = sequences.into_iter();
        let mut parts = Vec::new();
        let mut part = Record::new(now, Claim(last_claim));
        let mut chunks = 0;
        let mut listed: HashSet<Digest> = HashSet::new();
        let mut new = new.to_vec();
        for name in superseded.iter().map(Some).chain([None]) {
            let packs = match name {
                None => std::mem::take(&mut new),
                Some(name) => match self.files.read(name, None).await? {
                    Some(mut bytes) => {
                        let record = Record::open(&self.keys, name, &mut bytes);
                        record.map_err(|why| Failure::Unavailable(format!("{name} is damaged: {why}")))?.packs
                    }
                    None => return Err(Failure::Unavailable(format!("{name} has gone"))),
                },
            };
            for pack in packs {
                if gone.contains(&pack.name) || !listed.insert(pack.name) {
                    continue;
                }
                chunks += pack.lines.0.len();
                part.packs.push(pack);
                // The last number is the last part's.
                if chunks >= PART_CHUNKS
                    && sequences.len() > 1
                    && let Some(sequence) = sequences.next()
                {
                    let name = record::name(sequence);
                    self.write_record(&name, &part).await?;
                    parts.push(name);
                    part = Record::new(now, Claim(last_claim));
                    chunks = 0;
                }
            }
        }
        let sequence = sequences.next_back().expect("there is one for the last part");
        part.contents = complete.contents;
        part.claims = complete.claims;
        let supersedes = superseded.iter().chain(stale).cloned().collect();
        part.summary = Some(Summary { parts, supersedes });
        self.write_record(&record::name(sequence), &part).await
    }

    async fn remove_records(self: &Arc<Self>, names: Vec<String>) -> Result<(), Failure> {
        self.remove_all(&names).await?;
        let removed: HashSet<&String> = names.iter().collect();
        self.state().stale.retain(|name| !removed.contains(name));
        Ok(())
    }

    async fn remove_packs(self: &Arc<Self>, packs: &Chosen) -> Result<u64, Failure> {
        let paths: Vec<String> = packs.values().map(|(name, _)| pack::path(name)).collect();
        self.remove_all(&paths).await?;
        Ok(packs.values().map(|(_, len)| len).sum())
    }

    async fn remove_all(&self, paths: &[String]) -> Result<(), Failure> {
        let mut removals = stream::iter(paths.to_vec())
            .map(|path| async move { self.files.remove(&path).await })
            .buffer_unordered(AT_ONCE);
        while let Some(removed) = removals.next().await {
            removed?;
        }
        Ok(())
    }

    /// Removes packs that no record lists and no ingest is writing, and what was never finished.
    async fn remove_orphans(self: &Arc<Self>) -> Result<u64, Failure> {
        let now = Timestamp::now();
        let mut freed = 0;
        for file in self.files.list(PACKS).await? {
            let Some(name) = pack::name_of(&file.path) else { continue };
            let is_known = {
                let state = self.state();
                state.packs.number(&name).is_some() || state.arriving.contains(&name)
            };
            let written_at = file.modified.unwrap_or(now);
            let age = if self.files.is_directory() { Duration::ZERO } else { ORPHANS_AFTER };
            let may_go = self.immutable_until(written_at, now).is_none()
                && (age.is_zero() || now.seconds_since(written_at) > age.as_secs_f64());
            if !is_known && may_go {
                self.files.remove(&file.path).await?;
                freed += file.len;
            }
        }
        Ok(freed + self.files.remove_unfinished().await?)
    }
}
