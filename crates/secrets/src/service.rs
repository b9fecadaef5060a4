//! The service: from a call to its reply.
//!
//! ```text
//! call -> token -> namespace -> mount -> policies -> audit -> backend -> lease or token -> wrapping -> audit -> reply
//! ```

use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use mainstay_custody::{Custody, RestoreError, SnapshotError, SnapshotSummary, Target};
use mainstay_secrets_engine::{Kind, Refusal};
use mainstay_types::{Role, TenantScope, Timestamp, TokenId};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::allow::without_slash;
use crate::audit::{AuditFile, Hasher};
use crate::call::{Call, Reply};
use crate::directory::TokenDirectory;
use crate::key_file::KeyFile;
use crate::kinds::Kinds;
use crate::open::Open;
use crate::system;
use crate::token::{TokenEntry, TokenKind};
use crate::witness::{CustodyEvent, Witness};

/// The longest path of a request, in bytes: the longest mount, and a key below it.
const LONGEST_PATH: usize = 2048;

/// How often the journal is told how far custody's store has come, where it has come further: an older copy than that is
/// found when it is put back.
const WITNESSED: Duration = Duration::from_secs(600);

/// How long an unsealing waits for requests from before the sealing, all of which find custody sealed at their next step,
/// and how often it looks for them.
const CLOSED_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Secret custody with the Vault HTTP API. A clone is another handle to the same.
#[derive(Clone)]
pub struct Secrets {
    inner: Arc<Inner>,
}

struct Inner {
    custody: Custody,
    kinds: Arc<Kinds>,
    directory: Arc<dyn TokenDirectory>,
    witness: Arc<dyn Witness>,
    /// None where operators hold the key in shares.
    key_file: Option<Arc<dyn KeyFile>>,
    audit: AuditFile,
    /// What is known while custody is unsealed; nothing while it is sealed.
    unsealed: RwLock<Option<Unsealed>>,
    /// What was known when custody was sealed last, while somebody still works with it.
    closed: Mutex<Weak<Open>>,
    /// Held while custody is opened or closed.
    change: tokio::sync::Mutex<()>,
    /// What the root token that operators are bringing shares for is to be told with.
    pad: Mutex<Option<Zeroizing<String>>>,
    /// Why custody stays sealed although its seal was opened, where it does.
    old_copy: Mutex<Option<String>>,
}

struct Unsealed {
    open: Arc<Open>,
    hasher: Arc<Hasher>,
    /// Ended when custody is sealed.
    _tasks: JoinSet<()>,
}

/// Whoever bears a token of custody's own, in the words of the native API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleBearer {
    pub id: TokenId,
    pub role: Role,
    pub scope: TenantScope,
}

// === impl Secrets ===

impl Secrets {
    /// Custody as it is now, sealed or not. What is unsealed is opened at once.
    pub async fn new(
        custody: Custody,
        kinds: Vec<Arc<dyn Kind>>,
        directory: Arc<dyn TokenDirectory>,
        witness: Arc<dyn Witness>,
        key_file: Option<Arc<dyn KeyFile>>,
        audit: AuditFile,
    ) -> Result<Self, Refusal> {
        let inner = Inner {
            custody,
            kinds: Arc::new(Kinds::new(kinds)),
            directory,
            witness,
            key_file,
            audit,
            unsealed: RwLock::new(None),
            closed: Mutex::default(),
            change: tokio::sync::Mutex::new(()),
            pad: Mutex::new(None),
            old_copy: Mutex::new(None),
        };
        let secrets = Self { inner: Arc::new(inner) };
        match secrets.follow_seal().await {
            // The rest of the layer serves what it can, and says why its secrets cannot be read.
            Err(refusal) if secrets.old_copy().is_some() => {
                tracing::error!(%refusal, "custody stays sealed");
            }
            followed => followed?,
        }
        Ok(secrets)
    }

