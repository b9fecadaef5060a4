//! Requests that read certificates, and OCSP.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use mainstay_secrets_engine::{Answer, Operation, Refusal, Request};
use serde_json::json;

use crate::backend::{Pki, off_thread};
use crate::certificate::{Certificate, Serial};
use crate::certify::unix;
use crate::lists::seconds;
use crate::ocsp::{Failure, LONGEST_REQUEST, Period, Question, Status};
use crate::pem;
use crate::store::Issuer;

const DER_CERTIFICATE: &str = "application/pkix-cert";
const PEM_CERTIFICATE: &str = "application/pem-certificate-chain";
const OCSP_RESPONSE: &str = "application/ocsp-response";

impl Pki {
    /// `ca` and `ca/pem`.
    pub(crate) async fn fetch_ca(&self, as_pem: bool) -> Result<Answer, Refusal> {
        let Some(issuer) = self.default_issuer().await? else { return Ok(Answer::nothing()) };
        Ok(raw(&issuer.certificate, as_pem))
    }

    /// `ca_chain`.
    pub(crate) async fn fetch_ca_chain(&self) -> Result<Answer, Refusal> {
        let Some(issuer) = self.default_issuer().await? else { return Ok(Answer::nothing()) };
        Ok(Answer::raw(DER_CERTIFICATE, self.chain_text(&issuer).await?.into_bytes()))
    }

    /// `cert/ca`, `cert/ca_chain` and `cert/crl`.
    pub(crate) async fn fetch_known(&self, request: &Request, known: &str) -> Result<Answer, Refusal> {
        let issuer = self.default_issuer().await?;
        let issuer = issuer.ok_or_else(|| Refusal::invalid("unable to find PKI issuer for reference: default"))?;
        let mut data = json!({ "certificate": "", "revocation_time": 0, "revocation_time_rfc3339": "" });
        match known {
            "ca" => data["certificate"] = issuer.certificate.pem().into(),
            "ca_chain" => {
                let chain = self.chain_text(&issuer).await?;
                data["certificate"] = chain.clone().into();
                data["ca_chain"] = chain.into();
            }
            _ => {
                let list = self.list_der(&issuer, request.now).await?.ok_or(Refusal::NotFound)?;
                data["certificate"] = pem::encode("X509 CRL", &list).into();
            }
        }
        Ok(Answer::data(data))
    }

    /// `cert/SERIAL`.
    pub(crate) async fn fetch_certificate(&self, serial: &str) -> Result<Answer, Refusal> {
        let serial: Serial = serial.parse().map_err(|_| Refusal::UnsupportedPath)?;
        let certificate = self.store.certificate(&serial).await?.ok_or(Refusal::NotFound)?;
        let mut data = json!({
            "certificate": certificate.pem(), "revocation_time": 0, "revocation_time_rfc3339": "",
        });
        if let Some(revocation) = self.store.revocation(&serial).await? {
            data["revocation_time"] = unix(revocation.revoked_at).into();
            data["revocation_time_rfc3339"] = revocation.revoked_at.to_string().into();
            if !revocation.issuer_id.is_empty() {
                data["issuer_id"] = revocation.issuer_id.into();
            }
        }
        Ok(Answer::data(data))
    }

    /// `cert/SERIAL/raw[/pem]`.
    pub(crate) async fn fetch_raw_certificate(&self, serial: &str, as_pem: bool) -> Result<Answer, Refusal> {
        let serial: Serial = serial.parse().map_err(|_| Refusal::UnsupportedPath)?;
        let certificate = self.store.certificate(&serial).await?;
        Ok(certificate.map_or_else(Answer::nothing, |certificate| raw(&certificate, as_pem)))
    }

