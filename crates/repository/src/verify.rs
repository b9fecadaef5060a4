//! Reading everything.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use mainstay_dataplane::{Address, Trouble};
use mainstay_types::Digest;

use crate::chunk::{self, ChunkId, ChunkRef};
use crate::document::{self, DOCUMENTS};
use crate::files::{Failure, Listed};
use crate::inner::Inner;
use crate::pack::{self, PACKS};
use crate::recipe::Recipe;
use crate::record::{self, INDEX, Record};

/// Files that are read at the same time, of which each is in memory as a whole: 16 MiB, as packs are.
const AT_ONCE: usize = 2;

/// Damage that is listed one by one. A repository with more is beyond repair, and its list beyond reading.
const MAX_LISTED: usize = 10_000;

/// How a verification is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Bytes that are read each second at most; as fast as it goes where there is none.
    pub bytes_per_second: Option<u64>,
}

/// How far a verification, or a copy, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub packs: u64,
    pub chunks: u64,
    pub index_records: u64,
    pub documents: u64,
    /// That were read.
    pub bytes: u64,
    /// Empty where all is whole.
    pub damage: Vec<Damage>,
    /// Damage beyond what is listed.
    pub unlisted: u64,
}

/// Something that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// `packs/ab/<digest>`, `index/…` or `documents/<kind>/<name>`.
    pub file: String,
    /// The chunk in it, where the damage lies in one.
    pub chunk: Option<String>,
    pub reason: String,
    /// The contents that cannot be read whole because of it.
    pub contents: Vec<Address>,
}

impl Report {
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.unlisted == 0
    }

    /// All contents that cannot be read whole.
    pub fn damaged_contents(&self) -> Vec<Address> {
        let mut contents: Vec<Address> =
            self.damage.iter().flat_map(|damage| damage.contents.iter().copied()).collect();
        contents.sort_unstable();
        contents.dedup();
        contents
    }

    /// Its place in the list, if it has one.
    fn add(&mut self, file: String, chunk: Option<ChunkId>, reason: impl Into<String>) -> Option<usize> {
        if self.damage.len() >= MAX_LISTED {
            self.unlisted += 1;
            return None;
        }
        let chunk = chunk.map(|chunk| chunk.to_string());
        self.damage.push(Damage { file, chunk, reason: reason.into(), contents: Vec::new() });
        Some(self.damage.len() - 1)
    }
}

/// What damage is, for finding the contents that have it.
#[derive(Default)]
struct Culprits {
    chunks: HashMap<ChunkId, usize>,
    /// By their numbers: packs that are not there, or whose records cannot be read.
    packs: HashMap<u32, usize>,
}

/// What a file was found to be.
struct Found {
    file: Listed,
    kind: Kind,
}

