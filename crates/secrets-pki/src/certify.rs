//! Requests for certificates: issue, sign, sign-verbatim.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstay_secrets_engine::{Answer, Fields, Lease, Refusal, Request};
use serde_json::{Map, Value, json};

use crate::asked::{Identity, check_key, identity};
use crate::backend::{Pki, off_thread};
use crate::certificate::{Certificate, Serial};
use crate::csr::Csr;
use crate::extension;
use crate::key::{KeyKind, PrivateKey};
use crate::pem;
use crate::role::Role;
use crate::roles::is_name;
use crate::signature::Hash;
use crate::store::Issuer;
use crate::template::{Purpose, Signer, Template, extended_key_usage};
use crate::validity::{self, Bounds};

/// How long serial numbers are: as long as they may be (RFC 5280, 4.1.2.2), which nobody guesses.
const SERIAL_LENGTH: usize = 20;

/// How certificates and keys are written in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Pem,
    PemBundle,
    Der,
}

/// Where the key and the names come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Issue,
    Sign,
    Verbatim,
}

impl Format {
    pub(crate) fn of(fields: &Fields<'_>) -> Result<Self, Refusal> {
        match fields.text("format")?.unwrap_or_default().as_str() {
            "" | "pem" => Ok(Self::Pem),
            "pem_bundle" => Ok(Self::PemBundle),
            "der" => Ok(Self::Der),
            _ => Err(Refusal::invalid("the \"format\" path parameter must be \"pem\", \"der\", or \"pem_bundle\"")),
        }
    }

    pub(crate) fn certificate(self, certificate: &Certificate) -> String {
        self.encode("CERTIFICATE", certificate.der())
    }

    pub(crate) fn encode(self, label: &str, der: &[u8]) -> String {
        match self {
            Self::Der => STANDARD.encode(der),
            Self::Pem | Self::PemBundle => pem::encode(label, der),
        }
    }

    /// A key as `private_key_format` says.
    pub(crate) fn key(self, fields: &Fields<'_>, key: &PrivateKey) -> Result<String, Refusal> {
        let file = match fields.text("private_key_format")?.as_deref() {
            Some("pkcs8") => key.modern(),
            _ => key.traditional()?,
        };
        Ok(self.encode(file.label, &file.der))
    }
}

