//! The suite that every engine passes.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_engine::conformance::recovery::{self, Contents, RecoveryFixture};
use mainstay_engine::conformance::{self, Delivery, Fixture, Nature, Session};
use mainstay_engine::recovery::Assertion;
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use mainstay_engine_objects::Service;
use mainstay_objects::ListQuery;
use mainstay_types::Timestamp;
use secrecy::ExposeSecret;

use crate::client;
use crate::place::{Place, cluster};

struct ObjectStoreFixture {
    place: Arc<Place>,
}

/// The right to send a request, which each request is asked for anew.
struct Client {
    place: Arc<Place>,
    access_key: String,
    secret: String,
    bucket: String,
}

impl Client {
    fn new(place: &Arc<Place>, delivery: &Delivery) -> Self {
        let text = |key: &str| delivery[key].expose_secret().to_owned();
        let (access_key, secret, bucket) = (text("access-key-id"), text("secret-access-key"), text("bucket"));
        Self { place: place.clone(), access_key, secret, bucket }
    }

    /// What the S3 API asks before it lets a request in.
    async fn is_let_in(&self) -> bool {
        let open = self.place.open();
        if *open.service.borrow() != Service::Open {
            return false;
        }
        let Some(known) = open.objects.access_key(&self.access_key).await.unwrap() else { return false };
        let bucket = open.objects.bucket(&self.bucket.parse().unwrap());
        known.secret.expose_secret() == self.secret
            && known.key.valid_until.is_none_or(|until| Timestamp::now() < until)
            && bucket.is_some_and(|bucket| bucket.account == known.key.account)
    }
}

#[async_trait]
impl Session for Client {
    async fn is_open(&mut self) -> bool {
        self.is_let_in().await
    }
}

#[async_trait]
impl Fixture for ObjectStoreFixture {
    async fn engine(&self) -> Arc<dyn Engine> {
        self.place.engine().await
    }

    fn cluster(&self) -> ClusterSpec {
        cluster()
    }

    async fn connect(&self, delivery: &Delivery) -> Option<Box<dyn Session>> {
        let client = Client::new(&self.place, delivery);
        client.is_let_in().await.then(|| Box::new(client) as Box<dyn Session>)
    }

    fn nature(&self) -> Nature {
        Nature::Within
    }

    fn statements(&self) -> Option<(Vec<String>, String)> {
        None
    }

    async fn kill(&self, _: &ClusterSpec) {
        self.place.reach(false);
    }

    async fn revive(&self, _: &ClusterSpec) {
        self.place.reach(true);
    }

    async fn drop_instance(&self, _: &ClusterSpec, instance: &InstanceSpec) {
        self.place.open().objects.remove_account(&instance.id).await.unwrap();
    }

    async fn drop_credential(&self, _: &ClusterSpec, credential: &CredentialSpec) {
        let name = credential.username().parse().unwrap();
        self.place.open().objects.remove_access_key(&name).await.unwrap();
    }

    async fn change_setting(&self, _: &ClusterSpec) -> bool {
        false
    }

    async fn lose_data(&self, _: &ClusterSpec) {
        self.place.close().await;
        std::fs::remove_dir_all(self.place.index()).unwrap();
    }

    fn remains(&self, _: &ClusterSpec) -> Vec<String> {
        self.place.open().objects.accounts().into_iter().map(|account| account.id.to_string()).collect()
    }

    fn log(&self, _: &ClusterSpec) -> String {
        String::new()
    }
}

#[async_trait]
impl RecoveryFixture for ObjectStoreFixture {
    async fn put(&self, delivery: &Delivery, key: &str, text: &str) {
        let objects = self.place.open().objects;
        client::put(&objects, delivery["bucket"].expose_secret(), key, text.as_bytes()).await;
    }

    async fn contents(&self, delivery: &Delivery) -> Contents {
        let objects = self.place.open().objects;
        let bucket = delivery["bucket"].expose_secret().parse().unwrap();
        let mut contents = Contents::new();
        let query = ListQuery { limit: 10_000, ..ListQuery::default() };
        for (key, version) in objects.list(&bucket, query).await.unwrap().objects {
            let bytes = client::read(&objects, &version).await;
            contents.insert(key.to_string(), String::from_utf8(bytes).unwrap());
        }
        contents
    }

    async fn wipe(&self, delivery: &Delivery) {
        let bucket = delivery["bucket"].expose_secret();
        for key in self.contents(delivery).await.into_keys() {
            client::delete(&self.place.open().objects, bucket, &key).await;
        }
    }

    fn assertion(&self, key: &str, text: &str) -> Option<Assertion> {
        Some(Assertion { query: format!("text {key}"), expect: text.to_owned() })
    }

    fn scratch_processes(&self) -> Vec<String> {
        Vec::new()
    }

    fn scratch_remains(&self) -> Vec<String> {
        let accounts = self.place.open().objects.accounts().into_iter().map(|account| account.id.to_string());
        // The last of all ids.
        accounts.filter(|id| id.ends_with("zzzzzzzz")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_come_back() {
    recovery::run(&ObjectStoreFixture { place: Arc::new(Place::new()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_object_store_conforms() {
    conformance::run(&ObjectStoreFixture { place: Arc::new(Place::new()) }).await;
}
