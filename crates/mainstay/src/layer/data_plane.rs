//! The data plane that the configuration names, and whatever it is built from.

use std::sync::Arc;

use mainstay_dataplane::{DataPlane, Inventory};
use mainstay_dataplane_fs::{FsConfig, FsPlane};
use mainstay_dataplane_remote::{ConnectError, RemotePlane};
use mainstay_dataplane_s3::{Patience, S3Config, S3Plane};

use crate::config::{DataPlaneMode, ObjectBackend, Rustfs};

/// A data plane, as those see it who move bytes and those who put things in order.
#[derive(Clone)]
pub struct Plane {
    pub plane: Arc<dyn DataPlane>,
    pub inventory: Arc<dyn Inventory>,
    /// Set where the bytes are in this process's own directory, which is let go in order.
    local: Option<FsPlane>,
}

/// Why bytes cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    #[error("the store of objects cannot be used")]
    Fs(#[from] mainstay_dataplane_fs::OpenError),
    #[error("the store of objects cannot be used")]
    S3(#[from] mainstay_dataplane_s3::OpenError),
    #[error("the data plane's daemon cannot be used")]
    Remote(#[from] ConnectError),
}

impl Plane {
    /// The data plane of a control plane: its own, or the daemon's.
    pub async fn of_layer(mode: &DataPlaneMode, backend: &ObjectBackend) -> Result<Self, PlaneError> {
        match mode {
            DataPlaneMode::InProcess => Self::open(backend).await,
            DataPlaneMode::Remote(socket) => Ok(Self::new(Arc::new(RemotePlane::connect(socket).await?))),
        }
    }

    /// The data plane over a backend, in this process.
    pub async fn open(backend: &ObjectBackend) -> Result<Self, PlaneError> {
        match backend {
            ObjectBackend::SeedFs(directory) => {
                let plane = FsPlane::open(directory, FsConfig::default()).await?;
                Ok(Self { local: Some(plane.clone()), ..Self::new(Arc::new(plane)) })
            }
            ObjectBackend::Rustfs(rustfs) => Ok(Self::new(Arc::new(S3Plane::open(s3_config(rustfs)).await?))),
        }
    }

    fn new<P: DataPlane + Inventory>(plane: Arc<P>) -> Self {
        Self { plane: plane.clone(), inventory: plane, local: None }
    }

    /// Writes down what is known, which keeps the next start short.
    pub async fn close(&self) {
        if let Some(plane) = &self.local {
            plane.close().await;
        }
    }
}

fn s3_config(rustfs: &Rustfs) -> S3Config {
    S3Config {
        endpoint: rustfs.endpoint.clone(),
        region: rustfs.region.clone(),
        bucket: rustfs.bucket.clone(),
        prefix: rustfs.prefix.clone(),
        access_key_id: rustfs.access_key_id.clone(),
        secret_access_key: rustfs.secret_access_key.clone(),
        patience: Patience::default(),
    }
}
