//! Which store, and how long to wait for it.

use std::time::Duration;

use mainstay_dataplane::Trouble;
use secrecy::SecretString;

/// An S3-compatible store, and the place in it that is Mainstay's.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// Such as `https://s3.example.org` or `http://127.0.0.1:3900`. Buckets are addressed by path.
    pub endpoint: String,
    pub region: String,
    /// It exists; nothing else writes below the prefix.
    pub bucket: String,
    /// What all keys begin with; empty for the whole bucket.
    pub prefix: String,
    pub access_key_id: String,
    pub secret_access_key: SecretString,
    pub patience: Patience,
}

/// How long the store is waited for. Every operation of the data plane is a few requests, each of which ends within
/// `attempts` times `request` and the pauses between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one request and its answer, of at most a segment.
    pub request: Duration,
    /// How often a request is sent that fails in a way that may pass.
    pub attempts: u32,
    /// Before the second attempt; each further one waits twice as long.
    pub pause: Duration,
    /// For the one request of a health check.
    pub health: Duration,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the endpoint {endpoint:?} of the object store cannot be used: {reason}; write it as https://HOST or http://HOST:PORT"
    )]
    Endpoint { endpoint: String, reason: String },
    #[error(
        "the object store at {endpoint} refuses access to bucket {bucket:?}: {reason}; check the access key, its secret, \
         its right to read and write the bucket, the region, and this machine's clock"
    )]
    Denied { endpoint: String, bucket: String, reason: String },
    #[error("the object store at {endpoint} has no bucket {bucket:?}: create it, or name another")]
    NoBucket { endpoint: String, bucket: String },
    #[error("the object store at {endpoint} cannot be used now")]
    Trouble {
        endpoint: String,
        #[source]
        source: Trouble,
    },
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // A segment of 4 MiB over a line of 2 Mbit/s, or a store that is busy repairing itself.
            request: Duration::from_secs(20),
            // What most stores' own clients do: it outlives a restart of one node, and says no within a minute or so.
            attempts: 3,
            pause: Duration::from_millis(200),
            // Whoever asks how things are wants to know within seconds.
            health: Duration::from_secs(3),
        }
    }
}
