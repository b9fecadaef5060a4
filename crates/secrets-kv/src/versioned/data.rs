//! `data/PATH`: the values of a secret.

use mainstay_custody::{CommitError, Expect};
use mainstay_secrets_engine::{Answer, Fields, Operation, Refusal, Request};
use serde_json::{Map, Value, json};

use super::config::Config;
use super::record::Metadata;
use super::{ATTEMPTS, Change, Versioned};
use crate::merge_patch::merge_patch;
use crate::plain::check_writable;

/// The version that a write expects to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cas {
    NotSaid,
    Version(i64),
}

impl Versioned {
    pub(super) async fn handle_data(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        match request.operation {
            Operation::Read => self.read_data(request, path).await,
            Operation::Create | Operation::Update => self.write_data(request, path).await,
            Operation::Patch => self.patch_data(request, path).await,
            Operation::Delete => self.delete_current(request, path).await,
            Operation::List => Ok(super::invalid_path(request)),
        }
    }

    async fn read_data(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        self.read_version(request, path, "data", |values| values).await
    }

    /// Reads the version that the request names, or else the current one. A version that is deleted or destroyed is not
    /// found, but described.
    pub(super) async fn read_version(
        &self,
        request: &Request,
        path: &str,
        field: &str,
        show: impl FnOnce(Map<String, Value>) -> Map<String, Value>,
    ) -> Result<Answer, Refusal> {
        let wanted = request.fields().integer("version")?;
        let metadata = self.metadata(path).await?.ok_or(Refusal::NotFound)?.value;
        let number = wanted.and_then(|wanted| u64::try_from(wanted).ok()).filter(|wanted| *wanted > 0);
        let number = number.unwrap_or(metadata.current_version);
        let version = metadata.versions.get(&number).ok_or(Refusal::NotFound)?;
        let description = metadata.describe(number, version);
        if !version.is_readable(request.now) {
            return Ok(Answer::data(json!({ field: null, "metadata": description })).status(404));
        }
        let values = self.values(path, number).await?.ok_or(Refusal::NotFound)?;
        let mut data = Map::new();
        data.insert(field.to_owned(), Value::Object(show(values)));
        data.insert("metadata".to_owned(), description);
        Ok(Answer { data: Some(data), ..Answer::default() })
    }

    async fn write_data(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        check_writable(path)?;
        let values = values(request.fields())?;
        let cas = Cas::read(request.fields())?;
        let config = self.config();
        self.change(path, |metadata| {
            let mut metadata = metadata.unwrap_or_else(|| Metadata::new(request.now));
            cas.check(&config, &metadata)?;
            let removed = metadata.add_version(&config, request.now);
            let answer = described(&metadata);
            Ok((answer, Some(Change { metadata: Some(metadata), values: Some(values), removed })))
        })
        .await
    }

    /// Makes a version out of the current one and a merge patch.
    async fn patch_data(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        let patch = values(request.fields())?;
        let cas = Cas::read(request.fields())?;
        let config = self.config();
        let _turn = self.stripes.lock(path).await;
        for attempt in 1.. {
            let stored = self.metadata(path).await?.ok_or(Refusal::NotFound)?;
            let mut metadata = stored.value;
            cas.check(&config, &metadata)?;
            let number = metadata.current_version;
            let version = metadata.versions.get(&number).ok_or(Refusal::NotFound)?;
            if !version.is_readable(request.now) {
                return Ok(described(&metadata).status(404));
            }
            // Whoever removed the secret meanwhile has changed its metadata too.
            let mut values = self.values(path, number).await?.ok_or(Refusal::NotFound)?;
            merge_patch(&mut values, patch);
            let removed = metadata.add_version(&config, request.now);
            let answer = described(&metadata);
            let change = Change { metadata: Some(metadata), values: Some(&values), removed };
            match self.commit(path, Expect::Revision(stored.revision), &change).await {
                Ok(()) => return Ok(answer),
                Err(CommitError::Conflict { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn delete_current(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        self.change(path, |metadata| {
            let mut metadata = metadata;
            let deleted =
                metadata.as_mut().is_some_and(|metadata| metadata.delete(metadata.current_version, request.now));
            let change = deleted.then_some(Change { metadata, values: None, removed: Vec::new() });
            Ok((Answer::nothing(), change))
        })
        .await
    }
}

/// What a write answers: the current version, described.
fn described(metadata: &Metadata) -> Answer {
    match metadata.versions.get(&metadata.current_version) {
        Some(version) => Answer::data(metadata.describe(metadata.current_version, version)),
        None => Answer::nothing(),
    }
}

/// The values of a write.
fn values(fields: Fields<'_>) -> Result<&Map<String, Value>, Refusal> {
    match fields.get("data") {
        None => Err(Refusal::invalid("no data provided")),
        Some(Value::Object(values)) => Ok(values),
        Some(_) => Err(Refusal::invalid("error converting input for field \"data\": it has to be an object")),
    }
}

impl Cas {
    /// Reads `cas` of a write's options. `null` is a 0 to Vault, which is the strictest it can mean.
    fn read(fields: Fields<'_>) -> Result<Self, Refusal> {
        let options = match fields.get("options") {
            None => return Ok(Self::NotSaid),
            Some(Value::Object(options)) => options,
            Some(_) => {
                return Err(Refusal::invalid("error converting input for field \"options\": it has to be an object"));
            }
        };
        match options.get("cas") {
            None => Ok(Self::NotSaid),
            Some(Value::Null) => Ok(Self::Version(0)),
            Some(_) => match Fields::new(options).integer("cas") {
                Ok(version) => Ok(Self::Version(version.unwrap_or(0))),
                Err(_) => Err(Refusal::invalid("error parsing check-and-set parameter")),
            },
        }
    }

    fn check(self, config: &Config, metadata: &Metadata) -> Result<(), Refusal> {
        match self {
            Self::Version(version) if u64::try_from(version) == Ok(metadata.current_version) => Ok(()),
            Self::Version(_) => Err(Refusal::invalid("check-and-set parameter did not match the current version")),
            Self::NotSaid if config.cas_required || metadata.cas_required => {
                Err(Refusal::invalid("check-and-set parameter required for this call"))
            }
            Self::NotSaid => Ok(()),
        }
    }
}
