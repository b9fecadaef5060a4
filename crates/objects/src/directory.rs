//! Accounts and buckets, all of them in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_bucket::{BucketName, Settings};
use mainstay_storage::{Row, Statement, Store};
use mainstay_types::{InstanceId, Timestamp};

use crate::account::{Account, Bucket, BucketId, Usage};
use crate::error::IndexError;
use crate::stored::{StoredAccount, decode};

/// Who may have buckets, and which there are. Replaced as a whole where it changes, which is seldom.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    accounts: BTreeMap<InstanceId, Account>,
    buckets: BTreeMap<BucketName, Arc<Bucket>>,
    /// The same buckets by whose they are.
    owned: BTreeMap<InstanceId, BTreeMap<BucketName, Arc<Bucket>>>,
}

/// What each bucket holds. A clone shares what does not change.
pub(crate) type Usages = imbl::HashMap<BucketId, Usage>;

impl Directory {
    /// Reads all of it.
    pub async fn load(store: &Store) -> Result<(Self, Usages), IndexError> {
        let (mut directory, mut usages) = (Self::default(), Usages::default());
        for row in store.read(Statement::new("SELECT id, record FROM accounts", [])).await? {
            let StoredAccount { limits, closing } = decode(row.blob(1)?)?;
            directory.put_account(Account { id: parsed(row.text(0)?)?, limits, closing });
        }
        let all = "SELECT id, name, account, created_at, settings, bytes, objects, markers, uploading_bytes, uploads \
                   FROM buckets";
        for row in store.read(Statement::new(all, [])).await? {
            let bucket = bucket(&row)?;
            usages.insert(bucket.id, usage(&row)?);
            directory.put_bucket(Arc::new(bucket));
        }
        Ok((directory, usages))
    }

    pub fn account(&self, id: &InstanceId) -> Option<&Account> {
        self.accounts.get(id)
    }

    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    pub fn bucket(&self, name: &BucketName) -> Option<&Arc<Bucket>> {
        self.buckets.get(name)
    }

    pub fn buckets(&self) -> impl Iterator<Item = &Arc<Bucket>> {
        self.buckets.values()
    }

    /// The buckets of an account, by name.
    pub fn buckets_of(&self, account: &InstanceId) -> impl Iterator<Item = &Arc<Bucket>> {
        self.owned.get(account).into_iter().flat_map(BTreeMap::values)
    }

    pub fn put_account(&mut self, account: Account) {
        self.accounts.insert(account.id.clone(), account);
    }

    pub fn remove_account(&mut self, id: &InstanceId) {
        self.accounts.remove(id);
    }

    /// Adds a bucket, or replaces it.
    pub fn put_bucket(&mut self, bucket: Arc<Bucket>) {
        self.owned.entry(bucket.account.clone()).or_default().insert(bucket.name.clone(), bucket.clone());
        self.buckets.insert(bucket.name.clone(), bucket);
    }

    pub fn remove_bucket(&mut self, name: &BucketName) {
        let Some(bucket) = self.buckets.remove(name) else { return };
        if let Some(owned) = self.owned.get_mut(&bucket.account) {
            owned.remove(name);
            if owned.is_empty() {
                self.owned.remove(&bucket.account);
            }
        }
    }
}

fn bucket(row: &Row) -> Result<Bucket, IndexError> {
    Ok(Bucket {
        id: BucketId(row.integer(0)?),
        name: parsed(row.text(1)?)?,
        account: parsed(row.text(2)?)?,
        created_at: Timestamp::from_micros(row.integer(3)?),
        settings: Settings::from_cbor(row.blob(4)?)?,
    })
}

fn usage(row: &Row) -> Result<Usage, IndexError> {
    let count = |column| -> Result<u64, IndexError> { Ok(row.integer(column)?.max(0) as u64) };
    Ok(Usage {
        bytes: count(5)?,
        objects: count(6)?,
        markers: count(7)?,
        uploading_bytes: count(8)?,
        uploads: count(9)?,
    })
}

/// Text of the index as the type that it was before.
pub(crate) fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, IndexError>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| IndexError::Record(Arc::new(error)))
}
