//! Accounts and buckets, all of them in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mainstay_bucket::{BucketName, Settings};
use mainstay_storage::{Row, Statement, Store};
use mainstay_types::{InstanceId, Timestamp};

use crate::account::{Account, Bucket, BucketId, Usage};
use crate::error::IndexError;
use crate::stored::{StoredAccount, decode};

/// Who may have buckets, and which there are. Replaced as a whole where it changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    pub accounts: BTreeMap<InstanceId, Account>,
    pub buckets: BTreeMap<BucketName, Arc<Bucket>>,
}

/// What each bucket holds.
pub(crate) type Usages = HashMap<BucketId, Usage>;

impl Directory {
    /// Reads all of it.
    pub async fn load(store: &Store) -> Result<(Self, Usages), IndexError> {
        let (mut directory, mut usages) = (Self::default(), Usages::default());
        for row in store.read(Statement::new("SELECT id, record FROM accounts", [])).await? {
            let StoredAccount { limits, closing } = decode(row.blob(1)?)?;
            let id: InstanceId = parsed(row.text(0)?)?;
            directory.accounts.insert(id.clone(), Account { id, limits, closing });
        }
        let all = "SELECT id, name, account, created_at, settings, bytes, objects, markers, uploading_bytes, uploads \
                   FROM buckets";
        for row in store.read(Statement::new(all, [])).await? {
            let bucket = bucket(&row)?;
            usages.insert(bucket.id, usage(&row)?);
            directory.buckets.insert(bucket.name.clone(), Arc::new(bucket));
        }
        Ok((directory, usages))
    }

    /// The buckets of an account, by name.
    pub fn buckets_of<'d>(&'d self, account: &'d InstanceId) -> impl Iterator<Item = &'d Arc<Bucket>> {
        self.buckets.values().filter(move |bucket| bucket.account == *account)
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

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, IndexError>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| IndexError::Record(Arc::new(error)))
}
