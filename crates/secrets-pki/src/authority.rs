//! Requests that make authorities: roots, intermediates, imports.

use std::sync::Arc;

use mainstay_secrets_engine::{Answer, Fields, Refusal, Request};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::asked::{Identity, check_key, identity};
use crate::backend::{Pki, off_thread};
use crate::certificate::Certificate;
use crate::certify::{Format, shown};
use crate::csr::{self, Csr};
use crate::extension::{self, Urls};
use crate::key::{KeyKind, PrivateKey};
use crate::pem;
use crate::record::{IssuerRecord, KeyRecord, Usage};
use crate::role::Role;
use crate::roles::is_name;
use crate::store::{Issuer, MOST_ISSUERS};
use crate::subject;
use crate::template::{Purpose, Signer, Template, cross_sign, extended_key_usage};
use crate::validity::{self, Outliving, Validity};

/// The shortest text that can be a PEM file. Something shorter is a file's name, given instead of what is in the file.
const SHORTEST_PEM: usize = 75;

const NO_SUBJECT: &str = "This issuer certificate was generated without a Subject; this makes it likely that issuing leaf certs with this certificate will cause TLS validation libraries to reject this certificate.";
const NO_URLS: &str = "This mount hasn't configured any authority information access (AIA) fields; this may make it harder for systems to find missing certificates in the chain or to validate revocation status of certificates. Consider updating /config/urls or the newly generated issuer with this information.";
const NO_FURTHER: &str = "Max path length of the generated certificate is zero. This certificate cannot be used to issue intermediate CA certificates.";

/// Where a new authority's key comes from, and whether it is shown.
struct Source {
    key: Arc<PrivateKey>,
    record: KeyRecord,
    is_shown: bool,
    is_new: bool,
}

