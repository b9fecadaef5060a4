//! What a batch writes.

use std::collections::HashMap;

use mainstay_dataplane::Address;
use mainstay_storage::{Statement, Value};

use super::{Changed, DirectoryChange, Outcome, Referred, Stage};
use crate::account::{BucketId, Usage};
use crate::stored::{self, StoredAccount};
use crate::version::VersionEntry;

impl Stage {
    /// The transaction of the batch, and what to publish when it is durable; none where nothing changes.
    ///
    /// Its first statement moves the head, which whoever was overtaken learns from.
    pub fn finish(self) -> Option<(Vec<Statement>, Outcome)> {
        if self.is_untouched() {
            return None;
        }
        let changed = &self.changed;
        let mut statements = vec![
            Statement::new(
                "UPDATE head SET sequence = $1 WHERE id = 1 AND sequence = $2",
                [integer(self.sequence), integer(self.before)],
            )
            .expect(1),
        ];
        self.directory_statements(&mut statements);
        current(changed, &mut statements);
        entries(changed, &mut statements);
        manifests(changed, &mut statements);
        uploads(changed, &mut statements);
        // First of all, since an ingest may have claimed the content anew for something in the same batch.
        for address in changed.collected.keys() {
            let sql = "DELETE FROM contents WHERE address = $1 AND refs = 0";
            statements.push(Statement::new(sql, [key(address)]).expect(1));
        }
        contents(&changed.contents, self.now.as_micros(), &mut statements);
        let usages: Vec<(BucketId, Usage)> = changed
            .usages
            .iter()
            .map(|bucket| (*bucket, self.usages.get(bucket).copied().unwrap_or_default()))
            .collect();
        statements.extend(usages.iter().map(|(bucket, usage)| update_usage(*bucket, usage)));
        events(changed, &mut statements);
        let removed_bucket = match changed.directory {
            Some(DirectoryChange::RemoveBucket(bucket)) => Some(bucket),
            _ => None,
        };
        let outcome = Outcome {
            sequence: self.sequence,
            usages,
            directory: changed.directory.is_some().then(|| self.directory.clone()),
            removed_bucket,
            events: !changed.events.is_empty(),
            current: self.changed.current,
        };
        Some((statements, outcome))
    }

    fn directory_statements(&self, statements: &mut Vec<Statement>) {
        let Some(change) = &self.changed.directory else { return };
        statements.push(match change {
            DirectoryChange::PutAccount(id) => {
                let Some(account) = self.directory.account(id) else { return };
                let record = StoredAccount { limits: account.limits, closing: account.closing };
                Statement::new(
                    "INSERT INTO accounts (id, record) VALUES ($1, $2) \
                     ON CONFLICT (id) DO UPDATE SET record = excluded.record",
                    [id.as_str().into(), stored::encode(&record).into()],
                )
            }
            DirectoryChange::RemoveAccount(id) => {
                Statement::new("DELETE FROM accounts WHERE id = $1", [id.as_str().into()])
            }
            DirectoryChange::CreateBucket(name) => {
                let Some(bucket) = self.directory.bucket(name) else { return };
                Statement::new(
                    "INSERT INTO buckets (id, name, account, created_at, settings, bytes, objects, markers, \
                     uploading_bytes, uploads) VALUES ($1, $2, $3, $4, $5, 0, 0, 0, 0, 0)",
                    [
                        bucket.id.0.into(),
                        bucket.name.as_str().into(),
                        bucket.account.as_str().into(),
                        bucket.created_at.as_micros().into(),
                        bucket.settings.to_cbor().into(),
                    ],
                )
            }
            DirectoryChange::ChangeBucket(name) => {
                let Some(bucket) = self.directory.bucket(name) else { return };
                let sql = "UPDATE buckets SET settings = $2 WHERE id = $1";
                Statement::new(sql, [bucket.id.0.into(), bucket.settings.to_cbor().into()]).expect(1)
            }
            DirectoryChange::MoveBuckets(buckets) => {
                let sql = "UPDATE buckets SET name = $2, account = $3 WHERE id = $1";
                let moved = buckets.iter().map(|bucket| {
                    let values = [bucket.id.0.into(), bucket.name.as_str().into(), bucket.account.as_str().into()];
                    Statement::new(sql, values).expect(1)
                });
                statements.extend(moved);
                return;
            }
            DirectoryChange::RemoveBucket(bucket) => {
                Statement::new("DELETE FROM buckets WHERE id = $1", [bucket.0.into()]).expect(1)
            }
        });
    }
}

fn current(changed: &Changed, statements: &mut Vec<Statement>) {
    let mut rows = Vec::with_capacity(changed.current.len());
    for ((bucket, key), known) in &changed.current {
        match known {
            Some(version) => {
                rows.push(vec![bucket.0.into(), key.as_str().into(), stored::encode(version.as_ref()).into()]);
            }
            None => {
                let sql = "DELETE FROM objects WHERE bucket = $1 AND key = $2";
                statements.push(Statement::new(sql, [bucket.0.into(), key.as_str().into()]));
            }
        }
    }
    let replace = "ON CONFLICT (bucket, key) DO UPDATE SET record = excluded.record";
    insert(statements, "objects", &["bucket", "key", "record"], rows, replace);
}

