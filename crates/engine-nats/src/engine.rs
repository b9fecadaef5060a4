//! The contract, put together from the parts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use mainstay_engine::{Availability, ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec, Started};
use mainstay_types::{ClusterName, Observation, Offering};
use secrecy::SecretString;

use crate::config::NatsConfig;
use crate::{install, offering};

/// NATS on this machine.
#[derive(Debug)]
pub struct NatsEngine {
    config: NatsConfig,
    offering: Offering,
}

impl NatsEngine {
    /// An engine that keeps its clusters where the configuration says. Nothing is started or read yet.
    pub fn new(config: NatsConfig) -> Self {
        let offering = offering::offering(config.shared_port);
        Self { config, offering }
    }
}

fn unfinished<T>() -> Result<T, EngineError> {
    Err(EngineError::transient("the NATS engine is being built"))
}

#[async_trait]
impl Engine for NatsEngine {
    fn offering(&self) -> &Offering {
        &self.offering
    }

    fn host(&self) -> IpAddr {
        self.config.listen_address
    }

    async fn availability(&self) -> Availability {
        let bin_dir = self.config.bin_dir.clone();
        match tokio::task::spawn_blocking(move || install::installed(bin_dir.as_deref())).await {
            Ok(Ok(installation)) => Availability::Installed { version: installation.version },
            Ok(Err(reason)) => Availability::Missing { reason, remedy: install::INSTALL_REMEDY.to_owned() },
            Err(error) => Availability::Missing { reason: error.to_string(), remedy: "try again".to_owned() },
        }
    }

    async fn start(&self, _: &ClusterSpec) -> Result<Started, EngineError> {
        unfinished()
    }

    async fn ended(&self, _: &ClusterSpec) -> String {
        "no process of it runs".to_owned()
    }

    async fn observe(
        &self,
        _: &ClusterSpec,
        _: &[InstanceSpec],
        _: &[CredentialSpec],
    ) -> Result<Observation, EngineError> {
        unfinished()
    }

    async fn reconfigure(&self, _: &ClusterSpec) -> Result<(), EngineError> {
        unfinished()
    }

    async fn stop(&self, _: &ClusterSpec) -> Result<(), EngineError> {
        unfinished()
    }

    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)> {
        Vec::new()
    }

    async fn remove(&self, _: &ClusterSpec) -> Result<(), EngineError> {
        unfinished()
    }

    async fn provision(&self, _: &ClusterSpec, _: &InstanceSpec) -> Result<(), EngineError> {
        unfinished()
    }

    async fn deprovision(&self, _: &ClusterSpec, _: &InstanceSpec) -> Result<(), EngineError> {
        unfinished()
    }

    async fn bind(
        &self,
        _: &ClusterSpec,
        _: &InstanceSpec,
        _: &CredentialSpec,
        _: &SecretString,
    ) -> Result<(), EngineError> {
        unfinished()
    }

    async fn unbind(&self, _: &ClusterSpec, _: &CredentialSpec) -> Result<(), EngineError> {
        unfinished()
    }

    fn delivery(
        &self,
        _: &ClusterSpec,
        _: &InstanceSpec,
        _: &CredentialSpec,
        _: &SecretString,
    ) -> BTreeMap<&'static str, SecretString> {
        BTreeMap::new()
    }

    async fn figures(&self, _: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError> {
        unfinished()
    }
}
