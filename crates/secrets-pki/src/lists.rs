//! Revocation, and the lists that tell it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mainstay_secrets_engine::{Answer, Fields, Refusal, Request};
use mainstay_types::Timestamp;
use serde_json::{Map, Value, json};

use crate::backend::{Pki, off_thread};
use crate::certificate::{Certificate, Serial};
use crate::certify::unix;
use crate::crl;
use crate::key::PrivateKey;
use crate::pem;
use crate::record::{CrlConfig, RevocationRecord};
use crate::store::{Issuer, REVOKED};

/// How many entries are read from storage at a time.
const PAGE: usize = 1_000;

/// The shortest life of a list: one that ends at once would be made for every request.
const SHORTEST_LIFE: u64 = 60;

/// What the lists are made from, and the lists.
#[derive(Default)]
pub struct Lists {
    /// None until it was read from storage.
    revoked: Option<BTreeMap<Serial, Revoked>>,
    made: HashMap<Vec<u8>, Made>,
}

struct Revoked {
    at: Timestamp,
    authority: Vec<u8>,
}

struct Made {
    der: Arc<Vec<u8>>,
    /// Made again from here on, which is well before anyone calls it old.
    renew_at: Timestamp,
}

impl Lists {
    /// Something else is revoked now, or no longer: the lists of this authority are made again when they are asked for.
    pub fn forget(&mut self, authority: &[u8]) {
        self.made.remove(authority);
    }

    pub fn forget_all(&mut self) {
        self.made.clear();
    }

    pub fn remove(&mut self, serial: &Serial) {
        if let Some(removed) = self.revoked.as_mut().and_then(|revoked| revoked.remove(serial)) {
            self.made.remove(&removed.authority);
        }
    }
}

impl Pki {
    /// The revocation list of an issuer, in DER. None where it signs none.
    pub(crate) async fn list_der(&self, issuer: &Issuer, now: Timestamp) -> Result<Option<Arc<Vec<u8>>>, Refusal> {
        if !issuer.record.usage.crl_signing || issuer.record.key_id.is_empty() {
            return Ok(None);
        }
        let authority = issuer.certificate.authority();
        let mut lists = self.lists.lock().await;
        if let Some(made) = lists.made.get(&authority).filter(|made| now < made.renew_at) {
            return Ok(Some(Arc::clone(&made.der)));
        }
        let config = self.store.crl_config().await?;
        let revoked = self.revoked(&mut lists).await?;
        let revoked: Vec<_> = revoked
            .iter()
            .filter(|(_, revoked)| !config.disable && revoked.authority == authority)
            .map(|(serial, revoked)| (serial.clone(), revoked.at))
            .collect();
        let life = seconds(&config.expiry)?.max(SHORTEST_LIFE);
        let number = self.store.next_list_number(&hexadecimal(&authority)).await?;
        let key = self.store.signing_key(&issuer.record.key_id).await?;
        let (certificate, hash) = (issuer.certificate.clone(), issuer.hash());
        let der = off_thread(move || {
            let next_update = now.plus_seconds(life);
            let list = crl::List { issuer: &certificate, number, this_update: now, next_update, revoked: &revoked };
            crl::make(&list, &key, hash)
        });
        let der = Arc::new(der.await?);
        lists.made.insert(authority, Made { der: Arc::clone(&der), renew_at: now.plus_seconds(life / 2) });
        Ok(Some(der))
    }

