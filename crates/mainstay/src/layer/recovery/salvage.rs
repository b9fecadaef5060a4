//! Bringing the layer's own state back from a repository into an empty place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use mainstay_control::{Depot, DepotError, Document, LayerDocument, LayerPart};
use mainstay_custody::{Custody, MasterKey, RestoreError, Target};
use mainstay_dataplane::{Body, DataPlane, Serve, ServeError, Verify};
use mainstay_journal::{Import, ImportError};
use mainstay_repository::Repository;
use mainstay_storage::{Service, Store};
use mainstay_types::{Sequence, Timestamp, chain};
use tokio_util::io::StreamReader;
use zeroize::Zeroizing;

use super::backup::{CUSTODY, JOURNAL, LAYER};
use super::depot::RepositoryDepot;
use super::events::{Events, EventsError};
use super::keep::{moment_of, newest_first};
use super::{ADMIN_TOKEN, CONFIGURATION, MASTER_KEY};
use crate::config::{Config, Seal};

/// Events that are put into the journal with one transaction.
const EVENTS_AT_ONCE: usize = 1000;

/// A backup of a layer's own state that was found whole.
pub(crate) struct Salvage {
    repository: Repository,
    document: LayerDocument,
}

/// Why the layer's own state did not come back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SalvageError {
    #[error(transparent)]
    Depot(#[from] DepotError),
    #[error(
        "the repository has no backup of the layer's own state{}; look whether it is the right one with: mainstay doctor",
        .before.map(|before| format!(" from before {before}")).unwrap_or_default()
    )]
    None { before: Option<Timestamp> },
    #[error("none of the {tried} backups of the layer's own state is whole; put the repository back from a copy")]
    NotWhole {
        tried: usize,
        #[source]
        source: ServeError,
    },
    #[error("{part} cannot be read from the repository")]
    Serve {
        part: String,
        #[source]
        source: ServeError,
    },
    #[error("{} cannot be written; see that its folder is writable and that there is room", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} holds something else than the key that the secrets are sealed with; name another file in Custody:KeyFile (Custody__KeyFile)", .0.display())]
    OtherKey(PathBuf),
    #[error("the store of the {service} cannot be used")]
    Store {
        service: Service,
        #[source]
        source: mainstay_storage::OpenError,
    },
    #[error(
        "the store of the journal has {events} events already, and nothing is overwritten; where they are this layer's newest, start it \
         with them and bring back with 'mainstay restore' what its instances lost, else name an empty database in \
         ConnectionStrings:Default (ConnectionStrings__Default)"
    )]
    NotEmpty { events: Sequence },
    #[error("the journal cannot be brought back")]
    Journal(#[source] ImportError),
    #[error("the journal cannot be read from the repository")]
    Events(#[from] EventsError),
    #[error("the master key cannot be used")]
    MasterKey(#[source] mainstay_custody::MasterKeyError),
    #[error("the secret store cannot be used")]
    Custody(#[source] mainstay_custody::OpenError),
    #[error("the secret store cannot be brought back")]
    Restore(#[source] RestoreError),
}

// === impl Salvage ===

impl Salvage {
    /// Finds the newest backup that is whole, of before some moment where one is given.
    pub async fn find(repository: &Repository, before: Option<Timestamp>) -> Result<Self, SalvageError> {
        let depot = RepositoryDepot::of(repository.clone());
        let mut names = depot.names(LAYER).await?;
        names.retain(|name| before.is_none_or(|before| moment_of(name).is_some_and(|moment| moment <= before)));
        let mut damage = None;
        let names = newest_first(names, Timestamp::now());
        for name in &names {
            let whole = async {
                let bytes = depot.get(LAYER, name).await?.unwrap_or_default();
                let document = LayerDocument::from_bytes(name, &bytes)?;
                for part in &document.parts {
                    let verified = repository.verify_object(Verify { address: part.address, key: None }).await;
                    verified.map_err(|source| SalvageError::Serve { part: part.name.clone(), source })?;
                }
                Ok::<_, SalvageError>(document)
            };
            match whole.await {
                Ok(document) => return Ok(Self { repository: repository.clone(), document }),
                // Where the repository does not answer, an older backup would be no better.
                Err(SalvageError::Serve { source: ServeError::Trouble(trouble), part }) => {
                    return Err(SalvageError::Serve { part, source: trouble.into() });
                }
                Err(SalvageError::Depot(error @ DepotError::Unavailable(_))) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(
                        backup = name,
                        error = chain(&error),
                        "a backup of the layer's own state is passed over"
                    );
                    if let SalvageError::Serve { source, .. } = error {
                        damage = Some(source);
                    }
                }
            }
        }
        match damage {
            Some(source) => Err(SalvageError::NotWhole { tried: names.len(), source }),
            None => Err(SalvageError::None { before }),
        }
    }

    /// What it holds.
    pub fn document(&self) -> &LayerDocument {
        &self.document
    }

    /// Writes the configuration of that layer to a file, where it had one.
    pub async fn configuration(&self, directory: &Path) -> Result<Option<PathBuf>, SalvageError> {
        let Some(part) = self.part(CONFIGURATION) else { return Ok(None) };
        let file = directory.join(CONFIGURATION);
        write(&file, &self.read(part).await?)?;
        Ok(Some(file))
    }

    /// Refuses stores outside of the data directory that have something in them already.
    pub async fn find_room(&self, config: &Config) -> Result<(), SalvageError> {
        let store = journal_store(config).await?;
        let had = Import::begin(store.clone()).await.map(|import| import.had());
        store.close().await;
        match had.map_err(|error| SalvageError::Journal(error.into()))? {
            0 => Ok(()),
            events => Err(SalvageError::NotEmpty { events }),
        }
    }

    /// Lays everything out where the configuration has it. It can be done again after a crash.
    pub async fn lay_out(&self, config: &Config) -> Result<(), SalvageError> {
        if let Some(part) = self.part(ADMIN_TOKEN) {
            write(&config.data_dir.join(ADMIN_TOKEN), &self.read(part).await?)?;
        }
        if let (Some(part), Seal::KeyFile { file, .. }) = (self.part(MASTER_KEY), &config.custody.seal) {
            let key = self.read(part).await?;
            match std::fs::read(file).map(Zeroizing::new) {
                Ok(found) if *found == *key => {}
                Ok(_) => return Err(SalvageError::OtherKey(file.clone())),
                Err(error) if error.kind() == ErrorKind::NotFound => write(file, &key)?,
                Err(source) => return Err(SalvageError::File { path: file.clone(), source }),
            }
        }
        self.journal(config).await?;
        self.custody(config).await
    }

    async fn journal(&self, config: &Config) -> Result<(), SalvageError> {
        let store = journal_store(config).await?;
        let imported = self.import(store.clone()).await;
        store.close().await;
        imported
    }

    async fn import(&self, store: Store) -> Result<(), SalvageError> {
        let mut import = Import::begin(store).await.map_err(|error| SalvageError::Journal(error.into()))?;
        let (mut events, mut waiting) = (Events::default(), Vec::new());
        for part in self.document.parts.iter().filter(|part| part.name.starts_with(JOURNAL)) {
            let mut bytes = self.serve(part).await?;
            while let Some(bytes) = bytes.next().await {
                let bytes = bytes.map_err(|source| SalvageError::Serve { part: part.name.clone(), source })?;
                waiting.extend(events.take(&bytes)?);
                if waiting.len() >= EVENTS_AT_ONCE {
                    import.take(std::mem::take(&mut waiting)).await.map_err(SalvageError::Journal)?;
                }
            }
        }
        events.end()?;
        import.take(waiting).await.map_err(SalvageError::Journal)?;
        import.end().await.map_err(SalvageError::Journal)
    }

    async fn custody(&self, config: &Config) -> Result<(), SalvageError> {
        let Some(part) = self.part(CUSTODY) else { return Ok(()) };
        let location = config.storage.location(Service::Custody);
        let custody = match &config.custody.seal {
            Seal::KeyFile { file, .. } => {
                Custody::open(&location, MasterKey::read(file).map_err(SalvageError::MasterKey)?).await
            }
            Seal::Shamir => Custody::open_sealed(&location).await,
        };
        let custody = custody.map_err(SalvageError::Custody)?;
        let mut reader = StreamReader::new(self.serve(part).await?.map_err(std::io::Error::other));
        // What is replaced is what was laid out before, or a store that was opened for the first time just now.
        let restored = custody.restore(&mut reader, Target::Anything).await;
        custody.close().await;
        restored.map_err(SalvageError::Restore)
    }

    fn part(&self, name: &str) -> Option<&LayerPart> {
        self.document.parts.iter().find(|part| part.name == name)
    }

    async fn serve(
        &self,
        part: &LayerPart,
    ) -> Result<impl Stream<Item = Result<bytes::Bytes, ServeError>> + Send + Unpin, SalvageError> {
        let served = self.repository.serve_object(Serve { address: part.address, range: None, key: None }).await;
        let served = served.map_err(|source| SalvageError::Serve { part: part.name.clone(), source })?;
        Ok(match served.body {
            Body::Whole(bytes) => stream::once(async { Ok(bytes) }).boxed(),
            Body::Stream(stream) => stream,
        })
    }

    async fn read(&self, part: &LayerPart) -> Result<Zeroizing<Vec<u8>>, SalvageError> {
        let mut stream = self.serve(part).await?;
        let mut read = Zeroizing::new(Vec::with_capacity(usize::try_from(part.size).unwrap_or(0)));
        while let Some(bytes) = stream.next().await {
            read.extend_from_slice(&bytes.map_err(|source| SalvageError::Serve { part: part.name.clone(), source })?);
        }
        Ok(read)
    }
}

async fn journal_store(config: &Config) -> Result<Store, SalvageError> {
    let location = config.storage.location(Service::Journal);
    let opened = Store::open(&location, Service::Journal, mainstay_journal::SCHEMA).await;
    opened.map_err(|source| SalvageError::Store { service: Service::Journal, source })
}

/// Writes a file for its owner alone, whole or not at all, and the folder that it is in.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SalvageError> {
    let failed = |source| SalvageError::File { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let unfinished = path.with_extension("new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(failed)
}
