//! What buckets and accounts may hold.

use mainstay_bucket::{BucketName, ObjectKey, VersionId, Versioning};
use mainstay_storage::Statement;

use crate::account::{Bucket, Usage};
use crate::directory::{Directory, Usages};
use crate::error::{Error, Refusal};
use crate::fetch;
use crate::objects::Objects;
use crate::request::UploadRef;
use crate::stage::{Statistic, integer};

/// What bytes are going to be.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    Object { bucket: &'a BucketName, key: &'a ObjectKey },
    Part { upload: &'a UploadRef, number: u32 },
}

impl Objects {
    /// Whether there will be room for so many bytes, as far as is known before they have come. Whether there is in the end the
    /// index decides.
    pub async fn check_quota(&self, target: Target<'_>, size: u64) -> Result<(), Error> {
        let size = signed(size);
        let (bucket, new) = match target {
            Target::Object { bucket, .. } => (bucket, Statistic { bytes: size, objects: 1, ..Statistic::default() }),
            Target::Part { upload, .. } => {
                (&upload.bucket, Statistic { uploading_bytes: size, ..Statistic::default() })
            }
        };
        let bucket = self.known(bucket)?;
        let admits =
            |gone| admit(&self.inner.directory(), &self.inner.usages(), &bucket, new, gone).map_err(Error::from);
        // Most have room for more; what is replaced is looked up only where that decides.
        match admits(Statistic::default()) {
            Ok(()) => Ok(()),
            Err(_) => admits(self.replaced(&bucket, target).await?),
        }
    }

    /// What goes when something is put there.
    async fn replaced(&self, bucket: &Bucket, target: Target<'_>) -> Result<Statistic, Error> {
        match target {
            Target::Object { .. } if bucket.settings.versioning == Versioning::Enabled => Ok(Statistic::default()),
            Target::Object { key, .. } => match self.head(&bucket.name, key, Some(&VersionId::Null)).await {
                Ok(version) => Ok(Statistic::of_version(&version)),
                Err(Error::Refused(_)) => Ok(Statistic::default()),
                Err(error) => Err(error),
            },
            Target::Part { upload, number } => {
                let sql = "SELECT number, record FROM upload_parts WHERE upload = $1 AND number = $2";
                let asked = Statement::new(sql, [integer(upload.id.sequence), number.into()]);
                let parts = fetch::parts(&self.inner.store, asked).await?;
                let uploading_bytes = parts.values().map(|part| signed(part.size)).sum();
                Ok(Statistic { uploading_bytes, ..Statistic::default() })
            }
        }
    }
}

/// Whether a bucket and its account have room for what is new, once something is gone.
pub(crate) fn admit(
    directory: &Directory,
    usages: &Usages,
    bucket: &Bucket,
    new: Statistic,
    gone: Statistic,
) -> Result<(), Refusal> {
    let usage = |bucket: &Bucket| usages.get(&bucket.id).copied().unwrap_or_default();
    let mut all = Usage::default();
    directory.buckets_of(&bucket.account).for_each(|bucket| all += usage(bucket));
    let limits = directory.account(&bucket.account).map(|account| account.limits).unwrap_or_default();
    let quota = bucket.settings.quota;
    for (usage, bytes, objects) in [(usage(bucket), quota.bytes, quota.objects), (all, limits.bytes, limits.objects)] {
        let held = signed(usage.bytes + usage.uploading_bytes);
        let more = new.bytes + new.uploading_bytes;
        let less = gone.bytes + gone.uploading_bytes;
        // What does not add to what is held is let in, also where a quota was lowered below it.
        if let Some(limit) = bytes
            && more > less
            && held.saturating_add(more - less) > signed(limit)
        {
            return Err(Refusal::OutOfBytes { limit });
        }
        if let Some(limit) = objects
            && new.objects > gone.objects
            && signed(usage.objects) + new.objects - gone.objects > signed(limit)
        {
            return Err(Refusal::OutOfObjects { limit });
        }
    }
    Ok(())
}

/// Counts of what is there are far below where the two kinds of numbers differ; a limit above it is none.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
