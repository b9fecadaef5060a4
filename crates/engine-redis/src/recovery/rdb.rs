//! How many keys a snapshot has, read off its bytes while they pass: the one count that is of the snapshot's own moment.
//!
//! The format is that of `rdb.c`; what newer servers may add to it is not guessed at, and then there is no count.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// What a snapshot begins with, before four digits of its version.
const MAGIC: &[u8] = b"REDIS";
/// What Valkey's begin with since its formats went their own way.
const VALKEY_MAGIC: &[u8] = b"VALKEY";
/// Bytes of the longest prefix of keys that is told apart: the ids of instances are shorter.
const LONGEST_PREFIX: usize = 64;
/// More prefixes than this are those of no instances.
const MOST_PREFIXES: usize = 100_000;

/// Keys by database, and by what is before the first colon of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub databases: BTreeMap<u64, u64>,
    pub prefixes: BTreeMap<String, u64>,
}

impl Census {
    /// Counts a whole snapshot; none where it holds something that is not known here.
    pub fn take(snapshot: impl Read) -> io::Result<Option<Self>> {
        let mut reader = Reader(snapshot);
        let mut census = Self::default();
        match census.count(&mut reader) {
            Ok(()) => Ok(Some(census)),
            Err(Stopped::Unknown) => Ok(None),
            Err(Stopped::Io(error)) => Err(error),
        }
    }

    /// Keys in all databases.
    pub fn keys(&self) -> u64 {
        self.databases.values().sum()
    }

    fn count<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<(), Stopped> {
        let mut magic = [0; MAGIC.len()];
        reader.0.read_exact(&mut magic)?;
        let version_digits = match magic.as_slice() {
            MAGIC => 4,
            other if VALKEY_MAGIC.starts_with(other) => 4,
            _ => return Err(Stopped::Unknown),
        };
        reader.pass(version_digits)?;
        let mut database = 0;
        loop {
            match reader.byte()? {
                opcode::END => return Ok(()),
                opcode::DATABASE => database = reader.length()?,
                opcode::SIZES => _ = (reader.length()?, reader.length()?),
                opcode::AUXILIARY => _ = (reader.pass_string()?, reader.pass_string()?),
                opcode::FUNCTION => reader.pass_string()?,
                opcode::EXPIRES_SECONDS => reader.pass(4)?,
                opcode::EXPIRES => reader.pass(8)?,
                opcode::IDLE => _ = reader.length()?,
                opcode::FREQUENCY => reader.pass(1)?,
                opcode::MODULE => reader.pass_module()?,
                kind => {
                    let name = reader.string_beginning()?;
                    self.note(database, &name);
                    reader.pass_value(kind)?;
                }
            }
        }
    }

    fn note(&mut self, database: u64, name: &[u8]) {
        *self.databases.entry(database).or_default() += 1;
        let prefix = name.iter().position(|&byte| byte == b':').and_then(|end| std::str::from_utf8(&name[..end]).ok());
        let Some(prefix) = prefix else { return };
        if let Some(count) = self.prefixes.get_mut(prefix) {
            *count += 1;
        } else if self.prefixes.len() < MOST_PREFIXES {
            self.prefixes.insert(prefix.to_owned(), 1);
        }
    }
}

mod opcode {
    pub(super) const FUNCTION: u8 = 245;
    pub(super) const MODULE: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQUENCY: u8 = 249;
    pub(super) const AUXILIARY: u8 = 250;
    pub(super) const SIZES: u8 = 251;
    pub(super) const EXPIRES: u8 = 252;
    pub(super) const EXPIRES_SECONDS: u8 = 253;
    pub(super) const DATABASE: u8 = 254;
    pub(super) const END: u8 = 255;
}

