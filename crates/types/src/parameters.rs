//! What a consumer sets on an instance beyond its plan.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Parameters of an instance: name to value, both text, in the order of the names.
///
/// Which names an engine takes, and which values, its [`crate::Offering`] says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// The value of one parameter, where it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All that is set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The same with another one set.
    pub fn with(mut self, name: &str, value: String) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// The same without one, and the value of that where it was set.
    pub fn without(mut self, name: &str) -> (Self, Option<String>) {
        let value = self.0.remove(name);
        (self, value)
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

// An array of pairs and not a map: the order of a map's keys in canonical CBOR (RFC 8949, section 4.2.1) goes by
// length first, which is not the order of text.
impl<C> Encode<C> for Parameters {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.array(self.0.len() as u64)?;
        for (name, value) in &self.0 {
            encoder.array(2)?.str(name)?.str(value)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Parameters {
    fn decode(decoder: &mut minicbor::Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        let pairs: Vec<(String, String)> = decoder.decode_with(context)?;
        Ok(pairs.into_iter().collect())
    }
}
