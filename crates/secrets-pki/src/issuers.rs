//! Requests about issuers, keys and settings.

use mainstay_secrets_engine::{Answer, Fields, Operation, Refusal, Request};
use serde_json::{Map, Value, json};

use crate::asked::is_uri;
use crate::authority::key_record;
use crate::backend::Pki;
use crate::certificate::Certificate;
use crate::certify::{Format, unix};
use crate::extension::Urls;
use crate::key::{KeyKind, PrivateKey};
use crate::lists;
use crate::pem;
use crate::record::Usage;
use crate::store::Issuer;
use crate::validity::Outliving;

impl Pki {
    /// `config/WHAT`.
    pub(crate) async fn config(&self, request: &Request, of: &str) -> Result<Answer, Refusal> {
        let is_read = match request.operation {
            Operation::Read => true,
            Operation::Create | Operation::Update | Operation::Patch => false,
            Operation::Delete | Operation::List => return Err(Refusal::UnsupportedOperation),
        };
        match (of, is_read) {
            ("ca", false) => self.import(request, "pem_bundle", true).await,
            ("urls", true) => Ok(Answer::data(shown_urls(&self.store.urls().await?))),
            ("urls", false) => {
                let urls = overlaid(self.store.urls().await?, &request.fields())?;
                self.store.put_urls(&urls).await?;
                Ok(Answer::data(shown_urls(&urls)))
            }
            ("crl", true) => Ok(Answer::data(json!(self.store.crl_config().await?))),
            ("crl", false) => {
                let config = lists::overlaid(self.store.crl_config().await?, &request.fields())?;
                self.store.put_crl_config(&config).await?;
                self.lists.lock().await.forget_all();
                Ok(Answer::data(json!(config)))
            }
            ("issuers", true) => self.shown_default().await,
            ("issuers", false) => {
                self.choose_default(&request.fields()).await?;
                self.shown_default().await
            }
            ("keys", true) => Ok(Answer::data(json!({ "default": self.store.default_key().await? }))),
            ("keys", false) => {
                let key = self.store.key(&request.fields().required("default")?).await?;
                self.store.put_default_key(&key.id).await?;
                Ok(Answer::data(json!({ "default": key.id })))
            }
            ("auto-tidy", true) => Ok(Answer::data(json!(self.store.tidy_config().await?))),
            ("auto-tidy", false) => self.configure_tidying(&request.fields()).await,
            ("ca", true) => Err(Refusal::UnsupportedOperation),
            _ => Err(Refusal::UnsupportedPath),
        }
    }

