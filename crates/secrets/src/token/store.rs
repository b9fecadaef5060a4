//! Where tokens are kept: by a keyed hash, so that the store does not hold a single one.

use std::sync::Arc;

use mainstay_custody::{BarrierError, CommitError, Expect};
use mainstay_secrets_engine::{Batch, Refusal, Storage};
use mainstay_types::{Timestamp, TokenId};
use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use crate::directory::TokenDirectory;
use crate::draw;
use crate::residue;
use crate::token::entry::{Bearer, TokenEntry, TokenKey, TokenKind};

/// How many tokens are held in memory as they were read last: some 10 MiB.
const CACHED: usize = 16_384;

/// How often a change that met another one is tried again. Each time one of them gets through.
const ATTEMPTS: u32 = 64;

/// How many tokens one may descend from another through. Deeper than anybody builds, and a bound on each look.
const DEEPEST: usize = 64;

/// The largest entry, as JSON. Metadata and policies that come near it are no names of things any more, and so many
/// tokens of this size as are held in memory still fit there.
const LARGEST_ENTRY: usize = 16 << 10;

/// The tokens of every tenant.
pub(crate) struct Tokens {
    storage: Storage,
    salt: [u8; 32],
    cache: Cache<TokenKey, Arc<TokenEntry>>,
    directory: Arc<dyn TokenDirectory>,
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(storage: Storage, salt: [u8; 32], directory: Arc<dyn TokenDirectory>) -> Self {
        Self { storage, salt, cache: Cache::new(CACHED), directory }
    }

    /// What a token is known by. Looking this up instead of the token leaves nothing to time.
    pub(crate) fn key(&self, token: &str) -> TokenKey {
        let hash = residue::cleared(|| blake3::keyed_hash(&self.salt, token.as_bytes()));
        TokenKey(hash.to_hex().to_string())
    }

    /// Who bears a token, where it is accepted now: known, neither expired nor revoked, and no token that it descends
    /// from is either.
    pub(crate) async fn authenticate(&self, token: &str, now: Timestamp) -> Result<Option<Bearer>, BarrierError> {
        if let Some(layer) = self.directory.find(token) {
            let key = TokenKey::of_layer(&layer.id);
            return Ok(Some(Bearer::new(key, Arc::new(layer.entry()))));
        }
        let key = self.key(token);
        Ok(self.live(&key, now).await?.map(|entry| Bearer::new(key, entry)))
    }

