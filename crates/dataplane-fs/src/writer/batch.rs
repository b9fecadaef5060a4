//! What is decided, written and answered together.

use std::collections::HashMap;
use std::io::{self, IoSlice};

use bytes::Bytes;
use mainstay_dataplane::{Address, Claim, Delete, Deletion, Trouble};
use mainstay_types::Timestamp;

use super::{Body, Command, Keep, Kept, Move, Moved, Packed, Reply};
use crate::entry::{Entry, Held, Keeping};
use crate::error::trouble;
use crate::files::{Files, LooseFile};
use crate::index::{Change, Index, Position};
use crate::pack::{Log, Note, PackId, PackKey, Purpose, Spot, Subject, encode, record_len};

/// Commands in the order in which they came, decided each upon all before it.
pub(super) struct Batch {
    files: Files,
    pack: PackId,
    key: PackKey,
    /// Where its first record begins.
    start: u64,
    /// Where its last record ends.
    end: u64,
    next_claim: u64,
    at: Timestamp,
    records: Vec<Record>,
    changes: Vec<Change>,
    /// What the changes lead to.
    entries: HashMap<Address, Option<Entry>>,
    /// Files that entries name.
    named: Vec<LooseFile>,
    /// Files that nobody needs afterwards.
    doomed: Vec<LooseFile>,
    answers: Vec<Answer>,
}

/// A batch that is durable.
pub(super) struct Finished {
    pub next_claim: u64,
    batch: Batch,
}

/// A batch that is not.
pub(super) struct Unanswered {
    answers: Vec<Answer>,
    files: Vec<LooseFile>,
}

/// Content to lie somewhere.
struct Brought {
    subject: Subject,
    packed: Option<Packed>,
    purpose: Purpose,
}

struct Record {
    frame: Vec<u8>,
    body: Vec<Bytes>,
    padding: &'static [u8],
}

enum Answer {
    Kept(Reply<Option<Kept>>, Option<Kept>),
    Released(Reply<Deletion>, Deletion),
    Moved(Reply<()>),
}

