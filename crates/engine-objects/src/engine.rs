//! The object store, as the control plane sees engines.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use mainstay_engine::recovery::Recovery;
use mainstay_engine::{
    Availability, ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec, StartKind, Started,
};
use mainstay_objects::{AccessKey, AccessKeyId, Error, NewBucket, Objects, Refusal, Usage};
use mainstay_types::{ClusterName, CredentialObservation, Health, InstanceId, Observation, Offering, Presence, chain};
use secrecy::SecretString;
use tokio::sync::watch;

use crate::recovery::Scratch;
use crate::service::{Service, Switch};
use crate::{ObjectStoreConfig, fault, identity, names, offering};

/// How often a store that serves is looked at: soon enough for whoever waits, and 40 bytes read each time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Looks in a row that fail before the store is taken for down: one alone may have met a busy disk.
const FAILED_LOOKS: u32 = 3;

/// The built-in object store.
pub struct ObjectStoreEngine {
    config: ObjectStoreConfig,
    offering: Offering,
    pub(crate) objects: Objects,
    /// What restores make beside what is served.
    pub(crate) scratch: Scratch,
    switch: Switch,
}

impl ObjectStoreEngine {
    /// An engine over an object store that is open. It serves nobody before it is started.
    pub fn new(objects: Objects, config: ObjectStoreConfig) -> Self {
        Self {
            offering: offering::offering(config.port),
            config,
            objects,
            scratch: Scratch::default(),
            switch: Switch::new(),
        }
    }

    /// Whether clients are to be let in; whoever listens for them follows it.
    pub fn service(&self) -> watch::Receiver<Service> {
        self.switch.follow()
    }

    pub(crate) fn require_service(&self) -> Result<(), EngineError> {
        match self.switch.closed_because() {
            None => Ok(()),
            Some(cause) => Err(EngineError::transient(format!("the object store does not serve: {cause}"))),
        }
    }

    fn instance_presence(&self, instance: &InstanceSpec) -> Presence {
        let drifted = |how: String| Presence::Drifted { how };
        let Some(account) = self.objects.account(&instance.id) else { return Presence::Missing };
        if account.limits != offering::limits(&instance.parameters) {
            return drifted("its limits are not those of its parameters".to_owned());
        }
        let name = names::bucket(instance);
        match self.objects.bucket(&name) {
            Some(bucket) if bucket.account == instance.id => Presence::Present,
            _ => drifted(format!("its bucket {name} is gone")),
        }
    }

    fn credential_presence(&self, credential: &CredentialSpec) -> Presence {
        let name = credential.username();
        let keys = self.objects.access_keys(&credential.instance);
        match keys.iter().find(|key| key.id.as_str() == name) {
            None => Presence::Missing,
            Some(key) if key.valid_until == Some(credential.valid_until) => Presence::Present,
            Some(_) => Presence::Drifted { how: "it is valid until another time".to_owned() },
        }
    }
}

#[async_trait]
impl Engine for ObjectStoreEngine {
    fn offering(&self) -> &Offering {
        &self.offering
    }

    fn host(&self) -> IpAddr {
        self.config.address
    }

    async fn availability(&self) -> Availability {
        Availability::Installed { version: version() }
    }

    async fn start(&self, cluster: &ClusterSpec) -> Result<Started, EngineError> {
        let (identity, made) = match (&cluster.identity, identity::find(&self.objects).await?) {
            (None, None) => (identity::make(&self.objects).await?, true),
            (None, Some(found)) => (found, false),
            (Some(known), Some(found)) if *known == found => (found, false),
            (Some(_), Some(_)) => return Err(identity::foreign()),
            (Some(_), None) => return Err(identity::lost("its index is empty")),
        };
        let was_open = self.switch.open();
        let how = match (made, was_open) {
            (true, _) => StartKind::Initialised,
            (false, true) => StartKind::Adopted,
            (false, false) => StartKind::Started,
        };
        Ok(Started { identity, version: version(), how })
    }

    async fn ended(&self, _: &ClusterSpec) -> String {
        let mut service = self.switch.follow();
        let mut failed = 0;
        loop {
            if let Service::Closed { cause } = &*service.borrow_and_update() {
                return cause.clone();
            }
            // Either it is closed meanwhile, or it is time to look.
            if tokio::time::timeout(LOOK_AGAIN, service.changed()).await.is_ok() {
                continue;
            }
            match identity::find(&self.objects).await {
                Ok(Some(_)) => failed = 0,
                Ok(None) => self.switch.close("its index is empty"),
                Err(error) => {
                    failed += 1;
                    if failed >= FAILED_LOOKS {
                        self.switch.close(&chain(&error));
                    }
                }
            }
        }
    }

    async fn observe(
        &self,
        _: &ClusterSpec,
        instances: &[InstanceSpec],
        credentials: &[CredentialSpec],
    ) -> Result<Observation, EngineError> {
        if let Some(cause) = self.switch.closed_because() {
            return Ok(Observation::without_service(Health::Down { cause }));
        }
        let instances = instances.iter().map(|instance| (instance.id.clone(), self.instance_presence(instance)));
        let credentials = credentials.iter().map(|credential| {
            // Each request stands for itself: there are no sessions.
            let seen = CredentialObservation { presence: self.credential_presence(credential), sessions: 0 };
            ((credential.binding.clone(), credential.generation), seen)
        });
        Ok(Observation {
            health: Health::Serving,
            instances: instances.collect(),
            credentials: credentials.collect(),
            changed_settings: Vec::new(),
        })
    }