/// Why a count did not come to its end.
enum Stopped {
    Unknown,
    Io(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Reader<R>(R);

/// A length, or how a string is encoded that is not kept as it is.
enum Length {
    Of(u64),
    Encoded(u8),
}

impl<R: Read> Reader<R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        match io::copy(&mut self.0.by_ref().take(bytes), &mut io::sink())? {
            passed if passed == bytes => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn length_or_encoding(&mut self) -> Result<Length, Stopped> {
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0, _) => Length::Of(u64::from(first & 0x3f)),
            (1, _) => Length::Of(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            (2, 0x80) => {
                let mut bytes = [0; 4];
                self.0.read_exact(&mut bytes)?;
                Length::Of(u32::from_be_bytes(bytes).into())
            }
            (2, 0x81) => {
                let mut bytes = [0; 8];
                self.0.read_exact(&mut bytes)?;
                Length::Of(u64::from_be_bytes(bytes))
            }
            (3, _) => Length::Encoded(first & 0x3f),
            _ => return Err(Stopped::Unknown),
        })
    }

    fn length(&mut self) -> Result<u64, Stopped> {
        match self.length_or_encoding()? {
            Length::Of(length) => Ok(length),
            Length::Encoded(_) => Err(Stopped::Unknown),
        }
    }

    fn pass_string(&mut self) -> Result<(), Stopped> {
        let bytes = match self.length_or_encoding()? {
            Length::Of(bytes) => bytes,
            // Integers of one, two and four bytes.
            Length::Encoded(width @ 0..=2) => 1 << width,
            // Compressed: so many bytes, which become as many.
            Length::Encoded(3) => {
                let compressed = self.length()?;
                self.length()?;
                compressed
            }
            Length::Encoded(_) => return Err(Stopped::Unknown),
        };
        Ok(self.pass(bytes)?)
    }

    /// What a string begins with, as far as it is kept as it is: compressed strings begin with as many bytes as they could not
    /// refer back for, which the prefix of an instance is among.
    fn string_beginning(&mut self) -> Result<Vec<u8>, Stopped> {
        let (bytes, is_compressed) = match self.length_or_encoding()? {
            Length::Of(bytes) => (bytes, false),
            Length::Encoded(width @ 0..=2) => {
                self.pass(1 << width)?;
                return Ok(Vec::new());
            }
            Length::Encoded(3) => {
                let compressed = self.length()?;
                self.length()?;
                (compressed, true)
            }
            Length::Encoded(_) => return Err(Stopped::Unknown),
        };
        let mut beginning = Vec::new();
        self.0.by_ref().take(bytes.min(2 * LONGEST_PREFIX as u64)).read_to_end(&mut beginning)?;
        self.pass(bytes - beginning.len() as u64)?;
        if is_compressed {
            beginning = literals(&beginning);
        }
        beginning.truncate(LONGEST_PREFIX);
        Ok(beginning)
    }

    fn pass_strings(&mut self, of_each: u64) -> Result<(), Stopped> {
        for _ in 0..self.length()?.saturating_mul(of_each) {
            self.pass_string()?;
        }
        Ok(())
    }

    fn pass_value(&mut self, kind: u8) -> Result<(), Stopped> {
        match kind {
            // A string, or what is kept as one.
            0 | 9..=13 | 16 | 17 | 20 => self.pass_string(),
            // Lists, sets, and lists of small lists.
            1 | 2 | 14 => self.pass_strings(1),
            // Hashes.
            4 => self.pass_strings(2),
            // Sorted sets, with scores as text and as they are.
            3 => self.pass_sorted_set(Self::pass_textual_score),
            5 => self.pass_sorted_set(|reader| Ok(reader.pass(8)?)),
            7 => self.pass_module(),
            18 => {
                for _ in 0..self.length()? {
                    self.length()?;
                    self.pass_string()?;
                }
                Ok(())
            }
            15 | 19 | 21 => self.pass_stream(kind),
            _ => Err(Stopped::Unknown),
        }
    }

    fn pass_sorted_set(&mut self, pass_score: impl Fn(&mut Self) -> Result<(), Stopped>) -> Result<(), Stopped> {
        for _ in 0..self.length()? {
            self.pass_string()?;
            pass_score(self)?;
        }
        Ok(())
    }

    fn pass_textual_score(&mut self) -> Result<(), Stopped> {
        match self.byte()? {
            // Not a number, and the two infinities.
            253..=255 => Ok(()),
            bytes => Ok(self.pass(bytes.into())?),
        }
    }

