//! JSON and YAML that say what the API said, in the order in which it said it.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Format;
use crate::failure::Failure;

/// The answer of the API as a document of its own.
pub(crate) fn document(answer: &str, format: Format) -> Result<String, Failure> {
    let value: Ordered = serde_json::from_str(answer).map_err(Failure::NotUnderstood)?;
    match format {
        Format::Yaml => serde_saphyr::to_string(&value)
            .map_err(|error| Failure::local("the answer cannot be written as YAML", std::io::Error::other(error))),
        Format::Json | Format::Table => {
            let text = serde_json::to_string_pretty(&value).map_err(Failure::NotUnderstood)?;
            Ok(text + "\n")
        }
    }
}

/// Any JSON value. Unlike `serde_json::Value` it keeps the order of members, which the API has chosen for readers.
enum Ordered {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Ordered>),
    Members(Vec<(String, Ordered)>),
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Members(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrderedVisitor;

        impl<'de> Visitor<'de> for OrderedVisitor {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Ordered, E> {
                Ok(Ordered::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Ordered, E> {
                Ok(Ordered::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Ordered, E> {
                Ok(Ordered::Unsigned(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Ordered, E> {
                Ok(Ordered::Signed(value))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Ordered, E> {
                Ok(Ordered::Float(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Ordered, E> {
                Ok(Ordered::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ordered, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Ordered::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered::Members(members))
            }
        }

        deserializer.deserialize_any(OrderedVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::document;
    use crate::output::Format;

    const ANSWER: &str =
        r#"{"name":"shop","n":18446744073709551615,"x":-1,"f":1.5,"b":true,"z":null,"a":["yes","1"],"o":{}}"#;

    #[test]
    fn json_is_what_the_api_said() {
        let printed = document(ANSWER, Format::Json).unwrap();
        let squeezed: String = printed.chars().filter(|symbol| !symbol.is_whitespace()).collect();
        assert_eq!(squeezed, ANSWER);
        assert!(printed.starts_with("{\n  \"name\": \"shop\",\n") && printed.ends_with("}\n"));
    }

    #[test]
    fn yaml_says_the_same() {
        let printed = document(ANSWER, Format::Yaml).unwrap();
        let read: serde_json::Value = serde_saphyr::from_str(&printed).unwrap();
        assert_eq!(read, serde_json::from_str::<serde_json::Value>(ANSWER).unwrap());
        assert!(printed.starts_with("name: shop\n"), "{printed}");
    }
}
