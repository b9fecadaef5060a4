//! Pages of objects, versions and uploads.

use std::sync::Arc;

use mainstay_bucket::{ObjectKey, VersionId};
use mainstay_storage::{Row, Statement};

use crate::account::{Bucket, BucketId};
use crate::directory::parsed;
use crate::error::IndexError;
use crate::fetch::{self, upload_row};
use crate::inner::Inner;
use crate::request::{
    ListQuery, ListedVersion, Page, Upload, UploadId, UploadsPage, UploadsQuery, VersionsPage, VersionsQuery,
};
use crate::stage::{UploadRow, integer, negated, numbered, sequence_of};
use crate::stored;
use crate::version::VersionEntry;
use crate::walk::{Scope, Start, Step, Walk};

/// Objects, versions or uploads of a page, however many are asked for: a hundred times what S3 gives, and some 50 MiB.
const LONGEST_PAGE: usize = 100_000;

/// Rows that are read behind the page, so that whether it is the last is known.
const BEHIND: usize = 1;

/// Rows that are read at once where any of them may be the first of many below one common prefix; doubled while none is.
const CAUTIOUS: usize = 32;

/// Reads the newest version of each key.
const OBJECTS: &str =
    "SELECT key, record FROM objects WHERE bucket = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4";

/// Reads the newest version of each key, but of all keys below a common prefix only the first, without its record: each
/// step looks up the next key, or the first one behind the common prefix that the last one lies below.
///
/// $4 is the delimiter and $5 what follows it; $6 is where the part of a key behind the prefix begins, in characters; $7
/// is the least character.
const ROLLED_UP: &str = "\
    WITH RECURSIVE walk (n, key) AS ( \
        SELECT 1, (SELECT o.key FROM objects AS o WHERE o.bucket = $1 AND o.key >= $2 AND o.key < $3 \
                   ORDER BY o.key LIMIT 1) \
        UNION ALL \
        SELECT n + 1, (SELECT o.key FROM objects AS o WHERE o.bucket = $1 AND o.key < $3 AND o.key >= \
            CASE instr(substr(walk.key, CAST($6 AS INTEGER)), $4) WHEN 0 THEN walk.key || $7 \
            ELSE substr(walk.key, 1, CAST($6 AS INTEGER) - 2 + instr(substr(walk.key, CAST($6 AS INTEGER)), $4)) || $5 \
            END ORDER BY o.key LIMIT 1) \
        FROM walk WHERE walk.key IS NOT NULL AND n < $8) \
    SELECT walk.key, CASE instr(substr(walk.key, CAST($6 AS INTEGER)), $4) WHEN 0 THEN \
        (SELECT o.record FROM objects AS o WHERE o.bucket = $1 AND o.key = walk.key) END \
    FROM walk WHERE walk.key IS NOT NULL ORDER BY n";

/// Reads the newest version of each key, and what is behind it.
const VERSIONS: &str = "\
    SELECT key, hidden, place, record FROM ( \
        SELECT * FROM (SELECT key, 0 AS hidden, 0 AS place, record FROM objects \
            WHERE bucket = $1 AND key >= $2 AND key < $5 ORDER BY key LIMIT $6) AS visible \
        UNION ALL \
        SELECT * FROM (SELECT key, 1 AS hidden, place, record FROM versions \
            WHERE bucket = $1 AND (key, place) > ($3, $4) AND key < $5 ORDER BY key, place LIMIT $6) AS behind \
    ) AS listed ORDER BY key, hidden, place LIMIT $6";

const UPLOADS: &str = "\
    SELECT id, bucket, key, record FROM uploads \
    WHERE bucket = $1 AND (key, id) > ($2, $3) AND key < $4 ORDER BY key, id LIMIT $5";

/// A row of a listing.
trait Listed: Sized {
    fn key(&self) -> &str;
    fn place(&self) -> i64;

    /// Reads rows from some start on.
    fn fetch(
        inner: &Inner,
        bucket: BucketId,
        scope: Scope<'_>,
        start: &Start,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self>, IndexError>> + Send;
}

struct VersionRow {
    key: ObjectKey,
    /// Whether it is a row of `versions`.
    hidden: bool,
    place: i64,
    entry: VersionEntry,
}

impl Inner {
    pub async fn list(&self, bucket: &Bucket, query: &ListQuery) -> Result<Page, IndexError> {
        let mut page = Page::default();
        let Some(scope) = Scope::new(&query.prefix, query.delimiter.as_deref()) else { return Ok(page) };
        let limit = query.limit.min(LONGEST_PAGE);
        let mut walk = Walk::new(scope, limit);
        let mut start = scope.start(query.after.as_deref());
        let mut last = None;
        loop {
            let room = limit - page.objects.len() - page.prefixes.len() + BEHIND;
            let rows = self.store.read(object_rows(bucket.id, scope, &start, room)).await?;
            let ended = rows.len() < room;
            for row in rows {
                let key = row.text(0)?;
                match walk.step(key) {
                    Step::Item => {
                        let key: ObjectKey = parsed(key)?;
                        last = Some(key.as_str().to_owned());
                        page.objects.push((key, Arc::new(stored::decode(row.blob(1)?)?)));
                    }
                    Step::Prefix(prefix) => {
                        last = Some(prefix.to_owned());
                        page.prefixes.push(prefix.to_owned());
                    }
                    Step::Below => {}
                    Step::Full => {
                        page.next = last;
                        return Ok(page);
                    }
                }
                start = walk.next(key, 0);
            }
            if ended || limit == 0 {
                return Ok(page);
            }
        }
    }

