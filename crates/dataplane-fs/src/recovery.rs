//! Opening a store: from the index and the log to what is true.
//!
//! The index says up to where in the log it knows. What lies behind is read and applied; without an index, that is all
//! of the log. Whatever was answered for was durable before, so that only the records which were written together last
//! may be unfinished: those are checked in full, and struck out where they are.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use mainstay_dataplane::Address;
use rustix::fs::fdatasync;

use crate::OpenError;
use crate::entry::Entry;
use crate::index::{Base, BaseError, Change, Checkpoint, Memory, Position};
use crate::layout::Layout;
use crate::ledger::Ledger;
use crate::pack::{Found, HEAD_LEN, Head, Log, Note, PackId, Packs, Prefix, Scan, Spot, body_check, read_head};

/// Changes that are held in memory before they go to the base while a log is read: 200 bytes each.
const MAX_HELD: usize = 128 << 10;

/// A store as it was left.
pub(crate) struct Recovered {
    pub base: Base,
    pub memory: Memory,
    pub log: Log,
}

/// Reads records and follows them.
struct Replay<'a> {
    packs: &'a Packs,
    base: Base,
    memory: Memory,
    heads: BTreeMap<PackId, Head>,
    records: u64,
    unreadable: u64,
}

/// The records that were written together last, of those that were read.
#[derive(Default)]
struct Pending(Vec<(Spot, Prefix, Note)>);

pub(crate) fn recover(layout: &Layout, packs: &Arc<Packs>) -> Result<Recovered, OpenError> {
    let started = Instant::now();
    let (base, checkpoint) = open_base(layout)?;
    let list = packs.list().map_err(OpenError::at(packs.directory()))?;
    let (base, checkpoint) = match checkpoint.filter(|checkpoint| fits(checkpoint, &list)) {
        Some(checkpoint) => (base, checkpoint),
        None => (create_base(layout)?, beginning(&list)),
    };
    let from = checkpoint.at;
    let memory = Memory::new(checkpoint);
    let heads = BTreeMap::new();
    let mut replay = Replay { packs, base, memory, heads, records: 0, unreadable: 0 };
    let last = replay.follow(&list, from).map_err(|error| error.at(layout))?;
    let Replay { base, mut memory, records, unreadable, .. } = replay;
    for (gone, _) in memory.ledger().clone().packs().filter(|(pack, _)| list.binary_search(pack).is_err()) {
        memory.forget_pack(gone);
    }
    let log = resume(packs, last, &list, &mut memory)?;
    if records > 0 || unreadable > 0 {
        tracing::info!(
            directory = %layout.root().display(), records, unreadable_bytes = unreadable,
            contents = memory.ledger().contents, seconds = started.elapsed().as_secs_f64(),
            "the content store has caught up with its log"
        );
    }
    Ok(Recovered { base, memory, log })
}

fn open_base(layout: &Layout) -> Result<(Base, Option<Checkpoint>), OpenError> {
    if layout.index().exists() {
        match Base::open(&layout.index()) {
            Ok((base, checkpoint)) => return Ok((base, Some(checkpoint))),
            Err(error @ BaseError::Io(_)) => return Err(index_error(layout)(error)),
            Err(error) => {
                tracing::warn!(directory = %layout.root().display(), %error, "the index is made anew from the packs");
            }
        }
    }
    Ok((create_base(layout)?, None))
}

fn create_base(layout: &Layout) -> Result<Base, OpenError> {
    Base::create(&layout.index()).map_err(index_error(layout))
}

fn index_error(layout: &Layout) -> impl FnOnce(BaseError) -> OpenError + use<> {
    let directory = layout.root().to_owned();
    move |error| OpenError::Index { directory, source: error.into() }
}

/// Whether a checkpoint speaks of the packs that there are.
fn fits(checkpoint: &Checkpoint, packs: &[PackId]) -> bool {
    let fits = packs.binary_search(&checkpoint.at.pack).is_ok();
    if !fits {
        tracing::warn!(pack = %checkpoint.at.pack, "the pack that the index ends in is missing: the index is made anew");
    }
    fits
}

/// Before the first record.
fn beginning(packs: &[PackId]) -> Checkpoint {
    let pack = packs.first().copied().unwrap_or(PackId(1));
    Checkpoint { at: Position { pack, offset: HEAD_LEN }, next_claim: 1, ledger: Ledger::default() }
}

