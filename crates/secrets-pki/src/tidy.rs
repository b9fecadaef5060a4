//! Tidying: removing certificates and revocations that are over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mainstay_secrets_engine::{Answer, Fields, Refusal, Request};
use mainstay_types::Timestamp;
use serde_json::json;

use crate::backend::Pki;
use crate::certificate::Serial;
use crate::record::{CertificateRecord, RevocationRecord, TidyConfig};
use crate::store::{CERTIFICATES, REVOKED};

/// How many entries are looked at, and removed together, at a time.
const PAGE: usize = 500;

/// The shortest time between two times of tidying by itself.
const SHORTEST_INTERVAL: u64 = 60;

/// What is to be removed: what ended longer ago than the buffer.
#[derive(Debug, Clone, Copy)]
struct Job {
    certificates: bool,
    revocations: bool,
    ended_before: Timestamp,
}

impl Job {
    fn new(config: &TidyConfig, now: Timestamp) -> Self {
        let buffer = i64::try_from(config.safety_buffer.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let ended_before = Timestamp::from_micros(now.as_micros().saturating_sub(buffer));
        Self { certificates: config.tidy_cert_store, revocations: config.tidy_revoked_certs, ended_before }
    }
}

impl Pki {
    /// `tidy`: starts, and answers at once.
    pub(crate) async fn start_tidying(pki: &Arc<Self>, request: &Request) -> Result<Answer, Refusal> {
        let config = overlaid(TidyConfig::default(), &request.fields())?;
        let answer = match Self::tidy_beside(pki, Job::new(&config, request.now)) {
            true => {
                "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs."
            }
            false => "Tidy operation already in progress.",
        };
        Ok(Answer::default().warning(answer).status(202))
    }

    pub(crate) async fn tidy_status(&self) -> Result<Answer, Refusal> {
        let state = if self.is_tidying.load(Ordering::Acquire) { "Running" } else { "Inactive" };
        Ok(Answer::data(json!({ "state": state })))
    }

    pub(crate) async fn configure_tidying(&self, fields: &Fields<'_>) -> Result<Answer, Refusal> {
        let mut config = overlaid(self.store.tidy_config().await?, fields)?;
        config.enabled = fields.boolean("enabled")?.unwrap_or(config.enabled);
        config.interval_duration = fields.seconds("interval_duration")?.unwrap_or(config.interval_duration);
        if config.enabled && !config.tidy_cert_store && !config.tidy_revoked_certs {
            return Err(Refusal::invalid(
                "Auto-tidy enabled but no tidy operations were requested. Enable at least one tidy operation to be run (tidy_cert_store / tidy_revoked_certs).",
            ));
        }
        self.store.put_tidy_config(&config).await?;
        Ok(Answer::data(json!(config)))
    }

    /// Tidies up where it is time to.
    pub(crate) async fn tend(pki: &Arc<Self>, now: Timestamp) -> Result<(), Refusal> {
        let config = pki.store.tidy_config().await?;
        if !config.enabled {
            return Ok(());
        }
        let mut last = pki.last_tidied.lock().await;
        let interval = config.interval_duration.max(SHORTEST_INTERVAL);
        if last.is_none_or(|last| now >= last.plus_seconds(interval)) && Self::tidy_beside(pki, Job::new(&config, now))
        {
            *last = Some(now);
        }
        Ok(())
    }

    /// Tidies up beside everything else. False where that is being done already.
    fn tidy_beside(pki: &Arc<Self>, job: Job) -> bool {
        if pki.is_tidying.swap(true, Ordering::AcqRel) {
            return false;
        }
        let pki = Arc::clone(pki);
        tokio::spawn(async move {
            if let Err(error) = pki.tidy(job).await {
                tracing::warn!(%error, mount = pki.mount.path, "tidying up certificates failed");
            }
            pki.is_tidying.store(false, Ordering::Release);
        });
        true
    }

    async fn tidy(&self, job: Job) -> Result<(), Refusal> {
        if job.revocations {
            let is_over = |record: &RevocationRecord| record.not_after < job.ended_before;
            self.sweep(REVOKED, is_over).await?;
        }
        if job.certificates {
            let is_over = |record: &CertificateRecord| record.not_after < job.ended_before;
            self.sweep(CERTIFICATES, is_over).await?;
        }
        Ok(())
    }

    async fn sweep<T: serde::de::DeserializeOwned>(
        &self,
        folder: &str,
        is_over: impl Fn(&T) -> bool,
    ) -> Result<(), Refusal> {
        let mut after: Option<String> = None;
        loop {
            let keys = self.store.storage().keys(folder, after.as_deref(), PAGE).await?;
            let mut over = Vec::new();
            for key in &keys {
                if self.store.get::<T>(key).await?.is_some_and(|record| is_over(&record)) {
                    over.push(key.clone());
                }
            }
            if !over.is_empty() {
                self.store.remove(&over).await?;
            }
            if folder == REVOKED {
                let mut lists = self.lists.lock().await;
                over.iter().filter_map(|key| Serial::from_key(&key[folder.len()..])).for_each(|one| lists.remove(&one));
            }
            match keys.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }
}

fn overlaid(mut config: TidyConfig, fields: &Fields<'_>) -> Result<TidyConfig, Refusal> {
    config.tidy_cert_store = fields.boolean("tidy_cert_store")?.unwrap_or(config.tidy_cert_store);
    // The older name is still sent.
    let older = fields.boolean("tidy_revocation_list")?;
    config.tidy_revoked_certs = fields.boolean("tidy_revoked_certs")?.or(older).unwrap_or(config.tidy_revoked_certs);
    config.safety_buffer = fields.seconds("safety_buffer")?.unwrap_or(config.safety_buffer);
    if config.safety_buffer == 0 {
        return Err(Refusal::invalid("safety_buffer must be greater than zero"));
    }
    Ok(config)
}