    /// The token of a key, where it is accepted now.
    pub(crate) async fn live(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Arc<TokenEntry>>, BarrierError> {
        let Some(entry) = self.get(key).await? else { return Ok(None) };
        if entry.revoking || entry.is_expired(now) {
            return Ok(None);
        }
        let mut parent = entry.parent.clone();
        for _ in 0..DEEPEST {
            let Some(key) = parent else { return Ok(Some(entry)) };
            match self.get(&key).await? {
                Some(ancestor) if !ancestor.revoking && !ancestor.is_expired(now) => parent = ancestor.parent.clone(),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The token of a key, whether or not it is accepted.
    pub(crate) async fn get(&self, key: &TokenKey) -> Result<Option<Arc<TokenEntry>>, BarrierError> {
        if let Some(id) = key.0.strip_prefix(TokenKey::LAYER) {
            let known = id.parse::<TokenId>().ok().and_then(|id| self.directory.by_id(&id));
            return Ok(known.map(|layer| Arc::new(layer.entry())));
        }
        // A change removes what is cached, also a place that is kept for a read in progress: such a read is not cached.
        match self.cache.get_value_or_guard_async(key).await {
            Ok(entry) => Ok(Some(entry)),
            Err(guard) => {
                let Some(entry) = self.storage.value::<TokenEntry>(&id(key)).await? else { return Ok(None) };
                let entry = Arc::new(entry);
                let _ = guard.insert(entry.clone());
                Ok(Some(entry))
            }
        }
    }

    /// The key and the token of an accessor, whether or not it is accepted.
    pub(crate) async fn by_accessor(
        &self,
        accessor: &str,
    ) -> Result<Option<(TokenKey, Arc<TokenEntry>)>, BarrierError> {
        let Ok(accessor) = accessor.parse::<TokenId>() else { return Ok(None) };
        let key = match self.directory.by_id(&accessor) {
            Some(_) => Some(TokenKey::of_layer(&accessor)),
            None => self.storage.value(&accessor_path(&accessor)).await?,
        };
        let Some(key) = key else { return Ok(None) };
        Ok(self.get(&key).await?.map(|entry| (key, entry)))
    }

    /// Whether the token of an accessor is accepted now.
    pub(crate) async fn is_accepted(&self, accessor: &TokenId, now: Timestamp) -> Result<bool, BarrierError> {
        let Some((key, _)) = self.by_accessor(accessor.as_str()).await? else { return Ok(false) };
        Ok(self.live(&key, now).await?.is_some())
    }

    /// Keeps a new token, and answers it: the only time that anybody sees it. `wanted` is for those who may choose.
    pub(crate) async fn create(
        &self,
        entry: &TokenEntry,
        wanted: Option<Zeroizing<String>>,
    ) -> Result<(Zeroizing<String>, TokenKey), Refusal> {
        let length = serde_json::to_vec(entry).map_or(0, |json| json.len());
        if length > LARGEST_ENTRY {
            return Err(Refusal::invalid(format!(
                "the token's policies and metadata have {length} bytes and may have {LARGEST_ENTRY}"
            )));
        }
        let token = wanted.map_or_else(draw::token, Ok)?;
        let key = self.key(&token);
        let mut batch = Batch::default();
        batch.put(&id(&key), Expect::Absent, entry);
        batch.put(&accessor_path(&entry.accessor), Expect::Absent, &key);
        if let Some(parent) = &entry.parent {
            batch.put(&child_path(parent, &key), Expect::Absent, &true);
        }
        match self.storage.commit(batch).await {
            Ok(()) => Ok((token, key)),
            Err(CommitError::Conflict { .. }) => Err(Refusal::invalid("cannot create a token with a duplicate ID")),
            Err(error) => Err(error.into()),
        }
    }

    /// Uses one of a token's uses, and answers how many are left; nothing where another request took the last one.
    pub(crate) async fn use_once(&self, key: &TokenKey) -> Result<Option<u64>, Refusal> {
        let mut left = None;
        let change = |entry: &mut TokenEntry| {
            left = entry.num_uses.checked_sub(1).filter(|_| !entry.revoking);
            entry.num_uses = left.unwrap_or(entry.num_uses);
            // The last use is this request's; whoever comes next finds a token that is being revoked.
            entry.revoking |= left == Some(0);
            left.is_some()
        };
        // A token that is gone at a second try has given nothing, whatever the first one saw.
        let changed = self.change(key, change).await?;
        Ok(changed.and(left))
    }

    /// Changes a token; nothing is written where the change says false, and nothing is answered where it is gone.
    pub(crate) async fn change(
        &self,
        key: &TokenKey,
        change: impl FnMut(&mut TokenEntry) -> bool,
    ) -> Result<Option<Arc<TokenEntry>>, Refusal> {
        self.change_with(key, change, |_| ()).await
    }

    /// The same, with other changes that are made together with it.
    async fn change_with(
        &self,
        key: &TokenKey,
        mut change: impl FnMut(&mut TokenEntry) -> bool,
        also: impl Fn(&mut Batch),
    ) -> Result<Option<Arc<TokenEntry>>, Refusal> {
        let path = id(key);
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.storage.get::<TokenEntry>(&path).await? else { return Ok(None) };
            let mut entry = stored.value;
            if !change(&mut entry) {
                return Ok(Some(Arc::new(entry)));
            }
            let mut batch = Batch::default();
            batch.put(&path, Expect::Revision(stored.revision), &entry);
            also(&mut batch);
            let committed = self.storage.commit(batch).await;
            self.cache.remove(key);
            match committed {
                Ok(()) => return Ok(Some(Arc::new(entry))),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::Unavailable { what: "the token is used by many at the same time; try again".into(), source: None })
    }

    /// The tokens that a token has made, a page at a time; none once there are no more.
    pub(crate) async fn children(&self, parent: &TokenKey, limit: usize) -> Result<Vec<TokenKey>, Refusal> {
        let folder = format!("parent/{}/", parent.0);
        loop {
            let paths = self.storage.keys(&folder, None, limit).await?;
            let mut children = Vec::new();
            for path in &paths {
                let child = TokenKey(path[folder.len()..].to_owned());
                match self.get(&child).await? {
                    Some(entry) if entry.parent.as_ref() == Some(parent) => children.push(child),
                    // Whoever works through the children must not meet one for ever that is none.
                    _ => self.storage.delete(path).await?,
                }
            }
            if paths.is_empty() || !children.is_empty() {
                return Ok(children);
            }
        }
    }

    /// Cuts a token loose from the one that made it.
    pub(crate) async fn orphan(&self, key: &TokenKey, parent: &TokenKey) -> Result<(), Refusal> {
        let is_child = |entry: &mut TokenEntry| entry.parent.take_if(|own| own == parent).is_some();
        let path = child_path(parent, key);
        self.change_with(key, is_child, |batch| _ = batch.delete(&path, Expect::Anything)).await.map(drop)
    }

    /// Removes a token that nothing hangs on any more.
    pub(crate) async fn forget(&self, key: &TokenKey, entry: &TokenEntry) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        batch.delete(&id(key), Expect::Anything);
        batch.delete(&accessor_path(&entry.accessor), Expect::Anything);
        if let Some(parent) = &entry.parent {
            batch.delete(&child_path(parent, key), Expect::Anything);
        }
        let committed = self.storage.commit(batch).await;
        self.cache.remove(key);
        Ok(committed?)
    }

    /// The accessors of all tokens that are kept here.
    pub(crate) async fn accessors(&self) -> Result<Vec<String>, BarrierError> {
        self.storage.list("accessor/").await
    }

    /// The tokens that are kept here, after one of them.
    pub(crate) async fn page(&self, after: Option<&TokenKey>, limit: usize) -> Result<Vec<TokenKey>, BarrierError> {
        let after = after.map(id);
        let keys = self.storage.keys("id/", after.as_deref(), limit).await?;
        Ok(keys.into_iter().map(|key| TokenKey(key["id/".len()..].to_owned())).collect())
    }

    /// Tokens of the native API that have ended and have left children here.
    pub(crate) async fn ended_layer_parents(&self) -> Result<Vec<TokenKey>, BarrierError> {
        let names = self.storage.list(&format!("parent/{}", TokenKey::LAYER)).await?;
        Ok(self.ended_layer(&names))
    }

    /// Which of these folders, named by ids, are those of tokens of the native API that are accepted no more.
    pub(crate) fn ended_layer(&self, folders: &[String]) -> Vec<TokenKey> {
        let ids = folders.iter().filter_map(|folder| folder.trim_end_matches('/').parse::<TokenId>().ok());
        ids.filter(|id| self.directory.by_id(id).is_none()).map(|id| TokenKey::of_layer(&id)).collect()
    }

    /// Ends a token of the native API.
    pub(crate) async fn revoke_layer(&self, entry: &TokenEntry) -> Result<(), Refusal> {
        debug_assert_eq!(entry.kind, TokenKind::Layer);
        self.directory.revoke(&entry.accessor).await
    }
}

fn id(key: &TokenKey) -> String {
    format!("id/{}", key.0)
}

fn accessor_path(accessor: &TokenId) -> String {
    format!("accessor/{accessor}")
}

fn child_path(parent: &TokenKey, child: &TokenKey) -> String {
    format!("parent/{}/{}", parent.0, child.0)
}
