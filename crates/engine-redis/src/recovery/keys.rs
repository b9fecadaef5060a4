//! Keys on their way from one server to another, with what they expire at.

use mainstay_engine::EngineError;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult};

use crate::admin::{Admin, failed};

/// Keys that are looked at together.
const BATCH: usize = 500;
/// Bytes of values that are on their way at once, as the server estimates them. One value that is larger travels alone.
const IN_FLIGHT: u64 = 8 << 20;
/// Elements that an estimate looks at.
const SAMPLES: u64 = 5;

/// Where keys are, and what their names begin with there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub database: u64,
    pub prefix: &'a str,
}

/// Copies all keys of one place to another. There must be nobody who changes the source.
pub(super) async fn copy(
    source: &Admin,
    from: Place<'_>,
    target: &Admin,
    to: Place<'_>,
    mut copied: impl FnMut(u64),
) -> Result<u64, EngineError> {
    let attempt = || failed("the keys could not be copied");
    // Databases are chosen by connection, and others go their own ways on the ones that there are.
    let mut source = source.connect_apart(from.database).await.map_err(attempt())?;
    let mut target = target.connect_apart(to.database).await.map_err(attempt())?;
    let mut scan = Scan::of(from.prefix);
    let mut count = 0;
    while let Some(names) = scan.next(&mut source).await.map_err(attempt())? {
        for group in in_groups(&mut source, names).await.map_err(attempt())? {
            let (keys, bytes) =
                carry(&mut source, &mut target, &group, from.prefix, to.prefix).await.map_err(attempt())?;
            count += keys;
            copied(bytes);
        }
    }
    Ok(count)
}

/// The names in a database that begin in some way, some at a time.
pub(super) struct Scan {
    pattern: String,
    cursor: Option<u64>,
}

impl Scan {
    /// A prefix consists of letters, digits and a colon, so that it means itself in a pattern.
    pub fn of(prefix: &str) -> Self {
        Self { pattern: format!("{prefix}*"), cursor: Some(0) }
    }

    /// Some more, which may be none; none at all at the end.
    pub async fn next(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<Option<Vec<Vec<u8>>>> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let scan = redis::cmd("SCAN").arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(BATCH).clone();
        let (next, names): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(names))
    }
}

/// Puts names together whose values are not too much at once.
async fn in_groups(source: &mut MultiplexedConnection, names: Vec<Vec<u8>>) -> RedisResult<Vec<Vec<Vec<u8>>>> {
    let mut ask = Pipeline::new();
    for name in &names {
        ask.cmd("MEMORY").arg("USAGE").arg(name).arg("SAMPLES").arg(SAMPLES);
    }
    let sizes: Vec<Option<u64>> = if names.is_empty() { Vec::new() } else { ask.query_async(source).await? };
    let (mut groups, mut bytes) = (Vec::<Vec<Vec<u8>>>::new(), 0);
    for (name, size) in names.into_iter().zip(sizes) {
        // One that has expired meanwhile is gone.
        let Some(size) = size else { continue };
        match groups.last_mut().filter(|_| bytes + size <= IN_FLIGHT) {
            Some(group) => group.push(name),
            None => {
                groups.push(vec![name]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    Ok(groups)
}

/// Answers how many keys came, and the bytes of their values.
async fn carry(
    source: &mut MultiplexedConnection,
    target: &mut MultiplexedConnection,
    names: &[Vec<u8>],
    from: &str,
    to: &str,
) -> Result<(u64, u64), RedisError> {
    let mut read = Pipeline::new();
    for name in names {
        read.cmd("DUMP").arg(name).cmd("PEXPIRETIME").arg(name);
    }
    let found: Vec<(Option<Vec<u8>>, i64)> = pairs(read.query_async(source).await?)?;
    let mut write = Pipeline::new();
    let (mut count, mut bytes) = (0, 0);
    for (name, (value, expires_at)) in names.iter().zip(&found) {
        let Some(value) = value else { continue };
        let name = [to.as_bytes(), &name[from.len()..]].concat();
        // Negative where it does not expire, and zero means that here.
        let restore = write.cmd("RESTORE").arg(name).arg((*expires_at).max(0)).arg(value.as_slice());
        restore.arg("REPLACE").arg("ABSTTL").ignore();
        count += 1;
        bytes += value.len() as u64;
    }
    if count > 0 {
        write.query_async::<()>(target).await?;
    }
    Ok((count, bytes))
}

fn pairs(answers: Vec<redis::Value>) -> RedisResult<Vec<(Option<Vec<u8>>, i64)>> {
    let mut answers = answers.into_iter();
    let mut pairs = Vec::with_capacity(answers.len() / 2);
    while let (Some(value), Some(expires_at)) = (answers.next(), answers.next()) {
        pairs.push((redis::from_redis_value(value)?, redis::from_redis_value(expires_at)?));
    }
    Ok(pairs)
}