impl Pki {
    /// `root/generate/KIND`.
    pub(crate) async fn generate_root(&self, request: &Request, kind: &str) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let format = Format::of(&fields)?;
        let role = Role::for_authority(&fields)?;
        let identity = identity(&role, &fields, None)?;
        let (validity, warnings) = validity::decide(&role, &fields, self.bounds(request, None))?;
        let source = self.source(&fields, kind, &role).await?;
        let _changing = self.changes.lock().await;
        let name = self.new_issuer_name(&fields).await?;
        let path_length = path_length(&fields)?;
        let purpose = Purpose::Authority { path_length, permitted_domains: permitted_domains(&fields)? };
        let urls = self.store.urls().await?;
        let template = template(&role, identity, source.key.public()?, validity, purpose, urls.clone());
        let certificate = self.sign_itself(template, Arc::clone(&source.key), role.hash()?).await?;
        self.put_source(&source).await?;
        let issuer = self.add_issuer(&certificate, name, source.record.id.clone(), role.signature_bits).await?;
        self.store.put_certificate(&certificate).await?;
        self.follow(std::slice::from_ref(&issuer)).await?;
        let key = Some(source.key.as_ref()).filter(|_| source.is_shown);
        let mut data = shown(&fields, format, &certificate, std::slice::from_ref(&certificate), key)?;
        data.remove("ca_chain");
        if format == Format::PemBundle {
            let certificate = format.certificate(&certificate);
            let bundle = data.get("private_key").and_then(Value::as_str).map(|key| format!("{key}\n{certificate}"));
            data.insert("certificate".into(), bundle.unwrap_or(certificate).into());
        }
        data.insert("issuer_id".into(), issuer.record.id.clone().into());
        data.insert("issuer_name".into(), issuer.record.name.clone().into());
        data.insert("key_id".into(), source.record.id.clone().into());
        data.insert("key_name".into(), source.record.name.clone().into());
        let mut answer = Answer { data: Some(data), warnings, ..Answer::default() };
        if subject::is_empty(certificate.subject()) {
            answer = answer.warning(NO_SUBJECT);
        }
        if urls.is_empty() {
            answer = answer.warning(NO_URLS);
        }
        if path_length == Some(0) {
            answer = answer.warning(NO_FURTHER);
        }
        Ok(answer)
    }

    /// `intermediate/generate/KIND`.
    pub(crate) async fn generate_intermediate(&self, request: &Request, kind: &str) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let format = Format::of(&fields)?;
        let role = Role::for_authority(&fields)?;
        let identity = identity(&role, &fields, None)?;
        let source = self.source(&fields, kind, &role).await?;
        let with_constraints = fields.boolean("add_basic_constraints")?.unwrap_or(false);
        let validity = Validity { not_before: request.now, not_after: request.now };
        let template = template(&role, identity, source.key.public()?, validity, Purpose::Leaf, Urls::default());
        let extensions = template.requested_extensions(with_constraints)?;
        let (key, hash) = (Arc::clone(&source.key), role.hash()?);
        let request_der = off_thread(move || csr::make(&key, hash, &template.subject, extensions)).await?;
        let _changing = self.changes.lock().await;
        self.put_source(&source).await?;
        let mut text = format.encode("CERTIFICATE REQUEST", &request_der);
        let mut data = Map::new();
        if source.is_shown {
            let key = format.key(&fields, &source.key)?;
            if format == Format::PemBundle {
                text = format!("{key}\n{text}");
            }
            data.insert("private_key".into(), key.into());
            data.insert("private_key_type".into(), source.key.kind().name().into());
        }
        data.insert("csr".into(), text.into());
        data.insert("key_id".into(), source.record.id.into());
        Ok(Answer { data: Some(data), ..Answer::default() })
    }

    /// `root/sign-intermediate` and `issuer/REF/sign-intermediate`.
    pub(crate) async fn sign_intermediate(&self, request: &Request, reference: &str) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let format = Format::of(&fields)?;
        let common_name = fields.text("common_name")?.unwrap_or_default();
        let role = Role {
            key_type: "any".into(),
            use_csr_common_name: common_name.is_empty(),
            ..Role::for_authority(&fields)?
        };
        let issuer = self.issuer_to_sign(reference).await?;
        let csr = Csr::parse(&fields.text("csr")?.unwrap_or_default())?;
        check_key(&role, &csr)?;
        let as_asked = fields.boolean("use_csr_values")?.unwrap_or(false);
        let identity = match as_asked {
            true => Identity { subject: csr.subject().clone(), names: csr.names.clone() },
            false => identity(&role, &fields, Some(&csr))?,
        };
        let path_length = match (issuer.certificate.path_length(), path_length(&fields)?) {
            (Some(0), _) => {
                return Err(Refusal::invalid(
                    "signing certificate has a max path length of zero, and cannot issue further CA certificates",
                ));
            }
            (Some(above), asked) => Some(asked.unwrap_or(above - 1).min(above - 1)),
            (None, asked) => asked,
        };
        let mut bounds = self.bounds(request, Some(&issuer));
        if !fields.boolean("enforce_leaf_not_after_behavior")?.unwrap_or(false) {
            // An authority may outlive the certificate of the one above, which is renewed meanwhile; leaves may not.
            bounds.issuer = bounds.issuer.map(|(ends, _)| (ends, Outliving::Permit));
        }
        let (validity, warnings) = validity::decide(&role, &fields, bounds)?;
        let purpose = Purpose::Authority { path_length, permitted_domains: permitted_domains(&fields)? };
        let urls = self.urls_of(&issuer).await?;
        let mut template = template(&role, identity, csr.public_key().clone(), validity, purpose, urls.clone());
        if as_asked {
            template.verbatim = csr.extensions().to_vec();
        }
        let certificate = self.sign(template, &issuer, role.hash()?).await?;
        self.store.put_certificate(&certificate).await?;
        let mut chain = vec![certificate.clone()];
        chain.extend(self.store.chain(&issuer).await?);
        let mut data = shown(&fields, format, &certificate, &chain[1..], None)?;
        let texts: Vec<String> = chain.iter().map(|certificate| format.certificate(certificate)).collect();
        data.insert("ca_chain".into(), texts.into());
        let mut answer = Answer { data: Some(data), warnings, ..Answer::default() };
        if issuer.certificate.not_after() < certificate.not_after() {
            answer = answer.warning("The expiration time for the signed certificate is after the CA's expiration time. If the new certificate is not treated as a root, validation paths with the certificate past the issuing CA's expiration time will fail.");
        }
        if subject::is_empty(certificate.subject()) {
            answer = answer.warning(NO_SUBJECT);
        }
        if urls.is_empty() {
            answer = answer.warning(NO_URLS);
        }
        if path_length == Some(0) {
            answer = answer.warning("Max path length of the signed certificate is zero. This certificate cannot be used to issue intermediate CA certificates.");
        }
        Ok(answer)
    }

    /// `root/sign-self-issued`: signs another root's certificate once more, so that whoever trusts this one trusts it.
    pub(crate) async fn sign_self_issued(&self, request: &Request, reference: &str) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let block = pem::decode(&fields.required("certificate")?)?.into_iter().next();
        let block = block.ok_or_else(|| Refusal::invalid("certificate could not be PEM-decoded"))?;
        let certificate = Certificate::from_der(block.contents())
            .map_err(|error| Refusal::Invalid(format!("error parsing certificate: {error}")))?;
        if !certificate.is_ca() {
            return Err(Refusal::invalid("given certificate is not a CA certificate"));
        }
        if !certificate.is_signed_by(&certificate) {
            return Err(Refusal::invalid("given certificate is not self-issued"));
        }
        let issuer = self.issuer_to_sign(reference).await?;
        let key = self.store.signing_key(&issuer.record.key_id).await?;
        let urls = self.urls_of(&issuer).await?;
        let (signer, hash) = (issuer.clone(), issuer.hash());
        let signed = off_thread(move || {
            let signer = Signer { certificate: Some(&signer.certificate), key: &key, hash };
            cross_sign(&certificate, &signer, &urls)
        });
        Ok(Answer::data(json!({ "certificate": signed.await?.pem(), "issuing_ca": issuer.certificate.pem() })))
    }

    /// `config/ca`, `intermediate/set-signed`, `issuers/import/KIND`.
    pub(crate) async fn import(&self, request: &Request, field: &str, with_keys: bool) -> Result<Answer, Refusal> {
        let text = Zeroizing::new(request.fields().text(field)?.unwrap_or_default());
        if text.is_empty() {
            return Err(Refusal::Invalid(format!("'{field}' parameter was empty")));
        }
        if text.len() < SHORTEST_PEM {
            return Err(Refusal::invalid(
                "provided data for import was too short; perhaps a path was passed to the API rather than the contents of a PEM file",
            ));
        }
        let (mut certificates, mut keys) = (Vec::new(), Vec::new());
        for block in pem::decode(&text)? {
            match block.tag() {
                "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                    let certificate = Certificate::from_der(block.contents())
                        .map_err(|error| Refusal::Invalid(format!("unable to parse certificate: {error}")))?;
                    if !certificate.is_ca() {
                        return Err(Refusal::invalid("Refusing to import non-CA certificate"));
                    }
                    certificates.push(certificate);
                }
                tag if tag.ends_with("PRIVATE KEY") && with_keys => {
                    let key = PrivateKey::from_der(block.contents());
                    keys.push(key.ok_or_else(|| Refusal::invalid("unable to parse private key"))?);
                }
                tag if tag.ends_with("PRIVATE KEY") => {
                    return Err(Refusal::invalid(
                        "private keys found in the PEM bundle but not allowed by the path; use /issuers/import/bundle",
                    ));
                }
                // Curve parameters stand before keys in files that openssl wrote.
                _ => {}
            }
        }
        let _changing = self.changes.lock().await;
        let imported = self.take_over(certificates, keys).await?;
        let mut answer = Answer::data(imported);
        if self.store.urls().await?.is_empty() {
            answer = answer.warning(NO_URLS);
        }
        Ok(answer)
    }

    async fn take_over(&self, certificates: Vec<Certificate>, keys: Vec<PrivateKey>) -> Result<Value, Refusal> {
        let mut known_keys = Vec::new();
        for record in self.store.keys().await? {
            known_keys.push((record.id.clone(), self.store.signing_key(&record.id).await?.public()?));
        }
        let (mut new_keys, mut old_keys) = (Vec::new(), Vec::new());
        for key in keys {
            let public = key.public()?;
            if let Some((id, _)) = known_keys.iter().find(|(_, known)| *known == public) {
                old_keys.push(id.clone());
                continue;
            }
            let record = key_record(&key, String::new());
            self.put_key(&record).await?;
            known_keys.push((record.id.clone(), public));
            new_keys.push(record.id);
        }
        let mut issuers = self.store.issuers().await?;
        let (mut new, mut new_ids, mut old_ids) = (Vec::new(), Vec::new(), Vec::new());
        let key_of = |certificate: &Certificate| {
            let key = known_keys.iter().find(|(_, public)| public == certificate.public_key());
            key.map(|(id, _)| id.clone()).unwrap_or_default()
        };
        // Issuers whose key comes only now have it from now on.
        for issuer in issuers.iter_mut().filter(|issuer| issuer.record.key_id.is_empty()) {
            issuer.record.key_id = key_of(&issuer.certificate);
            if !issuer.record.key_id.is_empty() {
                self.store.put_issuer(&issuer.record).await?;
            }
        }
        let mut mapping = Map::new();
        for certificate in certificates {
            let issuer = match issuers.iter().find(|issuer| issuer.certificate.der() == certificate.der()) {
                Some(issuer) => {
                    old_ids.push(issuer.record.id.clone());
                    issuer.clone()
                }
                None => {
                    let issuer = self.add_issuer(&certificate, String::new(), key_of(&certificate), 0).await?;
                    new_ids.push(issuer.record.id.clone());
                    new.push(issuer.clone());
                    issuers.push(issuer.clone());
                    issuer
                }
            };
            mapping.insert(issuer.record.id.clone(), issuer.record.key_id.clone().into());
        }
        self.follow(&new).await?;
        let list = |ids: Vec<String>| if ids.is_empty() { Value::Null } else { ids.into() };
        Ok(json!({
            "mapping": mapping, "imported_keys": list(new_keys), "imported_issuers": list(new_ids),
            "existing_keys": list(old_keys), "existing_issuers": list(old_ids),
        }))
    }

    /// `DELETE root`: removes all issuers and keys.
    pub(crate) async fn delete_root(&self) -> Result<Answer, Refusal> {
        let _changing = self.changes.lock().await;
        for issuer in self.store.issuers().await? {
            self.store.delete_issuer(&issuer.record.id).await?;
        }
        for key in self.store.keys().await? {
            self.store.delete_key(&key.id).await?;
        }
        let mut config = self.store.issuers_config().await?;
        config.default.clear();
        self.store.put_issuers_config(&config).await?;
        self.store.put_default_key("").await?;
        self.lists.lock().await.forget_all();
        Ok(Answer::default().warning("DELETE /root deletes all keys and issuers; prefer the new DELETE /key/:key_ref and DELETE /issuer/:issuer_ref for finer granularity, unless removal of all keys and issuers is desired."))
    }

    async fn source(&self, fields: &Fields<'_>, kind: &str, role: &Role) -> Result<Source, Refusal> {
        if kind == "existing" {
            let record = self.store.key(&fields.text("key_ref")?.unwrap_or_else(|| "default".to_owned())).await?;
            let key = self.store.signing_key(&record.id).await?;
            return Ok(Source { key, record, is_shown: false, is_new: false });
        }
        let is_shown = match kind {
            "exported" => true,
            "internal" => false,
            "kms" => return Err(Refusal::invalid("managed keys are not supported; use internal or exported")),
            _ => {
                return Err(Refusal::invalid(
                    "the \"exported\" path parameter must be \"internal\", \"existing\", exported\" or \"kms\"",
                ));
            }
        };
        let name = self.new_key_name(fields).await?;
        let key = self.make_key(KeyKind::parse(&role.key_type, role.key_bits)?).await?;
        let record = key_record(&key, name);
        Ok(Source { key: Arc::new(key), record, is_shown, is_new: true })
    }

    async fn put_source(&self, source: &Source) -> Result<(), Refusal> {
        if source.is_new { self.put_key(&source.record).await } else { Ok(()) }
    }

    /// Keeps a new key; the first one is the default.
    pub(crate) async fn put_key(&self, record: &KeyRecord) -> Result<(), Refusal> {
        if self.store.keys().await?.len() >= MOST_ISSUERS {
            return Err(Refusal::Invalid(format!(
                "a mount has at most {MOST_ISSUERS} keys; delete some that nobody uses"
            )));
        }
        self.store.put_key(record).await?;
        if self.store.default_key().await?.is_empty() {
            self.store.put_default_key(&record.id).await?;
        }
        Ok(())
    }

    async fn add_issuer(
        &self,
        certificate: &Certificate,
        name: String,
        key_id: String,
        hash_bits: u64,
    ) -> Result<Issuer, Refusal> {
        if self.store.issuers().await?.len() >= MOST_ISSUERS {
            let message = format!("a mount has at most {MOST_ISSUERS} issuers; delete some that nobody uses");
            return Err(Refusal::Invalid(message));
        }
        let record = IssuerRecord {
            id: Uuid::new_v4().to_string(),
            name,
            key_id,
            certificate: certificate.der().to_vec(),
            usage: Usage { crl_signing: certificate.may_sign_lists(), ..Usage::default() },
            leaf_not_after_behavior: Outliving::default(),
            manual_chain: Vec::new(),
            urls: None,
            revoked_at: None,
            hash_bits,
        };
        self.store.put_issuer(&record).await?;
        self.lists.lock().await.forget(&certificate.authority());
        Issuer::of(record)
    }

    /// Makes a new issuer the default one, where there is none or the default is to follow.
    async fn follow(&self, new: &[Issuer]) -> Result<(), Refusal> {
        let mut config = self.store.issuers_config().await?;
        let with_key: Vec<&Issuer> = new.iter().filter(|issuer| !issuer.record.key_id.is_empty()).collect();
        let followed = match (config.default.is_empty(), config.default_follows_latest_issuer, with_key.as_slice()) {
            (true, _, [first, ..]) => Some(*first),
            (true, _, []) => new.first(),
            (false, true, [only]) => Some(*only),
            _ => None,
        };
        if let Some(issuer) = followed {
            config.default = issuer.record.id.clone();
            self.store.put_issuers_config(&config).await?;
        }
        Ok(())
    }

    async fn new_issuer_name(&self, fields: &Fields<'_>) -> Result<String, Refusal> {
        let name = fields.text("issuer_name")?.unwrap_or_default();
        self.check_issuer_name(&name, None).await?;
        Ok(name)
    }

    /// Whether an issuer may have a name: nobody else has it, and it means nothing else.
    pub(crate) async fn check_issuer_name(&self, name: &str, of: Option<&str>) -> Result<(), Refusal> {
        check_name(name, "issuer")?;
        let issuers = self.store.issuers().await?;
        let is_taken = issuers.iter().any(|issuer| issuer.record.name == name && Some(issuer.record.id.as_str()) != of);
        if is_taken && !name.is_empty() { Err(Refusal::invalid("issuer name already in use")) } else { Ok(()) }
    }

    pub(crate) async fn new_key_name(&self, fields: &Fields<'_>) -> Result<String, Refusal> {
        let name = fields.text("key_name")?.unwrap_or_default();
        check_name(&name, "key")?;
        let is_taken = self.store.keys().await?.iter().any(|key| key.name == name);
        if is_taken && !name.is_empty() { Err(Refusal::invalid("key name already in use")) } else { Ok(name) }
    }
}

