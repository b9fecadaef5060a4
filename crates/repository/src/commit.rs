//! The one writer of records: what has come together is decided in order, written in one record, and answered then.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};

use mainstay_dataplane::{Address, Claim, Deletion, Owner, Trouble};
use mainstay_types::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::files::Failure;
use crate::inner::Inner;
use crate::pack::{Complete, PackBuilder};
use crate::recipe::Content;
use crate::record::{self, GivenUp, Record};
use crate::state::{Entry, Held, KnownRecord, State};

/// Commits that wait, and that one record takes: as many as there are streams at a busy time.
pub(crate) const QUEUE: usize = 64;

/// What is to be written.
pub(crate) enum Commit {
    /// Content whose chunks are in packs, but for those that are handed in here.
    Keep {
        content: Content,
        rest: PackBuilder,
        owner: Owner,
        reply: Reply<Kept>,
    },
    GiveUp {
        owner: Owner,
        address: Address,
        claim: Claim,
        reply: Reply<Deletion>,
    },
}

type Reply<T> = oneshot::Sender<Result<T, Trouble>>;

/// What became of content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) claim: Claim,
    /// Whether it was there already.
    pub(crate) known: bool,
}

/// What is decided on a batch.
struct Plan {
    entries: BTreeMap<Address, Entry>,
    complete: Complete,
    given_up: Vec<GivenUp>,
    last_claim: u64,
    answers: Vec<Answer>,
}

enum Answer {
    Kept(Reply<Kept>, Kept),
    GaveUp(Reply<Deletion>, Deletion),
}

/// Works until nobody can commit any more.
pub(crate) async fn run(inner: Weak<Inner>, mut commits: mpsc::Receiver<Commit>) {
    let mut waiting = Vec::with_capacity(QUEUE);
    while commits.recv_many(&mut waiting, QUEUE).await > 0 {
        let Some(inner) = inner.upgrade() else { return };
        inner.commit(std::mem::take(&mut waiting)).await;
    }
}

impl Inner {
    async fn commit(self: &Arc<Self>, commits: Vec<Commit>) {
        let allowed = self.may_write().await;
        let _turn = self.turn.lock().await;
        let (keeping, rest, giving_up) = sort(commits);
        if !keeping.is_empty() {
            // What is given up need not wait for room.
            let plan = self.state().plan(keeping);
            self.carry_out(plan, rest, &allowed).await;
        }
        if !giving_up.is_empty() {
            let now = Timestamp::now();
            let plan = self.state().plan_giving_up(giving_up, |at| self.immutable_until(at, now));
            self.carry_out(plan, Vec::new(), &allowed).await;
        }
    }

    async fn carry_out(self: &Arc<Self>, plan: Plan, rest: Vec<PackBuilder>, allowed: &Result<(), Trouble>) {
        let Plan { entries, complete, given_up, last_claim, answers } = plan;
        let written = if complete.claims.is_empty() && given_up.is_empty() {
            Ok(())
        } else if let Err(trouble) = allowed {
            Err(trouble.clone())
        } else {
            self.write(rest, complete, given_up, last_claim).await
        };
        if written.is_ok() {
            let mut state = self.state();
            state.last_claim = last_claim;
            entries.into_values().for_each(|entry| state.put(entry));
        }
        // Whoever does not wait for an answer any more finds out otherwise.
        for answer in answers {
            match answer {
                Answer::Kept(reply, kept) => drop(reply.send(written.clone().map(|()| kept))),
                Answer::GaveUp(reply, answer) => drop(reply.send(written.clone().map(|()| answer))),
            }
        }
    }

    async fn write(
        self: &Arc<Self>,
        rest: Vec<PackBuilder>,
        complete: Complete,
        given_up: Vec<GivenUp>,
        last_claim: u64,
    ) -> Result<(), Trouble> {
        self.write_rest(rest, &complete).await?;
        let now = Timestamp::now();
        let (name, mut record) = {
            let mut state = self.state();
            let mut record = Record::new(now, Claim(last_claim));
            record.packs = state.unrecorded.packs.clone();
            record.contents = state.unrecorded.complete.contents.clone();
            record.claims = state.unrecorded.complete.claims.clone();
            (record::name(state.draw_sequence()), record)
        };
        let recorded = record.packs.len();
        record.contents.extend(complete.contents);
        record.claims.extend(complete.claims);
        record.given_up = given_up;
        self.write_record(&name, &record).await?;
        let mut state = self.state();
        // What came meanwhile is after it.
        state.unrecorded.packs.drain(..recorded);
        state.unrecorded.complete = Complete::default();
        Ok(())
    }

