//! A keyed hash over a set of entries, which is kept up as entries come and go.

use crate::aead::KeyBytes;
use crate::record::Imprint;

/// The sum, modulo 2^256, of a keyed hash of every entry's path and imprint.
///
/// Whoever lacks the key can neither compute a term nor see the sum, which is kept sealed, so that no other set of
/// entries can be made to have it (Clarke et al., "Incremental Multiset Hash Functions", MSet-Add-Hash).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum([u64; 4]);

/// Makes the terms of the sum, and seals the head that holds it. Lives as long as the store: no rotation touches it.
pub(crate) struct IntegrityKey {
    bytes: KeyBytes,
    terms: KeyBytes,
    head: KeyBytes,
}

// === impl IntegrityKey ===

impl IntegrityKey {
    pub fn new(bytes: KeyBytes) -> Self {
        let derive = |purpose| {
            let mut key = KeyBytes::default();
            blake3::Hasher::new_derive_key(purpose).update(bytes.as_ref()).finalize_xof().fill(key.as_mut());
            key
        };
        let terms = derive("mainstay custody 2026-11-21 integrity terms");
        let head = derive("mainstay custody 2026-11-21 integrity head");
        Self { bytes, terms, head }
    }

    pub fn bytes(&self) -> &KeyBytes {
        &self.bytes
    }

    /// The key that the head is sealed with.
    pub fn head(&self) -> &KeyBytes {
        &self.head
    }

    /// What an entry adds to the sum. The mark stands for the sealed value, of which it authenticates every bit.
    pub fn term(&self, path: &str, imprint: &Imprint) -> Sum {
        let mut hasher = blake3::Hasher::new_keyed(self.terms.as_ref());
        hasher.update(&imprint.revision.to_le_bytes());
        hasher.update(&imprint.key_version.to_le_bytes());
        hasher.update(&imprint.mark);
        hasher.update(path.as_bytes());
        Sum::from_bytes(hasher.finalize().as_bytes())
    }
}

// === impl Sum ===

impl Sum {
    pub const ZERO: Sum = Sum([0; 4]);

    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        Self(std::array::from_fn(|word| u64::from_le_bytes(words[word])))
    }

    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (word, place) in self.0.iter().zip(bytes.as_chunks_mut::<8>().0) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    pub fn plus(self, other: Self) -> Self {
        let mut carry = false;
        Self(std::array::from_fn(|word| {
            let (sum, first) = self.0[word].overflowing_add(other.0[word]);
            let (sum, second) = sum.overflowing_add(carry.into());
            carry = first || second;
            sum
        }))
    }

    pub fn minus(self, other: Self) -> Self {
        let mut borrow = false;
        Self(std::array::from_fn(|word| {
            let (rest, first) = self.0[word].overflowing_sub(other.0[word]);
            let (rest, second) = rest.overflowing_sub(borrow.into());
            borrow = first || second;
            rest
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{IntegrityKey, Sum};
    use crate::aead::{KeyBytes, MARK_LENGTH};
    use crate::record::Imprint;

    #[test]
    fn sums_carry_and_borrow_over_all_words() {
        let all = Sum([u64::MAX; 4]);
        let one = Sum([1, 0, 0, 0]);
        assert_eq!(all.plus(one), Sum::ZERO);
        assert_eq!(Sum::ZERO.minus(one), all);
        assert_eq!(Sum([u64::MAX, 7, 0, 0]).plus(one), Sum([0, 8, 0, 0]));
        assert_eq!(Sum([0, 8, 0, 0]).minus(one), Sum([u64::MAX, 7, 0, 0]));
        let mixed = Sum([1, u64::MAX, 3, u64::MAX - 4]);
        assert_eq!(Sum::from_bytes(&mixed.to_bytes()), mixed);
        assert_eq!(mixed.plus(all).minus(mixed), all);
    }

    #[test]
    fn every_part_of_an_entry_and_the_key_changes_its_term() {
        let key = IntegrityKey::new(KeyBytes::from_slice(&[1; 32]).unwrap());
        let imprint = Imprint { revision: 1, key_version: 1, mark: [1; MARK_LENGTH] };
        let term = key.term("a", &imprint);
        assert_eq!(term, key.term("a", &imprint));
        for other in [
            key.term("b", &imprint),
            key.term("a", &Imprint { revision: 2, ..imprint }),
            key.term("a", &Imprint { key_version: 2, ..imprint }),
            key.term("a", &Imprint { mark: [2; MARK_LENGTH], ..imprint }),
            IntegrityKey::new(KeyBytes::from_slice(&[2; 32]).unwrap()).term("a", &imprint),
        ] {
            assert_ne!(term, other);
        }
    }
}