pub(crate) fn key_record(key: &PrivateKey, name: String) -> KeyRecord {
    KeyRecord {
        id: Uuid::new_v4().to_string(),
        name,
        kind: key.kind().name().to_owned(),
        pkcs8: Zeroizing::new(key.pkcs8().to_vec()),
    }
}

fn check_name(name: &str, what: &str) -> Result<(), Refusal> {
    if name.eq_ignore_ascii_case("default") {
        return Err(Refusal::Invalid(format!("reserved keyword 'default' can not be used as {what} name")));
    }
    if !name.is_empty() && (!is_name(name) || Uuid::try_parse(name).is_ok()) {
        return Err(Refusal::Invalid(format!("{what} name contained invalid characters")));
    }
    Ok(())
}

fn template(
    role: &Role,
    identity: Identity,
    public_key: x509_cert::SubjectPublicKeyInfo,
    validity: Validity,
    purpose: Purpose,
    urls: Urls,
) -> Template {
    Template {
        subject: identity.subject,
        names: identity.names,
        public_key,
        validity,
        purpose,
        key_usage: extension::key_usages(&role.key_usage),
        extended_key_usage: extended_key_usage(role),
        policies: role.policy_identifiers.iter().filter_map(|text| extension::oid(text)).collect(),
        urls,
        verbatim: Vec::new(),
    }
}

fn permitted_domains(fields: &Fields<'_>) -> Result<Vec<String>, Refusal> {
    Ok(fields.list("permitted_dns_domains")?.unwrap_or_default())
}

/// `max_path_length`, where -1 and nothing mean no limit.
fn path_length(fields: &Fields<'_>) -> Result<Option<u8>, Refusal> {
    match fields.integer("max_path_length")? {
        None | Some(..0) => Ok(None),
        Some(length) => {
            let refused = |_| Refusal::invalid("max_path_length is at most 255");
            u8::try_from(length).map(Some).map_err(refused)
        }
    }
}