impl Pki {
    /// `issue/ROLE`, `sign/ROLE`, `sign-verbatim[/ROLE]`, and the same below `issuer/REF/`.
    pub(crate) async fn certify(&self, request: &Request, path: &[&str]) -> Result<Answer, Refusal> {
        let (issuer_ref, rest) = match path {
            ["issuer", issuer, rest @ ..] => (Some(*issuer), rest),
            rest => (None, rest),
        };
        let (way, role_name) = match rest {
            ["issue", role] => (Way::Issue, Some(*role)),
            ["sign", role] => (Way::Sign, Some(*role)),
            ["sign-verbatim", role] => (Way::Verbatim, Some(*role)),
            ["sign-verbatim"] => (Way::Verbatim, None),
            _ => return Err(Refusal::UnsupportedPath),
        };
        let fields = request.fields();
        let role = match role_name {
            Some(name) if is_name(name) => {
                let role = self.store.role(name).await?;
                Some(role.ok_or_else(|| Refusal::Invalid(format!("unknown role: {name}")))?)
            }
            Some(_) => return Err(Refusal::UnsupportedPath),
            None => None,
        };
        let role = match way {
            Way::Verbatim => Role::for_verbatim(role, &fields)?,
            Way::Issue | Way::Sign => role.unwrap_or_default(),
        };
        let issuer = self.issuer_to_sign(issuer_ref.unwrap_or(&role.issuer_ref)).await?;
        let format = Format::of(&fields)?;
        let csr = match way {
            Way::Issue => None,
            Way::Sign | Way::Verbatim => Some(Csr::parse(&fields.text("csr")?.unwrap_or_default())?),
        };
        if let Some(csr) = &csr {
            check_key(&role, csr)?;
        }
        let identity = match (&csr, way) {
            (Some(csr), Way::Verbatim) => Identity { subject: csr.subject().clone(), names: csr.names.clone() },
            _ => identity(&role, &fields, csr.as_ref())?,
        };
        let bounds = self.bounds(request, Some(&issuer));
        let (validity, mut warnings) = validity::decide(&role, &fields, bounds)?;
        let kind = if csr.is_none() { Some(key_to_make(&role, &fields, &mut warnings)?) } else { None };
        let key = match kind {
            Some(kind) => Some(self.make_key(kind).await?),
            None => None,
        };
        let public_key = match (&key, &csr) {
            (Some(key), _) => key.public()?,
            (None, Some(csr)) => csr.public_key().clone(),
            (None, None) => return Err(Refusal::invalid("\"csr\" is empty")),
        };
        let verbatim = csr.as_ref().filter(|_| way == Way::Verbatim).map(|csr| csr.extensions().to_vec());
        let purpose = if role.basic_constraints_valid_for_non_ca { Purpose::DeclaredLeaf } else { Purpose::Leaf };
        let template = Template {
            subject: identity.subject,
            names: identity.names,
            public_key,
            validity,
            purpose,
            key_usage: extension::key_usages(&role.key_usage),
            extended_key_usage: extended_key_usage(&role),
            policies: role.policy_identifiers.iter().filter_map(|text| extension::oid(text)).collect(),
            urls: self.urls_of(&issuer).await?,
            verbatim: verbatim.unwrap_or_default(),
        };
        let certificate = self.sign(template, &issuer, role.hash()?).await?;
        if !role.no_store {
            self.store.put_certificate(&certificate).await?;
        }
        let chain = self.store.chain(&issuer).await?;
        let data = shown(&fields, format, &certificate, &chain, key.as_ref())?;
        let mut answer = Answer { data: Some(data), warnings, ..Answer::default() };
        if csr.is_some() && way == Way::Sign {
            if role.use_csr_common_name && fields.text("common_name")?.is_some_and(|name| !name.is_empty()) {
                answer = answer.warning(
                    "the common_name field was provided but the role is set with \"use_csr_common_name\" set to true",
                );
            }
            if role.use_csr_sans && fields.text("alt_names")?.is_some_and(|names| !names.is_empty()) {
                answer = answer
                    .warning("the alt_names field was provided but the role is set with \"use_csr_sans\" set to true");
            }
        }
        if role.generate_lease {
            let seconds = certificate.not_after().seconds_since(request.now) as u64;
            answer = answer.leased(Lease {
                ttl_seconds: seconds.max(1),
                max_ttl_seconds: seconds.max(1),
                renewable: false,
                internal: json!({ "serial_number": certificate.serial().to_string() }),
            });
        }
        Ok(answer)
    }

    /// An issuer that may sign certificates and has the key for it.
    pub(crate) async fn issuer_to_sign(&self, reference: &str) -> Result<Issuer, Refusal> {
        let failed = |why: String| Refusal::Failed {
            what: format!("could not fetch the CA certificate (was one set?): {why}"),
            source: None,
        };
        let issuer = self.store.issuer(reference).await.map_err(|error| match error {
            Refusal::Failed { what, source: None } => failed(what),
            other => other,
        })?;
        let id = &issuer.record.id;
        if !issuer.record.usage.issuing {
            let has = issuer.record.usage.names();
            return Err(failed(format!("requested usage issuing-certificates for issuer {id}, but it only has {has}")));
        }
        if issuer.record.key_id.is_empty() {
            let why =
                format!("unable to fetch corresponding key for issuer {id}; unable to use this issuer for signing");
            return Err(failed(why));
        }
        Ok(issuer)
    }

    pub(crate) fn bounds(&self, request: &Request, issuer: Option<&Issuer>) -> Bounds {
        Bounds {
            now: request.now,
            mount_default_seconds: self.mount.default_lease_seconds,
            mount_max_seconds: self.mount.max_lease_seconds,
            issuer: issuer.map(|issuer| (issuer.certificate.not_after(), issuer.record.leaf_not_after_behavior)),
        }
    }

