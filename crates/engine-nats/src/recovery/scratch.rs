//! A server with one account, which has a port on this machine's loopback and users whose passwords only we know.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;

use mainstay_engine::supervise::{ClusterDirectory, DirectoryError, Removal};
use mainstay_engine::{ClusterSpec, Engine, EngineError, InstanceSpec};
use mainstay_types::{NodeName, Parameters, Plan};

use super::guest::Guest;
use crate::accounts::Change;
use crate::cluster::Cluster;
use crate::config::NatsConfig;
use crate::engine::NatsEngine;
use crate::offering::{LARGEST_PAYLOAD_KIB, Limits};
use crate::register::Register;

/// The server, until it is removed: when it is told to, when it is dropped, and when the next control plane clears up.
pub(super) struct Scratch {
    pub guest: Guest,
    removal: Removal,
}

impl Scratch {
    /// Makes a server with an account that has the limits of this instance.
    pub async fn make(engine: &NatsEngine, instance: &InstanceSpec) -> Result<Self, EngineError> {
        let name = ClusterDirectory::scratch_name(&engine.offering().engine)?;
        let listen_address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let config = Arc::new(NatsConfig { listen_address, authority: None, ..NatsConfig::clone(&engine.config) });
        let port = free_port(listen_address)?;
        let cluster = Arc::new(Cluster::new(&config, &name, port));
        let removal = engine.removals.at_end({
            let cluster = cluster.clone();
            async move {
                if let Err(error) = cluster.discard().await {
                    tracing::warn!(cluster = %cluster.name, %error, "a scratch cluster is left");
                }
            }
        });
        let made = async {
            let parameters = Parameters::default();
            let spec =
                ClusterSpec { name, node: NodeName::local(), plan: Plan::Shared, port, parameters, identity: None };
            cluster.start(&spec).await?;
            let account = cluster.account(&instance.id)?;
            let limits = Limits { max_payload_kib: LARGEST_PAYLOAD_KIB, ..Limits::of(&instance.parameters) };
            Register::change(&cluster, Change::Open { account: account.clone(), limits }).await?;
            Guest::admit(&cluster, &engine.removals, &account).await
        };
        match made.await {
            Ok(guest) => Ok(Self { guest, removal }),
            Err(error) => {
                removal.now().await;
                Err(error)
            }
        }
    }

    /// Ends and removes it.
    pub async fn remove(self) {
        self.guest.leave().await;
        self.removal.now().await;
    }
}

/// Removes what control planes that are gone have left.
pub(super) async fn clear(engine: &NatsEngine) -> Result<(), EngineError> {
    engine.removals.finished().await;
    for name in ClusterDirectory::scratch_names(&engine.config.clusters_dir, &engine.offering().engine) {
        // Its port is not known, and not needed to end it.
        let cluster = Cluster::new(&engine.config, &name, engine.config.shared_port);
        match cluster.directory.lock() {
            Ok(lock) => drop(lock),
            // It is in use.
            Err(DirectoryError::Locked { .. }) => continue,
            Err(error) => return Err(error.into()),
        }
        cluster.discard().await?;
    }
    Ok(())
}

/// A port that nobody has now. Who takes it in between makes the start fail, and the drill is tried again.
fn free_port(address: IpAddr) -> Result<u16, EngineError> {
    let free = TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr());
    free.map(|address| address.port()).map_err(|error| EngineError::transient_from("there is no free port", error))
}
