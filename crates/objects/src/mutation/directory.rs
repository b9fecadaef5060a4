//! Accounts and buckets come, change and go. Each of these is a batch of its own, since all others build on them.

use std::sync::Arc;

use mainstay_bucket::{BucketName, Versioning};
use mainstay_types::InstanceId;

use super::Mutation;
use crate::account::{Account, Bucket, BucketId, Limits, NewBucket};
use crate::directory::Directory;
use crate::error::Refusal;
use crate::objects::SettingsChange;
use crate::stage::{DirectoryChange, Need, Stage, Stop};

pub(crate) struct PutAccount {
    pub id: InstanceId,
    pub limits: Limits,
}

/// Lets nothing new into an account.
pub(crate) struct CloseAccount(pub InstanceId);

/// Removes an account that has no buckets.
pub(crate) struct DropAccount(pub InstanceId);

pub(crate) struct CreateBucket(pub NewBucket);

pub(crate) struct ChangeSettings {
    pub name: BucketName,
    pub change: SettingsChange,
}

/// Removes a bucket that holds nothing.
pub(crate) struct DropBucket(pub BucketName);

macro_rules! needs_nothing {
    () => {
        fn needs(&self, _: &Stage) -> Vec<Need> {
            Vec::new()
        }
    };
}

impl Mutation for PutAccount {
    type Answer = ();
    needs_nothing!();

    fn decide(&self, stage: &mut Stage) -> Result<(), Stop> {
        let mut directory = alone(stage)?;
        let account = Account { id: self.id.clone(), limits: self.limits, closing: false };
        if directory.account(&self.id) == Some(&account) {
            return Ok(());
        }
        directory.put_account(account);
        stage.set_directory(directory, DirectoryChange::PutAccount(self.id.clone()));
        Ok(())
    }
}

impl Mutation for CloseAccount {
    type Answer = ();
    needs_nothing!();

    fn decide(&self, stage: &mut Stage) -> Result<(), Stop> {
        let mut directory = alone(stage)?;
        let Some(account) = directory.account(&self.0).filter(|account| !account.closing).cloned() else {
            return Ok(());
        };
        directory.put_account(Account { closing: true, ..account });
        stage.set_directory(directory, DirectoryChange::PutAccount(self.0.clone()));
        Ok(())
    }
}

impl Mutation for DropAccount {
    type Answer = ();
    needs_nothing!();

    fn decide(&self, stage: &mut Stage) -> Result<(), Stop> {
        let mut directory = alone(stage)?;
        if directory.buckets_of(&self.0).next().is_some() {
            return Err(Refusal::BucketNotEmpty.into());
        }
        if directory.account(&self.0).is_some() {
            directory.remove_account(&self.0);
            stage.set_directory(directory, DirectoryChange::RemoveAccount(self.0.clone()));
        }
        Ok(())
    }
}

impl Mutation for CreateBucket {
    type Answer = Arc<Bucket>;
    needs_nothing!();

    fn decide(&self, stage: &mut Stage) -> Result<Arc<Bucket>, Stop> {
        let Self(new) = self;
        let mut directory = alone(stage)?;
        let account = directory.account(&new.account).filter(|account| !account.closing);
        let limit = account.ok_or(Refusal::NoSuchAccount)?.limits.buckets;
        match directory.bucket(&new.name) {
            Some(bucket) if bucket.account == new.account => return Err(Refusal::BucketOwned.into()),
            Some(_) => return Err(Refusal::BucketExists.into()),
            None => {}
        }
        if directory.buckets_of(&new.account).count() >= limit as usize {
            return Err(Refusal::TooManyBuckets { limit }.into());
        }
        let mut settings = new.settings.clone();
        if settings.lock.is_some() {
            // Locks are on versions.
            settings.versioning = Versioning::Enabled;
        }
        let bucket = Arc::new(Bucket {
            name: new.name.clone(),
            account: new.account.clone(),
            created_at: stage.now,
            settings,
            id: BucketId(stage.next_sequence() as i64),
        });
        directory.put_bucket(bucket.clone());
        stage.set_directory(directory, DirectoryChange::CreateBucket(new.name.clone()));
        Ok(bucket)
    }
}

impl Mutation for ChangeSettings {
    type Answer = Arc<Bucket>;
    needs_nothing!();

    fn decide(&self, stage: &mut Stage) -> Result<Arc<Bucket>, Stop> {
        let mut directory = alone(stage)?;
        let before = stage.open_bucket(&self.name)?;
        let mut settings = before.settings.clone();
        (self.change)(&mut settings)?;
        if settings == before.settings {
            return Ok(before);
        }
        let invalid = |reason: &str| Stop::Refused(Refusal::InvalidSettings { reason: reason.to_owned() });
        if settings.versioning == Versioning::Unversioned && before.settings.versioning != Versioning::Unversioned {
            return Err(invalid("versioning can be suspended and not be taken back"));
        }
        if settings.lock.is_some() && settings.versioning != Versioning::Enabled {
            return Err(invalid("object lock needs versioning; enable it first, and it cannot be suspended then"));
        }
        if settings.lock.is_none() && before.settings.lock.is_some() {
            return Err(invalid("object lock cannot be taken back"));
        }
        let bucket = Arc::new(Bucket { settings, ..Bucket::clone(&before) });
        directory.put_bucket(bucket.clone());
        stage.set_directory(directory, DirectoryChange::ChangeBucket(self.name.clone()));
        Ok(bucket)
    }
}

impl Mutation for DropBucket {
    type Answer = ();
    needs_nothing!();

    fn decide(&self, stage: &mut Stage) -> Result<(), Stop> {
        let mut directory = alone(stage)?;
        let bucket = stage.bucket(&self.0)?;
        let usage = stage.usage(bucket.id);
        if usage.objects + usage.markers + usage.uploads > 0 {
            return Err(Refusal::BucketNotEmpty.into());
        }
        directory.remove_bucket(&self.0);
        stage.set_directory(directory, DirectoryChange::RemoveBucket(bucket.id));
        Ok(())
    }
}

/// The directory, where nothing else was decided in the batch.
pub(super) fn alone(stage: &Stage) -> Result<Directory, Stop> {
    if stage.is_untouched() { Ok(Directory::clone(&stage.directory)) } else { Err(Stop::NextBatch) }
}
