//! A mount of the engine, and databases in memory that fail when they are told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay_secrets_database::{Credential, DatabaseKind, Databases, NewCredential};
use mainstay_secrets_engine::{Answer, Backend, Kind, Mount, Operation, Refusal, Request, Storage};
use mainstay_types::{BindingId, InstanceName, TenantName, Timestamp};
use serde_json::{Map, Value};

/// Databases of a table.
#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    pub made: u64,
    pub bindings: BTreeMap<BindingId, Made>,
    /// Whether nothing works at present.
    pub down: bool,
    pub rotations: u64,
}

#[derive(Debug, Clone)]
pub struct Made {
    pub wanted: NewCredential,
    pub lease_seconds: u64,
    pub password: u64,
}

impl Fake {
    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap())
    }

    fn answering<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.with(|state| match state.down {
            true => Err(Refusal::Unavailable { what: "the server does not run".to_owned(), source: None }),
            false => act(state),
        })
    }
}

fn own<'a>(state: &'a mut State, tenant: &TenantName, id: &BindingId) -> Result<&'a mut Made, Refusal> {
    state.bindings.get_mut(id).filter(|made| made.wanted.tenant == *tenant).ok_or(Refusal::NotFound)
}

fn credential(id: &BindingId, made: &Made) -> Credential {
    let (username, password) = (format!("b_{}_1", id.suffix()), format!("password-{}", made.password));
    Credential { binding: id.clone(), username, password: password.into() }
}

#[async_trait]
impl Databases for Fake {
    async fn check(&self, _: &TenantName, instance: &InstanceName) -> Result<(), Refusal> {
        match instance.as_str() {
            "shop" | "crm" => Ok(()),
            _ => Err(Refusal::invalid(format!("no instance is called {instance}"))),
        }
    }

    async fn create(&self, wanted: NewCredential) -> Result<Credential, Refusal> {
        self.answering(|state| {
            state.made += 1;
            let id = BindingId::from_random(state.made);
            let made = Made { lease_seconds: wanted.lease_seconds, wanted, password: 1 };
            let credential = credential(&id, &made);
            state.bindings.insert(id, made);
            Ok(credential)
        })
    }

    async fn read(&self, tenant: &TenantName, binding: &BindingId) -> Result<Credential, Refusal> {
        self.answering(|state| own(state, tenant, binding).map(|made| credential(binding, made)))
    }

    async fn renew(&self, tenant: &TenantName, binding: &BindingId, seconds: u64) -> Result<(), Refusal> {
        self.answering(|state| own(state, tenant, binding).map(|made| made.lease_seconds = seconds))
    }

    async fn rotate(&self, tenant: &TenantName, binding: &BindingId) -> Result<(), Refusal> {
        self.answering(|state| {
            own(state, tenant, binding)?.password += 1;
            state.rotations += 1;
            Ok(())
        })
    }

    async fn revoke(&self, tenant: &TenantName, binding: &BindingId) -> Result<(), Refusal> {
        self.answering(|state| {
            if own(state, tenant, binding).is_ok() {
                state.bindings.remove(binding);
            }
            Ok(())
        })
    }
}

/// The engine, mounted.
pub struct Mounted {
    pub fake: Arc<Fake>,
    pub backend: Arc<dyn Backend>,
    mount: Arc<Mount>,
    storage: Storage,
}

impl Mounted {
    pub async fn new() -> Self {
        let fake = Arc::new(Fake::default());
        let mount = Arc::new(Mount {
            path: "database/".to_owned(),
            accessor: "database_1".to_owned(),
            uuid: "1".to_owned(),
            options: BTreeMap::new(),
            default_lease_seconds: 3600,
            max_lease_seconds: 7200,
        });
        let storage = Storage::scratch().await;
        let backend = DatabaseKind::new(fake.clone()).open(mount.clone(), storage.clone()).await.unwrap();
        Self { fake, backend, mount, storage }
    }

    /// The same after an unsealing.
    pub async fn reopened(self) -> Self {
        drop(self.backend);
        let kind = DatabaseKind::new(self.fake.clone());
        let backend = kind.open(self.mount.clone(), self.storage.clone()).await.unwrap();
        Self { backend, ..self }
    }

    /// With a connection `shop`, which allows every role.
    pub async fn with_shop() -> Self {
        let mounted = Self::new().await;
        let config = serde_json::json!({
            "plugin_name": "postgresql-database-plugin", "connection_url": "mainstay://shop", "allowed_roles": "*",
        });
        mounted.write("config/shop", config).await.unwrap();
        mounted
    }

    pub async fn write(&self, path: &str, data: Value) -> Result<Answer, Refusal> {
        let request = self.request(Operation::Update, path, data, Timestamp::now());
        let operation = match self.backend.exists(&request).await? {
            Some(false) => Operation::Create,
            _ => Operation::Update,
        };
        self.backend.handle(&Request { operation, ..request }).await
    }

    pub async fn read(&self, path: &str) -> Result<Answer, Refusal> {
        self.ask(Operation::Read, path, Timestamp::now()).await
    }

    pub async fn ask(&self, operation: Operation, path: &str, now: Timestamp) -> Result<Answer, Refusal> {
        self.backend.handle(&self.request(operation, path, Value::Null, now)).await
    }

    fn request(&self, operation: Operation, path: &str, data: Value, now: Timestamp) -> Request {
        let data = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        let (path, mount, tenant) = (path.to_owned(), self.mount.clone(), TenantName::default_tenant());
        Request { operation, path, data, raw_body: Vec::new(), mount, caller: None, tenant, remote: None, now }
    }
}

/// The data of an answer.
pub fn data(answer: Result<Answer, Refusal>) -> Value {
    Value::Object(answer.unwrap().data.unwrap())
}

/// What a client is told that is refused with 400.
pub fn invalid(answer: Result<Answer, Refusal>) -> String {
    match answer {
        Err(Refusal::Invalid(message)) => message,
        answer => panic!("it should be refused: {answer:?}"),
    }
}