    /// `LIST certs` and `LIST certs/revoked`.
    pub(crate) async fn list_serials(&self, folder: &str) -> Result<Answer, Refusal> {
        let serials = self.store.storage().list(folder).await?;
        if serials.is_empty() {
            return Err(Refusal::NotFound);
        }
        Ok(Answer::keys(serials.into_iter().map(|serial| serial.replace('-', ":")).collect()))
    }

    /// `ocsp`: a question in DER in the body, or in base64 in the path.
    pub(crate) async fn ocsp(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        let der = match request.operation {
            Operation::Create | Operation::Update => request.raw_body.clone(),
            Operation::Read => {
                let text = path.strip_prefix("ocsp/").unwrap_or_default();
                if text.len() > LONGEST_REQUEST * 2 {
                    return answered(Failure::Malformed.answer()?);
                }
                STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).unwrap_or_default()
            }
            Operation::Delete | Operation::List | Operation::Patch => return Err(Refusal::UnsupportedOperation),
        };
        let Some(question) = Question::parse(&der) else { return answered(Failure::Malformed.answer()?) };
        match self.ocsp_answer(request, question).await {
            Ok(answer) => answered(answer),
            // The protocol has its own word for it, and clients that know nothing else.
            Err(Refusal::Failed { what, source }) => {
                tracing::warn!(what, source = source.map(tracing::field::display), "an OCSP request failed");
                answered(Failure::Internal.answer()?)
            }
            Err(error) => Err(error),
        }
    }

    async fn ocsp_answer(&self, request: &Request, question: Question) -> Result<Vec<u8>, Refusal> {
        let config = self.store.crl_config().await?;
        if config.ocsp_disable {
            return Failure::Unauthorized.answer();
        }
        let issuers = self.store.issuers().await?;
        let able = |issuer: &Issuer| issuer.record.usage.ocsp_signing && !issuer.record.key_id.is_empty();
        let asked = issuers.iter().filter(|issuer| question.is_about(&issuer.certificate));
        let (issuer, is_known) = match asked.clone().find(|issuer| able(issuer)) {
            Some(issuer) => (issuer.clone(), true),
            None if asked.clone().next().is_some() => return Failure::Unauthorized.answer(),
            None => match self.default_issuer().await?.filter(able) {
                Some(issuer) => (issuer, false),
                None => return Failure::Unauthorized.answer(),
            },
        };
        let authority = issuer.certificate.authority();
        let mut statuses = Vec::new();
        for serial in question.serials() {
            let revocation = self.store.revocation(&serial).await?.filter(|found| found.authority == authority);
            statuses.push(match revocation {
                _ if !is_known => Status::Unknown,
                Some(revocation) => Status::Revoked(revocation.revoked_at),
                None => Status::Good,
            });
        }
        let life = seconds(&config.ocsp_expiry)?;
        let until = (life > 0).then(|| request.now.plus_seconds(life));
        let period = Period { now: request.now, until };
        let key = self.store.signing_key(&issuer.record.key_id).await?;
        let hash = issuer.hash();
        off_thread(move || question.answer(&issuer.certificate, (&key, hash), &statuses, period)).await
    }

    pub(crate) async fn default_issuer(&self) -> Result<Option<Issuer>, Refusal> {
        match self.store.issuer("default").await {
            Ok(issuer) => Ok(Some(issuer)),
            Err(Refusal::Failed { source: None, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn chain_text(&self, issuer: &Issuer) -> Result<String, Refusal> {
        let chain: Vec<String> = self.store.chain(issuer).await?.iter().map(Certificate::pem).collect();
        Ok(chain.join("\n"))
    }
}

fn answered(der: Vec<u8>) -> Result<Answer, Refusal> {
    Ok(Answer::raw(OCSP_RESPONSE, der))
}

fn raw(certificate: &Certificate, as_pem: bool) -> Answer {
    match as_pem {
        true => Answer::raw(PEM_CERTIFICATE, certificate.pem().into_bytes()),
        false => Answer::raw(DER_CERTIFICATE, certificate.der().to_vec()),
    }
}
