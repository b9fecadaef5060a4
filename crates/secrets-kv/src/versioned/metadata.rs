//! `metadata/PATH`: what there is of a secret beside its values.

use mainstay_secrets_engine::{Answer, Fields, Operation, Refusal, Request, go_duration};
use serde_json::{Map, Value, json};

use super::config::{Config, max_versions};
use super::custom_metadata::{Custom, read_custom};
use super::record::Metadata;
use super::{Change, Versioned};
use crate::plain::check_writable;

/// What a write changes. Fields that are not said stay.
struct Settings {
    max_versions: Option<u32>,
    cas_required: Option<bool>,
    delete_version_after_seconds: Option<u64>,
    custom_metadata: Option<Custom>,
}

impl Versioned {
    pub(super) async fn handle_metadata(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        match request.operation {
            Operation::Read => self.read_metadata(path).await,
            Operation::Create | Operation::Update => self.write_metadata(request, path).await,
            Operation::Patch => self.patch_metadata(request, path).await,
            Operation::Delete => self.remove(path).await,
            Operation::List => Err(Refusal::UnsupportedOperation),
        }
    }

    async fn read_metadata(&self, path: &str) -> Result<Answer, Refusal> {
        let metadata = self.metadata(path).await?.ok_or(Refusal::NotFound)?.value;
        let versions = metadata.versions.iter().map(|(number, version)| {
            let version = json!({
                "created_time": version.created_time,
                "deletion_time": version.deletion_text(),
                "destroyed": version.destroyed,
            });
            (number.to_string(), version)
        });
        Ok(Answer::data(json!({
            "versions": versions.collect::<Map<String, Value>>(),
            "current_version": metadata.current_version,
            "oldest_version": metadata.oldest_version,
            "created_time": metadata.created_time,
            "updated_time": metadata.updated_time,
            "max_versions": metadata.max_versions,
            "cas_required": metadata.cas_required,
            "delete_version_after": go_duration(metadata.delete_version_after_seconds),
            "custom_metadata": metadata.custom_metadata(),
        })))
    }

    async fn write_metadata(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        check_writable(path)?;
        let settings = Settings::read(request.fields(), Custom::Replace)?;
        if settings.is_empty() {
            return Ok(Answer::nothing());
        }
        self.change(path, |metadata| {
            let mut metadata = metadata.unwrap_or_else(|| Metadata::new(request.now));
            settings.apply(&mut metadata)?;
            Ok(((), Some(Change { metadata: Some(metadata), values: None, removed: Vec::new() })))
        })
        .await?;
        Ok(settings.answer(&self.config()))
    }

    async fn patch_metadata(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        check_writable(path)?;
        let data = with_defaults_for_nulls(&request.data);
        let settings = Settings::read(Fields::new(&data), Custom::Merge)?;
        self.change(path, |metadata| {
            let mut metadata = metadata.ok_or(Refusal::NotFound)?;
            settings.apply(&mut metadata)?;
            Ok(((), Some(Change { metadata: Some(metadata), values: None, removed: Vec::new() })))
        })
        .await?;
        Ok(settings.answer(&self.config()))
    }

    /// Removes a secret with all its versions, for ever.
    async fn remove(&self, path: &str) -> Result<Answer, Refusal> {
        self.change(path, |metadata| {
            let removed = metadata.map(|metadata| metadata.stored());
            let change = removed.map(|removed| Change { metadata: None, values: None, removed });
            Ok((Answer::nothing(), change))
        })
        .await
    }
}

/// In a patch `null` takes a setting back.
fn with_defaults_for_nulls(data: &Map<String, Value>) -> Map<String, Value> {
    let entries = data.iter().map(|(name, value)| {
        let default = match name.as_str() {
            "max_versions" | "delete_version_after" => json!(0),
            "cas_required" => json!(false),
            _ => Value::Null,
        };
        (name.clone(), if value.is_null() { default } else { value.clone() })
    });
    entries.collect()
}

impl Settings {
    fn read(fields: Fields<'_>, custom: fn(Map<String, Value>) -> Custom) -> Result<Self, Refusal> {
        Ok(Self {
            max_versions: max_versions(fields)?,
            cas_required: fields.boolean("cas_required")?,
            delete_version_after_seconds: fields.seconds("delete_version_after")?,
            custom_metadata: read_custom(fields, custom)?,
        })
    }

    fn is_empty(&self) -> bool {
        self.max_versions.is_none()
            && self.cas_required.is_none()
            && self.delete_version_after_seconds.is_none()
            && self.custom_metadata.is_none()
    }

    fn apply(&self, metadata: &mut Metadata) -> Result<(), Refusal> {
        metadata.max_versions = self.max_versions.unwrap_or(metadata.max_versions);
        metadata.cas_required = self.cas_required.unwrap_or(metadata.cas_required);
        metadata.delete_version_after_seconds =
            self.delete_version_after_seconds.unwrap_or(metadata.delete_version_after_seconds);
        match &self.custom_metadata {
            Some(custom) => custom.apply(&mut metadata.custom_metadata),
            None => Ok(()),
        }
    }

    fn answer(&self, config: &Config) -> Answer {
        if config.cas_required && self.cas_required == Some(false) {
            return Answer::nothing().warning(
                "\"cas_required\" set to false, but is mandated by backend config. This value will be ignored.",
            );
        }
        Answer::nothing()
    }
}
