//! The key that restores: 256 random bits, printed, split into shares, derived from.

mod shares;
mod text;

use zeroize::Zeroizing;

pub use self::shares::{KeyShare, SplitError};
pub use self::text::InvalidKeyText;

/// All that is needed to read a repository, beside its files.
///
/// As text it is `MSRK1` and groups of five characters, of which the last checks the other four:
/// `MSRK1-XXXXX-XXXXX-…`. There is no I, L, O or U among them.
pub struct RecoveryKey(Box<Zeroizing<[u8; KEY_LEN]>>);

const KEY_LEN: usize = 32;

/// What a key's text begins with: what it is, and its version.
const PREFIX: &str = "MSRK1";

/// For telling keys apart (BLAKE3's key derivation).
const FINGERPRINT: &str = "mainstay recovery key 1: fingerprint";

/// Bytes of a fingerprint: enough to tell an organisation's keys apart.
const FINGERPRINT_LEN: usize = 4;

impl RecoveryKey {
    /// Draws a new key.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut key = Self(Box::default());
        getrandom::fill(&mut **key.0)?;
        Ok(key)
    }

    /// From its bytes, as they were kept somewhere safe.
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Self {
        let mut key = Self(Box::default());
        key.0.copy_from_slice(bytes);
        key
    }

    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Reads what [`to_text`](Self::to_text) wrote. Case, spaces, and I, L and O for 1, 1 and 0 do not matter.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyText> {
        let bytes = text::decode::<KEY_LEN>(PREFIX, text)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// For printing.
    pub fn to_text(&self) -> Zeroizing<String> {
        text::encode(PREFIX, self.as_bytes())
    }

    /// Tells it from other keys, and nothing of it: eight hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        self.fingerprint_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn fingerprint_bytes(&self) -> [u8; FINGERPRINT_LEN] {
        let derived = Zeroizing::new(blake3::derive_key(FINGERPRINT, self.as_bytes()));
        *derived.first_chunk().expect("32 bytes begin with 4")
    }
}

#[cfg(test)]
mod tests {
    use super::RecoveryKey;

    #[test]
    fn a_key_comes_back_from_its_text() {
        for _ in 0..50 {
            let key = RecoveryKey::draw().unwrap();
            let text = key.to_text();
            assert!(text.starts_with("MSRK1-") && text.len() == 5 + 14 * 6, "{} characters", text.len());
            for typed in [text.to_string(), text.to_lowercase(), format!("  {}\n", text.replace('-', " "))] {
                assert_eq!(RecoveryKey::parse(&typed).unwrap().as_bytes(), key.as_bytes());
            }
            assert_eq!(key.fingerprint(), RecoveryKey::parse(&text).unwrap().fingerprint());
            assert_eq!(key.fingerprint().len(), 8);
        }
    }

    /// What was printed once is read for ever.
    #[test]
    fn the_text_of_a_key_does_not_change() {
        let key = RecoveryKey::from_bytes(&std::array::from_fn(|at| (at * 37 + 11) as u8));
        assert_eq!(*key.to_text(), SAMPLE);
        assert_eq!(key.fingerprint(), "9a9531e5");
    }

    const SAMPLE: &str = "MSRK1-1CR5T-AYMZB-RKMGF-WCTRV-FPHCP-FV0HG-6SDRJ-19EA4-XWA37-JQM3S-N36ZX-45SWG-C633Z-ENZ1X";
}