    /// Where an issuer says that more is to be had: its own, or else the mount's.
    pub(crate) async fn urls_of(&self, issuer: &Issuer) -> Result<extension::Urls, Refusal> {
        match &issuer.record.urls {
            Some(urls) if !urls.is_empty() => Ok(urls.clone()),
            _ => self.store.urls().await,
        }
    }

    /// Has an issuer sign.
    pub(crate) async fn sign(&self, template: Template, issuer: &Issuer, hash: Hash) -> Result<Certificate, Refusal> {
        let key = self.store.signing_key(&issuer.record.key_id).await?;
        let certificate = issuer.certificate.clone();
        let serial = draw_serial()?;
        off_thread(move || template.sign(&Signer { certificate: Some(&certificate), key: &key, hash }, &serial)).await
    }

    /// Has a new authority sign its own certificate.
    pub(crate) async fn sign_itself(
        &self,
        template: Template,
        key: Arc<PrivateKey>,
        hash: Hash,
    ) -> Result<Certificate, Refusal> {
        let serial = draw_serial()?;
        off_thread(move || template.sign(&Signer { certificate: None, key: &key, hash }, &serial)).await
    }
}

/// The fields of an answer about a certificate.
pub(crate) fn shown(
    fields: &Fields<'_>,
    format: Format,
    certificate: &Certificate,
    chain: &[Certificate],
    key: Option<&PrivateKey>,
) -> Result<Map<String, Value>, Refusal> {
    let keeps_roots = !fields.boolean("remove_roots_from_chain")?.unwrap_or(false);
    let shown_chain: Vec<String> = chain
        .iter()
        .filter(|certificate| keeps_roots || !certificate.is_self_issued())
        .map(|certificate| format.certificate(certificate))
        .collect();
    let mut data = Map::new();
    let mut body = format.certificate(certificate);
    if let Some(key) = key {
        let text = format.key(fields, key)?;
        if format == Format::PemBundle {
            body = format!("{text}\n{body}");
        }
        data.insert("private_key".into(), text.into());
        data.insert("private_key_type".into(), key.kind().name().into());
    }
    if format == Format::PemBundle && !shown_chain.is_empty() {
        body = format!("{body}\n{}", shown_chain.join("\n"));
    }
    data.insert("certificate".into(), body.into());
    data.insert("issuing_ca".into(), chain.first().map(|issuer| format.certificate(issuer)).into());
    if !shown_chain.is_empty() {
        data.insert("ca_chain".into(), shown_chain.into());
    }
    data.insert("serial_number".into(), certificate.serial().to_string().into());
    data.insert("not_before".into(), unix(certificate.not_before()).into());
    data.insert("expiration".into(), unix(certificate.not_after()).into());
    Ok(data)
}

pub(crate) fn unix(moment: mainstay_types::Timestamp) -> i64 {
    moment.as_micros() / 1_000_000
}

fn key_to_make(role: &Role, fields: &Fields<'_>, warnings: &mut Vec<String>) -> Result<KeyKind, Refusal> {
    let (key_type, key_bits) = (fields.text("key_type")?, fields.count("key_bits")?);
    if role.key_type != "any" {
        if key_type.is_some() || key_bits.is_some() {
            warnings.push("parameters key_type and key_bits ignored as role had specific values".to_owned());
        }
        return KeyKind::parse(&role.key_type, role.key_bits);
    }
    let key_type = key_type.ok_or_else(|| {
        Refusal::invalid("role key type \"any\" not allowed for issuing certificates without providing key_type and/or key_bits request parameters")
    })?;
    KeyKind::parse(&key_type, key_bits.unwrap_or(0))
}

fn draw_serial() -> Result<Serial, Refusal> {
    let mut bytes = [0; SERIAL_LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|error| Refusal::failed("no random bytes can be had", error))?;
    // Positive, and never shorter: the highest bit is clear and the one below is set.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(Serial::new(&bytes))
}
