//! The hash chain, purely: what may follow what.

use mainstay_domain::event::{Event, NewEvent};
use mainstay_domain::view::{ApplyError, View};
use mainstay_types::{Digest, Sequence, Timestamp};

/// A place in the chain: an event's sequence number and digest, by which the next one is tied to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    pub sequence: Sequence,
    pub digest: Digest,
}

/// The view at a place in the chain. A clone costs a few pointers.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub view: View,
    pub head: Head,
}

/// An event as it is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub sequence: Sequence,
    pub body: Vec<u8>,
}

/// The first event that is not what was recorded.
#[derive(Debug, thiserror::Error)]
#[error("event {sequence} does not fit")]
pub struct Misfit {
    pub sequence: Sequence,
    #[source]
    pub reason: MisfitReason,
}

/// Why an event does not fit.
#[derive(Debug, thiserror::Error)]
pub enum MisfitReason {
    #[error("it is missing")]
    Missing,
    #[error("it can not be decoded")]
    Undecodable(#[source] minicbor::decode::Error),
    #[error("it is not encoded canonically")]
    NotCanonical,
    #[error("it says that it is event {0}")]
    OtherSequence(Sequence),
    #[error("its payload is not the one that it was recorded with")]
    Payload,
    #[error("it does not follow the event before it: one of the two was changed")]
    Chain,
    #[error("it is not the last event that was acknowledged: it was changed, or the head was")]
    Head,
    #[error("it makes no sense after the events before it")]
    Apply(#[source] Box<ApplyError>),
    #[error("the journal's head is missing")]
    NoHead,
}

// === impl Stored ===

impl Stored {
    /// The event, where it is what must follow a place in the chain, and the place after it.
    pub fn follow(&self, head: Head) -> Result<(Event, Head), Misfit> {
        let expected = head.sequence + 1;
        if self.sequence != expected {
            return Err(Misfit { sequence: expected, reason: MisfitReason::Missing });
        }
        let event = self.decode()?;
        if event.previous != head.digest {
            return Err(Misfit { sequence: expected, reason: MisfitReason::Chain });
        }
        // The encoding is canonical, so these bytes are what the event's digest is taken of.
        Ok((event, Head { sequence: expected, digest: Digest::of(&self.body) }))
    }

    /// The event, checked by itself.
    pub fn decode(&self) -> Result<Event, Misfit> {
        let misfit = |reason| Misfit { sequence: self.sequence, reason };
        let event: Event = minicbor::decode(&self.body).map_err(|error| misfit(MisfitReason::Undecodable(error)))?;
        if event.sequence != self.sequence {
            return Err(misfit(MisfitReason::OtherSequence(event.sequence)));
        }
        if event.encode() != self.body {
            return Err(misfit(MisfitReason::NotCanonical));
        }
        if Digest::of(&event.payload) != event.payload_digest {
            return Err(misfit(MisfitReason::Payload));
        }
        Ok(event)
    }
}

// === impl State ===

impl State {
    /// Folds in a stored event. On an error the state is not to be used any more.
    pub fn fold(&mut self, stored: &Stored) -> Result<(), Misfit> {
        let (event, head) = stored.follow(self.head)?;
        let misfit = |error| Misfit { sequence: event.sequence, reason: MisfitReason::Apply(Box::new(error)) };
        self.view.apply(&event).map_err(misfit)?;
        self.head = head;
        Ok(())
    }

    /// Records new events and gives them as they are to be stored. On an error the state is not to be used any more.
    pub fn record(&mut self, events: Vec<NewEvent>, time: Timestamp) -> Result<Vec<Stored>, ApplyError> {
        let mut recorded = Vec::with_capacity(events.len());
        for event in events {
            let event = event.record(self.head.sequence + 1, time, self.head.digest);
            self.view.apply(&event)?;
            let body = event.encode();
            self.head = Head { sequence: event.sequence, digest: Digest::of(&body) };
            recorded.push(Stored { sequence: event.sequence, body });
        }
        Ok(recorded)
    }

    /// The time of events recorded now: the clock's, but never before that of the event before.
    pub fn time(&self, clock: Timestamp) -> Timestamp {
        self.view.time().map_or(clock, |last| last.max(clock))
    }
}