fn entries(changed: &Changed, statements: &mut Vec<Statement>) {
    let mut rows = Vec::new();
    for ((bucket, key, place), entry) in &changed.entries {
        match entry {
            Some(entry) => rows.push(entry_row(*bucket, key.as_str(), *place, entry)),
            // First of all: the null version that goes makes room for the one that comes.
            None => {
                let sql = "DELETE FROM versions WHERE bucket = $1 AND key = $2 AND place = $3";
                statements.push(Statement::new(sql, [bucket.0.into(), key.as_str().into(), (*place).into()]));
            }
        }
    }
    let replace = "ON CONFLICT (bucket, key, place) DO UPDATE SET is_null = excluded.is_null, record = excluded.record";
    insert(statements, "versions", &["bucket", "key", "place", "is_null", "record"], rows, replace);
}

fn entry_row(bucket: BucketId, key: &str, place: i64, entry: &VersionEntry) -> Vec<Value> {
    let is_null = i64::from(entry.id() == mainstay_bucket::VersionId::Null);
    vec![bucket.0.into(), key.into(), place.into(), is_null.into(), stored::encode_entry(entry).into()]
}

fn manifests(changed: &Changed, statements: &mut Vec<Statement>) {
    let mut rows = Vec::new();
    for (id, manifest) in &changed.manifests {
        match manifest {
            Some(manifest) => rows.push(vec![integer(*id), stored::encode(manifest.as_ref()).into()]),
            None => statements.push(Statement::new("DELETE FROM manifests WHERE id = $1", [integer(*id)])),
        }
    }
    insert(statements, "manifests", &["id", "record"], rows, "");
}

fn uploads(changed: &Changed, statements: &mut Vec<Statement>) {
    let mut rows = Vec::new();
    for (id, upload) in &changed.uploads {
        match upload {
            Some(upload) => rows.push(vec![
                integer(*id),
                upload.bucket.0.into(),
                upload.key.as_str().into(),
                stored::encode(&upload.record).into(),
            ]),
            None => {
                statements.push(Statement::new("DELETE FROM uploads WHERE id = $1", [integer(*id)]));
                statements.push(Statement::new("DELETE FROM upload_parts WHERE upload = $1", [integer(*id)]));
            }
        }
    }
    insert(statements, "uploads", &["id", "bucket", "key", "record"], rows, "");
    // Parts of an upload that ends in the same batch were deleted with it.
    let lives = |upload: &u64| changed.uploads.get(upload).is_none_or(Option::is_some);
    let row = |((upload, number), part): (&(u64, u32), &Option<std::sync::Arc<_>>)| -> Option<Vec<Value>> {
        let part: &std::sync::Arc<stored::StoredPart> = part.as_ref()?;
        lives(upload).then(|| vec![integer(*upload), (*number).into(), stored::encode(part.as_ref()).into()])
    };
    let rows = changed.parts.iter().filter_map(row).collect();
    let replace = "ON CONFLICT (upload, number) DO UPDATE SET record = excluded.record";
    insert(statements, "upload_parts", &["upload", "number", "record"], rows, replace);
}

/// Content that an ingest has just claimed may have no row yet. All other has one, and a count that would fall below
/// nothing shows an index that is damaged, to which nothing more is done.
fn contents(contents: &HashMap<Address, Referred>, now: i64, statements: &mut Vec<Statement>) {
    let mut rows = Vec::new();
    for (address, Referred { delta, size, claim }) in contents {
        match claim {
            Some(claim) => {
                let unused = (*delta <= 0).then_some(now);
                rows.push(vec![key(address), (*delta).into(), integer(*size), integer(claim.0), unused.into()]);
            }
            None if *delta == 0 => {}
            None => statements.push(
                Statement::new(
                    "UPDATE contents SET refs = refs + $2, unused_since = CASE WHEN refs + $2 = 0 THEN $3 END \
                     WHERE address = $1 AND refs + $2 >= 0",
                    [key(address), (*delta).into(), now.into()],
                )
                .expect(1),
            ),
        }
    }
    const REFER: &str = "ON CONFLICT (address) DO UPDATE SET \
        refs = contents.refs + excluded.refs, \
        claim = CASE WHEN contents.claim > excluded.claim THEN contents.claim ELSE excluded.claim END, \
        unused_since = CASE WHEN contents.refs + excluded.refs = 0 THEN excluded.unused_since END";
    insert(statements, "contents", &["address", "refs", "size", "claim", "unused_since"], rows, REFER);
}

fn update_usage(bucket: BucketId, usage: &Usage) -> Statement {
    Statement::new(
        "UPDATE buckets SET bytes = $2, objects = $3, markers = $4, uploading_bytes = $5, uploads = $6 WHERE id = $1",
        [
            bucket.0.into(),
            integer(usage.bytes),
            integer(usage.objects),
            integer(usage.markers),
            integer(usage.uploading_bytes),
            integer(usage.uploads),
        ],
    )
}

fn events(changed: &Changed, statements: &mut Vec<Statement>) {
    let row = |(number, event): (usize, &crate::feed::ObjectEvent)| {
        vec![integer(event.sequencer), Value::Integer(number as i64), stored::encode(event).into()]
    };
    let rows = changed.events.iter().enumerate().map(row).collect();
    insert(statements, "outbox", &["sequence", "number", "event"], rows, "");
}

fn insert(
    statements: &mut Vec<Statement>,
    table: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
    conflict: &'static str,
) {
    if !rows.is_empty() {
        statements.push(Statement::insert_or(table, columns, rows, conflict));
    }
}

/// A number as the databases keep it.
pub(crate) fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).expect("no size, count or time reaches 2^63"))
}

/// An address as the databases keep it.
pub(crate) fn key(address: &Address) -> Value {
    address.digest().as_bytes().as_slice().into()
}
