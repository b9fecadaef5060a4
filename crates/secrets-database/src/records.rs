//! What is kept behind the barrier, as JSON. A record gains fields with a default; what needs more gets a new folder.

use mainstay_secrets_engine::{Refusal, Storage, Stored};
use mainstay_types::{BindingId, InstanceName, TenantName, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A connection, as the API calls it: which instance is meant, and whose roles may use it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub instance: InstanceName,
    #[serde(default)]
    pub allowed_roles: Vec<String>,
    #[serde(default)]
    pub verify_connection: bool,
}

/// A role whose credentials are made when they are asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Role {
    pub db_name: String,
    #[serde(default)]
    pub creation_statements: Vec<String>,
    /// 0 means the mount's.
    #[serde(default)]
    pub default_ttl: u64,
    /// 0 means the mount's.
    #[serde(default)]
    pub max_ttl: u64,
}

/// A role with one user whose password is replaced from time to time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StaticRole {
    pub db_name: String,
    /// Rotation has nobody at hand who could say it.
    pub tenant: TenantName,
    pub instance: InstanceName,
    pub binding: BindingId,
    pub username: String,
    pub rotation_period: u64,
    #[serde(default)]
    pub rotation_statements: Vec<String>,
    pub last_rotation: Timestamp,
    /// When its binding was last given its whole lease again.
    pub renewed_at: Timestamp,
}

/// What a lease of a credential needs to be renewed and revoked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Given {
    pub tenant: TenantName,
    pub binding: BindingId,
    pub role: String,
}

/// Kinds of records that have a name.
pub(crate) trait Named: Serialize + DeserializeOwned + Send + Sync {
    const FOLDER: &'static str;
}

impl Named for Config {
    const FOLDER: &'static str = "config/";
}

impl Named for Role {
    const FOLDER: &'static str = "role/";
}

impl Named for StaticRole {
    const FOLDER: &'static str = "static-role/";
}

/// The record of a name.
pub(crate) async fn find<T: Named>(storage: &Storage, name: &str) -> Result<Option<Stored<T>>, Refusal> {
    Ok(storage.get(&key::<T>(name)).await?)
}

pub(crate) async fn put<T: Named>(storage: &Storage, name: &str, record: &T) -> Result<(), Refusal> {
    Ok(storage.put(&key::<T>(name), record).await?)
}

/// That there is none is no error.
pub(crate) async fn remove<T: Named>(storage: &Storage, name: &str) -> Result<(), Refusal> {
    Ok(storage.delete(&key::<T>(name)).await?)
}

/// All names of a kind, in byte order.
pub(crate) async fn names<T: Named>(storage: &Storage) -> Result<Vec<String>, Refusal> {
    Ok(storage.list(T::FOLDER).await?)
}

pub(crate) fn key<T: Named>(name: &str) -> String {
    format!("{}{name}", T::FOLDER)
}

impl StaticRole {
    /// When its password is to be replaced next.
    pub fn due(&self) -> Timestamp {
        self.last_rotation.plus_seconds(self.rotation_period)
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Given, Role, StaticRole};

    /// Records as this version writes them: every later one has to read them.
    #[test]
    fn records_of_every_version_are_read() {
        let config: Config =
            serde_json::from_str(r#"{"instance":"shop","allowed_roles":["app-*"],"verify_connection":true}"#).unwrap();
        assert_eq!((config.instance.as_str(), config.verify_connection), ("shop", true));
        let role = r#"{"db_name":"shop","creation_statements":["GRANT x"],"default_ttl":60,"max_ttl":0}"#;
        let role: Role = serde_json::from_str(role).unwrap();
        assert_eq!((role.db_name.as_str(), role.default_ttl), ("shop", 60));
        let role = r#"{"db_name":"shop","tenant":"default","instance":"shop","binding":"b-000000000000",
            "username":"b_000000000000_1","rotation_period":3600,"rotation_statements":[],
            "last_rotation":"2026-11-21T08:00:00Z","renewed_at":"2026-11-21T08:00:00Z"}"#;
        let role: StaticRole = serde_json::from_str(role).unwrap();
        assert_eq!(role.due().to_string(), "2026-11-21T09:00:00.000000Z");
        let given = r#"{"tenant":"default","binding":"b-000000000000","role":"app"}"#;
        assert_eq!(serde_json::from_str::<Given>(given).unwrap().role, "app");
    }
}