    /// Answers a call. Nothing of it fails: what goes wrong is in the reply.
    pub async fn handle(&self, call: &Call) -> Reply {
        if let Err(refusal) = check_path(&call.path) {
            return Reply::from(&refusal);
        }
        if let Some(reply) = system::seal::without_token(self, call).await {
            return reply;
        }
        let Some((open, hasher)) = self.open() else { return Reply::errors(503, "Vault is sealed") };
        if call.path.ends_with('/') && call.is_write() {
            // As in Vault: whoever does that has a name in mind that this is not.
            return Reply::errors(400, "cannot write to a path ending in '/'");
        }
        let outcome = self.serve(&open, &hasher, call).await;
        outcome.unwrap_or_else(|refusal| {
            if let Refusal::Failed { .. } | Refusal::Unavailable { .. } = &refusal {
                tracing::warn!(
                    error = &refusal as &dyn std::error::Error,
                    path = call.path,
                    "custody could not answer"
                );
            }
            Reply::from(&refusal)
        })
    }

    /// Who bears a token of custody's own, where one of its policies is a role of the native API.
    pub async fn role_bearer(&self, token: &SecretString) -> Result<Option<RoleBearer>, Refusal> {
        let Some((open, _)) = self.open() else { return Ok(None) };
        let bearer = open.tokens.authenticate(token.expose_secret(), Timestamp::now()).await?;
        Ok(bearer.and_then(|bearer| role_bearer(&bearer.entry)))
    }

    /// Whether the token of an id, of custody's own, would be let in now.
    pub async fn accepts(&self, id: &TokenId) -> bool {
        let Some((open, _)) = self.open() else { return false };
        open.tokens.is_accepted(id, Timestamp::now()).await.unwrap_or(false)
    }

    /// Whether a call bears a token of the native API that may do everything for every tenant.
    pub(crate) fn is_layer_admin(&self, call: &Call) -> bool {
        let token = call.token.as_ref().and_then(|token| self.inner.directory.find(token.expose_secret()));
        token.is_some_and(|token| token.role == Role::Admin && token.scope == TenantScope::Any)
    }

    /// What is sealed and wrapped.
    pub(crate) fn custody(&self) -> &Custody {
        &self.inner.custody
    }

    /// The file that the key is in, where it is in one.
    pub(crate) fn key_file(&self) -> Option<&dyn KeyFile> {
        self.inner.key_file.as_deref()
    }

    pub(crate) fn audit_file(&self) -> &AuditFile {
        &self.inner.audit
    }

    pub(crate) fn audit_path(&self) -> String {
        self.inner.audit.path().display().to_string()
    }

    pub(crate) fn hasher(&self, open: &Open) -> Hasher {
        Hasher::new(&open.salts.audit)
    }

    /// Puts a one-time pad in the place of the one there was.
    pub(crate) fn set_pad(&self, pad: Option<Zeroizing<String>>) -> Option<Zeroizing<String>> {
        std::mem::replace(&mut *self.inner.pad.lock().unwrap_or_else(PoisonError::into_inner), pad)
    }

    /// Whether nothing can be read.
    pub fn is_sealed(&self) -> bool {
        self.inner.custody.is_sealed()
    }

    /// Writes all of custody, sealed as it is.
    pub async fn snapshot<W: AsyncWrite + Unpin>(&self, writer: &mut W) -> Result<SnapshotSummary, SnapshotError> {
        self.inner.custody.snapshot(writer).await
    }

    /// Puts a snapshot in the place of what there is. Custody is sealed then, and knows nothing of what it was.
    pub async fn restore<R: AsyncRead + Unpin>(&self, reader: &mut R, target: Target) -> Result<(), RestoreError> {
        let restored = self.inner.custody.restore(reader, target).await;
        if restored.is_ok() {
            // The position begins anew: whoever was let in to restore a snapshot knows that it is an older state.
            self.record(CustodyEvent::Restored, 0).await;
            self.set_old_copy(None);
        }
        if let Err(refusal) = self.follow_seal().await {
            tracing::warn!(error = &refusal as &dyn std::error::Error, "custody could not be opened after a restore");
        }
        restored
    }

    /// Seals custody: nothing is readable from here on.
    pub async fn seal(&self) -> Result<(), Refusal> {
        let position = self.inner.custody.position();
        self.inner.custody.seal().await;
        self.set_pad(None);
        self.record(CustodyEvent::Sealed, position).await;
        self.follow_seal().await
    }