    pub async fn list_versions(&self, bucket: &Bucket, query: &VersionsQuery) -> Result<VersionsPage, IndexError> {
        let mut page = VersionsPage::default();
        let Some(scope) = Scope::new(&query.prefix, query.delimiter.as_deref()) else { return Ok(page) };
        let start = match &query.after {
            Some((key, Some(id))) if *key >= query.prefix && !key.contains('\0') => {
                self.behind_version(bucket.id, key, id).await?
            }
            after => scope.start(after.as_ref().map(|(key, _)| key.as_str())),
        };
        // What goes on within a key is not the newest of it.
        let mut key_before = match &start {
            Start::Behind(key, _) => Some(key.clone()),
            Start::At(_) => None,
        };
        let mut rows = Rows::<VersionRow>::new(self, bucket.id, scope, start, query.limit.min(LONGEST_PAGE));
        let mut last = None;
        while let Some(row) = rows.next().await? {
            match row {
                Told::Row(VersionRow { key, entry, .. }) => {
                    let latest = key_before.as_deref() != Some(key.as_str());
                    key_before = Some(key.as_str().to_owned());
                    // The null version can be gone, or another one, when the next page is asked for; its number says where it was.
                    let place = numbered(entry.sequence());
                    last = Some((key.as_str().to_owned(), Some(place)));
                    page.entries.push(ListedVersion { key, entry, latest });
                }
                Told::Prefix(prefix) => {
                    last = Some((prefix.clone(), None));
                    page.prefixes.push(prefix);
                }
            }
        }
        page.next = last.filter(|_| rows.more);
        Ok(page)
    }

    pub async fn uploads(&self, bucket: &Bucket, query: &UploadsQuery) -> Result<UploadsPage, IndexError> {
        let mut page = UploadsPage::default();
        let Some(scope) = Scope::new(&query.prefix, query.delimiter.as_deref()) else { return Ok(page) };
        let start = match &query.after {
            Some((key, Some(id))) if *key >= query.prefix && !key.contains('\0') => {
                Start::Behind(key.clone(), id.place())
            }
            after => scope.start(after.as_ref().map(|(key, _)| key.as_str())),
        };
        let mut rows = Rows::<UploadRow>::new(self, bucket.id, scope, start, query.limit.min(LONGEST_PAGE));
        let mut last: Option<(String, Option<UploadId>)> = None;
        while let Some(row) = rows.next().await? {
            match row {
                Told::Row(row) => {
                    let upload: Upload = row.upload();
                    last = Some((upload.key.as_str().to_owned(), Some(upload.id)));
                    page.uploads.push(upload);
                }
                Told::Prefix(prefix) => {
                    last = Some((prefix.clone(), None));
                    page.prefixes.push(prefix);
                }
            }
        }
        page.next = last.filter(|_| rows.more);
        Ok(page)
    }

    /// Behind a version that a page ended with, which may be gone since.
    async fn behind_version(&self, bucket: BucketId, key: &str, id: &VersionId) -> Result<Start, IndexError> {
        let sequence = match id {
            VersionId::Numbered(number) => sequence_of(*number),
            VersionId::Null => {
                let Ok(parsed) = key.parse::<ObjectKey>() else { return Ok(Start::Behind(key.to_owned(), i64::MAX)) };
                let place = (bucket, parsed);
                let current = fetch::object(&self.store, &place).await?;
                let found = match current.filter(|version| version.id == VersionId::Null) {
                    Some(version) => Some(version.sequence),
                    None => fetch::null_version(&self.store, &place).await?.first().map(VersionEntry::sequence),
                };
                // Nobody knows where it was: what was told before is told again, and nothing is left out.
                let Some(sequence) = found else { return Ok(Start::At(key.to_owned())) };
                sequence
            }
        };
        let known = i64::try_from(sequence).is_ok();
        Ok(Start::Behind(key.to_owned(), if known { negated(sequence) } else { i64::MAX }))
    }
}

/// A question for objects, which skips what lies below common prefixes where it can.
fn object_rows(bucket: BucketId, scope: Scope<'_>, start: &Start, limit: usize) -> Statement {
    let (from, end, limit) = (start.key(), scope.end(), integer(limit as u64));
    match scope.skip() {
        None => Statement::new(OBJECTS, [bucket.0.into(), from.into(), end.into(), limit]),
        Some((delimiter, next)) => {
            let behind_prefix = scope.prefix.chars().count() as i64 + 1;
            let parameters = [
                bucket.0.into(),
                from.into(),
                end.into(),
                delimiter.into(),
                next.into(),
                behind_prefix.into(),
                "\u{1}".into(),
                limit,
            ];
            Statement::new(ROLLED_UP, parameters)
        }
    }
}

/// Reads rows of a listing for a page, in chunks.
struct Rows<'q, T> {
    inner: &'q Inner,
    bucket: BucketId,
    scope: Scope<'q>,
    walk: Walk<'q>,
    start: Start,
    chunk: usize,
    most: usize,
    read: std::vec::IntoIter<T>,
    ended: bool,
    /// Whether there is more behind the page.
    more: bool,
}

