//! The backend of one mount: which path is served by what.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use mainstay_secrets_engine::{Answer, Backend, Class, Kind, Mount, Operation, Refusal, Request, Storage};
use mainstay_types::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::key::Key;
use crate::keyring::Keyring;
use crate::paths::{admin, backup, crypt, export, hmac, random, settings, sign};

/// How many items of a batch are worked on without leaving the async thread. One costs some microseconds.
const INLINE_ITEMS: usize = 32;

/// How often keys are looked through for such as have to be rotated: as often as the shortest period.
const ROTATION_CHECK_SECONDS: u64 = 3600;

/// As many threads compute at once as there are processors: more would only take time from each other.
static COMPUTING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// The kind of backend that clients mount as `transit`.
pub struct TransitKind;

/// The backend of one mount.
pub(crate) struct Transit {
    pub keys: Keyring,
    pub storage: Storage,
    next_rotation_check: AtomicI64,
}

/// Something that is done with one key, without waiting for anything: the key, the body, and the algorithm of the path.
pub(crate) type Work = fn(&Key, &Map<String, Value>, Option<&str>) -> Result<Answer, Refusal>;

/// What is done with a key.
pub(crate) struct Task<'a> {
    pub name: &'a str,
    /// What is said where there is no such key.
    pub missing: &'static str,
    /// The algorithm that the path names.
    pub algorithm: Option<&'a str>,
    /// Whether it needs the private key.
    pub private: bool,
    pub work: Work,
}

#[async_trait]
impl Kind for TransitKind {
    fn name(&self) -> &'static str {
        "transit"
    }

    fn class(&self) -> Class {
        Class::Secrets
    }

    async fn open(&self, _mount: Arc<Mount>, storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        let cached_keys = settings::cached_keys(&storage).await?;
        let keys = Keyring::new(storage.clone(), cached_keys);
        Ok(Arc::new(Transit { keys, storage, next_rotation_check: AtomicI64::new(i64::MIN) }))
    }
}

#[async_trait]
impl Backend for Transit {
    /// Only to encrypt with a key that is not there makes it; all else that is written is there or is refused.
    async fn exists(&self, request: &Request) -> Result<Option<bool>, Refusal> {
        let path = request.path.strip_suffix('/').unwrap_or(&request.path);
        match path.strip_prefix("encrypt/") {
            Some(name) => Ok(Some(self.keys.get(key_name(name)?).await?.is_some())),
            None => Ok(None),
        }
    }

    async fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        let path = request.path.strip_suffix('/').unwrap_or(&request.path);
        let segments: Vec<&str> = path.split('/').collect();
        match segments.as_slice() {
            ["keys"] => match request.operation {
                Operation::List => admin::list(self).await,
                _ => Err(Refusal::UnsupportedOperation),
            },
            ["keys", name] => {
                let name = key_name(name)?;
                match request.operation {
                    Operation::Read => admin::read(self, name, request).await,
                    Operation::Create | Operation::Update => admin::create(self, name, request).await,
                    Operation::Delete => admin::delete(self, name).await,
                    Operation::List | Operation::Patch => Err(Refusal::UnsupportedOperation),
                }
            }
            ["export", kind, name] => export::export(self, read(request)?, kind, key_name(name)?, None).await,
            ["export", kind, name, version] => {
                export::export(self, read(request)?, kind, key_name(name)?, Some(version)).await
            }
            ["backup", name] => backup::backup(self, read(request)?, key_name(name)?).await,
            ["cache-config"] => settings::cache(self, request).await,
            ["config", "keys"] => settings::keys(self, request).await,
            _ => self.write(request, &segments).await,
        }
    }

    async fn tend(&self, now: Timestamp) -> Result<(), Refusal> {
        if now.as_micros() < self.next_rotation_check.load(Ordering::Relaxed) {
            return Ok(());
        }
        admin::rotate_due(self, now).await?;
        let next = now.plus_seconds(ROTATION_CHECK_SECONDS).as_micros();
        self.next_rotation_check.store(next, Ordering::Relaxed);
        Ok(())
    }
}

