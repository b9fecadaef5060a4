//! The cluster's identity: the description of a stream in an account that no tenant comes into.
//!
//! Where that stream is, the data is: it is looked for on disk before the server starts, so that nobody is served by a
//! server that came back empty, and asked for afterwards.

use std::fs::File;
use std::path::{Path, PathBuf};

use mainstay_engine::supervise::{ClusterDirectory, data_gone, read_file, refuse_another};
use mainstay_engine::{ClusterSpec, EngineError};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::admin::{Admin, AdminError, request};
use crate::names::{KEEPER_PREFIX, KEEPER_USER};
use crate::streams;

/// The stream.
const STREAM: &str = "IDENTITY";
/// How many random bytes an identity has.
const IDENTITY_BYTES: usize = 16;
/// JetStream's code for a stream that is not there.
const STREAM_NOT_FOUND: u32 = 10_059;

/// What is where a cluster's data should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// Nothing that anybody could miss.
    New,
    Of {
        identity: String,
    },
}

#[derive(Deserialize)]
struct StreamConfig {
    #[serde(default)]
    description: String,
}

/// Looks at a cluster's data, and refuses what should not be served.
pub(crate) fn look(directory: &ClusterDirectory, spec: &ClusterSpec, keeper: &str) -> Result<Data, EngineError> {
    let data = directory.data();
    let found = read_file(marker(&data, keeper)).ok();
    let found = found.and_then(|text| serde_json::from_str::<StreamConfig>(&text).ok());
    match found {
        Some(StreamConfig { description: identity }) => {
            refuse_another(&spec.name, spec.identity.as_deref(), "identity", &identity)?;
            Ok(Data::Of { identity })
        }
        None => {
            let accounts = streams::accounts_on_disk(&data);
            if accounts.iter().any(|account| account.starts_with(KEEPER_PREFIX) && account != keeper) {
                return Err(EngineError::permanent(
                    format!(
                        "the data of cluster {} in {} was written with another secret than the one in {}, and it is not \
                         initialised anew",
                        spec.name,
                        data.display(),
                        directory.root().join("admin.secret").display()
                    ),
                    "put the file back that was there, or delete the cluster's instances and create them anew",
                ));
            }
            if spec.identity.is_some() {
                return Err(data_gone(&spec.name, &data));
            }
            if accounts.iter().any(|account| account != keeper) {
                return Err(EngineError::permanent(
                    format!("{} holds streams that are not of cluster {}", data.display(), spec.name),
                    "move it away when nothing in it is needed",
                ));
            }
            Ok(Data::New)
        }
    }
}

/// The identity that a server has; one that it has none of is given one where that is allowed.
pub(crate) async fn served(
    admin: &Admin,
    secret: &SecretString,
    spec: &ClusterSpec,
    directory: &ClusterDirectory,
) -> Result<String, EngineError> {
    #[derive(Deserialize)]
    struct Answer {
        config: Option<StreamConfig>,
        error: Option<Fault>,
    }
    #[derive(Deserialize)]
    struct Fault {
        err_code: Option<u32>,
        description: String,
    }
    let client = admin.connect(KEEPER_USER, secret).await?;
    let subject = format!("$JS.API.STREAM.INFO.{STREAM}");
    let mut answer: Answer = request(&client, &subject, "").await?;
    let is_missing = answer.error.as_ref().is_some_and(|fault| fault.err_code == Some(STREAM_NOT_FOUND));
    if is_missing && spec.identity.is_some() {
        return Err(data_gone(&spec.name, &directory.data()));
    }
    if is_missing {
        let subject = format!("$JS.API.STREAM.CREATE.{STREAM}");
        let stream = json!({
            "name": STREAM, "description": draw()?, "subjects": ["mainstay.identity"], "storage": "file",
            "max_msgs": 1, "max_bytes": 1 << 10, "num_replicas": 1,
        });
        answer = request(&client, &subject, &stream.to_string()).await?;
        put_on_disk(directory.data()).await?;
    }
    match answer {
        Answer { config: Some(StreamConfig { description: identity }), error: None } => {
            refuse_another(&spec.name, spec.identity.as_deref(), "identity", &identity)?;
            Ok(identity)
        }
        Answer { error, .. } => {
            let reason = error.map_or_else(|| "it does not say why".to_owned(), |fault| fault.description);
            Err(AdminError::Refused { subject, reason }.into())
        }
    }
}

/// The server writes the stream's description without waiting for the disk, and a cluster whose identity is known must
/// never be found without it.
async fn put_on_disk(data: PathBuf) -> Result<(), EngineError> {
    let written = tokio::task::spawn_blocking(move || Ok(rustix::fs::syncfs(File::open(data)?)?)).await;
    let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    written.map_err(|error| EngineError::transient_from("a new cluster's data could not be put on disk", error))
}

fn draw() -> Result<String, EngineError> {
    let mut bytes = [0; IDENTITY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn marker(data: &Path, keeper: &str) -> PathBuf {
    streams::directory(data, keeper).join(STREAM).join(streams::DESCRIPTION)
}
