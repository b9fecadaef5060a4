//! How much is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::failure::Failure;
use crate::keys::CONTENTS;
use crate::store::{Listed, PAGE, Store};

/// Counts contents and their bytes at rest. The store is listed once, after the start; from then on what this process
/// does is added. What it does while the listing runs may be counted twice or not at all: these are figures to look at.
#[derive(Debug, Default)]
pub(crate) struct Census {
    contents: AtomicI64,
    bytes: AtomicI64,
}

impl Census {
    /// Counts the first page, and says after which key there is more.
    pub(crate) async fn begin(&self, store: &Store) -> Result<Option<String>, Failure> {
        let page = store.list("", None, PAGE).await?;
        Ok(self.count(page))
    }

    /// Counts what comes after some key, until the end.
    pub(crate) async fn go_on(self: Arc<Self>, store: Arc<Store>, after: String) {
        let mut after = Some(after);
        while let Some(key) = after {
            match store.list("", Some(&key), PAGE).await {
                Ok(page) => after = self.count(page),
                Err(failure) => {
                    tracing::warn!(?failure, "the contents of the object store are counted only in part");
                    return;
                }
            }
        }
    }

    pub(crate) fn add(&self, contents: i64, bytes: i64) {
        self.contents.fetch_add(contents, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Contents, and bytes at rest.
    pub(crate) fn read(&self) -> (u64, u64) {
        let read = |count: &AtomicI64| count.load(Ordering::Relaxed).max(0) as u64;
        (read(&self.contents), read(&self.bytes))
    }

    fn count(&self, page: Vec<Listed>) -> Option<String> {
        let contents = page.iter().filter(|listed| listed.key.starts_with(CONTENTS)).count();
        let bytes: u64 = page.iter().map(|listed| listed.size).sum();
        self.add(contents as i64, bytes as i64);
        if page.len() < PAGE { None } else { page.into_iter().next_back().map(|listed| listed.key) }
    }
}