    async fn reconfigure(&self, _: &ClusterSpec) -> Result<(), EngineError> {
        Ok(())
    }

    async fn stop(&self, _: &ClusterSpec) -> Result<(), EngineError> {
        self.switch.close("it was stopped");
        Ok(())
    }

    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)> {
        self.switch.close("it was stopped");
        Vec::new()
    }

    async fn remove(&self, _: &ClusterSpec) -> Result<(), EngineError> {
        self.switch.close("it was removed");
        // The identity goes last, so that a store which is half removed is not taken for a new one.
        let identity = names::identity_account();
        let others = self.objects.accounts().into_iter().map(|account| account.id).filter(|id| *id != identity);
        for id in others.chain([identity.clone()]) {
            self.remove_account(&id).await?;
        }
        Ok(())
    }

    async fn provision(&self, _: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        const WHAT: &str = "the instance could not be made";
        self.require_service()?;
        let limits = offering::limits(&instance.parameters);
        if self.objects.account(&instance.id).is_none_or(|account| account.limits != limits) {
            self.objects.put_account(&instance.id, limits).await.map_err(fault::of_index(WHAT))?;
        }
        let name = names::bucket(instance);
        let settings = offering::settings(&instance.parameters, &name);
        let new = NewBucket { name, account: instance.id.clone(), settings };
        match self.objects.create_bucket(new).await {
            // It is its owner's by now, and so are its settings.
            Ok(_) | Err(Error::Refused(Refusal::BucketOwned)) => Ok(()),
            Err(error) => Err(fault::of_index(WHAT)(error)),
        }
    }

    async fn deprovision(&self, _: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        self.require_service()?;
        self.remove_account(&instance.id).await
    }

    async fn bind(
        &self,
        _: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> Result<(), EngineError> {
        self.require_service()?;
        if credential.statements.is_some() {
            return Err(EngineError::permanent(
                "an access key of the object store is not made by statements",
                "leave them out, and allow less with the bucket's policy",
            ));
        }
        if self.objects.account(&instance.id).is_none() {
            return Err(EngineError::transient(format!("instance {} is not in the object store", instance.id)));
        }
        let key = AccessKey {
            id: access_key_id(credential),
            account: instance.id.clone(),
            valid_until: Some(credential.valid_until),
        };
        let kept = self.objects.put_access_key(key, password).await;
        kept.map_err(fault::of_access_key("the access key could not be kept"))
    }

    async fn unbind(&self, _: &ClusterSpec, credential: &CredentialSpec) -> Result<(), EngineError> {
        self.require_service()?;
        let removed = self.objects.remove_access_key(&access_key_id(credential)).await;
        removed.map_err(fault::of_index("the access key could not be removed"))
    }

    fn delivery(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> BTreeMap<&'static str, SecretString> {
        let (key, bucket) = (credential.username(), names::bucket(instance));
        let scheme = if self.config.tls { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", SocketAddr::new(self.config.address, cluster.port));
        BTreeMap::from([
            ("type", "s3".into()),
            ("provider", "mainstay".into()),
            ("host", self.config.address.to_string().into()),
            ("port", cluster.port.to_string().into()),
            ("endpoint", endpoint.into()),
            ("region", self.config.region.clone().into()),
            ("bucket", bucket.as_str().into()),
            ("access-key-id", key.clone().into()),
            ("secret-access-key", password.clone()),
            ("username", key.into()),
            ("password", password.clone()),
            // What the command lines of S3 take: the aws client, s3cmd, s5cmd. Where the bucket is, the endpoint says.
            ("uri", format!("s3://{bucket}").into()),
        ])
    }

    async fn figures(&self, _: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError> {
        self.require_service()?;
        let identity = names::identity_account();
        let accounts = self.objects.accounts();
        let (mut usage, mut instances, mut buckets) = (Usage::default(), 0, 0);
        for account in accounts.iter().filter(|account| account.id != identity) {
            usage += self.objects.account_usage(&account.id);
            instances += 1;
            buckets += self.objects.buckets(&account.id).len();
        }
        Ok(vec![
            ("mainstay.objectstore.instances", f64::from(instances)),
            ("mainstay.objectstore.buckets", buckets as f64),
            ("mainstay.objectstore.objects", usage.objects as f64),
            ("mainstay.objectstore.bytes", usage.bytes as f64),
            ("mainstay.objectstore.uploads", usage.uploads as f64),
            ("mainstay.objectstore.uploading_bytes", usage.uploading_bytes as f64),
        ])
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        Some(self)
    }
}

impl ObjectStoreEngine {
    pub(crate) async fn remove_account(&self, id: &InstanceId) -> Result<(), EngineError> {
        match self.objects.remove_account(id).await {
            Ok(()) | Err(Error::Refused(Refusal::NoSuchAccount)) => Ok(()),
            Err(error) => Err(fault::of_index("the instance could not be removed")(error)),
        }
    }
}

impl std::fmt::Debug for ObjectStoreEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStoreEngine").field("config", &self.config).field("switch", &self.switch).finish()
    }
}

/// The store is part of this binary.
pub(crate) fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

fn access_key_id(credential: &CredentialSpec) -> AccessKeyId {
    credential.username().parse().expect("a binding's user name is an access key's id")
}