    /// `root/replace`: another default issuer.
    pub(crate) async fn replace_root(&self, request: &Request) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let reference = fields.text("default")?.unwrap_or_else(|| "next".to_owned());
        let data = Map::from_iter([("default".to_owned(), Value::from(reference))]);
        self.choose_default(&Fields::new(&data)).await?;
        self.shown_default().await
    }

    async fn choose_default(&self, fields: &Fields<'_>) -> Result<(), Refusal> {
        let _changing = self.changes.lock().await;
        let mut config = self.store.issuers_config().await?;
        if let Some(reference) = fields.text("default")? {
            if reference.is_empty() || reference == "default" {
                return Err(Refusal::invalid(
                    "Invalid issuer specification; must be non-empty and can't be 'default'.",
                ));
            }
            config.default = self.store.issuer(&reference).await?.record.id;
        }
        if let Some(follows) = fields.boolean("default_follows_latest_issuer")? {
            config.default_follows_latest_issuer = follows;
        }
        self.store.put_issuers_config(&config).await
    }

    async fn shown_default(&self) -> Result<Answer, Refusal> {
        Ok(Answer::data(json!(self.store.issuers_config().await?)))
    }

    /// `LIST issuers`.
    pub(crate) async fn list_issuers(&self) -> Result<Answer, Refusal> {
        let default = self.store.issuers_config().await?.default;
        let (mut keys, mut info) = (Vec::new(), Map::new());
        for issuer in self.store.issuers().await? {
            let record = issuer.record;
            let about = json!({
                "issuer_name": record.name, "is_default": record.id == default, "key_id": record.key_id,
                "serial_number": issuer.certificate.serial().to_string(),
            });
            info.insert(record.id.clone(), about);
            keys.push(record.id);
        }
        if keys.is_empty() {
            return Err(Refusal::NotFound);
        }
        Ok(Answer::data(json!({ "keys": keys, "key_info": info })))
    }

    pub(crate) async fn read_issuer(&self, reference: &str) -> Result<Answer, Refusal> {
        let issuer = self.store.issuer(reference).await?;
        self.shown_issuer(&issuer).await
    }

    /// `issuer/REF/json`, `pem` and `der`, which anyone may read.
    pub(crate) async fn show_issuer(&self, reference: &str, form: &str) -> Result<Answer, Refusal> {
        let issuer = self.store.issuer(reference).await?;
        Ok(match form {
            "pem" => Answer::raw("application/pem-certificate-chain", issuer.certificate.pem().into_bytes()),
            "der" => Answer::raw("application/pkix-cert", issuer.certificate.der().to_vec()),
            _ => Answer::data(json!({
                "certificate": issuer.certificate.pem(), "ca_chain": pems(&self.store.chain(&issuer).await?),
                "issuer_id": issuer.record.id, "issuer_name": issuer.record.name,
            })),
        })
    }

    pub(crate) async fn shown_issuer(&self, issuer: &Issuer) -> Result<Answer, Refusal> {
        let record = &issuer.record;
        let urls = record.urls.clone().unwrap_or_default();
        let mut data = json!({
            "issuer_id": record.id,
            "issuer_name": record.name,
            "key_id": record.key_id,
            "certificate": issuer.certificate.pem(),
            "manual_chain": if record.manual_chain.is_empty() { Value::Null } else { json!(record.manual_chain) },
            "ca_chain": pems(&self.store.chain(issuer).await?),
            "leaf_not_after_behavior": record.leaf_not_after_behavior,
            "usage": record.usage.names(),
            "revocation_signature_algorithm": "",
            "revoked": record.revoked_at.is_some(),
            "issuing_certificates": urls.issuing_certificates,
            "crl_distribution_points": urls.crl_distribution_points,
            "ocsp_servers": urls.ocsp_servers,
        });
        if let Some(at) = record.revoked_at {
            data["revocation_time"] = unix(at).into();
            data["revocation_time_rfc3339"] = at.to_string().into();
        }
        Ok(Answer::data(data))
    }

    /// A write says everything; a patch says what is to be different.
    pub(crate) async fn update_issuer(
        &self,
        request: &Request,
        reference: &str,
        is_patch: bool,
    ) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let _changing = self.changes.lock().await;
        let mut issuer = self.store.issuer(reference).await?;
        let mut record = issuer.record.clone();
        if !is_patch {
            record.name = String::new();
            record.leaf_not_after_behavior = Outliving::default();
            record.usage = Usage {
                issuing: record.revoked_at.is_none(),
                crl_signing: issuer.certificate.may_sign_lists(),
                ocsp_signing: true,
            };
            record.manual_chain.clear();
            record.urls = None;
        }
        if let Some(name) = fields.text("issuer_name")? {
            self.check_issuer_name(&name, Some(&record.id)).await?;
            record.name = name;
        }
        if let Some(text) = fields.text("leaf_not_after_behavior")? {
            record.leaf_not_after_behavior = outliving(&text)?;
        }
        if let Some(names) = fields.list("usage")? {
            record.usage = checked_usage(&names, &issuer)?;
        }
        if let Some(references) = fields.list("manual_chain")? {
            record.manual_chain = self.manual_chain(&record.id, &references).await?;
        }
        let urls = overlaid(record.urls.take().unwrap_or_default(), &fields)?;
        record.urls = Some(urls).filter(|urls| !urls.is_empty());
        self.store.put_issuer(&record).await?;
        self.lists.lock().await.forget(&issuer.certificate.authority());
        issuer.record = record;
        self.shown_issuer(&issuer).await
    }

    async fn manual_chain(&self, own: &str, references: &[String]) -> Result<Vec<String>, Refusal> {
        let mut chain = Vec::new();
        for (at, reference) in references.iter().enumerate() {
            let id = match (at, reference.as_str()) {
                (0, "self") => own.to_owned(),
                _ => self.store.issuer(reference).await?.record.id,
            };
            if at == 0 && id != own {
                let message = format!("expected first cert in chain to be a self-reference, but was: {reference}/{id}");
                return Err(Refusal::Invalid(message));
            }
            chain.push(id);
        }
        Ok(chain)
    }

    pub(crate) async fn delete_issuer(&self, reference: &str) -> Result<Answer, Refusal> {
        let _changing = self.changes.lock().await;
        let issuer = self.store.issuer(reference).await?;
        let id = &issuer.record.id;
        self.store.delete_issuer(id).await?;
        self.lists.lock().await.forget(&issuer.certificate.authority());
        let mut config = self.store.issuers_config().await?;
        if config.default != *id {
            return Ok(Answer::nothing());
        }
        config.default.clear();
        self.store.put_issuers_config(&config).await?;
        Ok(Answer::default().warning(format!("Deleted issuer {id} (via issuer_ref {reference}); this was configured as the default issuer. Operations without an explicit issuer will not work until a new default is configured.")))
    }

    /// `LIST keys`.
    pub(crate) async fn list_keys(&self) -> Result<Answer, Refusal> {
        let default = self.store.default_key().await?;
        let (mut keys, mut info) = (Vec::new(), Map::new());
        for record in self.store.keys().await? {
            info.insert(record.id.clone(), json!({ "key_name": record.name, "is_default": record.id == default }));
            keys.push(record.id);
        }
        if keys.is_empty() {
            return Err(Refusal::NotFound);
        }
        Ok(Answer::data(json!({ "keys": keys, "key_info": info })))
    }

    pub(crate) async fn read_key(&self, reference: &str) -> Result<Answer, Refusal> {
        let record = self.store.key(reference).await?;
        let public = self.store.signing_key(&record.id).await?.public()?;
        let identifier = crate::certificate::Serial::new(&crate::signature::key_identifier(&public)).to_string();
        Ok(Answer::data(json!({
            "key_id": record.id, "key_name": record.name, "key_type": record.kind, "subject_key_id": identifier,
        })))
    }

    pub(crate) async fn update_key(&self, request: &Request, reference: &str) -> Result<Answer, Refusal> {
        let _changing = self.changes.lock().await;
        let mut record = self.store.key(reference).await?;
        let name = request.fields().text("key_name")?.unwrap_or_default();
        if name != record.name {
            record.name = self.new_key_name(&request.fields()).await?;
            self.store.put_key(&record).await?;
        }
        Ok(Answer::data(json!({ "key_id": record.id, "key_name": record.name, "key_type": record.kind })))
    }

    pub(crate) async fn delete_key(&self, reference: &str) -> Result<Answer, Refusal> {
        let _changing = self.changes.lock().await;
        let record = self.store.key(reference).await?;
        let issuers = self.store.issuers().await?;
        if let Some(user) = issuers.iter().find(|issuer| issuer.record.key_id == record.id) {
            let message = format!("unable to delete key {}: issuer {} still uses it", record.id, user.record.id);
            return Err(Refusal::Invalid(message));
        }
        self.store.delete_key(&record.id).await?;
        if self.store.default_key().await? == record.id {
            self.store.put_default_key("").await?;
            return Ok(Answer::default().warning(format!("Deleted key {} (via key_ref {reference}); this was configured as the default key. Operations without an explicit key will not work until a new default is configured.", record.id)));
        }
        Ok(Answer::nothing())
    }

    /// `keys/generate/KIND`.
    pub(crate) async fn generate_key(&self, request: &Request, kind: &str) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let is_shown = match kind {
            "internal" => false,
            "exported" => true,
            _ => return Err(Refusal::UnsupportedPath),
        };
        let key_type = fields.text("key_type")?.unwrap_or_else(|| "rsa".to_owned());
        let kind = KeyKind::parse(&key_type, fields.count("key_bits")?.unwrap_or(0))?;
        let key = self.make_key(kind).await?;
        let _changing = self.changes.lock().await;
        let record = key_record(&key, self.new_key_name(&fields).await?);
        self.put_key(&record).await?;
        let mut data = json!({ "key_id": record.id, "key_name": record.name, "key_type": record.kind });
        if is_shown {
            data["private_key"] = Format::Pem.key(&fields, &key)?.into();
        }
        Ok(Answer::data(data))
    }

    /// `keys/import`.
    pub(crate) async fn import_key(&self, request: &Request) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let text = zeroize::Zeroizing::new(fields.required("pem_bundle")?);
        let mut blocks = pem::decode(&text)?.into_iter().filter(|block| block.tag().ends_with("PRIVATE KEY"));
        let (Some(block), None) = (blocks.next(), blocks.next()) else {
            return Err(Refusal::invalid("only a single key can be present within the pem_bundle for importing"));
        };
        let key = PrivateKey::from_der(block.contents());
        let key = key.ok_or_else(|| Refusal::invalid("unable to parse private key"))?;
        let _changing = self.changes.lock().await;
        for record in self.store.keys().await? {
            if self.store.signing_key(&record.id).await?.public()? == key.public()? {
                let data = json!({ "key_id": record.id, "key_name": record.name, "key_type": record.kind });
                return Ok(Answer::data(data).warning("Key already imported, use key/ endpoint to update name."));
            }
        }
        let record = key_record(&key, self.new_key_name(&fields).await?);
        self.put_key(&record).await?;
        Ok(Answer::data(json!({ "key_id": record.id, "key_name": record.name, "key_type": record.kind })))
    }
}

