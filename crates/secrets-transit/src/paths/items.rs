//! What is asked of a key: one thing, or a batch of them.

use std::borrow::Cow;

use mainstay_secrets_engine::{Answer, Fields, Refusal};
use serde_json::{Map, Value};

use crate::rejection::Rejection;
use crate::wire;

/// How many items one batch may have. The smallest are some tens of bytes, so a body of the size that is allowed could
/// hold a million, and the answer is built in memory.
const MOST_ITEMS: usize = 65_536;

/// The fields of one item. What an item lacks is not taken from the request around it.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    fields: &'a Map<String, Value>,
    position: usize,
}

/// What is asked.
pub enum Asked<'a> {
    One(Item<'a>),
    Batch(Vec<Item<'a>>),
}

/// How a batch went.
#[derive(Default)]
pub struct Tally {
    done: bool,
    mistaken: bool,
    failed: bool,
}

impl<'a> Asked<'a> {
    pub fn parse(data: &'a Map<String, Value>) -> Result<Self, Refusal> {
        let items = match data.get("batch_input") {
            None | Some(Value::Null) => return Ok(Self::One(Item { fields: data, position: 0 })),
            Some(Value::Array(items)) => items,
            Some(_) => {
                let text = "failed to parse batch input: source data must be an array or slice";
                return Err(Refusal::invalid(text));
            }
        };
        if items.is_empty() {
            return Err(Refusal::invalid("missing batch input to process"));
        }
        if items.len() > MOST_ITEMS {
            let text = format!("the batch has {} items and may have {MOST_ITEMS}; send it in parts", items.len());
            return Err(Refusal::invalid(text));
        }
        let parsed = items.iter().enumerate().map(|(position, item)| match item {
            Value::Object(fields) => Ok(Item { fields, position }),
            _ => Err(Refusal::invalid(format!("failed to parse batch input: [{position}] expected a map"))),
        });
        parsed.collect::<Result<_, _>>().map(Self::Batch)
    }

    pub fn items(&self) -> &[Item<'a>] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Batch(items) => items,
        }
    }

    /// Whether keys are to be derived. All items have to say the same.
    pub fn has_context(&self) -> Result<bool, Refusal> {
        let mut items = self.items().iter();
        let first = items.next().map_or(Ok(false), Item::has_context)?;
        for item in items {
            if item.has_context()? != first {
                return Err(Refusal::invalid("context should be set either in all the request blocks or in none"));
            }
        }
        Ok(first)
    }
}

impl<'a> Item<'a> {
    /// A text of the item; none where it is missing.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Cow::Borrowed(text))),
            Some(_) => Ok(Fields::new(self.fields).text(name)?.map(Cow::Owned)),
        }
    }

    /// Bytes of the item; none at all where they are missing.
    pub fn bytes(&self, name: &str) -> Result<Result<Vec<u8>, Rejection>, Refusal> {
        Ok(match self.text(name)? {
            None => Ok(Vec::new()),
            Some(text) => wire::decode(&text).map_err(Rejection::from),
        })
    }

    pub fn key_version(&self) -> Result<i64, Refusal> {
        Ok(Fields::new(self.fields).integer("key_version")?.unwrap_or(0))
    }

    pub fn position(&self) -> usize {
        self.position
    }

    /// The outcome of an item as the batch's answer has it.
    pub fn answer(&self, mut answer: Map<String, Value>, error: Option<&Rejection>) -> Value {
        if let Some(error) = error {
            answer.insert("error".to_owned(), error.to_string().into());
        }
        let reference = self.fields.get("reference").and_then(Value::as_str).unwrap_or_default();
        answer.insert("reference".to_owned(), reference.into());
        Value::Object(answer)
    }

    fn has_context(&self) -> Result<bool, Refusal> {
        Ok(self.text("context")?.is_some_and(|context| !context.is_empty()))
    }
}

impl Tally {
    pub fn count<T>(&mut self, outcome: &Result<T, Rejection>) {
        match outcome {
            Ok(_) => self.done = true,
            Err(Rejection::Mistake(_)) => self.mistaken = true,
            Err(Rejection::Failure(_)) => self.failed = true,
        }
    }

    /// The answer with the status that says how the batch went: mistakes first, since trying again does not help.
    pub fn close(&self, answer: Answer, data: &Map<String, Value>) -> Result<Answer, Refusal> {
        let status = match self {
            Self { mistaken: true, .. } => 400,
            Self { failed: true, .. } => 500,
            _ => return Ok(answer),
        };
        let wanted = Fields::new(data).integer("partial_failure_response_code")?.filter(|_| self.done);
        match wanted.map(u16::try_from) {
            None => Ok(answer.status(status)),
            Some(Ok(wanted)) if (100..=599).contains(&wanted) => Ok(answer.status(wanted)),
            Some(_) => {
                let text = "invalid HTTP response code override from partial_failure_response_code, reverting to";
                Ok(answer.status(status).warning(format!("{text} {status}")))
            }
        }
    }
}

/// The fields of an answer.
pub fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An answer with these fields.
pub fn answer<const N: usize>(fields: [(&str, Value); N]) -> Answer {
    Answer { data: Some(object(fields)), ..Answer::default() }
}
