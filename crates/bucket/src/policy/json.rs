//! The JSON that policies are written in, read so strictly that nothing of it is passed over.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};

/// A policy as it is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DocumentText {
    #[serde(rename = "Version")]
    pub version: Option<String>,
    /// A name, which means nothing here.
    #[serde(rename = "Id")]
    _id: Option<String>,
    #[serde(rename = "Statement")]
    pub statements: OneOrMany<StatementText>,
}

/// A statement as it is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatementText {
    #[serde(rename = "Sid")]
    pub sid: Option<String>,
    #[serde(rename = "Effect")]
    pub effect: String,
    #[serde(rename = "Principal")]
    pub principal: Option<PrincipalText>,
    #[serde(rename = "NotPrincipal")]
    pub not_principal: Option<PrincipalText>,
    #[serde(rename = "Action")]
    pub actions: Option<OneOrMany<String>>,
    #[serde(rename = "NotAction")]
    pub not_actions: Option<OneOrMany<String>>,
    #[serde(rename = "Resource")]
    pub resources: Option<OneOrMany<String>>,
    #[serde(rename = "NotResource")]
    pub not_resources: Option<OneOrMany<String>>,
    /// Operators, each with keys, each with values.
    #[serde(rename = "Condition", default)]
    pub conditions: Pairs<Pairs<OneOrMany<Scalar>>>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum PrincipalText {
    Text(String),
    Kinds(Pairs<OneOrMany<String>>),
}

/// A list, or its one element. Read without serde's `untagged`, which forgets what was wrong with either.
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Text, and what JSON writes without quotes, as text.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

/// The members of an object. A member that is given twice is an error: a map would keep one of them, and forget a
/// condition that somebody relies on.
pub(super) struct Pairs<T>(pub Vec<(String, T)>);

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Bool(value) => value.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an element or a list of them")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany::Many)
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(object)).map(OneOrMany::One)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(text.into_deserializer()).map(OneOrMany::One)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                T::deserialize(value.into_deserializer()).map(OneOrMany::One)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                T::deserialize(number.into_deserializer()).map(OneOrMany::One)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                T::deserialize(number.into_deserializer()).map(OneOrMany::One)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                T::deserialize(number.into_deserializer()).map(OneOrMany::One)
            }
        }

        deserializer.deserialize_any(Elements(PhantomData))
    }
}

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs: Vec<(String, T)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if pairs.iter().any(|(earlier, _)| *earlier == name) {
                        map.next_value::<IgnoredAny>()?;
                        return Err(A::Error::custom(format!("{name:?} is given twice")));
                    }
                    pairs.push((name, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}
