//! Fetches the rows that decisions and readers need.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::future::try_join_all;
use mainstay_bucket::ObjectKey;
use mainstay_dataplane::{Address, Claim};
use mainstay_storage::{Row, Statement, Store, Value};
use mainstay_types::{Digest, Timestamp};

use crate::account::BucketId;
use crate::cache::{Known, Place};
use crate::directory::parsed;
use crate::error::IndexError;
use crate::inner::Inner;
use crate::request::UploadId;
use crate::stage::{ContentRow, Found, Need, Stage, UploadRow, integer, key, negated};
use crate::stored::{self, StoredPart, StoredUpload};
use crate::version::{Manifest, VersionEntry};

/// How many places or addresses are asked for at once: one question for most batches.
const AT_ONCE: usize = 32;

/// Fetches what a stage lacks, all of a kind together.
pub(crate) async fn all(inner: &Inner, stage: &mut Stage, needs: Vec<Need>) -> Result<(), IndexError> {
    let (mut places, mut addresses, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut asked = HashSet::new();
    for need in needs {
        if stage.has(&need) || !asked.insert(need.clone()) {
            continue;
        }
        match need {
            Need::Current(place) => match inner.cache.peek(&place) {
                Some(known) => stage.provide(Need::Current(place), Found::Current(known)),
                None => places.push(place),
            },
            Need::Content(address) => addresses.push(address),
            other => others.push(other),
        }
    }
    for places in places.chunks(AT_ONCE) {
        let mut found = current(&inner.store, places).await?;
        for place in places {
            let known = found.remove(place);
            stage.provide(Need::Current(place.clone()), Found::Current(known));
        }
    }
    for addresses in addresses.chunks(AT_ONCE) {
        let found = contents(&inner.store, addresses).await?;
        for address in addresses {
            stage.provide(Need::Content(*address), Found::Content(found.get(address).copied()));
        }
    }
    let fetched = others.iter().map(|need| one(&inner.store, need));
    for (need, found) in others.iter().cloned().zip(try_join_all(fetched).await?) {
        stage.provide(need, found);
    }
    Ok(())
}

async fn one(store: &Store, need: &Need) -> Result<Found, IndexError> {
    Ok(match need {
        Need::Current(place) => Found::Current(current(store, std::slice::from_ref(place)).await?.remove(place)),
        Need::Content(address) => Found::Content(contents(store, &[*address]).await?.remove(address)),
        Need::Newest(place) => Found::Entries(newest(store, place).await?),
        Need::Null(place) => {
            let sql = "SELECT record FROM versions WHERE bucket = $1 AND key = $2 AND is_null = 1";
            Found::Entries(entries(store, Statement::new(sql, place_values(place))).await?)
        }
        Need::Version(place, sequence) => Found::Entries(version(store, place, *sequence).await?),
        Need::Manifest(id) => Found::Manifest(manifest(store, *id).await?),
        Need::Upload(id) => Found::Upload(upload(store, *id).await?),
        Need::Part(upload, number) => {
            let sql = "SELECT number, record FROM upload_parts WHERE upload = $1 AND number = $2";
            Found::Parts(parts(store, Statement::new(sql, [integer(*upload), (*number).into()])).await?)
        }
        Need::Parts(upload) => {
            let sql = "SELECT number, record FROM upload_parts WHERE upload = $1";
            Found::Parts(parts(store, Statement::new(sql, [integer(*upload)])).await?)
        }
    })
}

/// The sequence number of the newest change.
pub(crate) async fn head(store: &Store) -> Result<u64, IndexError> {
    let rows = store.read(Statement::new("SELECT sequence FROM head WHERE id = 1", [])).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.integer(0))?.max(0) as u64)
}

/// The newest version of a key, where it is visible.
pub(crate) async fn object(store: &Store, place: &Place) -> Result<Known, IndexError> {
    let sql = "SELECT record FROM objects WHERE bucket = $1 AND key = $2";
    let rows = store.read(Statement::new(sql, place_values(place))).await?;
    rows.first().map(|row| Ok(Arc::new(stored::decode(row.blob(0)?)?))).transpose()
}

/// The two newest rows of `versions` of a key.
pub(crate) async fn newest(store: &Store, place: &Place) -> Result<Vec<VersionEntry>, IndexError> {
    let sql = "SELECT record FROM versions WHERE bucket = $1 AND key = $2 ORDER BY place LIMIT 2";
    entries(store, Statement::new(sql, place_values(place))).await
}

/// The null version of a key in `versions`.
pub(crate) async fn null_version(store: &Store, place: &Place) -> Result<Vec<VersionEntry>, IndexError> {
    match one(store, &Need::Null(place.clone())).await? {
        Found::Entries(entries) => Ok(entries),
        _ => Ok(Vec::new()),
    }
}

/// A version of a key in `versions`.
pub(crate) async fn version(store: &Store, place: &Place, sequence: u64) -> Result<Vec<VersionEntry>, IndexError> {
    // An id can name any number; one that no change ever had is no version's.
    if i64::try_from(sequence).is_err() {
        return Ok(Vec::new());
    }
    let sql = "SELECT record FROM versions WHERE bucket = $1 AND key = $2 AND place = $3";
    let [bucket, text] = place_values(place);
    entries(store, Statement::new(sql, [bucket, text, negated(sequence).into()])).await
}

