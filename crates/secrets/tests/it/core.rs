//! A core of one's own: engines, auth methods, a directory of native tokens, an audit file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay_custody::{Custody, MasterKey};
use mainstay_secrets::{AuditFile, Body, Call, CustodyEvent, LayerToken, Method, Secrets, TokenDirectory, Witness};
use mainstay_secrets_engine::{Fault, Kind, Refusal};
use mainstay_storage::Location;
use mainstay_types::{Role, TenantScope, Timestamp, TokenId};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::vending::{DoorKind, Vending, VendingKind};

/// The native token that may do everything, of every tenant.
pub const ADMIN: &str = "native-admin";

/// A core, and what it stands on.
pub struct Core {
    pub secrets: Secrets,
    pub directory: Arc<Directory>,
    pub vending: Arc<Vending>,
    custody: Custody,
    audit: TempDir,
}

/// Who calls: a token, and the tenant that is named.
#[derive(Clone, Default)]
pub struct Client {
    token: Option<String>,
    namespace: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// Native tokens, by the text that is sent.
#[derive(Default)]
pub struct Directory(Mutex<HashMap<String, LayerToken>>);

/// A witness that has never seen anything.
struct Forgetful;

#[async_trait]
impl Witness for Forgetful {
    fn position(&self) -> u64 {
        0
    }

    async fn record(&self, _: CustodyEvent, _: u64) -> Result<(), Fault> {
        Ok(())
    }
}

// === impl Core ===

impl Core {
    pub async fn new() -> Self {
        let custody = Custody::open(&Location::InMemory, MasterKey::from_bytes([7; 32])).await.unwrap();
        let directory = Arc::new(Directory::default());
        directory.add(ADMIN, Role::Admin, TenantScope::Any);
        Self::begin(custody, directory, Arc::default(), tempfile::tempdir().unwrap()).await
    }

    /// The process ends in the middle of whatever it does, and another one begins on the same store.
    pub async fn restart(self) -> Self {
        let Self { secrets, directory, vending, custody, audit } = self;
        drop(secrets);
        Self::begin(custody, directory, vending, audit).await
    }

    async fn begin(custody: Custody, directory: Arc<Directory>, vending: Arc<Vending>, audit: TempDir) -> Self {
        let file = AuditFile::open(&audit.path().join("audit.log")).unwrap();
        let kinds: Vec<Arc<dyn Kind>> = vec![
            Arc::new(mainstay_secrets_kv::KvKind),
            Arc::new(mainstay_secrets_transit::TransitKind),
            Arc::new(mainstay_auth_methods::ApproleKind),
            Arc::new(mainstay_auth_methods::UserpassKind::default()),
            Arc::new(VendingKind(vending.clone())),
            Arc::new(DoorKind),
        ];
        let secrets =
            Secrets::new(custody.clone(), kinds, directory.clone(), Arc::new(Forgetful), None, file).await.unwrap();
        Self { secrets, directory, vending, custody, audit }
    }

    pub async fn call(&self, client: &Client, method: Method, path: &str, data: Value) -> Answer {
        self.call_wrapped(client, method, path, data, None).await
    }

    pub async fn call_wrapped(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        data: Value,
        wrap_seconds: Option<u64>,
    ) -> Answer {
        let Value::Object(data) = data else { panic!("no object: {data}") };
        let reply = self
            .secrets
            .handle(&Call {
                method,
                path: path.to_owned(),
                token: client.token.clone().map(SecretString::from),
                namespace: client.namespace.clone(),
                wrap_seconds,
                data,
                raw_body: Vec::new(),
                remote: Some([127, 0, 0, 1].into()),
            })
            .await;
        let body = match reply.body {
            Body::Json(body) => body,
            Body::Empty | Body::Raw(_) => Value::Null,
        };
        Answer { status: reply.status, body }
    }

    pub async fn get(&self, client: &Client, path: &str) -> Answer {
        self.call(client, Method::Get, path, json!({})).await
    }

    pub async fn post(&self, client: &Client, path: &str, data: Value) -> Answer {
        self.call(client, Method::Post, path, data).await
    }

    /// Writes a policy and makes a token that has it and no other.
    pub async fn client_with(&self, maker: &Client, name: &str, policy: &str) -> Client {
        self.post(maker, &format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await.expect(204);
        self.token(maker, json!({ "policies": [name], "no_default_policy": true })).await
    }

    /// Makes a token.
    pub async fn token(&self, maker: &Client, wanted: Value) -> Client {
        let made = self.post(maker, "auth/token/create", wanted).await.expect(200);
        maker.bearing(made["auth"]["client_token"].as_str().unwrap())
    }

    pub fn audit_file(&self) -> PathBuf {
        self.audit.path().join("audit.log")
    }

    /// The lines of the audit log.
    pub fn audit_lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.audit_file()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

// === impl Client ===

impl Client {
    pub fn admin() -> Self {
        Self { token: Some(ADMIN.to_owned()), namespace: None }
    }

    /// The same tenant with another token.
    pub fn bearing(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same token in a tenant.
    pub fn of(&self, tenant: &str) -> Self {
        Self { namespace: Some(tenant.to_owned()), ..self.clone() }
    }

    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }
}

// === impl Answer ===

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// What an answer says that has to be a refusal.
    #[track_caller]
    pub fn refused(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        self.body["errors"][0].as_str().unwrap_or_default().to_owned()
    }
}

// === impl Directory ===

impl Directory {
    pub fn add(&self, text: &str, role: Role, scope: TenantScope) -> TokenId {
        let mut tokens = self.0.lock().unwrap();
        let id: TokenId = format!("t-{:0>12}", tokens.len() + 1).parse().unwrap();
        let now = Timestamp::now();
        let token = LayerToken { id: id.clone(), role, scope, created_at: now, expires_at: now.plus_seconds(3600) };
        tokens.insert(text.to_owned(), token);
        id
    }

    pub fn remove(&self, text: &str) {
        self.0.lock().unwrap().remove(text).unwrap();
    }
}

#[async_trait]
impl TokenDirectory for Directory {
    fn find(&self, token: &str) -> Option<LayerToken> {
        self.0.lock().unwrap().get(token).cloned()
    }

    fn by_id(&self, id: &TokenId) -> Option<LayerToken> {
        self.0.lock().unwrap().values().find(|token| token.id == *id).cloned()
    }

    async fn revoke(&self, id: &TokenId) -> Result<(), Refusal> {
        self.0.lock().unwrap().retain(|_, token| token.id != *id);
        Ok(())
    }
}
