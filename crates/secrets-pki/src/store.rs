//! The entries of one mount: what is where, and what references mean.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_custody::Expect;
use mainstay_secrets_engine::{Batch, Refusal, Storage};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::certificate::{Certificate, Serial};
use crate::extension::Urls;
use crate::key::PrivateKey;
use crate::record::{
    CertificateRecord, CrlConfig, IssuerRecord, IssuersConfig, Kept, KeyRecord, RevocationRecord, TidyConfig, VERSION,
};
use crate::role::Role;
use crate::signature::Hash;

/// How many issuers or keys a mount has at most. Chains are found by looking at all of them.
pub const MOST_ISSUERS: usize = 1_000;

pub const ROLES: &str = "role/";
pub const CERTIFICATES: &str = "cert/";
pub const REVOKED: &str = "revoked/";
pub const ISSUERS: &str = "issuer/";
pub const KEYS: &str = "key/";
const DEFAULT: &str = "default";

/// The entries of one mount.
#[derive(Clone)]
pub struct Store {
    storage: Storage,
    /// Keys that were read once: reading an RSA key takes longer than signing with it.
    keys: Arc<Mutex<HashMap<String, Arc<PrivateKey>>>>,
}

/// An issuer with its certificate read.
#[derive(Clone)]
pub struct Issuer {
    pub record: IssuerRecord,
    pub certificate: Certificate,
}

impl Issuer {
    pub fn of(record: IssuerRecord) -> Result<Self, Refusal> {
        let certificate = Certificate::from_der(&record.certificate);
        let certificate = certificate.map_err(|error| Refusal::failed("a stored issuer cannot be read", error))?;
        Ok(Self { record, certificate })
    }

    /// The hash of what it signs about revocation.
    pub fn hash(&self) -> Hash {
        Hash::parse(self.record.hash_bits).unwrap_or(Hash::Sha256)
    }
}

/// The value to be stored.
pub fn kept<T>(data: T) -> Kept<T> {
    Kept { version: VERSION, data }
}

/// Something is not there that a request refers to. Vault answers a 500 to it, and its clients know that.
fn unfindable(what: &str, reference: &str) -> Refusal {
    Refusal::Failed { what: format!("unable to find PKI {what} for reference: {reference}"), source: None }
}

impl Store {
    pub fn new(storage: Storage) -> Self {
        Self { storage, keys: Arc::default() }
    }

    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    // --- anything

    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Refusal> {
        let Some(kept) = self.storage.value::<Kept<T>>(key).await? else { return Ok(None) };
        if kept.version != VERSION {
            let what = format!("entry {key} has version {}, and this server knows up to {VERSION}", kept.version);
            return Err(Refusal::Failed { what, source: None });
        }
        Ok(Some(kept.data))
    }

    pub async fn put<T: Serialize>(&self, key: &str, data: &T) -> Result<(), Refusal> {
        Ok(self.storage.put(key, &kept(data)).await?)
    }

    // --- settings

    pub async fn urls(&self) -> Result<Urls, Refusal> {
        Ok(self.get("config/urls").await?.unwrap_or_default())
    }

    pub async fn put_urls(&self, urls: &Urls) -> Result<(), Refusal> {
        self.put("config/urls", urls).await
    }

    pub async fn crl_config(&self) -> Result<CrlConfig, Refusal> {
        Ok(self.get("config/crl").await?.unwrap_or_default())
    }

    pub async fn put_crl_config(&self, config: &CrlConfig) -> Result<(), Refusal> {
        self.put("config/crl", config).await
    }

    pub async fn tidy_config(&self) -> Result<TidyConfig, Refusal> {
        Ok(self.get("config/auto-tidy").await?.unwrap_or_default())
    }

    pub async fn put_tidy_config(&self, config: &TidyConfig) -> Result<(), Refusal> {
        self.put("config/auto-tidy", config).await
    }

    pub async fn issuers_config(&self) -> Result<IssuersConfig, Refusal> {
        Ok(self.get("config/issuers").await?.unwrap_or_default())
    }

    pub async fn put_issuers_config(&self, config: &IssuersConfig) -> Result<(), Refusal> {
        self.put("config/issuers", config).await
    }

    pub async fn default_key(&self) -> Result<String, Refusal> {
        Ok(self.get("config/keys").await?.unwrap_or_default())
    }

    pub async fn put_default_key(&self, id: &str) -> Result<(), Refusal> {
        self.put("config/keys", &id).await
    }

    pub async fn role(&self, name: &str) -> Result<Option<Role>, Refusal> {
        self.get(&format!("{ROLES}{name}")).await
    }

    // --- issuers

    pub async fn issuers(&self) -> Result<Vec<Issuer>, Refusal> {
        let mut issuers = Vec::new();
        for key in self.storage.keys(ISSUERS, None, MOST_ISSUERS).await? {
            if let Some(record) = self.get(&key).await? {
                issuers.push(Issuer::of(record)?);
            }
        }
        Ok(issuers)
    }

    /// The issuer that an id, a name or `default` refers to.
    pub async fn issuer(&self, reference: &str) -> Result<Issuer, Refusal> {
        let missing = || unfindable("issuer", reference);
        if reference == DEFAULT {
            let id = self.issuers_config().await?.default;
            let record = self.get(&format!("{ISSUERS}{id}")).await?;
            return Issuer::of(record.filter(|_| !id.is_empty()).ok_or_else(missing)?);
        }
        if uuid::Uuid::try_parse(reference).is_ok()
            && let Some(record) = self.get(&format!("{ISSUERS}{reference}")).await?
        {
            return Issuer::of(record);
        }
        let mut issuers = self.issuers().await?.into_iter();
        issuers.find(|issuer| issuer.record.name == reference).filter(|_| !reference.is_empty()).ok_or_else(missing)
    }