impl Batch {
    pub(super) fn new(log: &Log, files: Files, next_claim: u64) -> Self {
        Self {
            files,
            pack: log.id(),
            key: *log.key(),
            start: log.end(),
            end: log.end(),
            next_claim,
            at: Timestamp::now(),
            records: Vec::new(),
            changes: Vec::new(),
            entries: HashMap::new(),
            named: Vec::new(),
            doomed: Vec::new(),
            answers: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    pub(super) fn commands(&self) -> usize {
        self.answers.len()
    }

    /// Bytes to write.
    pub(super) fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Decides a command. One that cannot be carried out is answered at once.
    pub(super) fn take(&mut self, command: Command, log: &mut Log, index: &Index) {
        match command {
            Command::Keep(keep, reply) => match self.keep(*keep, log, index) {
                Ok(kept) => self.answers.push(Answer::Kept(reply, kept)),
                Err(trouble) => drop(reply.send(Err(trouble))),
            },
            Command::Release(delete, reply) => match self.release(&delete, log, index) {
                Ok(deletion) => self.answers.push(Answer::Released(reply, deletion)),
                Err(trouble) => drop(reply.send(Err(trouble))),
            },
            Command::Move(moving, reply) => match self.relocate(*moving, log, index) {
                Ok(()) => self.answers.push(Answer::Moved(reply)),
                Err(trouble) => drop(reply.send(Err(trouble))),
            },
            Command::Rotate(reply) => drop(reply.send(Err(super::closed()))),
        }
    }

    /// Writes the records and makes them durable.
    pub(super) fn write(self, log: &mut Log) -> Result<Finished, (Unanswered, io::Error)> {
        if !self.records.is_empty() {
            let mut slices = Vec::with_capacity(3 * self.records.len());
            for record in &self.records {
                slices.push(IoSlice::new(&record.frame));
                slices.extend(record.body.iter().map(|part| IoSlice::new(part)));
                slices.push(IoSlice::new(record.padding));
            }
            slices.retain(|slice| !slice.is_empty());
            if let Err(error) = log.append(&mut slices) {
                // What was to go may still be needed.
                self.doomed.into_iter().for_each(LooseFile::stays);
                let mut files = self.named;
                if log.is_spoilt() {
                    // Records that name them may be found after all where the process ends before the next pack says that
                    // they do not count. If they are not, the next start removes the files.
                    files.drain(..).for_each(LooseFile::stays);
                }
                return Err((Unanswered { answers: self.answers, files }, error));
            }
        }
        Ok(Finished { next_claim: self.next_claim, batch: self })
    }

    fn keep(&mut self, keep: Keep, log: &mut Log, index: &Index) -> Result<Option<Kept>, Trouble> {
        let Keep { address, size, key, owner, body, replace } = keep;
        let before = self.current(&address, index)?;
        let claim = Claim(self.next_claim);
        let claims = Entry::claimed(before.as_ref(), Held { owner, claim, at: self.at });
        let keeping = Entry::keeping(before.as_ref(), key, replace);
        let (file, packed) = match (keeping, &before, body) {
            (Keeping::Claimed, Some(before), _) => {
                let key = before.key;
                self.claim(address, before.clone(), claims, log)?;
                self.next_claim += 1;
                return Ok(Some(Kept { claim, key, known: true }));
            }
            (_, _, Body::Nothing) => return Ok(None),
            (_, _, Body::Packed(packed)) => (None, Some(packed)),
            (_, _, Body::File(file)) => (Some(file), None),
        };
        let subject = Subject { size, key, file: file.as_ref().map(LooseFile::reference) };
        let brought = Brought { subject, packed, purpose: Purpose::Content };
        self.store(address, before, claims, brought, log)?;
        self.named.extend(file);
        self.next_claim += 1;
        Ok(Some(Kept { claim, key, known: false }))
    }

    fn release(&mut self, delete: &Delete, log: &mut Log, index: &Index) -> Result<Deletion, Trouble> {
        let current = self.current(&delete.address, index)?;
        let (deletion, left) = Entry::released(current.as_ref(), delete.owner, delete.claim);
        let (Deletion::Deleted, Some(before)) = (deletion, current) else { return Ok(deletion) };
        if !left.is_empty() {
            self.claim(delete.address, before, left, log)?;
            return Ok(deletion);
        }
        let grave =
            self.append(Note { address: delete.address, claims: left, subject: None }, None, Purpose::Note, log)?;
        self.changes.push(Change::Grave(grave));
        self.doomed.extend(before.file.map(|file| self.files.of(&delete.address, file)));
        self.set(delete.address, Some(before), None);
        Ok(deletion)
    }

    fn relocate(&mut self, moving: Move, log: &mut Log, index: &Index) -> Result<(), Trouble> {
        let Move { address, from, what } = moving;
        match (self.current(&address, index)?, what) {
            (Some(before), Moved::Content(packed)) if before.place == from => {
                let subject = Subject { size: before.size, key: before.key, file: before.file };
                let claims = before.claims.clone();
                // It makes room for more than it takes.
                let brought = Brought { subject, packed, purpose: Purpose::Tidying };
                self.store(address, Some(before), claims, brought, log)
            }
            (Some(before), Moved::Claims) if before.claimed == Some(from) => {
                let claims = before.claims.clone();
                self.claim(address, before, claims, log)
            }
            (None, Moved::Grave) => {
                let grave =
                    self.append(Note { address, claims: Vec::new(), subject: None }, None, Purpose::Note, log)?;
                self.changes.push(Change::Grave(grave));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Content comes to lie here, in the place of what was there before.
    fn store(
        &mut self,
        address: Address,
        before: Option<Entry>,
        claims: Vec<Held>,
        brought: Brought,
        log: &mut Log,
    ) -> Result<(), Trouble> {
        let Brought { subject, packed, purpose } = brought;
        let Subject { size, key, file } = subject;
        let place =
            self.append(Note { address, claims: claims.clone(), subject: Some(subject) }, packed, purpose, log)?;
        let after = Entry { size, key, claims, place, claimed: None, file };
        if let Some(old) = before.as_ref().and_then(|before| before.file).filter(|old| Some(*old) != file) {
            self.doomed.push(self.files.of(&address, old));
        }
        self.set(address, before, Some(after));
        Ok(())
    }

    /// The claims on a content are others.
    fn claim(&mut self, address: Address, before: Entry, claims: Vec<Held>, log: &mut Log) -> Result<(), Trouble> {
        let claimed = self.append(Note { address, claims: claims.clone(), subject: None }, None, Purpose::Note, log)?;
        let after = Entry { claims, claimed: Some(claimed), ..before.clone() };
        self.set(address, Some(before), Some(after));
        Ok(())
    }

    fn set(&mut self, address: Address, before: Option<Entry>, after: Option<Entry>) {
        self.entries.insert(address, after.clone());
        self.changes.push(Change::Entry { address, before, after });
    }

    fn current(&self, address: &Address, index: &Index) -> Result<Option<Entry>, Trouble> {
        match self.entries.get(address) {
            Some(entry) => Ok(entry.clone()),
            None => index.find(address),
        }
    }

    /// Makes a record the next one, where there is room for it.
    fn append(&mut self, note: Note, packed: Option<Packed>, purpose: Purpose, log: &mut Log) -> Result<Spot, Trouble> {
        let (body, len, check) = packed.map_or((Vec::new(), 0, 0), |packed| (packed.parts, packed.len, packed.check));
        let note = note.encode();
        let record_len = record_len(&note, len as usize);
        log.reserve(self.end + record_len, purpose).map_err(|error| trouble("store more content", &error))?;
        // Packs end long before four GiB; where they cannot be followed by others, this is where they end after all.
        let (Ok(offset), Ok(len_of_all)) = (u32::try_from(self.end), u32::try_from(record_len)) else {
            return Err(Trouble::Full { reason: format!("pack {} can take no more, and none follows it", self.pack) });
        };
        let (frame, padding) = encode(&note, (len, check), (self.pack, &self.key), offset, self.start as u32);
        self.records.push(Record { frame, body, padding });
        self.end += record_len;
        Ok(Spot { pack: self.pack, offset, len: len_of_all })
    }
}

impl Finished {
    /// Makes all of it visible and answers; gives the files that nobody needs any more.
    pub(super) fn publish(self, index: &Index, log: &Log) -> Vec<LooseFile> {
        let Batch { mut changes, named, doomed, answers, pack, end, .. } = self.batch;
        named.into_iter().for_each(LooseFile::stays);
        if !changes.is_empty() {
            changes.push(Change::Extended(pack, end));
            index.publish(changes, Position { pack: log.id(), offset: log.end() }, self.next_claim);
        }
        for answer in answers {
            match answer {
                Answer::Kept(reply, kept) => drop(reply.send(Ok(kept))),
                Answer::Released(reply, deletion) => drop(reply.send(Ok(deletion))),
                Answer::Moved(reply) => drop(reply.send(Ok(()))),
            }
        }
        doomed
    }
}

impl Unanswered {
    /// Answers, and gives the files that were brought.
    pub(super) fn refuse(self, trouble: &Trouble) -> Vec<LooseFile> {
        for answer in self.answers {
            match answer {
                Answer::Kept(reply, _) => drop(reply.send(Err(trouble.clone()))),
                Answer::Released(reply, _) => drop(reply.send(Err(trouble.clone()))),
                Answer::Moved(reply) => drop(reply.send(Err(trouble.clone()))),
            }
        }
        self.files
    }
}

/// A pack has begun.
pub(super) fn publish_head(index: &Index, log: &Log, next_claim: u64) {
    let (pack, offset) = (log.id(), log.end());
    index.publish(vec![Change::Extended(pack, offset)], Position { pack, offset }, next_claim);
}
