//! The contract, put together from the parts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use mainstay_engine::{Availability, ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec, Started};
use mainstay_types::{ClusterName, Observation, Offering};
use secrecy::SecretString;

use crate::config::RabbitmqConfig;
use crate::offering;

/// RabbitMQ on this machine.
#[derive(Debug)]
pub struct RabbitmqEngine {
    config: RabbitmqConfig,
    offering: Offering,
}

impl RabbitmqEngine {
    /// An engine that keeps its clusters where the configuration says. Nothing is started or read yet.
    pub fn new(config: RabbitmqConfig) -> Self {
        let offering = offering::offering(config.shared_port);
        Self { config, offering }
    }
}

#[async_trait]
#[allow(unused_variables)]
impl Engine for RabbitmqEngine {
    fn offering(&self) -> &Offering {
        &self.offering
    }
    fn host(&self) -> IpAddr {
        self.config.listen_address
    }
    async fn availability(&self) -> Availability {
        Availability::Missing { reason: String::new(), remedy: String::new() }
    }
    async fn start(&self, cluster: &ClusterSpec) -> Result<Started, EngineError> {
        Err(EngineError::transient("not yet"))
    }
    async fn ended(&self, cluster: &ClusterSpec) -> String {
        String::new()
    }
    async fn observe(
        &self,
        cluster: &ClusterSpec,
        instances: &[InstanceSpec],
        credentials: &[CredentialSpec],
    ) -> Result<Observation, EngineError> {
        Err(EngineError::transient("not yet"))
    }
    async fn reconfigure(&self, cluster: &ClusterSpec) -> Result<(), EngineError> {
        Err(EngineError::transient("not yet"))
    }
    async fn stop(&self, cluster: &ClusterSpec) -> Result<(), EngineError> {
        Ok(())
    }
    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)> {
        Vec::new()
    }
    async fn remove(&self, cluster: &ClusterSpec) -> Result<(), EngineError> {
        Ok(())
    }
    async fn provision(&self, cluster: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        Err(EngineError::transient("not yet"))
    }
    async fn deprovision(&self, cluster: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        Err(EngineError::transient("not yet"))
    }
    async fn bind(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> Result<(), EngineError> {
        Err(EngineError::transient("not yet"))
    }
    async fn unbind(&self, cluster: &ClusterSpec, credential: &CredentialSpec) -> Result<(), EngineError> {
        Err(EngineError::transient("not yet"))
    }
    fn delivery(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> BTreeMap<&'static str, SecretString> {
        BTreeMap::new()
    }
    async fn figures(&self, cluster: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError> {
        Err(EngineError::transient("not yet"))
    }
}