    async fn revoked<'a>(&self, lists: &'a mut Lists) -> Result<&'a mut BTreeMap<Serial, Revoked>, Refusal> {
        if lists.revoked.is_none() {
            let mut all = BTreeMap::new();
            let mut after: Option<String> = None;
            loop {
                let keys = self.store.storage().keys(REVOKED, after.as_deref(), PAGE).await?;
                for key in &keys {
                    let serial = key.strip_prefix(REVOKED).and_then(Serial::from_key);
                    let record: Option<RevocationRecord> = self.store.get(key).await?;
                    if let (Some(serial), Some(record)) = (serial, record) {
                        all.insert(serial, Revoked { at: record.revoked_at, authority: record.authority });
                    }
                }
                match keys.into_iter().next_back() {
                    Some(last) => after = Some(last),
                    None => break,
                }
            }
            lists.revoked = Some(all);
        }
        Ok(lists.revoked.get_or_insert_default())
    }

    /// `crl` and `issuer/REF/crl`.
    pub(crate) async fn list_of(&self, request: &Request, issuer: &str, as_pem: bool) -> Result<Answer, Refusal> {
        let issuer = match self.store.issuer(issuer).await {
            Ok(issuer) => issuer,
            Err(Refusal::Failed { source: None, .. }) => return Ok(Answer::nothing()),
            Err(error) => return Err(error),
        };
        let Some(der) = self.list_der(&issuer, request.now).await? else { return Ok(Answer::nothing()) };
        Ok(match as_pem {
            true => Answer::raw("application/x-pem-file", pem::encode("X509 CRL", &der).into_bytes()),
            false => Answer::raw("application/pkix-crl", der.to_vec()),
        })
    }

    /// `crl/rotate`: makes every list again.
    pub(crate) async fn rotate_lists(&self, request: &Request) -> Result<Answer, Refusal> {
        self.lists.lock().await.forget_all();
        for issuer in self.store.issuers().await? {
            self.list_der(&issuer, request.now).await?;
        }
        Ok(Answer::data(json!({ "success": true })))
    }

    /// `revoke` and `revoke-with-key`.
    pub(crate) async fn revoke(&self, request: &Request, with_key: bool) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let (serial, pem_text) = (fields.text("serial_number")?, fields.text("certificate")?);
        let certificate = match (serial, pem_text) {
            (None, None) => {
                return Err(Refusal::invalid("The serial number or certificate to revoke must be provided."));
            }
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid("Must provide either the certificate or the serial to revoke; not both."));
            }
            (Some(text), None) => {
                let missing = || Refusal::Invalid(format!("certificate with serial {text} not found."));
                let serial: Serial = text.parse().map_err(|_| missing())?;
                self.store.certificate(&serial).await?.ok_or_else(missing)?
            }
            (None, Some(text)) => self.presented(&text).await?,
        };
        if with_key {
            check_possession(&fields, &certificate)?;
        }
        self.revoke_certificate(&certificate, request.now).await
    }

    /// A lease is over: so is its certificate. One that is gone or ended by itself needs nothing.
    pub(crate) async fn revoke_leased(&self, internal: &Value, now: Timestamp) -> Result<(), Refusal> {
        let serial = internal.get("serial_number").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let Some(serial) = serial else {
            return Err(Refusal::Failed { what: "a certificate's lease names no serial number".into(), source: None });
        };
        if let Some(certificate) = self.store.certificate(&serial).await? {
            self.revoke_certificate(&certificate, now).await?;
        }
        Ok(())
    }

    async fn revoke_certificate(&self, certificate: &Certificate, now: Timestamp) -> Result<Answer, Refusal> {
        let serial = certificate.serial();
        let mut lists = self.lists.lock().await;
        if let Some(before) = self.store.revocation(&serial).await? {
            return Ok(Answer::data(revoked_since(before.revoked_at)));
        }
        if certificate.not_after() <= now {
            return Ok(Answer::data(Value::Object(Map::new()))
                .warning(format!("certificate with serial {serial} already expired; refusing to add to CRL")));
        }
        let issuers = self.store.issuers().await?;
        if let Some(own) = issuers.iter().find(|issuer| issuer.certificate.der() == certificate.der())
            && certificate.is_self_issued()
        {
            let message = format!("adding issuer (id: {}) to its own CRL is not allowed", own.record.id);
            return Err(Refusal::Invalid(message));
        }
        let issuer = issuers.iter().find(|issuer| certificate.is_signed_by(&issuer.certificate));
        let record = RevocationRecord {
            revoked_at: now,
            not_after: certificate.not_after(),
            issuer_id: issuer.map(|issuer| issuer.record.id.clone()).unwrap_or_default(),
            authority: issuer.map(|issuer| issuer.certificate.authority()).unwrap_or_default(),
        };
        self.store.put_revocation(&serial, &record).await?;
        let revoked = self.revoked(&mut lists).await?;
        revoked.insert(serial, Revoked { at: now, authority: record.authority.clone() });
        lists.forget(&record.authority);
        Ok(Answer::data(revoked_since(now)))
    }

    /// A certificate that a client shows: it has to be from here, whether it was kept or not.
    async fn presented(&self, text: &str) -> Result<Certificate, Refusal> {
        let block = pem::decode(text)?.into_iter().next();
        let block = block.ok_or_else(|| Refusal::invalid("certificate contains no PEM data"))?;
        let certificate = Certificate::from_der(block.contents())
            .map_err(|error| Refusal::Invalid(format!("certificate could not be parsed: {error}")))?;
        match self.store.certificate(&certificate.serial()).await? {
            Some(kept) if kept.der() == certificate.der() => return Ok(certificate),
            Some(_) => {
                return Err(Refusal::invalid(
                    "certificate with same serial but unequal value already present in this cluster's storage; refusing to revoke",
                ));
            }
            None => {}
        }
        let issuers = self.store.issuers().await?;
        if !issuers.iter().any(|issuer| certificate.is_signed_by(&issuer.certificate)) {
            return Err(Refusal::invalid(
                "unable to verify signature on presented cert from any present issuer in this mount; certificates from previous CAs will need to have their issuing CA and key re-imported if revocation is necessary",
            ));
        }
        self.store.put_certificate(&certificate).await?;
        Ok(certificate)
    }

    /// `issuer/REF/revoke`: it signs no more certificates, and is on its own issuer's list where that one is here.
    pub(crate) async fn revoke_issuer(&self, request: &Request, reference: &str) -> Result<Answer, Refusal> {
        let _changing = self.changes.lock().await;
        let mut issuer = self.store.issuer(reference).await?;
        if issuer.record.revoked_at.is_none() {
            issuer.record.revoked_at = Some(request.now);
            issuer.record.usage.issuing = false;
            self.store.put_issuer(&issuer.record).await?;
            let kept = self.store.certificate(&issuer.certificate.serial()).await?;
            let is_kept = kept.is_some_and(|kept| kept.der() == issuer.certificate.der());
            if is_kept && !issuer.certificate.is_self_issued() {
                self.revoke_certificate(&issuer.certificate, request.now).await?;
            }
        }
        let mut answer = self.shown_issuer(&issuer).await?;
        if issuer.certificate.is_self_issued() {
            answer = answer.warning("This issuer is a self-signed (potentially root) certificate. This means it may not be considered revoked if there is not an external, cross-signed variant of this certificate. This issuer's serial number will not appear on its own CRL.");
        }
        Ok(answer)
    }
}

