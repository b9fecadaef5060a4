//! What is stored beside the bytes.

use mainstay_dataplane::{Address, KeyId, Sha256};
use minicbor::{Decode, Encode};

use crate::{Damage, Digests, Form, Table, Tree};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// Bytes of the digest at the end, which finds damage; who can write headers can make digests too.
const CHECK_LEN: usize = 16;

/// All that must be known to read stored bytes: what they were and what was done with them.
///
/// Encoded it is a version, CBOR, and the beginning of the BLAKE3 digest of both. It says itself where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    tree: Tree,
    sha256: Sha256,
    form: Form,
    table: Table,
}

/// Version 1.
#[derive(Encode, Decode)]
struct Fields<'a> {
    #[n(0)]
    address: Address,
    #[n(1)]
    size: u64,
    #[n(2)]
    sha256: Sha256,
    #[n(3)]
    form: Form,
    #[cbor(b(4), with = "minicbor::bytes")]
    tree: &'a [u8],
    #[cbor(b(5), with = "minicbor::bytes")]
    table: &'a [u8],
}

impl Header {
    /// Of content that is stored in some form. The table comes from what encoded it.
    pub fn new(digests: &Digests, form: Form, table: Table) -> Self {
        Self { tree: digests.tree.clone(), sha256: digests.sha256, form, table }
    }

    /// Reads a header at the beginning of some bytes, and says how many of them it takes.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), Damage> {
        let (version, rest) = bytes.split_first().ok_or(Damage::Header("it is empty"))?;
        if *version != VERSION {
            return Err(Damage::Version(*version));
        }
        let mut decoder = minicbor::Decoder::new(rest);
        let fields: Fields<'_> = decoder.decode().map_err(|_| Damage::Header("its fields cannot be read"))?;
        let checked = 1 + decoder.position();
        let check = bytes.get(checked..checked + CHECK_LEN).ok_or(Damage::Header("it ends too early"))?;
        if *check != check_of(&bytes[..checked]) {
            return Err(Damage::Header("its digest is another"));
        }
        Ok((Self::from_fields(fields)?, checked + CHECK_LEN))
    }

    pub fn encode(&self) -> Vec<u8> {
        let fields = Fields {
            address: self.address(),
            size: self.size(),
            sha256: self.sha256,
            form: self.form.clone(),
            tree: self.tree.encoded(),
            table: &self.table.encode(),
        };
        let mut encoded = vec![VERSION];
        minicbor::encode(fields, &mut encoded).expect("a vector takes all that is written");
        let check = check_of(&encoded);
        encoded.extend_from_slice(&check);
        encoded
    }

    pub fn address(&self) -> Address {
        self.tree.address()
    }

    /// Of the content, in bytes.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The key that the content is encrypted with.
    pub fn key(&self) -> Option<KeyId> {
        self.form.seal.as_ref().map(|seal| seal.key)
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Bytes that the content takes at rest, without this header.
    pub fn stored_len(&self) -> u64 {
        if self.form.is_plain() { self.size() } else { self.table.stored_len() }
    }

    fn from_fields(fields: Fields<'_>) -> Result<Self, Damage> {
        let tree = Tree::decode(fields.address, fields.size, fields.tree)?;
        let table = Table::decode(fields.table)?;
        let blocks = if fields.form.is_plain() { 0 } else { tree.groups() };
        if table.blocks() != blocks {
            return Err(Damage::Header("its table of blocks is not that of the content"));
        }
        Ok(Self { tree, sha256: fields.sha256, form: fields.form, table })
    }
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK_LEN]);
    check
}