fn pems(chain: &[Certificate]) -> Vec<String> {
    chain.iter().map(Certificate::pem).collect()
}

fn shown_urls(urls: &Urls) -> Value {
    let mut data = json!(urls);
    data["enable_templating"] = false.into();
    data
}

/// The URLs with what a request says instead.
fn overlaid(mut urls: Urls, fields: &Fields<'_>) -> Result<Urls, Refusal> {
    for name in ["enable_templating", "enable_aia_url_templating"] {
        if fields.boolean(name)?.unwrap_or(false) {
            return Err(Refusal::Invalid(format!("{name} is not supported: write the URLs out")));
        }
    }
    for (name, place) in [
        ("issuing_certificates", &mut urls.issuing_certificates),
        ("crl_distribution_points", &mut urls.crl_distribution_points),
        ("ocsp_servers", &mut urls.ocsp_servers),
    ] {
        let Some(list) = fields.list(name)? else { continue };
        if let Some(bad) = list.iter().find(|url| !is_uri(url) || !url.contains("://")) {
            return Err(Refusal::Invalid(format!(
                "invalid URL found in Authority Information Access (AIA) parameter {name}: {bad}"
            )));
        }
        *place = list;
    }
    Ok(urls)
}

fn outliving(text: &str) -> Result<Outliving, Refusal> {
    match text {
        "err" => Ok(Outliving::Err),
        "truncate" => Ok(Outliving::Truncate),
        "permit" => Ok(Outliving::Permit),
        _ => Err(Refusal::invalid(
            "Unknown value for field `leaf_not_after_behavior`. Possible values are `err`, `truncate`, and `permit`.",
        )),
    }
}

fn checked_usage(names: &[String], issuer: &Issuer) -> Result<Usage, Refusal> {
    let usage = Usage::parse(names).ok_or_else(|| {
        let all = Usage::default().names();
        Refusal::Invalid(format!("Unable to parse specified usages: [{}] - valid values are {all}", names.join(" ")))
    })?;
    if usage.issuing && issuer.record.revoked_at.is_some() {
        return Err(Refusal::invalid(
            "This issuer was revoked; unable to modify its usage to include certificate signing again. Reissue this certificate (preferably with a new key) and modify that entry instead.",
        ));
    }
    if usage.crl_signing && !issuer.certificate.may_sign_lists() {
        return Err(Refusal::invalid(
            "This issuer's underlying certificate lacks the CRLSign KeyUsage value; unable to set CRLSigningUsage on this issuer as a result.",
        ));
    }
    Ok(usage)
}
