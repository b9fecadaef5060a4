//! Settings of a mount of version 2.

use mainstay_secrets_engine::{Answer, Fields, Operation, Refusal, Request, go_duration};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Versioned;
use super::record::Format;

/// Where they are kept.
const KEY: &str = "config";

/// What counts for all secrets of a mount.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Config {
    format: Format,
    /// How many versions each secret keeps at least; 0 means that it says so itself.
    pub(crate) max_versions: u32,
    /// Whether each write has to say which version it replaces.
    pub(crate) cas_required: bool,
    pub(crate) delete_version_after: DeleteVersionAfter,
}

/// When new versions are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeleteVersionAfter {
    /// When the secret says so.
    #[default]
    Unset,
    /// Never, whatever the secret says.
    Disabled,
    Seconds(u64),
}

impl DeleteVersionAfter {
    /// The shorter of this and the secret's own time.
    pub(crate) fn shorter_of(self, own: Option<u64>) -> Option<u64> {
        match self {
            Self::Unset => own,
            Self::Disabled => None,
            Self::Seconds(seconds) => Some(own.map_or(seconds, |own| own.min(seconds))),
        }
    }

    /// Reads the field, in which a negative time stands for never.
    fn read(fields: Fields<'_>) -> Result<Option<Self>, Refusal> {
        const FIELD: &str = "delete_version_after";
        let is_negative = match fields.get(FIELD) {
            Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number < 0.0),
            Some(Value::String(text)) => text.starts_with('-'),
            _ => false,
        };
        if is_negative {
            return Ok(Some(Self::Disabled));
        }
        Ok(fields.seconds(FIELD)?.map(|seconds| match seconds {
            0 => Self::Unset,
            seconds => Self::Seconds(seconds),
        }))
    }
}

impl std::fmt::Display for DeleteVersionAfter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unset => formatter.write_str("0s"),
            Self::Disabled => formatter.write_str("-1s"),
            Self::Seconds(seconds) => formatter.write_str(&go_duration(*seconds)),
        }
    }
}

impl Versioned {
    /// The settings as they are kept, or else the default.
    pub(super) async fn read_config(storage: &mainstay_secrets_engine::Storage) -> Result<Config, Refusal> {
        Ok(storage.value(KEY).await?.unwrap_or_default())
    }

    pub(super) async fn handle_config(&self, request: &Request) -> Result<Answer, Refusal> {
        match request.operation {
            Operation::Read => {
                let config = self.config();
                Ok(Answer::data(json!({
                    "max_versions": config.max_versions,
                    "cas_required": config.cas_required,
                    "delete_version_after": config.delete_version_after.to_string(),
                })))
            }
            Operation::Create | Operation::Update => self.write_config(request).await,
            _ => Err(Refusal::UnsupportedOperation),
        }
    }

    async fn write_config(&self, request: &Request) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let max_versions = max_versions(fields)?;
        let cas_required = fields.boolean("cas_required")?;
        let delete_version_after = DeleteVersionAfter::read(fields)?;

        // One at a time, or two that change different fields would lose one.
        let _turn = self.stripes.lock(KEY).await;
        let mut config = (*self.config()).clone();
        config.max_versions = max_versions.unwrap_or(config.max_versions);
        config.cas_required = cas_required.unwrap_or(config.cas_required);
        config.delete_version_after = delete_version_after.unwrap_or(config.delete_version_after);
        self.storage.put(KEY, &config).await?;
        self.set_config(config);
        Ok(Answer::nothing())
    }
}

/// Reads how many versions are to be kept.
pub(super) fn max_versions(fields: Fields<'_>) -> Result<Option<u32>, Refusal> {
    let count = fields.count("max_versions")?;
    let too_many = || Refusal::invalid("error converting input for field \"max_versions\": it is too large");
    count.map(|count| u32::try_from(count).map_err(|_| too_many())).transpose()
}
