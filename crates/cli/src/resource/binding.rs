use std::collections::BTreeMap;

use mainstay_types::{BindingId, InstanceName, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::{Resource, age, until};
use crate::output::Cell;

/// A binding as it is listed: without its secrets.
#[derive(Deserialize)]
pub(crate) struct Binding {
    id: String,
    instance: String,
    consumer: String,
    state: Option<String>,
    generation: Option<u64>,
    reason: Option<String>,
    created_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    #[serde(default)]
    retiring: Vec<serde::de::IgnoredAny>,
}

/// A binding that was just made or rotated: the one answer with its secrets.
#[derive(Deserialize)]
pub(crate) struct Bound {
    pub id: BindingId,
    pub instance: InstanceName,
    pub lease_seconds: Option<u64>,
    pub credentials: BTreeMap<String, Credential>,
}

/// One value of the credentials. Numbers, such as a port, become text: that is how files and variables carry them.
pub(crate) struct Credential(pub SecretString);

impl Resource for Binding {
    const PLURAL: &'static str = "bindings";
    const COLUMNS: &'static [&'static str] =
        &["ID", "INSTANCE", "CONSUMER", "STATE", "GENERATION", "RETIRING", "EXPIRES IN", "AGE", "REASON"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.id.as_str().into(),
            self.instance.as_str().into(),
            self.consumer.as_str().into(),
            self.state.clone().map(Cell::State).into(),
            self.generation.into(),
            (self.retiring.len() as u64).into(),
            until(self.expires_at),
            age(self.created_at),
            self.reason.as_deref().into(),
        ]
    }
}

impl<'de> Deserialize<'de> for Credential {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Number(i64),
        }
        // An error of this would not repeat the value: serde says of untagged forms only that none fits.
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => SecretString::from(text),
            Form::Number(number) => SecretString::from(number.to_string()),
        }))
    }
}
