//! A key in shares (Shamir 1979) over GF(2^8), byte for byte.

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use super::{FINGERPRINT_LEN, InvalidKeyText, KEY_LEN, RecoveryKey, text};

/// A share of a recovery key: `threshold` of them make it again, fewer tell nothing of it.
///
/// As text it is `MSRS1` and groups like those of a key, in which the share's number, the threshold and the key's
/// fingerprint stand before the share itself.
pub struct KeyShare {
    number: u8,
    threshold: u8,
    fingerprint: [u8; FINGERPRINT_LEN],
    value: Zeroizing<[u8; KEY_LEN]>,
}

const PREFIX: &str = "MSRS1";

const SHARE_LEN: usize = 2 + FINGERPRINT_LEN + KEY_LEN;

/// Why shares make no key, or a key no shares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error(
        "a key cannot be split into {shares} shares of which {threshold} make it again; use 2 to 255 shares, and a \
         threshold from 2 to their number"
    )]
    Numbers { shares: u8, threshold: u8 },
    #[error("{given} shares were given, and {threshold} are needed; give others as well")]
    TooFew { given: usize, threshold: u8 },
    #[error("share {number} was given twice; give another one")]
    Twice { number: u8 },
    #[error("share {number} is of another key than the first one; give shares that were printed together")]
    Foreign { number: u8 },
    #[error("the shares make another key than the one that was split: they were not all printed together")]
    Wrong,
}

impl RecoveryKey {
    /// Makes `shares` shares, of which any `threshold` make the key again.
    pub fn split(&self, shares: u8, threshold: u8) -> Result<Vec<KeyShare>, SplitError> {
        if threshold < 2 || threshold > shares {
            return Err(SplitError::Numbers { shares, threshold });
        }
        let made = Gf256::split_array(threshold.into(), shares.into(), self.as_bytes(), UnwrapErr(SysRng));
        let made = Zeroizing::new(made.map_err(|_| SplitError::Numbers { shares, threshold })?);
        let share = |bytes: &Vec<u8>| {
            let (number, value) = bytes.split_first().expect("a share begins with its number");
            let mut share = KeyShare {
                number: *number,
                threshold,
                fingerprint: self.fingerprint_bytes(),
                value: Zeroizing::default(),
            };
            share.value.copy_from_slice(value);
            share
        };
        Ok(made.iter().map(share).collect())
    }

    /// The key that shares make. More than are needed do no harm.
    pub fn combine(shares: &[KeyShare]) -> Result<Self, SplitError> {
        let Some(first) = shares.first() else { return Err(SplitError::TooFew { given: 0, threshold: 2 }) };
        let mut bytes: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(Vec::with_capacity(shares.len()));
        for (place, share) in shares.iter().enumerate() {
            let number = share.number;
            if (share.fingerprint, share.threshold) != (first.fingerprint, first.threshold) {
                return Err(SplitError::Foreign { number });
            }
            if shares[..place].iter().any(|other| other.number == number) {
                return Err(SplitError::Twice { number });
            }
            bytes.push([&[number], &share.value[..]].concat());
        }
        if shares.len() < usize::from(first.threshold) {
            return Err(SplitError::TooFew { given: shares.len(), threshold: first.threshold });
        }
        let key = Zeroizing::new(Gf256::combine_array(&*bytes).map_err(|_| SplitError::Wrong)?);
        let key = Self::from_bytes(key.first_chunk().ok_or(SplitError::Wrong)?);
        if key.fingerprint_bytes() == first.fingerprint { Ok(key) } else { Err(SplitError::Wrong) }
    }
}

impl KeyShare {
    /// Which of the shares it is.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// How many of them make the key.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Reads what [`to_text`](Self::to_text) wrote, as a key's text is read.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyText> {
        let bytes = text::decode::<SHARE_LEN>(PREFIX, text)?;
        let ([number, threshold, fingerprint @ ..], value) =
            bytes.split_first_chunk::<{ 2 + FINGERPRINT_LEN }>().expect("a share is longer than its beginning");
        let mut share =
            Self { number: *number, threshold: *threshold, fingerprint: *fingerprint, value: Zeroizing::default() };
        share.value.copy_from_slice(value);
        Ok(share)
    }

    /// For printing.
    pub fn to_text(&self) -> Zeroizing<String> {
        let begin = [self.number, self.threshold];
        let bytes = Zeroizing::new([&begin[..], &self.fingerprint, &self.value[..]].concat());
        text::encode(PREFIX, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyShare, SplitError};
    use crate::RecoveryKey;

    fn again(shares: &[KeyShare]) -> Vec<KeyShare> {
        shares.iter().map(|share| KeyShare::parse(&share.to_text()).unwrap()).collect()
    }

    #[test]
    fn only_enough_shares_make_the_key() {
        for (count, threshold) in [(2, 2), (3, 2), (5, 3)] {
            let key = RecoveryKey::draw().unwrap();
            let shares = key.split(count, threshold).unwrap();
            // Every choice of shares, as the bits of a number.
            for choice in 1u32..1 << count {
                let mut chosen = again(&shares);
                chosen.retain(|share| choice >> (share.number() - 1) & 1 == 1);
                let given = chosen.len();
                match RecoveryKey::combine(&chosen) {
                    Ok(made) => assert!(given >= usize::from(threshold) && made.as_bytes() == key.as_bytes()),
                    Err(error) => assert_eq!(error, SplitError::TooFew { given, threshold }),
                }
            }
        }
    }

    #[test]
    fn shares_that_do_not_belong_together_are_told() {
        let (one, other) = (RecoveryKey::draw().unwrap(), RecoveryKey::draw().unwrap());
        let mut shares = one.split(3, 2).unwrap();
        let again = one.split(3, 2).unwrap();
        assert_eq!(RecoveryKey::combine(&[]).err(), Some(SplitError::TooFew { given: 0, threshold: 2 }));
        let foreign = other.split(3, 2).unwrap().swap_remove(1);
        let first = shares.swap_remove(0);
        assert_eq!(RecoveryKey::combine(&[first, foreign]).err(), Some(SplitError::Foreign { number: 2 }));
        let twice = KeyShare::parse(&shares[0].to_text()).unwrap();
        let number = twice.number();
        assert_eq!(RecoveryKey::combine(&[twice, shares.swap_remove(0)]).err(), Some(SplitError::Twice { number }));
        // Two splits of one key do not mix.
        let mut mixed = again;
        let last = mixed.len() - 1;
        mixed.swap(0, last);
        mixed.truncate(1);
        mixed.extend(one.split(3, 2).unwrap().into_iter().filter(|share| share.number() == 1));
        assert_eq!(RecoveryKey::combine(&mixed).err(), Some(SplitError::Wrong));
        for (shares, threshold) in [(0, 0), (1, 1), (3, 1), (3, 4)] {
            assert_eq!(one.split(shares, threshold).err(), Some(SplitError::Numbers { shares, threshold }));
        }
    }
}