/// The seconds of a duration as settings have it: `72h`.
pub(crate) fn seconds(text: &str) -> Result<u64, Refusal> {
    let data = Map::from_iter([("duration".to_owned(), Value::from(text))]);
    let seconds = Fields::new(&data).seconds("duration");
    seconds?.ok_or_else(|| Refusal::invalid("a duration is missing"))
}

pub(crate) fn revoked_since(at: Timestamp) -> Value {
    json!({ "revocation_time": unix(at), "revocation_time_rfc3339": at.to_string(), "state": "revoked" })
}

fn check_possession(fields: &Fields<'_>, certificate: &Certificate) -> Result<(), Refusal> {
    let text = fields.text("private_key")?.filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| Refusal::invalid("Must have private key to revoke via the /revoke-with-key path."))?;
    let block = pem::decode(&text)?.into_iter().next();
    let key = block.as_ref().and_then(|block| PrivateKey::from_der(block.contents()));
    let key = key.ok_or_else(|| Refusal::invalid("failed to parse provided private key"))?;
    match key.public()? == *certificate.public_key() {
        true => Ok(()),
        false => Err(Refusal::invalid("provided private key does not match certificate's public key")),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the settings of revocation.
pub(crate) fn overlaid(mut config: CrlConfig, fields: &Fields<'_>) -> Result<CrlConfig, Refusal> {
    for (name, place) in [
        ("expiry", &mut config.expiry),
        ("ocsp_expiry", &mut config.ocsp_expiry),
        ("auto_rebuild_grace_period", &mut config.auto_rebuild_grace_period),
        ("delta_rebuild_interval", &mut config.delta_rebuild_interval),
    ] {
        if let Some(text) = fields.text(name)? {
            let refused = |_| Refusal::Invalid(format!("given {name} could not be decoded: {text}"));
            seconds(&text).map_err(refused)?;
            *place = text;
        }
    }
    for (name, place) in [
        ("disable", &mut config.disable),
        ("ocsp_disable", &mut config.ocsp_disable),
        ("auto_rebuild", &mut config.auto_rebuild),
        ("enable_delta", &mut config.enable_delta),
    ] {
        if let Some(flag) = fields.boolean(name)? {
            *place = flag;
        }
    }
    if config.enable_delta {
        return Err(Refusal::invalid(
            "delta CRLs are not supported: leave enable_delta out; the whole list is renewed with every revocation",
        ));
    }
    Ok(config)
}