    /// Opens what is unsealed and closes what is sealed.
    pub(crate) async fn follow_seal(&self) -> Result<(), Refusal> {
        let _change = self.inner.change.lock().await;
        let is_open = self.open().is_some();
        match (self.inner.custody.is_sealed(), is_open) {
            (true, true) => {
                let closed = self.write().take();
                *self.lock_closed() = closed.map_or_else(Weak::new, |unsealed| Arc::downgrade(&unsealed.open));
            }
            (false, false) => {
                self.wait_for_closed().await?;
                self.check_position().await?;
                let mut tasks = JoinSet::new();
                tasks.spawn(witness_position(self.inner.custody.clone(), self.inner.witness.clone()));
                let barrier = self.inner.custody.barrier();
                let (kinds, directory) = (self.inner.kinds.clone(), self.inner.directory.clone());
                let open = Open::begin(barrier, kinds, directory, &mut tasks).await?;
                let hasher = Arc::new(Hasher::new(&open.salts.audit));
                *self.write() = Some(Unsealed { open, hasher, _tasks: tasks });
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until nobody works any more with what was known before custody was sealed: what they change would be missed
    /// by what is read now.
    async fn wait_for_closed(&self) -> Result<(), Refusal> {
        let ended = async {
            while self.lock_closed().strong_count() > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(CLOSED_TIMEOUT, ended).await.map_err(|_| Refusal::Unavailable {
            what: "requests from before custody was sealed have not ended; unseal again".to_owned(),
            source: None,
        })
    }

    fn lock_closed(&self) -> std::sync::MutexGuard<'_, Weak<Open>> {
        self.inner.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the journal remember an event. Where it cannot now, what happened has happened all the same.
    pub(crate) async fn record(&self, event: CustodyEvent, position: u64) {
        if let Err(error) = self.inner.witness.record(event, position).await {
            tracing::warn!(?event, position, %error, "the journal was not told what happened to custody");
        }
    }

    /// Why custody stays sealed although its seal was opened, where it does.
    pub fn old_copy(&self) -> Option<String> {
        self.inner.old_copy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_old_copy(&self, reason: Option<String>) {
        *self.inner.old_copy.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Holds the store against what the journal has seen of it, and seals it where it has come less far.
    async fn check_position(&self) -> Result<(), Refusal> {
        let (here, seen) = (self.inner.custody.position(), self.inner.witness.position());
        if here >= seen {
            return Ok(());
        }
        self.inner.custody.seal().await;
        let what = format!(
            "custody's store is an old copy: it has come to position {here}, and the journal has seen it at {seen}; put the \
             newer one back, or restore a snapshot with force"
        );
        self.set_old_copy(Some(what.clone()));
        Err(Refusal::Unavailable { what, source: None })
    }

    /// What is unsealed, if it is.
    pub(crate) fn open(&self) -> Option<(Arc<Open>, Arc<Hasher>)> {
        let unsealed = self.inner.unsealed.read().unwrap_or_else(PoisonError::into_inner);
        unsealed.as_ref().map(|unsealed| (unsealed.open.clone(), unsealed.hasher.clone()))
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Option<Unsealed>> {
        self.inner.unsealed.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the journal remember how far the store has come, from time to time.
async fn witness_position(custody: Custody, witness: Arc<dyn Witness>) {
    loop {
        if let Err(error) = witness.record(CustodyEvent::Witnessed, custody.position()).await {
            tracing::warn!(%error, "the journal was not told how far custody has come");
        }
        tokio::time::sleep(WITNESSED).await;
    }
}

/// Refuses paths that could mean something else to somebody else. There is one way to write each.
fn check_path(path: &str) -> Result<(), Refusal> {
    let segments_are_plain = without_slash(path).split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    if path.len() > LONGEST_PATH {
        return Err(Refusal::invalid(format!("the path has {} bytes and may have {LONGEST_PATH}", path.len())));
    }
    if !segments_are_plain || path.chars().any(char::is_control) {
        return Err(Refusal::invalid("the path has an empty, '.' or '..' segment, or a control character"));
    }
    Ok(())
}

fn role_bearer(entry: &TokenEntry) -> Option<RoleBearer> {
    let roles = entry.policies.iter().filter_map(|policy| match policy.as_str() {
        "root" => Some(Role::Admin),
        name => name.parse().ok(),
    });
    let role = roles.max()?;
    // A token that may be used so many times only, or from somewhere only, is for this API's paths.
    let is_plain = entry.num_uses == 0 && entry.bound_cidrs.is_empty() && entry.kind == TokenKind::Service;
    is_plain.then(|| RoleBearer { id: entry.accessor.clone(), role, scope: entry.scope.clone() })
}
