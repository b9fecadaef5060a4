//! A server of a test's own, on a store of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use mainstay_dataplane::{ContentKey, DataPlane, Inventory, KeyId};
use mainstay_dataplane_fs::{FsConfig, FsPlane};
use mainstay_objects::{
    AccessKey, Feed, FeedError, Foundations, Keys, KeysError, Limits, ObjectEvent, Objects, ObjectsConfig,
};
use mainstay_s3::S3Config;
use mainstay_storage::{Location, Service, Store};
use mainstay_types::{InstanceId, Timestamp};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub const REGION: &str = "mainstay";
pub const KEY: &str = "alpha-key";
pub const SECRET: &str = "alpha/secret+0123456789";
pub const OTHER_KEY: &str = "beta-key";
pub const OTHER_SECRET: &str = "beta/secret+0123456789";

/// A server with two accounts, of which the first has a bucket `photos`.
pub struct Server {
    pub address: SocketAddr,
    pub objects: Objects,
    pub feed: Arc<Told>,
    pub alpha: InstanceId,
    _stop: watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

struct OneKey;

#[async_trait]
impl Keys for OneKey {
    async fn newest(&self) -> Result<ContentKey, KeysError> {
        self.get(KeyId(1)).await
    }

    async fn get(&self, id: KeyId) -> Result<ContentKey, KeysError> {
        Ok(ContentKey::new(id, secrecy::zeroize::Zeroizing::new([7; 32])))
    }
}

#[derive(Default)]
pub struct Told(pub Mutex<Vec<ObjectEvent>>);

#[async_trait]
impl Feed for Told {
    async fn publish(&self, events: &[ObjectEvent]) -> Result<(), FeedError> {
        self.0.lock().unwrap().extend_from_slice(events);
        Ok(())
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(S3Config::default()).await
    }

    pub async fn with(config: S3Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plane = Arc::new(FsPlane::open(directory.path(), FsConfig::default()).await.unwrap());
        let feed = Arc::new(Told::default());
        let store = Store::open(&Location::InMemory, Service::Objects, Objects::SCHEMA).await.unwrap();
        let foundations = Foundations {
            store,
            plane: plane.clone() as Arc<dyn DataPlane>,
            inventory: plane as Arc<dyn Inventory>,
            keys: Arc::new(OneKey),
            feed: feed.clone(),
        };
        let objects = Objects::open(foundations, ObjectsConfig::default()).await.unwrap();
        let [alpha, beta] = [1, 2].map(InstanceId::from_random);
        for (account, key, secret) in [(&alpha, KEY, SECRET), (&beta, OTHER_KEY, OTHER_SECRET)] {
            objects.put_account(account, Limits { buckets: 20, bytes: None, objects: None }).await.unwrap();
            let key = AccessKey { id: key.parse().unwrap(), account: account.clone(), valid_until: None };
            objects.put_access_key(key, &SecretString::from(secret)).await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(mainstay_s3::serve(listener, None, config, objects.clone(), stopped));
        let server = Self { address, objects, feed, alpha, _stop: stop, _directory: directory };
        server.client().create_bucket().bucket("photos").send().await.unwrap();
        server
    }

    /// A client of the first account.
    pub fn client(&self) -> Client {
        self.client_with(KEY, SECRET, |config| config)
    }

    /// A client of the second account.
    pub fn other_client(&self) -> Client {
        self.client_with(OTHER_KEY, OTHER_SECRET, |config| config)
    }

    /// A client that adds and asks for no checksums of its own.
    pub fn plain_client(&self) -> Client {
        self.client_with(KEY, SECRET, |config| {
            config
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        })
    }

    pub fn client_with(
        &self,
        key: &str,
        secret: &str,
        change: impl FnOnce(aws_sdk_s3::config::Builder) -> aws_sdk_s3::config::Builder,
    ) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(format!("http://{}", self.address))
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new(key, secret, None, None, "test"))
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .force_path_style(true);
        Client::from_conf(change(config).build())
    }

    /// Lets an access key end.
    pub async fn expire(&self, key: &str, secret: &str) {
        let key =
            AccessKey { id: key.parse().unwrap(), account: self.alpha.clone(), valid_until: Some(Timestamp::EPOCH) };
        self.objects.put_access_key(key, &SecretString::from(secret)).await.unwrap();
    }
}

/// The status and code of an error.
pub fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    outcome: Result<T, SdkError<E>>,
) -> (u16, String) {
    match outcome {
        Ok(output) => panic!("this should be refused: {output:?}"),
        Err(error) => {
            let status = error.raw_response().map(|response| response.status().as_u16()).unwrap_or_default();
            (status, error.code().unwrap_or_default().to_owned())
        }
    }
}

/// What [`refused`] gives, written shortly.
pub fn error(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub async fn put(client: &Client, key: &str, body: impl Into<Vec<u8>>) -> String {
    let body = ByteStream::from(body.into());
    let output = client.put_object().bucket("photos").key(key).body(body).send().await.unwrap();
    output.e_tag.unwrap()
}

pub async fn get(client: &Client, key: &str) -> Vec<u8> {
    let output = client.get_object().bucket("photos").key(key).send().await.unwrap();
    output.body.collect().await.unwrap().to_vec()
}

/// Bytes that repeat nothing a digest could stumble over.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
