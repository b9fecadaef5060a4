//! The envelope that every event travels in, and the hash chain.

use mainstay_types::{Digest, InvalidText, Sequence, TenantName, Timestamp, TokenId};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{Body, BodyError};

/// One event as it stands in the journal.
///
/// Its encoding is canonical CBOR: an array of definite length in the order of the fields.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Event {
    /// Strictly increasing and gapless, from 1.
    #[n(0)]
    pub sequence: Sequence,
    /// When it was recorded; never before the event before it.
    #[n(1)]
    pub time: Timestamp,
    /// Whose it is; none for what belongs to the layer itself.
    #[n(2)]
    pub tenant: Option<TenantName>,
    /// Who caused it.
    #[n(3)]
    pub actor: Actor,
    /// Its type: `v1.<subject>.<past-tense verb>`.
    #[n(4)]
    pub kind: String,
    /// What it happened to.
    #[n(5)]
    pub subject: Subject,
    /// The payload in canonical CBOR.
    #[n(6)]
    pub payload: ByteVec,
    /// BLAKE3 of the payload.
    #[n(7)]
    pub payload_digest: Digest,
    /// [`Event::digest`] of the event before it; zero for the first.
    #[n(8)]
    pub previous: Digest,
}

impl Event {
    /// The event as canonical CBOR.
    pub fn encode(&self) -> Vec<u8> {
        encoded(self)
    }

    /// The digest that the next event carries: BLAKE3 of this event's encoding.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// The payload, decoded.
    pub fn body(&self) -> Result<Body, BodyError> {
        Body::decode(&self.kind, &self.payload)
    }
}

/// An event that was decided and is not yet in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub tenant: Option<TenantName>,
    pub actor: Actor,
    pub subject: Subject,
    pub body: Body,
}

impl NewEvent {
    /// Gives the event its place in the chain.
    pub fn record(self, sequence: Sequence, time: Timestamp, previous: Digest) -> Event {
        let payload = self.body.encode();
        Event {
            sequence,
            time,
            tenant: self.tenant,
            actor: self.actor,
            kind: self.body.kind().to_owned(),
            subject: self.subject,
            payload_digest: Digest::of(&payload),
            payload: payload.into(),
            previous,
        }
    }
}

/// Who caused an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The layer itself: reconciliation, expiry, repair.
    System,
    /// Whoever bore this token.
    Token(TokenId),
}

/// What an event happened to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
pub struct Subject {
    #[n(0)]
    pub kind: SubjectKind,
    /// The name of an instance or a cluster, the id of anything else.
    #[n(1)]
    pub id: String,
}

/// The kinds of things that events happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    #[n(0)]
    Instance,
    #[n(1)]
    Cluster,
    #[n(2)]
    Binding,
    #[n(3)]
    Operation,
    #[n(4)]
    Token,
    #[n(5)]
    Custody,
    /// An object, by its bucket and key.
    #[n(6)]
    Object,
    /// Stored content, by its address.
    #[n(7)]
    Content,
    /// A backup, by its id.
    #[n(8)]
    Backup,
    /// The layer as a whole.
    #[n(9)]
    Layer,
}

impl Subject {
    /// The subject of a kind, by its name or id.
    pub fn new(kind: SubjectKind, id: &impl ToString) -> Self {
        Self { kind, id: id.to_string() }
    }
}

// === impl Actor ===

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Actor::System => f.pad("system"),
            Actor::Token(token) => token.fmt(f),
        }
    }
}

impl std::str::FromStr for Actor {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "system" { Ok(Self::System) } else { text.parse().map(Self::Token) }
    }
}

mainstay_types::encode_as_text!(Actor);

/// The canonical CBOR of a value whose encoding can not fail.
pub(super) fn encoded<T: Encode<()>>(value: &T) -> Vec<u8> {
    match minicbor::to_vec(value) {
        Ok(bytes) => bytes,
        // Writing to a vector is infallible, and no encoding in this crate raises an error of its own.
        Err(error) => unreachable!("encoding to memory: {error}"),
    }
}