enum Kind {
    Gone,
    Pack { chunks: u64, bad: Vec<(ChunkId, chunk::NotTheChunk)>, other: Option<&'static str> },
    Record(Result<(), String>),
    Document(Result<(), String>),
    Unknown,
}

impl Inner {
    pub(crate) async fn verify_all(
        self: &Arc<Self>,
        options: VerifyOptions,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Report, Trouble> {
        // What another process has removed is not missing.
        if let Err(trouble) = self.look_again().await
            && self.is_outdated()
        {
            return Err(trouble);
        }
        let mut files = Vec::new();
        for folder in [INDEX, PACKS, DOCUMENTS] {
            files.extend(self.files.list(folder).await.map_err(Trouble::from)?);
        }
        let total_bytes = files.iter().map(|file| file.len).sum();
        let mut report = Report::default();
        let mut culprits = Culprits::default();
        self.find_missing(&files, &mut report, &mut culprits);
        let begun = Instant::now();
        let mut looked = stream::iter(files).map(|file| Arc::clone(self).look(file)).buffer_unordered(AT_ONCE);
        while let Some(found) = looked.next().await {
            let found = found.map_err(Trouble::from)?;
            report.bytes += found.file.len;
            self.note(found, &mut report, &mut culprits);
            progress(Progress { done_bytes: report.bytes, total_bytes });
            if let Some(rate) = options.bytes_per_second {
                let due = Duration::from_secs_f64(report.bytes as f64 / rate.max(1) as f64);
                tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            }
        }
        drop(looked);
        self.find_contents(&mut report, &culprits).await?;
        Ok(report)
    }

    /// Packs and records that the index knows and that are not there.
    fn find_missing(&self, files: &[Listed], report: &mut Report, culprits: &mut Culprits) {
        let listed: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let state = self.state();
        for (number, pack) in state.packs.iter() {
            let path = pack::path(&pack.name);
            // What came since the listing is in no listing.
            if !listed.contains(path.as_str()) && !pack.leaving && !state.arriving.contains(&pack.name) {
                culprits.packs.extend(report.add(path, None, "the pack is missing").map(|damage| (number, damage)));
            }
        }
        for name in state.records.keys().filter(|name| !listed.contains(name.as_str())) {
            report.add(name.clone(), None, "the index record is missing");
        }
    }

    async fn look(self: Arc<Self>, file: Listed) -> Result<Found, Failure> {
        let Some(bytes) = self.files.read(&file.path, None).await? else { return Ok(Found { file, kind: Kind::Gone }) };
        let look = move || {
            let kind = self.judge(&file, bytes);
            Found { file, kind }
        };
        Ok(crate::blocking(look).await)
    }

    fn judge(&self, file: &Listed, mut bytes: Vec<u8>) -> Kind {
        let path = &file.path;
        if let Some(name) = pack::name_of(path) {
            return self.judge_pack(name, &mut bytes);
        }
        if record::sequence_of(path).is_some() {
            return Kind::Record(Record::open(&self.keys, path, &mut bytes).map(drop));
        }
        match path.strip_prefix(DOCUMENTS) {
            Some(name) => Kind::Document(document::open(&self.keys, name, bytes).map(drop)),
            None => Kind::Unknown,
        }
    }

    fn judge_pack(&self, name: Digest, bytes: &mut [u8]) -> Kind {
        let len = bytes.len();
        let whole = Digest::of(bytes) == name;
        let table = pack::end_len(bytes).and_then(|end| {
            let start = len.checked_sub(usize::try_from(end).ok()?)?;
            pack::read_table(&self.keys, name, len as u64, &mut bytes[start..].to_vec())
        });
        let Some((entry, _)) = table else {
            return Kind::Pack {
                chunks: 0,
                bad: Vec::new(),
                other: Some("its table does not open: bytes have changed"),
            };
        };
        let mut bad = Vec::new();
        let mut plain = Vec::new();
        self.workshop.decompress(|decompressor| {
            for line in &entry.lines.0 {
                plain.clear();
                let sealed = &mut bytes[line.range()];
                if let Err(why) = chunk::open(&self.keys, decompressor, &line.chunk, sealed, &mut plain) {
                    bad.push((line.chunk.id, why));
                }
            }
        });
        let other = (!whole && bad.is_empty()).then_some("its bytes have another digest than its name says");
        Kind::Pack { chunks: entry.lines.0.len() as u64, bad, other }
    }

    fn note(&self, found: Found, report: &mut Report, culprits: &mut Culprits) {
        let Found { file, kind } = found;
        let path = file.path;
        let mut state = self.state();
        match kind {
            Kind::Pack { chunks, bad, other } => {
                report.packs += 1;
                report.chunks += chunks;
                let number = pack::name_of(&path).and_then(|name| state.packs.number(&name));
                if let Some(why) = other
                    && let Some(damage) = report.add(path.clone(), None, why)
                    && let Some(number) = number
                    && chunks == 0
                {
                    // What is in it may be whole: it is read by the index.
                    culprits.packs.insert(number, damage);
                }
                for (id, why) in bad {
                    let damage = report.add(path.clone(), Some(id), why.to_string());
                    // Where it lies elsewhere too, nothing depends on this one.
                    if state.index.get(&id).is_some_and(|at| Some(at.pack) == number) {
                        state.suspect(id);
                        culprits.chunks.extend(damage.map(|damage| (id, damage)));
                    }
                }
            }
            Kind::Record(judged) => {
                report.index_records += 1;
                if let Err(why) = judged
                    && !state.is_superseded(&path)
                    && let Some(damage) = report.add(path.clone(), None, why)
                {
                    report.damage[damage].contents = self.lost_with(&path, &state);
                }
            }
            Kind::Document(judged) => {
                report.documents += 1;
                if let Err(why) = judged {
                    report.add(path, None, why);
                }
            }
            Kind::Gone | Kind::Unknown => {}
        }
    }

    /// The contents that a record which cannot be read told of, as far as that is known.
    fn lost_with(&self, record: &str, state: &crate::state::State) -> Vec<Address> {
        match state.records.get(record) {
            Some(known) => {
                let packs: HashSet<u32> = known.packs.iter().copied().collect();
                let first = |recipe: &Recipe| match recipe {
                    Recipe::Direct(chunks) => chunks.last().map(|chunk| chunk.id),
                    Recipe::Lists(lists) => lists.last().map(|list| list.chunk.id),
                };
                let told = |recipe: &Recipe| {
                    first(recipe).and_then(|id| state.index.get(&id)).is_some_and(|at| packs.contains(&at.pack))
                };
                let contents = state.contents.iter().filter(|(_, entry)| told(&entry.content.recipe));
                contents.map(|(address, _)| *address).collect()
            }
            // It could not be read when the repository was opened: packs have told of these.
            None => state.unrecorded.complete.contents.iter().map(|content| content.address).collect(),
        }
    }

    /// Which contents have damaged chunks.
    async fn find_contents(self: &Arc<Self>, report: &mut Report, culprits: &Culprits) -> Result<(), Trouble> {
        let mut unknown: HashMap<ChunkId, usize> = HashMap::new();
        let live = self.state().live();
        for content in live {
            let mut found = HashSet::new();
            match &content.recipe {
                Recipe::Direct(chunks) => self.blame(chunks, culprits, report, &mut unknown, &mut found),
                Recipe::Lists(lists) => {
                    for list in lists {
                        self.blame(&[list.chunk], culprits, report, &mut unknown, &mut found);
                        match self.read_list(content.address, list).await {
                            Ok(chunks) => self.blame(&chunks, culprits, report, &mut unknown, &mut found),
                            Err(mainstay_dataplane::ServeError::Trouble(trouble)) => return Err(trouble),
                            // The list itself is damaged, which is noted.
                            Err(_) => {}
                        }
                    }
                }
            }
            for damage in found {
                report.damage[damage].contents.push(content.address);
            }
        }
        Ok(())
    }

    fn blame(
        &self,
        chunks: &[ChunkRef],
        culprits: &Culprits,
        report: &mut Report,
        unknown: &mut HashMap<ChunkId, usize>,
        found: &mut HashSet<usize>,
    ) {
        let state = self.state();
        for chunk in chunks {
            let id = chunk.id;
            match state.index.get(&id) {
                Some(at) => {
                    found.extend(culprits.chunks.get(&id));
                    found.extend(culprits.packs.get(&at.pack));
                }
                None => {
                    if !unknown.contains_key(&id) {
                        let why = "the chunk is in no pack that the index knows";
                        unknown.extend(report.add(INDEX.to_owned(), Some(id), why).map(|damage| (id, damage)));
                    }
                    found.extend(unknown.get(&id));
                }
            }
        }
    }
}