pub(crate) async fn manifest(store: &Store, id: u64) -> Result<Option<Arc<Manifest>>, IndexError> {
    let rows = store.read(Statement::new("SELECT record FROM manifests WHERE id = $1", [integer(id)])).await?;
    rows.first().map(|row| Ok(Arc::new(stored::decode(row.blob(0)?)?))).transpose()
}

pub(crate) async fn upload(store: &Store, id: u64) -> Result<Option<Arc<UploadRow>>, IndexError> {
    let sql = "SELECT id, bucket, key, record FROM uploads WHERE id = $1";
    let rows = store.read(Statement::new(sql, [integer(id)])).await?;
    rows.first().map(|row| upload_row(row).map(Arc::new)).transpose()
}

/// A row of `id, bucket, key, record` of `uploads`.
pub(crate) fn upload_row(row: &Row) -> Result<UploadRow, IndexError> {
    let record: StoredUpload = stored::decode(row.blob(3)?)?;
    Ok(UploadRow {
        id: UploadId { sequence: row.integer(0)?.max(0) as u64, random: record.random },
        bucket: BucketId(row.integer(1)?),
        key: parsed(row.text(2)?)?,
        record,
    })
}

/// Rows of `number, record` of `upload_parts`.
pub(crate) async fn parts(store: &Store, asked: Statement) -> Result<BTreeMap<u32, Arc<StoredPart>>, IndexError> {
    let rows = store.read(asked).await?;
    let part = |row: &Row| -> Result<_, IndexError> {
        Ok((row.integer(0)?.max(0) as u32, Arc::new(stored::decode(row.blob(1)?)?)))
    };
    rows.iter().map(part).collect()
}

/// Those of some contents that the index knows; [`AT_ONCE`] at most.
async fn contents(store: &Store, addresses: &[Address]) -> Result<HashMap<Address, ContentRow>, IndexError> {
    const SQL: &str = "SELECT address, refs, claim, unused_since FROM contents WHERE address IN (\
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
        $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)";
    let Some(last) = addresses.last() else { return Ok(HashMap::new()) };
    let padded = addresses.iter().chain(std::iter::repeat(last)).take(AT_ONCE);
    let rows = store.read(Statement::new(SQL, padded.map(key).collect::<Vec<_>>())).await?;
    let content = |row: &Row| -> Result<_, IndexError> {
        let unused_since = if row.is_null(3) { None } else { Some(Timestamp::from_micros(row.integer(3)?)) };
        let count = |column| -> Result<u64, IndexError> { Ok(row.integer(column)?.max(0) as u64) };
        Ok((address(row.blob(0)?)?, ContentRow { refs: count(1)?, claim: Claim(count(2)?), unused_since }))
    };
    rows.iter().map(content).collect()
}

/// Which of some contents the index knows.
pub(crate) async fn known(store: &Store, addresses: &[Address]) -> Result<HashSet<Address>, IndexError> {
    let mut known = HashSet::new();
    for addresses in addresses.chunks(AT_ONCE) {
        known.extend(contents(store, addresses).await?.into_keys());
    }
    Ok(known)
}

/// The newest versions of some keys; [`AT_ONCE`] at most.
async fn current(store: &Store, places: &[Place]) -> Result<HashMap<Place, Arc<crate::version::Version>>, IndexError> {
    const SQL: &str = "SELECT o.bucket, o.key, o.record FROM (VALUES \
        ($1, $2), ($3, $4), ($5, $6), ($7, $8), ($9, $10), ($11, $12), ($13, $14), ($15, $16), \
        ($17, $18), ($19, $20), ($21, $22), ($23, $24), ($25, $26), ($27, $28), ($29, $30), ($31, $32), \
        ($33, $34), ($35, $36), ($37, $38), ($39, $40), ($41, $42), ($43, $44), ($45, $46), ($47, $48), \
        ($49, $50), ($51, $52), ($53, $54), ($55, $56), ($57, $58), ($59, $60), ($61, $62), ($63, $64)) AS w \
        CROSS JOIN objects AS o WHERE o.bucket = w.column1 AND o.key = w.column2";
    if let [place] = places {
        let found = object(store, place).await?;
        return Ok(found.map(|version| (place.clone(), version)).into_iter().collect());
    }
    let Some(last) = places.last() else { return Ok(HashMap::new()) };
    let padded = places.iter().chain(std::iter::repeat(last)).take(AT_ONCE);
    let rows = store.read(Statement::new(SQL, padded.flat_map(place_values).collect::<Vec<_>>())).await?;
    let object = |row: &Row| -> Result<_, IndexError> {
        let key: ObjectKey = parsed(row.text(1)?)?;
        Ok(((BucketId(row.integer(0)?), key), Arc::new(stored::decode(row.blob(2)?)?)))
    };
    rows.iter().map(object).collect()
}

async fn entries(store: &Store, asked: Statement) -> Result<Vec<VersionEntry>, IndexError> {
    let rows = store.read(asked).await?;
    rows.iter().map(|row| Ok(stored::decode_entry(row.blob(0)?)?)).collect()
}

fn place_values(place: &Place) -> [Value; 2] {
    [place.0.0.into(), place.1.as_str().into()]
}

/// An address as the databases keep it.
pub(crate) fn address(bytes: &[u8]) -> Result<Address, IndexError> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| minicbor::decode::Error::message("an address has 32 bytes"))?;
    Ok(Address::from_digest(Digest::from_bytes(bytes)))
}
