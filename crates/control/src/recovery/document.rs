//! The documents that say what the depot's contents are. They are all that is needed, with the contents, to restore.

use mainstay_dataplane::Address;
use mainstay_engine::recovery::{Backup, LogPiece};
use mainstay_types::{
    BackupId, ClusterName, ContractRef, EngineName, EnvironmentName, InstanceId, InstanceName, NodeName, Parameters,
    Plan, Sequence, TenantName, Timestamp,
};
use minicbor::{Decode, Encode};

use super::depot::DepotError;

/// The version of the form of all documents. A newer one is not read.
const VERSION: u32 = 1;

/// What every document begins with, whatever it is about: whoever looks which contents are referred to needs no more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Envelope {
    #[n(0)]
    version: u32,
    /// The contents that have to stay for as long as the document does.
    #[n(1)]
    refers_to: Vec<Address>,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    body: Vec<u8>,
}

/// A recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PointDocument {
    #[n(0)]
    pub id: BackupId,
    #[n(1)]
    pub cluster: ClusterName,
    #[n(2)]
    pub engine: EngineName,
    #[n(3)]
    pub plan: Plan,
    #[n(4)]
    pub node: NodeName,
    #[n(5)]
    pub port: u16,
    #[n(6)]
    pub parameters: Parameters,
    #[n(7)]
    pub identity: Option<String>,
    /// Whether the whole cluster is in it.
    #[n(8)]
    pub whole_cluster: bool,
    #[n(9)]
    pub instances: Vec<PointInstance>,
    #[n(10)]
    pub backup: Backup,
    /// The journal's newest event when it was made: clocks are wrong now and then. None in documents of versions that did not say.
    #[n(11)]
    pub after: Option<Sequence>,
}

/// An instance that a recovery point holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PointInstance {
    #[n(0)]
    pub id: InstanceId,
    #[n(1)]
    pub tenant: TenantName,
    #[n(2)]
    pub name: InstanceName,
    #[n(3)]
    pub environment: EnvironmentName,
    #[n(4)]
    pub contract: ContractRef,
    #[n(5)]
    pub parameters: Parameters,
}

/// The layer's own state at one point of its journal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LayerDocument {
    #[n(0)]
    pub taken_at: Timestamp,
    /// The version of Mainstay that took it.
    #[n(1)]
    pub version: String,
    /// The newest event that is in it.
    #[n(2)]
    pub sequence: Sequence,
    #[n(3)]
    pub parts: Vec<LayerPart>,
}

/// A file of the layer's own state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LayerPart {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub address: Address,
    /// Bytes.
    #[n(2)]
    pub size: u64,
}

/// A document as bytes, and back.
pub trait Document: Sized {
    /// The contents that it refers to.
    fn refers_to(&self) -> Vec<Address>;

    fn to_bytes(&self) -> Vec<u8>;

    /// Reads a document that is called `name` in errors.
    fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, DepotError>;
}

/// Why bytes are no document that this version reads.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("document {name} has version {found}, and this version of Mainstay reads {VERSION}: use a newer one")]
    Newer { name: String, found: u32 },
    #[error("document {name} can not be decoded")]
    Form {
        name: String,
        #[source]
        source: minicbor::decode::Error,
    },
}

/// The contents that a document refers to, whatever it is about.
pub fn referred_contents(name: &str, bytes: &[u8]) -> Result<Vec<Address>, DepotError> {
    Envelope::read(name, bytes).map(|envelope| envelope.refers_to)
}

impl Envelope {
    fn read(name: &str, bytes: &[u8]) -> Result<Self, DepotError> {
        let damaged = |error: Unreadable| DepotError::Damaged(error.into());
        let envelope: Self =
            minicbor::decode(bytes).map_err(|source| damaged(Unreadable::Form { name: name.to_owned(), source }))?;
        match envelope.version {
            VERSION => Ok(envelope),
            found => Err(damaged(Unreadable::Newer { name: name.to_owned(), found })),
        }
    }
}

macro_rules! documents {
    ($($type:ty: |$document:ident| $refers_to:expr;)*) => {
        $(impl Document for $type {
            fn refers_to(&self) -> Vec<Address> {
                let $document = self;
                $refers_to
            }

            fn to_bytes(&self) -> Vec<u8> {
                // Writing to memory does not fail.
                let body = minicbor::to_vec(self).unwrap_or_default();
                let envelope = Envelope { version: VERSION, refers_to: self.refers_to(), body };
                minicbor::to_vec(&envelope).unwrap_or_default()
            }

            fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, DepotError> {
                let envelope = Envelope::read(name, bytes)?;
                minicbor::decode(&envelope.body).map_err(|source| {
                    DepotError::Damaged(Unreadable::Form { name: name.to_owned(), source }.into())
                })
            }
        })*
    };
}

documents! {
    PointDocument: |point| point.backup.parts.iter().map(|part| part.address).collect();
    LayerDocument: |layer| layer.parts.iter().map(|part| part.address).collect();
    LogPiece: |piece| vec![piece.address];
}
