//! Tidying packs: what is still needed moves to the end of the log, and the pack is removed.
//!
//! Only packs are tidied which lie wholly before the last checkpoint. Otherwise a record which says that content is gone
//! could be dropped before the index on disk knows of it, and a crash would bring the content back. Where the disk is too
//! full for a checkpoint, the index on disk is declared void first: the log alone is always right.

use std::collections::VecDeque;
use std::fs::File;

use mainstay_dataplane::Trouble;
use rustix::fs::fsync;
use tokio::sync::oneshot;

use super::Keeper;
use crate::error::trouble;
use crate::ledger::Room;
use crate::pack::{Found, HEAD_LEN, PackId, Prefix, Scan, Spot, body_check, read_head};
use crate::writer::{Command, Move, Moved, Packed, closed};

/// Records on their way at a time: enough to share a synchronisation, and no more than one in eight of what the writer
/// takes together, so that callers are hardly delayed.
const ON_THE_WAY: usize = 32;

/// Bytes on their way at a time.
const BYTES_ON_THE_WAY: u64 = 4 << 20;

/// How often a reclamation looks again: after a round there may be room for what had none before, and a pack to tidy
/// which was the newest.
const MAX_ROUNDS: usize = 4;

/// Moves that the writer has not answered yet.
#[derive(Default)]
struct OnTheWay {
    answers: VecDeque<(u64, oneshot::Receiver<Result<(), Trouble>>)>,
    bytes: u64,
}

impl Keeper {
    /// Tidies the packs that have enough in them which is not needed, and all that have any of it where content is refused
    /// for want of room. Where the disk is full it goes as far as it can.
    pub(super) fn reclaim_packs(&mut self) -> Result<u64, Trouble> {
        let before = self.index.ledger(|ledger| ledger.pack_bytes());
        let found = self.disk.has_room().map_or(Room::Short, |()| Room::Enough);
        let mut hindered = None;
        let mut rotated = false;
        for _ in 0..MAX_ROUNDS {
            hindered = None;
            // Once is enough: what comes to lie in the newest pack meanwhile is another reclamation's affair.
            if !rotated {
                hindered = self.rotate_untidy(found).err();
                rotated = hindered.is_none();
            }
            let limit = match self.checkpoint() {
                Ok(()) => self.index.checkpointed().map(|known| known.pack),
                Err(trouble) => {
                    hindered = Some(trouble);
                    let newest = self.index.ledger(|ledger| ledger.packs().next_back().map(|(pack, _)| pack));
                    newest.filter(|_| self.index.distrust_base().is_ok())
                }
            };
            let Some(limit) = limit else { break };
            let mut removed = false;
            let mut later = self.stuck.clone();
            loop {
                let room = if hindered.is_some() { Room::None } else { found };
                let Some(pack) = self.index.ledger(|ledger| ledger.next_to_reclaim(limit, &later, room)) else { break };
                match self.tidy(pack) {
                    Ok(()) => removed = true,
                    Err(trouble) => {
                        later.push(pack);
                        hindered = Some(trouble);
                    }
                }
                if self.stuck.contains(&pack) {
                    later.push(pack);
                }
            }
            if !removed {
                break;
            }
        }
        let freed = before.saturating_sub(self.index.ledger(|ledger| ledger.pack_bytes()));
        match hindered {
            Some(trouble) if freed == 0 => Err(trouble),
            _ => Ok(freed),
        }
    }

    pub(super) fn tidy_what_is_mostly_dead(&mut self) {
        let Some(limit) = self.index.checkpointed().map(|known| known.pack) else { return };
        while let Some(pack) = self.index.ledger(|ledger| ledger.next_to_tidy(limit, &self.stuck)) {
            if let Err(trouble) = self.tidy(pack) {
                // It is tried again after the next checkpoint.
                tracing::warn!(%pack, %trouble, "cannot tidy a pack");
                return;
            }
        }
    }

    /// Begins a new pack where there is enough in the newest that is not needed, or will not be once the older are tidied.
    fn rotate_untidy(&self, room: Room) -> Result<(), Trouble> {
        if !self.index.ledger(|ledger| ledger.newest_is_untidy(room)) {
            return Ok(());
        }
        let (reply, done) = oneshot::channel();
        self.send(Command::Rotate(reply))?;
        done.blocking_recv().unwrap_or_else(|_| Err(closed())).map(drop)
    }

