//! A share of the unseal key, as operators hold it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Split;
use crate::aead::KEY_LENGTH;

/// A share of the unseal key, in Vault's form: the values of the 32 key bytes and then the place at which they were taken;
/// where one share is enough, it is the key itself.
#[derive(Clone)] // An operator's new shares are answered in two encodings, and collected while an attempt lasts.
pub struct Share(Zeroizing<Vec<u8>>);

/// Text or bytes that are no share of a key. They are not repeated: they may be one with a slip of the pen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidShare {
    #[error("the key share is neither hex nor base64; give it as it was handed out")]
    Encoding,
    #[error("the key share has {length} bytes, and shares have 33 (or 32 where one is enough); give it whole")]
    Length { length: usize },
}

/// The longest text that is looked at: the hex form with room for spaces around it.
const LONGEST_TEXT: usize = 200;

impl Share {
    /// A share from its bytes.
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Result<Self, InvalidShare> {
        match bytes.len() {
            KEY_LENGTH | SHARE_LENGTH => Ok(Self(bytes)),
            length => Err(InvalidShare::Length { length }),
        }
    }

    /// A share from its hex or base64 form.
    pub fn parse(text: &str) -> Result<Self, InvalidShare> {
        let text = text.trim();
        if text.len() > LONGEST_TEXT {
            return Err(InvalidShare::Length { length: text.len() });
        }
        if let Some(bytes) = from_hex(text) {
            return Self::from_bytes(bytes);
        }
        let bytes = STANDARD.decode(text).map_err(|_| InvalidShare::Encoding)?;
        Self::from_bytes(Zeroizing::new(bytes))
    }

    /// How long the shares of a split are.
    pub(crate) fn length(split: Split) -> usize {
        if split.threshold() == 1 { KEY_LENGTH } else { SHARE_LENGTH }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Two lowercase digits for each byte.
    pub fn to_hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(2 * self.0.len()));
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        text.extend(digits.map(|digit| char::from_digit(digit.into(), 16).expect("a nibble is below 16")));
        text
    }

    /// Standard base64 with padding.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&*self.0))
    }
}

/// Length of a share of a key that was split.
pub(crate) const SHARE_LENGTH: usize = KEY_LENGTH + 1;

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Share(..)")
    }
}

/// Written here since it is a few lines and the text is a secret: no copy of it is left behind.
fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for &[high, low] in pairs {
        bytes.push((digit(high)? << 4 | digit(low)?) as u8);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{InvalidShare, Share};

    #[test]
    fn a_share_is_read_from_both_of_its_forms() {
        for length in [32, 33] {
            let share = Share::from_bytes(Zeroizing::new((0..length).map(|byte| byte * 7 + 3).collect())).unwrap();
            assert_eq!(Share::parse(&share.to_hex()).unwrap().as_bytes(), share.as_bytes());
            assert_eq!(Share::parse(&share.to_hex().to_uppercase()).unwrap().as_bytes(), share.as_bytes());
            assert_eq!(Share::parse(&format!(" {}\n", &**share.to_base64())).unwrap().as_bytes(), share.as_bytes());
            assert_eq!(share.to_hex().len(), 2 * usize::from(length));
            assert_eq!(format!("{share:?}"), "Share(..)");
        }
    }

    #[test]
    fn what_is_no_share_is_refused_without_repeating_it() {
        for (text, error) in [
            ("", InvalidShare::Length { length: 0 }),
            ("00", InvalidShare::Length { length: 1 }),
            ("nonsense!", InvalidShare::Encoding),
            (&"0".repeat(1 << 20), InvalidShare::Length { length: 1 << 20 }),
        ] {
            assert_eq!(Share::parse(text).unwrap_err(), error, "{} characters", text.len());
        }
    }
}
