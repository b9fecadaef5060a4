//! A key that is split into shares (Shamir 1979) over GF(2^8), byte for byte.

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use super::share::SHARE_LENGTH;
use super::{MasterKey, Seal, SealFault, SealKind, Share};
use crate::aead::{self, KeyBytes};

/// Into how many shares a key is split, and how many of them make it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    shares: u8,
    threshold: u8,
}

/// Numbers that no key can be split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key cannot be split into {shares} shares of which {threshold} make it again; use 1 to 255 shares, and a threshold \
     from 2 (1 for a single share) up to their number"
)]
pub struct InvalidSplit {
    shares: u64,
    threshold: u64,
}

/// The key that shares make, as a seal.
pub(crate) struct ShamirKey {
    key: MasterKey,
    split: Split,
}

// === impl Split ===

impl Split {
    /// A threshold of 1 is for a single share only: of several, each alone would be the key.
    pub fn new(shares: impl Into<u64>, threshold: impl Into<u64>) -> Result<Self, InvalidSplit> {
        let (shares, threshold) = (shares.into(), threshold.into());
        let invalid = InvalidSplit { shares, threshold };
        let split = Self {
            shares: shares.try_into().map_err(|_| invalid)?,
            threshold: threshold.try_into().map_err(|_| invalid)?,
        };
        let possible = match split.threshold {
            0 => false,
            1 => split.shares == 1,
            threshold => threshold <= split.shares,
        };
        if possible { Ok(split) } else { Err(invalid) }
    }

    pub fn shares(&self) -> u8 {
        self.shares
    }

    pub fn threshold(&self) -> u8 {
        self.threshold
    }
}

// === impl ShamirKey ===

impl ShamirKey {
    /// Draws a key and splits it.
    pub fn draw(split: Split) -> Result<(Self, Vec<Share>), getrandom::Error> {
        let bytes = aead::draw_key()?;
        let shares = match split.threshold {
            1 => vec![Zeroizing::new(bytes.as_ref().to_vec())],
            threshold => split_bytes(&bytes, threshold, split.shares),
        };
        let shares = shares.into_iter().map(|share| Share::from_bytes(share).expect("a share has a share's length"));
        Ok((Self { key: MasterKey::from_key(bytes), split }, shares.collect()))
    }

    /// The key that a threshold of shares makes; none where they are not of one form, or two were taken at one place. That
    /// it is the right key is for whoever unwraps with it to find.
    pub fn combine(split: Split, shares: &[Share]) -> Option<Self> {
        let bytes = match (split.threshold, shares) {
            (1, [share]) => Zeroizing::new(share.as_bytes().to_vec()),
            (_, shares) => combine_bytes(shares)?,
        };
        Some(Self { key: MasterKey::from_key(KeyBytes::from_slice(&bytes)?), split })
    }
}

#[async_trait::async_trait]
impl Seal for ShamirKey {
    fn kind(&self) -> SealKind {
        SealKind::Shamir(self.split)
    }

    fn key_id(&self) -> String {
        self.key.key_id()
    }

    async fn wrap(&self, key: &[u8], context: &[u8]) -> Result<Vec<u8>, SealFault> {
        self.key.wrap(key, context).await
    }

    async fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, SealFault> {
        self.key.unwrap(wrapped, context).await
    }
}

/// The crate puts the place of a share first, and Vault last.
fn split_bytes(key: &KeyBytes, threshold: u8, shares: u8) -> Vec<Zeroizing<Vec<u8>>> {
    Gf256::split_array(threshold.into(), shares.into(), key.as_ref(), UnwrapErr(SysRng))
        .expect("the numbers were checked, and the key was drawn from the same generator a moment ago")
        .into_iter()
        .map(|mut share| {
            share.rotate_left(1);
            Zeroizing::new(share)
        })
        .collect()
}

fn combine_bytes(shares: &[Share]) -> Option<Zeroizing<Vec<u8>>> {
    let turned = shares.iter().map(|share| {
        let mut turned = share.as_bytes().to_vec();
        turned.rotate_right(1);
        turned
    });
    let turned: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(turned.collect());
    if turned.iter().any(|share| share.len() != SHARE_LENGTH) {
        return None;
    }
    Gf256::combine_array(&*turned).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::{ShamirKey, Split, split_bytes};
    use crate::aead::KeyBytes;
    use crate::seal::{Seal, Share};

    #[test]
    fn a_split_has_possible_numbers() {
        for (shares, threshold, possible) in [
            (1u64, 1u64, true),
            (2, 1, false),
            (2, 2, true),
            (5, 3, true),
            (255, 255, true),
            (256, 3, false),
            (3, 4, false),
            (0, 0, false),
            (3, 0, false),
            (1, 2, false),
            (u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(Split::new(shares, threshold).is_ok(), possible, "{threshold} of {shares}");
        }
    }

    #[test]
    fn only_enough_shares_make_the_key() {
        for (count, threshold) in [(2u8, 2u8), (3, 2), (5, 3), (10, 7)] {
            let split = Split::new(count, threshold).unwrap();
            let (key, shares) = ShamirKey::draw(split).unwrap();
            // Every choice of shares, as the bits of a number.
            for choice in 1u32..1 << count {
                let chosen: Vec<Share> = (0..count)
                    .filter(|&share| choice >> share & 1 == 1)
                    .map(|share| shares[usize::from(share)].clone())
                    .collect();
                let made = ShamirKey::combine(split, &chosen).is_some_and(|made| made.key_id() == key.key_id());
                assert_eq!(made, chosen.len() >= usize::from(threshold), "{choice:b} of {threshold}/{count}");
            }
        }
    }

    /// Shares that HashiCorp Vault's `shamir` package reads: the polynomials are over the field of AES, of one more place.
    #[test]
    fn shares_lie_on_a_polynomial_over_the_field_of_aes() {
        fn times(mut a: u8, mut b: u8) -> u8 {
            let mut product = 0;
            while b > 0 {
                product ^= if b & 1 == 1 { a } else { 0 };
                a = (a << 1) ^ if a & 0x80 == 0 { 0 } else { 0x1b };
                b >>= 1;
            }
            product
        }
        let key = KeyBytes::from_slice(&[0xa5; 32]).unwrap();
        let shares = split_bytes(&key, 2, 3);
        for byte in 0..32 {
            // A line through the key at 0: what a share adds is its place times the slope.
            let slope = |share: &[u8]| (0..=255).find(|&slope| times(slope, share[32]) == share[byte] ^ 0xa5).unwrap();
            assert!(shares.iter().all(|share| slope(share) == slope(&shares[0])), "byte {byte}");
        }
    }

    #[test]
    fn shares_at_one_place_make_nothing() {
        let split = Split::new(3u8, 2u8).unwrap();
        let (_, shares) = ShamirKey::draw(split).unwrap();
        assert!(ShamirKey::combine(split, &[shares[0].clone(), shares[0].clone()]).is_none());
        assert!(ShamirKey::combine(split, &[]).is_none());
    }
}