impl Transit {
    /// The paths that take a write and nothing else.
    async fn write(&self, request: &Request, segments: &[&str]) -> Result<Answer, Refusal> {
        let known = match segments {
            ["keys", name, "config" | "rotate" | "trim"] => key_name(name).is_ok(),
            ["encrypt" | "decrypt" | "rewrap" | "hmac" | "sign" | "verify", name] => key_name(name).is_ok(),
            ["hmac" | "sign" | "verify", name, _] | ["datakey", _, name] => key_name(name).is_ok(),
            ["restore" | "random" | "hash"] | ["restore" | "random" | "hash", _] | ["random", _, _] => true,
            _ => false,
        };
        if !known {
            return Err(Refusal::UnsupportedPath);
        }
        if !request.is_write() {
            return Err(Refusal::UnsupportedOperation);
        }
        match segments {
            ["keys", name, "config"] => admin::configure(self, name, request).await,
            ["keys", name, "rotate"] => admin::rotate(self, name, request.now).await,
            ["keys", name, "trim"] => admin::trim(self, name, request).await,
            ["encrypt", name] => crypt::encrypt(self, name, request).await,
            ["decrypt", name] => self.run(request, crypt::decrypting(name)).await,
            ["rewrap", name] => self.run(request, crypt::rewrapping(name)).await,
            ["datakey", "plaintext", name] => self.run(request, crypt::data_key(name, true)).await,
            ["datakey", "wrapped", name] => self.run(request, crypt::data_key(name, false)).await,
            ["datakey", ..] => Err(Refusal::invalid("Invalid path, must be 'plaintext' or 'wrapped'")),
            ["hmac", name, algorithm @ ..] => self.run(request, hmac::making(name, algorithm.first().copied())).await,
            ["sign", name, algorithm @ ..] => self.run(request, sign::signing(name, algorithm.first().copied())).await,
            ["verify", name, algorithm @ ..] => {
                self.run(request, sign::verifying(name, algorithm.first().copied())).await
            }
            ["restore"] => backup::restore(self, request, None).await,
            ["restore", name] => backup::restore(self, request, Some(key_name(name)?)).await,
            ["random", rest @ ..] => random::random(request, rest),
            ["hash", algorithm @ ..] => random::hash(request, algorithm.first().copied()),
            _ => Err(Refusal::UnsupportedPath),
        }
    }

    /// Does something with a key: at once, or beside the async threads where it takes long.
    pub async fn run(&self, request: &Request, task: Task<'_>) -> Result<Answer, Refusal> {
        let key = self.keys.get(task.name).await?.ok_or_else(|| Refusal::invalid(task.missing))?;
        let items = request.data.get("batch_input").and_then(Value::as_array).map_or(1, Vec::len);
        if items <= INLINE_ITEMS && !(task.private && key.is_slow()) {
            return (task.work)(&key, &request.data, task.algorithm);
        }
        let (data, algorithm, work) = (request.data.clone(), task.algorithm.map(str::to_owned), task.work);
        compute(move || work(&key, &data, algorithm.as_deref())).await?
    }
}

/// Computes beside the async threads.
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let turn = COMPUTING.acquire().await.map_err(|error| Refusal::unavailable("custody is ending", error))?;
    // The turn ends with the work, not with the caller, who may go away before.
    let task = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    task.await.map_err(|error| Refusal::failed("a cryptographic operation was interrupted", error))
}

/// A name that a key may have: letters, digits and underscores, and within also dashes and dots.
pub(crate) fn key_name(name: &str) -> Result<&str, Refusal> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let inner = name.bytes().all(|byte| word(byte) || byte == b'-' || byte == b'.');
    let ends = name.bytes().next().is_some_and(word) && name.bytes().next_back().is_some_and(word);
    if inner && ends { Ok(name) } else { Err(Refusal::UnsupportedPath) }
}

fn read(request: &Request) -> Result<&Request, Refusal> {
    if request.operation == Operation::Read { Ok(request) } else { Err(Refusal::UnsupportedOperation) }
}

#[cfg(test)]
mod tests {
    use super::key_name;

    #[test]
    fn names_are_vault_s() {
        for name in ["a", "a-b", "a.b", "A_1", "_"] {
            assert!(key_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", ".a", "a.", "a b", "ä", "a/b", "a%2f"] {
            assert!(key_name(name).is_err(), "{name}");
        }
    }
}
