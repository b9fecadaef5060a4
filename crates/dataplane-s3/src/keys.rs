//! What objects are called in the store.

use mainstay_dataplane::Address;
use mainstay_types::Digest;
use minicbor::{Decode, Encode};

pub(crate) const CONTENTS: &str = "contents/";
pub(crate) const DATA: &str = "data/";
pub(crate) const INTENTS: &str = "intents/";

/// Names data that lies apart from its record: random, since its address is not known when its first byte is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct DataId(#[cbor(with = "minicbor::bytes")] [u8; 16]);

/// Where the record of a content lies.
pub(crate) fn record(address: &Address) -> String {
    format!("{CONTENTS}{}", address.digest())
}

/// The content whose record has this key.
pub(crate) fn address_of(key: &str) -> Option<Address> {
    let digits = key.strip_prefix(CONTENTS)?;
    let bytes = from_hex::<32>(digits)?;
    Some(Address::from_digest(Digest::from_bytes(bytes)))
}

impl DataId {
    /// A new one.
    pub(crate) fn draw() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        Self(bytes)
    }

    /// The data whose intent has this key.
    pub(crate) fn of_intent(key: &str) -> Option<Self> {
        from_hex(key.strip_prefix(INTENTS)?).map(Self)
    }

    pub(crate) fn intent(&self) -> String {
        format!("{INTENTS}{self}")
    }

    /// What all objects of the data begin with.
    pub(crate) fn folder(&self) -> String {
        format!("{DATA}{self}/")
    }

    pub(crate) fn header(&self) -> String {
        format!("{DATA}{self}/header")
    }

    pub(crate) fn segment(&self, number: u64) -> String {
        format!("{DATA}{self}/{number:08}")
    }
}

impl std::fmt::Display for DataId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Lowercase digits only: no two keys name the same.
fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N || digits.bytes().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{DataId, address_of, record};
    use mainstay_dataplane::Address;

    #[test]
    fn keys_are_read_back() {
        let address = Address::of(b"x");
        assert_eq!(address_of(&record(&address)), Some(address));
        let id = DataId::draw();
        assert_eq!(DataId::of_intent(&id.intent()), Some(id));
        assert!(id.segment(7).ends_with("/00000007") && id.segment(7).starts_with(&id.folder()));
        for bad in ["contents/", "contents/00", "contents/../x", &record(&address).to_uppercase()] {
            assert_eq!(address_of(bad), None, "{bad}");
        }
    }
}
