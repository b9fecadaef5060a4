//! How ciphertexts, signatures and MACs are written: `vault:v3:` and base64.

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::{DecodeError, Engine};

use crate::rejection::Rejection;

const PREFIX: &str = "vault:v";

/// What a text with a version is, which its errors name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    Ciphertext,
    Signature,
    Hmac,
}

/// Which base64 the bytes are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    Standard,
    /// Without padding, as in a JSON web signature.
    Url,
}

/// Text that is not base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data at input byte {0}")]
pub struct NotBase64(usize);

/// Writes bytes with the version of the key that made them.
pub fn write(version: u32, bytes: &[u8], alphabet: Alphabet) -> String {
    // Four characters for three bytes, and at most ten digits of a version.
    let mut text = String::with_capacity(PREFIX.len() + 11 + bytes.len().div_ceil(3) * 4);
    text.push_str(PREFIX);
    text.push_str(&version.to_string());
    text.push(':');
    match alphabet {
        Alphabet::Standard => STANDARD.encode_string(bytes, &mut text),
        Alphabet::Url => URL_SAFE_NO_PAD.encode_string(bytes, &mut text),
    }
    text
}

/// The version and the encoded bytes of a text.
///
/// A version is written in one way only, so that no other text than the one we gave out means the same. Version 0, which
/// Vault takes for version 1 for the sake of its own first release, is none.
pub fn split(text: &str, noun: Noun) -> Result<(u32, &str), Rejection> {
    let said = |what: &str| {
        let name = match noun {
            Noun::Ciphertext => "ciphertext",
            Noun::Signature => "signature",
            Noun::Hmac => "HMAC",
        };
        let purpose = if noun == Noun::Hmac && what == "no prefix" { " to verify" } else { "" };
        Rejection::mistake(format!("invalid {name}{purpose}: {what}"))
    };
    let rest = text.strip_prefix(PREFIX).ok_or_else(|| said("no prefix"))?;
    let (version, encoded) = rest.split_once(':').ok_or_else(|| said("wrong number of fields"))?;
    let canonical = version.bytes().all(|byte| byte.is_ascii_digit()) && !version.starts_with('0');
    let version = version.parse().ok().filter(|_| canonical);
    Ok((version.ok_or_else(|| said("version number could not be decoded"))?, encoded))
}

/// Bytes that we encoded ourselves: in one way only, so that no changed character goes unnoticed.
pub fn decode_exactly(encoded: &str, alphabet: Alphabet) -> Result<Vec<u8>, NotBase64> {
    match alphabet {
        Alphabet::Standard => STANDARD.decode(encoded),
        Alphabet::Url => URL_SAFE_NO_PAD.decode(encoded),
    }
    .map_err(NotBase64::from)
}

/// Bytes that a caller encoded. Line ends within are skipped, as Vault does: tools wrap long lines.
pub fn decode(encoded: &str) -> Result<Vec<u8>, NotBase64> {
    let mut bytes = Vec::new();
    decode_onto(encoded, &mut bytes)?;
    Ok(bytes)
}

/// Appends bytes that a caller encoded.
pub fn decode_onto(encoded: &str, bytes: &mut Vec<u8>) -> Result<(), NotBase64> {
    let before = bytes.len();
    let Err(error) = STANDARD.decode_vec(encoded, bytes) else { return Ok(()) };
    bytes.truncate(before);
    if !encoded.contains(['\r', '\n']) {
        return Err(error.into());
    }
    let joined: String = encoded.chars().filter(|letter| !matches!(letter, '\r' | '\n')).collect();
    STANDARD.decode_vec(joined, bytes).map_err(NotBase64::from)
}

/// Bytes in standard base64.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

impl From<DecodeError> for NotBase64 {
    fn from(error: DecodeError) -> Self {
        Self(match error {
            DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol { offset, .. } => offset,
            DecodeError::InvalidLength(length) => length,
            DecodeError::InvalidPadding => 0,
        })
    }
}

impl From<NotBase64> for Rejection {
    fn from(error: NotBase64) -> Self {
        Self::mistake(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{Alphabet, Noun, decode, decode_exactly, split, write};

    #[test]
    fn what_is_written_is_read() {
        let text = write(12, b"abc?", Alphabet::Standard);
        assert_eq!(text, "vault:v12:YWJjPw==");
        assert_eq!(split(&text, Noun::Ciphertext), Ok((12, "YWJjPw==")));
        assert_eq!(write(1, &[0xfb, 0xff], Alphabet::Url), "vault:v1:-_8");
        assert_eq!(decode_exactly("-_8", Alphabet::Url), Ok(vec![0xfb, 0xff]));
    }

    #[test]
    fn other_texts_are_refused_with_vault_s_words() {
        let table = [
            ("", "invalid ciphertext: no prefix"),
            ("vault:1:AA==", "invalid ciphertext: no prefix"),
            ("vault:v1", "invalid ciphertext: wrong number of fields"),
            ("vault:v:AA==", "invalid ciphertext: version number could not be decoded"),
            ("vault:v+1:AA==", "invalid ciphertext: version number could not be decoded"),
            ("vault:v01:AA==", "invalid ciphertext: version number could not be decoded"),
            ("vault:v0:AA==", "invalid ciphertext: version number could not be decoded"),
            ("vault:v4294967296:AA==", "invalid ciphertext: version number could not be decoded"),
        ];
        for (text, error) in table {
            assert_eq!(split(text, Noun::Ciphertext).unwrap_err().to_string(), error, "{text}");
        }
        assert_eq!(split("x", Noun::Hmac).unwrap_err().to_string(), "invalid HMAC to verify: no prefix");
    }

    #[test]
    fn callers_may_wrap_lines() {
        assert_eq!(decode("aGVs\r\nbG8=\n"), Ok(b"hello".to_vec()));
        assert_eq!(decode("the quick").unwrap_err().to_string(), "illegal base64 data at input byte 3");
        // The last character carries two bits that mean nothing; only zeros are taken.
        assert!(
            decode_exactly("YWI=", Alphabet::Standard).is_ok() && decode_exactly("YWJ=", Alphabet::Standard).is_err()
        );
    }
}
