//! The engines of this version whose clusters are processes.

use std::sync::Arc;

use mainstay_engine::supervise::{EngineUser, UserError};
use mainstay_engine::{Availability, CertificateAuthority, Engine, EngineError};
use mainstay_engine_nats::{NatsConfig, NatsEngine};
use mainstay_engine_postgresql::{PostgresqlConfig, PostgresqlEngine};
use mainstay_engine_rabbitmq::{RabbitmqConfig, RabbitmqEngine};
use mainstay_engine_redis::{Flavour, RedisConfig, RedisEngine};
use mainstay_types::ClusterName;

use crate::config::Config;

/// Every engine; of those with one contract, the one that is taken where nobody names one comes first.
///
/// Who only stops clusters needs no authority.
pub async fn engines(
    config: &Config,
    authority: Option<Arc<dyn CertificateAuthority>>,
) -> Result<Vec<Arc<dyn Engine>>, UserError> {
    let user = EngineUser::resolve(config.engines.user.as_deref())?;
    let (clusters, listen, told) = (config.data_dir.join("clusters"), &config.listen, &config.engines);
    let redis = |flavour, bin_dir: &Option<_>, address: std::net::SocketAddr| {
        Arc::new(RedisEngine::new(RedisConfig {
            bin_dir: bin_dir.clone(),
            listen_address: address.ip(),
            shared_port: address.port(),
            authority: authority.clone(),
            ..RedisConfig::new(flavour, clusters.clone(), user.clone())
        }))
    };
    let mut caches = [
        redis(Flavour::Valkey, &told.valkey_bin_dir, listen.valkey),
        redis(Flavour::Redis, &told.redis_bin_dir, listen.redis),
    ];
    if let Availability::Missing { .. } = caches[0].availability().await {
        caches.reverse();
    }
    let [first_cache, second_cache] = caches;
    Ok(vec![
        Arc::new(PostgresqlEngine::new(PostgresqlConfig {
            bin_dir: told.postgresql_bin_dir.clone(),
            listen_address: listen.postgresql.ip(),
            shared_port: listen.postgresql.port(),
            authority: authority.clone(),
            ..PostgresqlConfig::new(clusters.clone(), user.clone())
        })),
        first_cache,
        second_cache,
        Arc::new(NatsEngine::new(NatsConfig {
            bin_dir: told.nats_bin_dir.clone(),
            listen_address: listen.nats.ip(),
            shared_port: listen.nats.port(),
            authority: authority.clone(),
            ..NatsConfig::new(clusters.clone(), user.clone())
        })),
        Arc::new(RabbitmqEngine::new(RabbitmqConfig {
            bin_dir: told.rabbitmq_bin_dir.clone(),
            listen_address: listen.rabbitmq.ip(),
            shared_port: listen.rabbitmq.port(),
            tls_port: listen.rabbitmq_tls.port(),
            authority,
            ..RabbitmqConfig::new(clusters, user)
        })),
    ])
}

/// Stops every process of these engines in order, also of clusters that no journal knows any more; the data stays.
/// Answers what could not be stopped.
pub async fn stop_all(engines: &[Arc<dyn Engine>]) -> Vec<(ClusterName, EngineError)> {
    let mut failures = Vec::new();
    for engine in engines {
        failures.extend(engine.stop_all().await);
    }
    failures
}
