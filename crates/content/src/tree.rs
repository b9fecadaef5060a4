//! The hash tree: what makes a part of content verifiable without the rest.
//!
//! BLAKE3 is a tree of hashes over chunks of 1 KiB. Kept are the chaining values of its subtrees over groups of 64 KiB:
//! 0.05 % of the content. They lead to the address, and each of them to its group's bytes (section 2.1 of the BLAKE3
//! paper, <https://github.com/BLAKE3-team/BLAKE3-specs/blob/master/blake3.pdf>). Content of a single group needs none: its
//! bytes lead to the address themselves.

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use mainstay_dataplane::Address;
use mainstay_types::Digest;

use crate::Damage;

/// Bytes in a group, the unit of verification: large enough that hashing runs at full width and that the tree is small,
/// small enough that a random read of a few bytes costs 10 microseconds. A power of two of at least two chunks.
pub const GROUP_LEN: usize = 64 * 1024;

const VALUE_LEN: usize = size_of::<ChainingValue>();

/// The hash tree of content. Where one exists, its values lead to its address.
#[derive(Clone, PartialEq, Eq)]
pub struct Tree {
    address: Address,
    size: u64,
    /// One for each group; none where there are fewer than two groups.
    values: Vec<ChainingValue>,
}

/// Makes the tree of bytes that come piece by piece.
pub(crate) struct TreeBuilder {
    /// Hashes the newest group, which may be complete: whether it is the only one shows when more comes.
    group: Hasher,
    /// Of the groups before.
    values: Vec<ChainingValue>,
    size: u64,
}

// === impl Tree ===

impl Tree {
    /// The tree of bytes that are all here.
    pub fn of(bytes: &[u8]) -> Self {
        let mut builder = TreeBuilder::new();
        builder.update(bytes);
        builder.finish()
    }

    /// Reads what [`Tree::encoded`] gave, and finds that it leads to the address.
    pub fn decode(address: Address, size: u64, encoded: &[u8]) -> Result<Self, Damage> {
        let (values, rest) = encoded.as_chunks::<VALUE_LEN>();
        let expected = if size <= GROUP_LEN as u64 { 0 } else { groups(size) };
        if values.len() as u64 != expected || !rest.is_empty() {
            return Err(Damage::Tree);
        }
        let root = match values.len() {
            // The bytes of the only group lead to the address when they are read; where there is none, nothing else does.
            0 if size > 0 => *address.digest(),
            0 => Digest::of(b""),
            _ => root(values, size),
        };
        if root != *address.digest() {
            return Err(Damage::Tree);
        }
        Ok(Self { address, size, values: values.to_vec() })
    }

    /// The values of the groups in their order, 32 bytes each.
    pub fn encoded(&self) -> &[u8] {
        self.values.as_flattened()
    }

    /// Of the content.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Of the content, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many groups the content has; the last may be shorter than the others.
    pub fn groups(&self) -> u64 {
        groups(self.size)
    }

    /// Whether bytes are those of whole groups, beginning with some group. All groups have their full length but the last
    /// of the content.
    pub fn verify(&self, first: u64, bytes: &[u8]) -> Result<(), Damage> {
        let (mut number, mut rest) = (first, bytes);
        while !rest.is_empty() {
            let offset = number.saturating_mul(GROUP_LEN as u64);
            let expected = self.size.saturating_sub(offset).min(GROUP_LEN as u64) as usize;
            let group = rest.split_off(..expected.min(rest.len())).unwrap_or_default();
            if group.is_empty() || group.len() != expected || !self.holds(number, offset, group) {
                return Err(Damage::Bytes { offset });
            }
            number += 1;
        }
        Ok(())
    }

    fn holds(&self, number: u64, offset: u64, group: &[u8]) -> bool {
        if self.values.is_empty() {
            return Digest::of(group) == *self.address.digest();
        }
        let value = Hasher::new().set_input_offset(offset).update(group).finalize_non_root();
        self.values.get(number as usize) == Some(&value)
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({}, {} bytes, {} values)", self.address, self.size, self.values.len())
    }
}

// === impl TreeBuilder ===

impl TreeBuilder {
    pub(crate) fn new() -> Self {
        Self { group: Hasher::new(), values: Vec::new(), size: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.group.count() == GROUP_LEN as u64 {
                self.values.push(self.group.finalize_non_root());
                // A hasher that is reset counts on from its old offset, so that each group has one of its own.
                self.group = Hasher::new();
                self.group.set_input_offset(self.size);
            }
            let room = GROUP_LEN - self.group.count() as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.group.update(now);
            self.size += now.len() as u64;
            bytes = later;
        }
    }

    pub(crate) fn finish(mut self) -> Tree {
        let digest = if self.values.is_empty() {
            Digest::from_bytes(*self.group.finalize().as_bytes())
        } else {
            self.values.push(self.group.finalize_non_root());
            root(&self.values, self.size)
        };
        Tree { address: Address::from_digest(digest), size: self.size, values: self.values }
    }
}

fn groups(size: u64) -> u64 {
    size.div_ceil(GROUP_LEN as u64)
}

/// The digest that at least two groups' values lead to.
fn root(values: &[ChainingValue], size: u64) -> Digest {
    let (left, right) = halves(values, size);
    Digest::from_bytes(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
}

/// The value of a subtree over `size` bytes. As deep as the logarithm of the number of groups.
fn subtree(values: &[ChainingValue], size: u64) -> ChainingValue {
    match values {
        [value] => *value,
        _ => {
            let (left, right) = halves(values, size);
            merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

fn halves(values: &[ChainingValue], size: u64) -> (ChainingValue, ChainingValue) {
    let left_len = left_subtree_len(size);
    let (left, right) = values.split_at((left_len / GROUP_LEN as u64) as usize);
    (subtree(left, left_len), subtree(right, size - left_len))
}
