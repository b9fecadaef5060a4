//! Where a secret is: its mount, which decides the paths of the API, and what is left of the path there.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::SecretPath;
use crate::client::{Envelope, Vault};
use crate::failure::Failure;

/// A path and the mount that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// As it was asked for.
    path: SecretPath,
    /// With its slash: `secret/`.
    mount: String,
    /// What follows the mount.
    rest: String,
    /// Whether the mount keeps versions (KV version 2).
    versioned: bool,
}

/// What is read of a secret.
pub(crate) struct Secret {
    pub data: Map<String, Value>,
    /// Its number and when it was made, where the mount keeps versions.
    pub version: Option<(u64, String)>,
    /// Nothing for what was written down; what is made for its reader has one.
    pub lease: Option<Lease>,
}

/// How long what was read serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub id: String,
    pub seconds: u64,
    pub renewable: bool,
}

// === impl Location ===

impl Location {
    /// Asks for the mount of a path, as the Vault command line does.
    pub fn find(vault: Vault<'_>, path: &SecretPath) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Mount {
            path: String,
            #[serde(rename = "type")]
            kind: String,
            options: Option<Map<String, Value>>,
        }
        let mount: Mount = Envelope::data(&vault.read(&format!("sys/internal/ui/mounts/{path}"), &[])?)?;
        let version = mount.options.as_ref().and_then(|options| options.get("version"));
        let versioned = mount.kind == "kv" && version.map(super::text).as_deref() == Some("2");
        Ok(Self::new(path, &mount.path, versioned))
    }

    fn new(path: &SecretPath, mount: &str, versioned: bool) -> Self {
        let mount = format!("{}/", mount.trim_matches('/'));
        let rest = path.as_str().strip_prefix(&mount).unwrap_or_default().to_owned();
        Self { path: path.clone(), mount, rest, versioned }
    }

    /// One that has to be a secret's and not the mount's.
    pub fn find_secret(vault: Vault<'_>, path: &SecretPath) -> Result<Self, Failure> {
        let location = Self::find(vault, path)?;
        if location.rest.is_empty() {
            return Err(Failure::Usage {
                sentence: format!("{path} is a mount and no secret"),
                remedy: Some(format!("name one below it, such as {path}/app")),
            });
        }
        Ok(location)
    }

    /// One that has to have versions.
    pub fn find_versioned(vault: Vault<'_>, path: &SecretPath) -> Result<Self, Failure> {
        let location = Self::find_secret(vault, path)?;
        location.versioned.then_some(()).ok_or_else(|| {
            Failure::usage(format!("{path} has no versions: {} does not keep them (KV version 2 does)", location.mount))
        })?;
        Ok(location)
    }

    pub fn is_versioned(&self) -> bool {
        self.versioned
    }

    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// The API's path of its values.
    pub fn data(&self) -> String {
        self.api_path("data")
    }

    /// The API's path of what there is beside its values, and of its folder.
    pub fn metadata(&self) -> String {
        self.api_path("metadata")
    }

    /// The API's path of something that is done with versions: `delete`, `undelete`, `destroy`.
    pub fn api_path(&self, what: &str) -> String {
        if self.versioned { format!("{}{what}/{}", self.mount, self.rest) } else { self.path.to_string() }
    }

    /// Reads it, as the API answers.
    pub fn read(&self, vault: Vault<'_>, version: Option<u64>) -> Result<String, Failure> {
        if version.is_some() && !self.versioned {
            let sentence = format!("{} has no versions: {} does not keep them", self.path, self.mount);
            return Err(Failure::usage(sentence));
        }
        let version = version.map(|version| version.to_string());
        let query = version.as_ref().map(|version| ("version", version.as_str()));
        vault.read(&self.data(), query.as_slice())
    }

    /// What an answer to [`Location::read`] says.
    pub fn understand(&self, answer: &str) -> Result<Secret, Failure> {
        if self.versioned {
            #[derive(Deserialize)]
            struct Versioned {
                #[serde(default)]
                data: Option<Map<String, Value>>,
                metadata: Metadata,
            }
            #[derive(Deserialize)]
            struct Metadata {
                version: u64,
                #[serde(default)]
                created_time: String,
            }
            let Versioned { data, metadata } = Envelope::data(answer)?;
            let version = Some((metadata.version, metadata.created_time));
            return Ok(Secret { data: data.unwrap_or_default(), version, lease: None });
        }
        let envelope = Envelope::<Map<String, Value>>::read(answer)?;
        let (id, seconds, renewable) = (envelope.lease_id, envelope.lease_duration, envelope.renewable);
        let lease = (!id.is_empty()).then_some(Lease { id, seconds, renewable });
        Ok(Secret { data: envelope.data.unwrap_or_default(), version: None, lease })
    }
}

#[cfg(test)]
mod tests {
    use super::{Lease, Location};

    fn location(path: &str, mount: &str, versioned: bool) -> Location {
        Location::new(&path.parse().unwrap(), mount, versioned)
    }

    #[test]
    fn the_mount_decides_the_path() {
        let kept = location("secret/team/app", "secret/", true);
        assert_eq!(
            (kept.data().as_str(), kept.metadata().as_str()),
            ("secret/data/team/app", "secret/metadata/team/app")
        );
        assert_eq!(location("secret", "secret/", true).metadata(), "secret/metadata/");
        assert_eq!(location("a/b/c", "a/b/", true).api_path("undelete"), "a/b/undelete/c");
        assert_eq!(location("database/creds/app", "database/", false).data(), "database/creds/app");
    }

    #[test]
    fn an_answer_is_understood_by_its_mount() {
        let kept = r#"{"lease_id":"","data":{"data":{"a":"x"},"metadata":{"version":3,"created_time":"T"}}}"#;
        let secret = location("secret/app", "secret/", true).understand(kept).unwrap();
        assert_eq!((secret.data["a"].as_str(), secret.version), (Some("x"), Some((3, "T".to_owned()))));
        assert_eq!(secret.lease, None);

        let made = r#"{"lease_id":"database/creds/a/1","lease_duration":60,"renewable":true,"data":{"username":"u"}}"#;
        let secret = location("database/creds/a", "database/", false).understand(made).unwrap();
        let lease = Lease { id: "database/creds/a/1".to_owned(), seconds: 60, renewable: true };
        assert_eq!((secret.data["username"].as_str(), secret.lease), (Some("u"), Some(lease)));
    }
}