/// Opens the last pack for writing, or begins one.
fn resume(packs: &Arc<Packs>, last: Option<Head>, list: &[PackId], memory: &mut Memory) -> Result<Log, OpenError> {
    if let Some(head) = last {
        let path = packs.path(head.id);
        return Log::resume(Arc::clone(packs), head, memory.at().offset).map_err(OpenError::at(path));
    }
    let id = PackId(list.last().map_or(0, |last| last.0) + 1);
    let log = Log::begin(Arc::clone(packs), id, memory.next_claim(), None).map_err(OpenError::at(packs.path(id)))?;
    let next_claim = memory.next_claim();
    memory.publish(vec![Change::Extended(id, HEAD_LEN)], Position { pack: id, offset: HEAD_LEN }, next_claim);
    Ok(log)
}

enum ReplayError {
    Pack(PackId, io::Error),
    Base(BaseError),
}

impl ReplayError {
    fn at(self, layout: &Layout) -> OpenError {
        match self {
            Self::Pack(pack, source) => OpenError::Io { path: layout.packs().join(format!("{pack}.pack")), source },
            Self::Base(error) => index_error(layout)(error),
        }
    }
}

impl From<BaseError> for ReplayError {
    fn from(error: BaseError) -> Self {
        Self::Base(error)
    }
}