    /// Writes the chunks that lie in no pack yet, but for those that came by another way meanwhile.
    async fn write_rest(self: &Arc<Self>, rest: Vec<PackBuilder>, complete: &Complete) -> Result<(), Failure> {
        let mut taken = HashSet::new();
        let mut full: Vec<PackBuilder> = vec![PackBuilder::default()];
        {
            let mut state = self.state();
            for (chunk, sealed) in rest.iter().flat_map(PackBuilder::chunks) {
                if taken.insert(chunk.id) && !state.rely_on(&chunk.id) {
                    if full.last().is_none_or(PackBuilder::is_full) {
                        full.push(PackBuilder::default());
                    }
                    full.last_mut().expect("there is one").push(chunk, sealed);
                }
            }
        }
        drop(rest);
        let last = full.len() - 1;
        for (number, builder) in full.into_iter().enumerate() {
            if !builder.is_empty() {
                let complete = if number == last { complete.clone() } else { Complete::default() };
                self.write_pack(builder, complete).await?;
            }
        }
        Ok(())
    }

    /// Writes a record. It counts when this returns.
    pub(crate) async fn write_record(self: &Arc<Self>, name: &str, record: &Record) -> Result<(), Failure> {
        let sealed = record.seal(&self.keys, name);
        let len = sealed.len() as u64;
        self.files.write(name, sealed.into()).await?;
        let mut state = self.state();
        let packs = record.packs.iter().filter_map(|pack| state.packs.number(&pack.name)).collect();
        let known = KnownRecord { len, packs, claims: record.says_more_than_packs() };
        state.records.insert(name.to_owned(), known);
        Ok(())
    }
}

type Keeping = Vec<(Content, Owner, Reply<Kept>)>;
type GivingUp = Vec<(GivenUp, Reply<Deletion>)>;

/// Commits by their kind. What was asked for at the same time may be done in any order.
fn sort(commits: Vec<Commit>) -> (Keeping, Vec<PackBuilder>, GivingUp) {
    let (mut keeping, mut rests, mut giving_up) = (Vec::new(), Vec::new(), Vec::new());
    for commit in commits {
        match commit {
            Commit::Keep { content, rest, owner, reply } => {
                keeping.push((content, owner, reply));
                rests.push(rest);
            }
            Commit::GiveUp { owner, address, claim, reply } => {
                giving_up.push((GivenUp { owner, address, claim }, reply));
            }
        }
    }
    (keeping, rests, giving_up)
}

impl State {
    fn plan(&self, keeping: Keeping) -> Plan {
        let now = Timestamp::now();
        let mut plan = Plan::new(self.last_claim);
        for (content, owner, reply) in keeping {
            let address = content.address;
            let known = plan.entries.get(&address).or_else(|| self.contents.get(&address)).cloned();
            let kept = Kept { claim: self.next_claim(plan.last_claim, now), known: known.is_some() };
            let mut entry = known.unwrap_or_else(|| {
                plan.complete.contents.push(content.clone());
                Entry::new(content)
            });
            plan.last_claim = kept.claim.0;
            entry.held[owner as usize] = Some(Held { claim: kept.claim, at: now });
            plan.complete.claims.extend(entry.claims().filter(|claimed| claimed.owner == owner));
            plan.entries.insert(address, entry);
            plan.answers.push(Answer::Kept(reply, kept));
        }
        plan
    }

    fn plan_giving_up(&self, giving_up: GivingUp, immutable_until: impl Fn(Timestamp) -> Option<Timestamp>) -> Plan {
        let mut plan = Plan::new(self.last_claim);
        for (given_up, reply) in giving_up {
            let GivenUp { owner, address, claim } = given_up;
            let known = plan.entries.get(&address).or_else(|| self.contents.get(&address)).cloned();
            let answer = match known.as_ref().and_then(|entry| entry.held(owner)) {
                None => Deletion::Absent,
                Some(held) if held.claim > claim => Deletion::Superseded,
                Some(held) => match immutable_until(held.at) {
                    Some(_) => Deletion::Kept,
                    None => Deletion::Deleted,
                },
            };
            if let (Some(mut entry), Deletion::Deleted) = (known, answer) {
                entry.held[owner as usize] = None;
                plan.entries.insert(address, entry);
                plan.given_up.push(given_up);
            }
            plan.answers.push(Answer::GaveUp(reply, answer));
        }
        plan
    }
}

impl Plan {
    fn new(last_claim: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            complete: Complete::default(),
            given_up: Vec::new(),
            last_claim,
            answers: Vec::new(),
        }
    }
}