    pub async fn put_issuer(&self, record: &IssuerRecord) -> Result<(), Refusal> {
        self.put(&format!("{ISSUERS}{}", record.id), record).await
    }

    pub async fn delete_issuer(&self, id: &str) -> Result<(), Refusal> {
        Ok(self.storage.delete(&format!("{ISSUERS}{id}")).await?)
    }

    /// The certificates from an issuer's own to the last one that is here.
    pub async fn chain(&self, issuer: &Issuer) -> Result<Vec<Certificate>, Refusal> {
        let mut chain = vec![issuer.certificate.clone()];
        if !issuer.record.manual_chain.is_empty() {
            for id in issuer.record.manual_chain.iter().skip(1) {
                chain.push(self.issuer(id).await?.certificate);
            }
            return Ok(chain);
        }
        if issuer.certificate.is_self_issued() {
            return Ok(chain);
        }
        let others = self.issuers().await?;
        while let Some(last) = chain.last().filter(|last| !last.is_self_issued()) {
            let parent = others.iter().find(|other| last.is_signed_by(&other.certificate));
            let Some(parent) = parent.filter(|parent| chain.iter().all(|seen| seen.der() != parent.certificate.der()))
            else {
                break;
            };
            chain.push(parent.certificate.clone());
        }
        Ok(chain)
    }

    // --- keys

    pub async fn keys(&self) -> Result<Vec<KeyRecord>, Refusal> {
        let mut records = Vec::new();
        for key in self.storage.keys(KEYS, None, MOST_ISSUERS).await? {
            records.extend(self.get::<KeyRecord>(&key).await?);
        }
        Ok(records)
    }

    /// The key that an id, a name or `default` refers to.
    pub async fn key(&self, reference: &str) -> Result<KeyRecord, Refusal> {
        let missing = || unfindable("key", reference);
        let wanted = if reference == DEFAULT { self.default_key().await? } else { reference.to_owned() };
        if uuid::Uuid::try_parse(&wanted).is_ok()
            && let Some(record) = self.get(&format!("{KEYS}{wanted}")).await?
        {
            return Ok(record);
        }
        let mut keys = self.keys().await?.into_iter();
        keys.find(|key| key.name == wanted && !wanted.is_empty()).ok_or_else(missing)
    }

    pub async fn put_key(&self, record: &KeyRecord) -> Result<(), Refusal> {
        self.put(&format!("{KEYS}{}", record.id), record).await
    }

    pub async fn delete_key(&self, id: &str) -> Result<(), Refusal> {
        self.cached().remove(id);
        Ok(self.storage.delete(&format!("{KEYS}{id}")).await?)
    }

    /// The key of an issuer, ready to sign.
    pub async fn signing_key(&self, id: &str) -> Result<Arc<PrivateKey>, Refusal> {
        if let Some(key) = self.cached().get(id) {
            return Ok(Arc::clone(key));
        }
        let record = self.key(id).await?;
        let key = PrivateKey::from_der(&record.pkcs8);
        let key = key.ok_or_else(|| Refusal::Failed { what: format!("key {id} cannot be read"), source: None })?;
        let key = Arc::new(key);
        self.cached().insert(record.id, Arc::clone(&key));
        Ok(key)
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<PrivateKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- certificates

    pub async fn certificate(&self, serial: &Serial) -> Result<Option<Certificate>, Refusal> {
        let Some(record) = self.get::<CertificateRecord>(&certificate_key(serial)).await? else { return Ok(None) };
        let certificate = Certificate::from_der(&record.certificate);
        certificate.map(Some).map_err(|error| Refusal::failed("a stored certificate cannot be read", error))
    }

    pub async fn put_certificate(&self, certificate: &Certificate) -> Result<(), Refusal> {
        let (key, record) = certificate_entry(certificate);
        self.put(&key, &record).await
    }

    pub async fn revocation(&self, serial: &Serial) -> Result<Option<RevocationRecord>, Refusal> {
        self.get(&format!("{REVOKED}{}", serial.key())).await
    }

    pub async fn put_revocation(&self, serial: &Serial, record: &RevocationRecord) -> Result<(), Refusal> {
        self.put(&format!("{REVOKED}{}", serial.key()), record).await
    }

    /// The next number of an authority's revocation list: it only ever rises (RFC 5280, 5.2.3).
    pub async fn next_list_number(&self, authority: &str) -> Result<u64, Refusal> {
        let key = format!("crl/{authority}");
        let number = self.get::<u64>(&key).await?.unwrap_or(0) + 1;
        self.put(&key, &number).await?;
        Ok(number)
    }

    /// Removes entries together.
    pub async fn remove(&self, keys: &[String]) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        for key in keys {
            batch.delete(key, Expect::Anything);
        }
        Ok(self.storage.commit(batch).await?)
    }
}

fn certificate_key(serial: &Serial) -> String {
    format!("{CERTIFICATES}{}", serial.key())
}

fn certificate_entry(certificate: &Certificate) -> (String, CertificateRecord) {
    let record = CertificateRecord { certificate: certificate.der().to_vec(), not_after: certificate.not_after() };
    (certificate_key(&certificate.serial()), record)
}