    fn pass_stream(&mut self, kind: u8) -> Result<(), Stopped> {
        const FIRST: u8 = 15;
        const THIRD: u8 = 21;
        self.pass_strings(2)?;
        // The number of entries, and the last id; then the first, the largest that was deleted, and all that were added.
        let counters = if kind == FIRST { 3 } else { 8 };
        self.pass_lengths(counters)?;
        for _ in 0..self.length()? {
            self.pass_string()?;
            self.pass_lengths(if kind == FIRST { 2 } else { 3 })?;
            for _ in 0..self.length()? {
                self.pass(16 + 8)?;
                self.length()?;
            }
            for _ in 0..self.length()? {
                self.pass_string()?;
                self.pass(if kind == THIRD { 16 } else { 8 })?;
                let pending = self.length()?;
                self.pass(pending.saturating_mul(16))?;
            }
        }
        Ok(())
    }

    fn pass_lengths(&mut self, count: usize) -> Result<(), Stopped> {
        for _ in 0..count {
            self.length()?;
        }
        Ok(())
    }

    fn pass_module(&mut self) -> Result<(), Stopped> {
        self.length()?;
        loop {
            match self.length()? {
                0 => return Ok(()),
                1 | 2 => _ = self.length()?,
                3 => self.pass(4)?,
                4 => self.pass(8)?,
                5 => self.pass_string()?,
                _ => return Err(Stopped::Unknown),
            }
        }
    }
}

/// The bytes that a compressed string (LZF) begins with, up to the first that it takes from before.
fn literals(compressed: &[u8]) -> Vec<u8> {
    const LONGEST_RUN: u8 = 32;
    let (mut found, mut rest) = (Vec::new(), compressed);
    while let [control, more @ ..] = rest
        && *control < LONGEST_RUN
    {
        let run = more.len().min(usize::from(*control) + 1);
        found.extend_from_slice(&more[..run]);
        rest = &more[run..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Census, literals};

    /// Of Redis 7.0: `SET abc:1 x`, `SET abc:2 y PX ...`, `SELECT 3`, `RPUSH l a`, `SET plain 12345`.
    fn sample() -> Vec<u8> {
        let mut bytes = b"REDIS0010".to_vec();
        bytes.extend(b"\xfa\x09redis-ver\x067.0.15\xfe\x00\xfb\x02\x01");
        bytes.extend(b"\x00\x05abc:1\x01x");
        bytes.extend(b"\xfc\x01\x02\x03\x04\x05\x06\x07\x08\x00\x05abc:2\x01y");
        bytes.extend(b"\xfe\x03\xfb\x02\x00\x12\x01l\x01\x02\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff");
        bytes.extend(b"\x00\x05plain\xc1\x39\x30\xff");
        bytes.extend([0; 8]);
        bytes
    }

    #[test]
    fn keys_are_counted_by_database_and_prefix() {
        let census = Census::take(sample().as_slice()).unwrap().unwrap();
        assert_eq!(census.databases, [(0, 2), (3, 2)].into());
        assert_eq!(census.prefixes, [("abc".to_owned(), 2)].into());
        assert_eq!(census.keys(), 4);
    }

    #[test]
    fn what_is_cut_off_is_an_error_and_what_is_unknown_has_no_count() {
        let sample = sample();
        let end = sample.len() - 8;
        for length in 0..end - 1 {
            assert!(Census::take(&sample[..length]).is_err(), "{length} bytes");
        }
        let mut unknown = sample;
        unknown[end - 1] = 99;
        unknown.splice(end.., *b"\x01k");
        assert_eq!(Census::take(unknown.as_slice()).unwrap(), None);
        assert_eq!(Census::take(b"something else".as_slice()).unwrap(), None);
    }

    #[test]
    fn a_compressed_name_begins_with_what_it_does_not_repeat() {
        assert_eq!(literals(b"\x03abc:\x20\x00"), b"abc:");
        assert_eq!(literals(b"\x01ab\x01c:"), b"abc:");
        assert_eq!(literals(b""), b"");
    }
}