enum Told<T> {
    Row(T),
    Prefix(String),
}

impl<'q, T: Listed> Rows<'q, T> {
    fn new(inner: &'q Inner, bucket: BucketId, scope: Scope<'q>, start: Start, limit: usize) -> Self {
        let most = limit.saturating_add(BEHIND);
        let chunk = if scope.skip().is_some() { most.min(CAUTIOUS) } else { most };
        let walk = Walk::new(scope, limit);
        let read = Vec::new().into_iter();
        Self { inner, bucket, scope, walk, start, chunk, most, read, ended: limit == 0, more: false }
    }

    /// The next that is told; none at the end of the page.
    async fn next(&mut self) -> Result<Option<Told<T>>, IndexError> {
        loop {
            let Some(row) = self.read.next() else {
                if self.ended {
                    return Ok(None);
                }
                let rows = T::fetch(self.inner, self.bucket, self.scope, &self.start, self.chunk).await?;
                self.ended = rows.len() < self.chunk;
                self.chunk = (2 * self.chunk).min(self.most);
                self.read = rows.into_iter();
                continue;
            };
            let step =
                match self.walk.step(row.key()) {
                    Step::Item => None,
                    Step::Prefix(prefix) => Some(prefix.to_owned()),
                    Step::Full => {
                        (self.more, self.ended, self.read) = (true, true, Vec::new().into_iter());
                        return Ok(None);
                    }
                    // All of the chunk that lies below is dropped, and what follows is asked for.
                    Step::Below => {
                        self.start = self.walk.next(row.key(), row.place());
                        if self.read.as_slice().last().is_none_or(|last| {
                            self.scope.common_prefix(last.key()) == self.scope.common_prefix(row.key())
                        }) {
                            self.read = Vec::new().into_iter();
                            self.chunk = self.most.min(CAUTIOUS);
                        }
                        continue;
                    }
                };
            self.start = self.walk.next(row.key(), row.place());
            return Ok(Some(step.map_or(Told::Row(row), Told::Prefix)));
        }
    }
}

impl Listed for VersionRow {
    fn key(&self) -> &str {
        self.key.as_str()
    }

    fn place(&self) -> i64 {
        // Behind the newest version come all that are in `versions`.
        if self.hidden { self.place } else { i64::MIN }
    }

    async fn fetch(
        inner: &Inner,
        bucket: BucketId,
        scope: Scope<'_>,
        start: &Start,
        limit: usize,
    ) -> Result<Vec<Self>, IndexError> {
        let (key, place) = start.behind();
        let asked = Statement::new(
            VERSIONS,
            [
                bucket.0.into(),
                start.key().into(),
                key.to_owned().into(),
                place.into(),
                scope.end().into(),
                integer(limit as u64),
            ],
        );
        let row = |row: &Row| -> Result<_, IndexError> {
            let hidden = row.integer(1)? == 1;
            let entry = if hidden {
                stored::decode_entry(row.blob(3)?)?
            } else {
                VersionEntry::Version(Arc::new(stored::decode(row.blob(3)?)?))
            };
            Ok(VersionRow { key: parsed(row.text(0)?)?, hidden, place: row.integer(2)?, entry })
        };
        inner.store.read(asked).await?.iter().map(row).collect()
    }
}

impl Listed for UploadRow {
    fn key(&self) -> &str {
        self.key.as_str()
    }

    fn place(&self) -> i64 {
        self.id.place()
    }

    async fn fetch(
        inner: &Inner,
        bucket: BucketId,
        scope: Scope<'_>,
        start: &Start,
        limit: usize,
    ) -> Result<Vec<Self>, IndexError> {
        let (key, place) = start.behind();
        let parameters =
            [bucket.0.into(), key.to_owned().into(), place.into(), scope.end().into(), integer(limit as u64)];
        inner.store.read(Statement::new(UPLOADS, parameters)).await?.iter().map(upload_row).collect()
    }
}

impl UploadId {
    fn place(self) -> i64 {
        i64::try_from(self.sequence).unwrap_or(i64::MAX)
    }
}