    /// Moves what is needed out of a pack and removes it. A pack in which something that is needed cannot be read stays.
    fn tidy(&mut self, pack: PackId) -> Result<(), Trouble> {
        let io = |error: std::io::Error| trouble(&format!("tidy pack {pack}"), &error);
        let usage = self.index.ledger(|ledger| ledger.usage(pack));
        if usage.live > 0 || usage.graves > 0 {
            let file = self.packs.file(pack).map_err(io)?;
            match read_head(&file).map_err(io)? {
                Ok(head) => self.move_all(Scan::new(&file, &head, HEAD_LEN, usage.end))?,
                Err(reason) => tracing::error!(%pack, reason, "the head of a pack is damaged"),
            }
        }
        if self.index.ledger(|ledger| ledger.usage(pack)).live > 0 {
            tracing::error!(%pack, "something that is needed in a pack cannot be read: the pack stays");
            self.stuck.push(pack);
            return Ok(());
        }
        self.packs.remove(pack).map_err(io)?;
        // A pack must not come back once that is forgotten which says what in it is gone.
        File::open(self.packs.directory()).and_then(|directory| Ok(fsync(directory)?)).map_err(io)?;
        self.index.forget_pack(pack);
        tracing::debug!(%pack, bytes = usage.end, live = usage.live, "tidied a pack");
        Ok(())
    }

    fn move_all(&self, mut scan: Scan<'_>) -> Result<(), Trouble> {
        let io = |error: std::io::Error| trouble("read a pack", &error);
        let mut on_the_way = OnTheWay::default();
        while let Some(found) = scan.next().map_err(io)? {
            let Found::Record { spot, prefix, note } = found else { continue };
            let entry = self.index.find(&note.address)?;
            let what = match (&entry, note.subject, note.claims.is_empty()) {
                (Some(entry), Some(_), _) if entry.place == spot => match packed(&scan, spot, &prefix).map_err(io)? {
                    Some(packed) => Moved::Content(packed),
                    // It is damaged: whoever verifies it is told so, here.
                    None => continue,
                },
                (Some(entry), None, false) if entry.claimed == Some(spot) => Moved::Claims,
                (None, None, true) if !self.index.ledger(|ledger| ledger.may_drop_graves(spot.pack)) => Moved::Grave,
                _ => continue,
            };
            on_the_way.make_room(spot)?;
            let (reply, answer) = oneshot::channel();
            self.send(Command::Move(Box::new(Move { address: note.address, from: spot, what }), reply))?;
            on_the_way.add(spot, answer);
        }
        on_the_way.finish()
    }

    fn send(&self, command: Command) -> Result<(), Trouble> {
        let commands = self.commands.upgrade().ok_or_else(closed)?;
        commands.blocking_send(command).map_err(|_| closed())
    }
}

/// The body of a record, if it is whole. Content that lies in a file has none.
fn packed(scan: &Scan<'_>, spot: Spot, prefix: &Prefix) -> std::io::Result<Option<Option<Packed>>> {
    if prefix.body_len == 0 {
        return Ok(Some(None));
    }
    let parts = vec![scan.body(spot, prefix)?.into()];
    let (len, check) = (prefix.body_len, prefix.body_check);
    Ok((body_check(&parts) == check).then_some(Some(Packed { parts, len, check })))
}

impl OnTheWay {
    fn add(&mut self, spot: Spot, answer: oneshot::Receiver<Result<(), Trouble>>) {
        self.bytes += u64::from(spot.len);
        self.answers.push_back((spot.len.into(), answer));
    }

    fn make_room(&mut self, spot: Spot) -> Result<(), Trouble> {
        while self.answers.len() >= ON_THE_WAY
            || !self.answers.is_empty() && self.bytes + u64::from(spot.len) > BYTES_ON_THE_WAY
        {
            self.wait()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Trouble> {
        while !self.answers.is_empty() {
            self.wait()?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Trouble> {
        let Some((len, answer)) = self.answers.pop_front() else { return Ok(()) };
        self.bytes -= len;
        answer.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }
}