impl Replay<'_> {
    /// Follows all packs from some position on, and answers the head of the last, where it can be written to.
    fn follow(&mut self, list: &[PackId], from: Position) -> Result<Option<Head>, ReplayError> {
        let mut list: Vec<PackId> = list.iter().copied().filter(|pack| *pack >= from.pack).collect();
        for pack in list.clone() {
            self.read_head(pack)?;
        }
        if let Some(unfinished) = list.pop_if(|last| !self.heads.contains_key(last))
            && !self.remove_unfinished(unfinished).map_err(|error| ReplayError::Pack(unfinished, error))?
        {
            list.push(unfinished);
        }
        for (number, pack) in list.iter().enumerate() {
            let start = if *pack == from.pack { from.offset } else { HEAD_LEN };
            let is_last = number + 1 == list.len();
            let ended = list.get(number + 1).and_then(|next| self.heads.get(next)?.before);
            let end = ended.filter(|(before, _)| before == pack).map(|(_, end)| end);
            self.pack(*pack, start, end, is_last).map_err(|error| match error {
                Step::Io(error) => ReplayError::Pack(*pack, error),
                Step::Base(error) => ReplayError::Base(error),
            })?;
        }
        Ok(list.last().and_then(|last| self.heads.remove(last)))
    }

    fn read_head(&mut self, pack: PackId) -> Result<(), ReplayError> {
        let file = self.packs.file(pack).map_err(|error| ReplayError::Pack(pack, error))?;
        match read_head(&file).map_err(|error| ReplayError::Pack(pack, error))? {
            Ok(head) if head.id == pack => drop(self.heads.insert(pack, head)),
            Ok(head) => tracing::error!(%pack, says = %head.id, "a pack has another's name: it is left alone"),
            Err(reason) => tracing::warn!(%pack, reason, "the head of a pack cannot be read"),
        }
        Ok(())
    }

    /// Removes a pack without a head if it has nothing else either: a process was killed while it began it.
    fn remove_unfinished(&self, pack: PackId) -> io::Result<bool> {
        let is_empty = only_zeros_from(&*self.packs.file(pack)?, HEAD_LEN)?;
        if is_empty {
            self.packs.remove(pack)?;
            tracing::info!(%pack, "a pack that was only half begun is removed");
        } else {
            tracing::error!(%pack, "a pack has lost its head: what is in it is not found again, but left there");
        }
        Ok(is_empty)
    }

    fn pack(&mut self, pack: PackId, start: u64, end: Option<u64>, is_last: bool) -> Result<(), Step> {
        let Some(head) = self.heads.get(&pack).cloned() else { return Ok(()) };
        let file = self.packs.file(pack)?;
        if is_last {
            // What a process that was killed had written may be in memory only. The index will say that it is there.
            fdatasync(&*file).map_err(io::Error::from)?;
        }
        let len = file.metadata()?.len();
        let end = match end {
            Some(end) => {
                if len > end {
                    // Room that it had in advance, or what a write that failed has left: a process was killed before it gave
                    // that back.
                    OpenOptions::new().write(true).open(self.packs.path(pack))?.set_len(end)?;
                }
                end
            }
            None => len,
        };
        let next_claim = self.memory.next_claim().max(head.next_claim);
        let at = Position { pack, offset: start };
        self.memory.publish(vec![Change::Extended(pack, start)], at, next_claim);
        let mut scan = Scan::new(&file, &head, start, end);
        let mut pending = Pending::default();
        let mut unreadable = 0;
        while let Some(found) = scan.next()? {
            match found {
                Found::Record { spot, prefix, note } => {
                    // Bytes that are no record are damage where a record follows that was written later.
                    if std::mem::take(&mut unreadable) > 0 {
                        tracing::error!(%pack, before = spot.offset, "a pack is damaged: records in it cannot be read");
                    }
                    if pending.0.first().is_some_and(|(_, first, _)| first.batch != prefix.batch) {
                        self.apply_all(&mut pending)?;
                    }
                    pending.0.push((spot, prefix, note));
                }
                Found::Nothing { from, to } => {
                    unreadable = to - from;
                    self.unreadable += unreadable;
                }
            }
        }
        self.unreadable -= unreadable;
        if is_last {
            self.strike_out(&scan, &mut pending, pack)?;
        }
        self.apply_all(&mut pending)
    }

    /// Takes those records from the last ones whose bodies never came to be, and sees to it that no later start takes them
    /// for anything.
    fn strike_out(&self, scan: &Scan<'_>, pending: &mut Pending, pack: PackId) -> Result<(), Step> {
        let (mut whole, mut torn) = (Vec::new(), Vec::new());
        for (spot, prefix, note) in pending.0.drain(..) {
            let is_whole = prefix.body_len == 0 || body_check(&[scan.body(spot, &prefix)?.into()]) == prefix.body_check;
            if is_whole { whole.push((spot, prefix, note)) } else { torn.push(spot) }
        }
        pending.0 = whole;
        if torn.is_empty() {
            return Ok(());
        }
        tracing::info!(%pack, records = torn.len(), "records that a crash left unfinished are struck out");
        let file = OpenOptions::new().write(true).open(self.packs.path(pack))?;
        for spot in torn {
            file.write_all_at(&[0; Prefix::LEN], spot.offset.into())?;
        }
        Ok(fdatasync(&file).map_err(io::Error::from)?)
    }

    fn apply_all(&mut self, pending: &mut Pending) -> Result<(), Step> {
        for (spot, _, note) in pending.0.drain(..) {
            self.apply(spot, note)?;
        }
        if self.memory.behind() >= MAX_HELD {
            self.base.commit(&self.memory.freeze()).map_err(Step::Base)?;
            self.memory.thawed();
        }
        Ok(())
    }

    /// Follows one record, as the writer did when it wrote it.
    fn apply(&mut self, spot: Spot, note: Note) -> Result<(), Step> {
        self.records += 1;
        let Note { address, claims, subject } = note;
        let highest = claims.iter().map(|held| held.claim.0 + 1).max();
        let next_claim = self.memory.next_claim().max(highest.unwrap_or(0));
        let before = self.find(&address)?;
        let end = u64::from(spot.offset) + u64::from(spot.len);
        let mut changes = vec![Change::Extended(spot.pack, end)];
        let after = match (subject, &before) {
            (Some(subject), _) => {
                let (size, key, file) = (subject.size, subject.key, subject.file);
                Some(Entry { size, key, claims, place: spot, claimed: None, file })
            }
            (None, Some(before)) if !claims.is_empty() => Some(Entry { claims, claimed: Some(spot), ..before.clone() }),
            // Of content that has moved on since, and whose record with these claims follows.
            (None, None) if !claims.is_empty() => None,
            (None, _) => {
                changes.push(Change::Grave(spot));
                None
            }
        };
        if before.is_some() || after.is_some() {
            changes.push(Change::Entry { address, before, after });
        }
        self.memory.publish(changes, Position { pack: spot.pack, offset: end }, next_claim);
        Ok(())
    }

    fn find(&self, address: &Address) -> Result<Option<Entry>, Step> {
        match self.memory.find(address) {
            Some(known) => Ok(known.cloned()),
            None => self.base.get(address).map_err(Step::Base),
        }
    }
}

/// Whether a file has nothing behind some offset but room. Where data lies the system cannot be asked: what it has in
/// memory counts as data, zeros or not.
fn only_zeros_from(file: &File, mut offset: u64) -> io::Result<bool> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        match file.read_at(&mut bytes, offset) {
            Ok(0) => return Ok(true),
            Ok(read) if bytes[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            Ok(read) => offset += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

enum Step {
    Io(io::Error),
    Base(BaseError),
}

impl From<io::Error> for Step {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
