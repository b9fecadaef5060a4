//! The write-ahead log's own names: positions, segments, timelines, and the pieces that the archive keeps of them. Pure.

use std::fmt;
use std::str::FromStr;

/// What `initdb` makes segments of, and we never ask it for another size.
pub(crate) const SEGMENT_BYTES: u64 = 16 << 20;
/// Segments that share the middle part of a name (`XLogSegmentsPerXLogId`).
const SEGMENTS_PER_FILE_ID: u64 = (1 << 32) / SEGMENT_BYTES;

/// A position in the log. As text it is `0/3000028`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lsn(pub u64);

/// One segment of one timeline. As text it is the name of its file, `000000010000000000000003`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub timeline: u32,
    pub number: u64,
}

/// A database system: what one `initdb` made, with all that was ever restored of it. Clusters of the same name may be several, one
/// after the other, and their logs have the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct System(pub u64);

/// What a piece of the log is called in the archive: `6A8F3C21D0B94E57-000000010000000000000003`. Names of one system sort in the
/// order of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogName {
    /// None where a version recorded it that did not tell systems apart: `000000010000000000000003`.
    pub system: Option<System>,
    pub piece: PieceName,
}

/// What a piece of the log of one system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PieceName {
    /// `00000002.history`: from where on the timeline is its own.
    History { timeline: u32 },
    /// A whole segment, under the name of its file.
    Whole(Segment),
    /// `000000010000000000000003.00002000`: what a segment that is not whole yet has from an offset on.
    Increment { segment: Segment, offset: u32 },
}

/// A line of a timeline's history: until where an earlier one is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switch {
    pub timeline: u32,
    pub at: Lsn,
}

/// Text that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what} of the write-ahead log")]
pub(crate) struct InvalidName {
    text: String,
    what: &'static str,
}

// === impl System ===

impl System {
    /// How much of a segment tells whose it is.
    pub const HEAD_BYTES: usize = 40;

    /// Whose a segment is, as its first page says (`XLogLongPageHeaderData`); none where it does not begin as one.
    pub fn of_segment(head: &[u8; Self::HEAD_BYTES]) -> Option<Self> {
        const LONG_HEADER: u16 = 2;
        let info = u16::from_ne_bytes([head[2], head[3]]);
        let system = head[24..].first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))?;
        let segment_size = head[32..].first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))?;
        (info & LONG_HEADER != 0 && u64::from(segment_size) == SEGMENT_BYTES).then_some(Self(system))
    }
}

impl FromStr for System {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| InvalidName { text: text.to_owned(), what: "database system" })
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Lsn ===

impl Lsn {
    /// The number of the segment that it lies in.
    pub fn segment(self) -> u64 {
        self.0 / SEGMENT_BYTES
    }

    /// The number of the segment that the byte before it lies in: what ends on a boundary needs nothing of the next one.
    pub fn last_segment(self) -> u64 {
        self.0.saturating_sub(1) / SEGMENT_BYTES
    }
}

impl FromStr for Lsn {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (high, low) = text.split_once('/')?;
            Some(u64::from(u32::from_str_radix(high, 16).ok()?) << 32 | u64::from(u32::from_str_radix(low, 16).ok()?))
        };
        parse().map(Self).ok_or_else(|| InvalidName { text: text.to_owned(), what: "position" })
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 as u32)
    }
}

// === impl Segment ===

impl Segment {
    /// Where it begins.
    pub fn begin(self) -> Lsn {
        Lsn(self.number * SEGMENT_BYTES)
    }

    /// The first position after it.
    pub fn end(self) -> Lsn {
        Lsn((self.number + 1) * SEGMENT_BYTES)
    }
}

impl FromStr for Segment {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            if text.len() != 24 || !text.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)) {
                return None;
            }
            let part = |at: usize| u32::from_str_radix(&text[at..at + 8], 16).ok();
            let (high, low) = (u64::from(part(8)?), u64::from(part(16)?));
            (low < SEGMENTS_PER_FILE_ID)
                .then_some(Self { timeline: part(0)?, number: high * SEGMENTS_PER_FILE_ID + low })
        };
        parse().ok_or_else(|| InvalidName { text: text.to_owned(), what: "segment" })
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = (self.number / SEGMENTS_PER_FILE_ID, self.number % SEGMENTS_PER_FILE_ID);
        write!(f, "{:08X}{high:08X}{low:08X}", self.timeline)
    }
}

// === impl LogName ===

impl FromStr for LogName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((system, piece)) = text.split_once('-') else {
            return Ok(Self { system: None, piece: text.parse()? });
        };
        let number = (system.len() == 16).then(|| u64::from_str_radix(system, 16).ok()).flatten();
        let number = number.ok_or_else(|| InvalidName { text: text.to_owned(), what: "piece" })?;
        Ok(Self { system: Some(System(number)), piece: piece.parse()? })
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(System(number)) = self.system {
            write!(f, "{number:016X}-")?;
        }
        self.piece.fmt(f)
    }
}

// === impl PieceName ===

impl FromStr for PieceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidName { text: text.to_owned(), what: "piece" };
        let hex = |digits: &str| (digits.len() == 8).then(|| u32::from_str_radix(digits, 16).ok()).flatten();
        match text.split_once('.') {
            None => Ok(Self::Whole(text.parse()?)),
            Some((timeline, "history")) => Ok(Self::History { timeline: hex(timeline).ok_or_else(invalid)? }),
            Some((segment, offset)) => {
                Ok(Self::Increment { segment: segment.parse()?, offset: hex(offset).ok_or_else(invalid)? })
            }
        }
    }
}

impl fmt::Display for PieceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History { timeline } => write!(f, "{timeline:08X}.history"),
            Self::Whole(segment) => segment.fmt(f),
            Self::Increment { segment, offset } => write!(f, "{segment}.{offset:08X}"),
        }
    }
}

/// The earlier timelines that a timeline goes back to, oldest first, as its history file tells them.
pub(crate) fn parse_history(text: &str) -> Result<Vec<Switch>, InvalidName> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let invalid = || InvalidName { text: line.to_owned(), what: "history" };
            let mut fields = line.split_whitespace();
            let timeline = fields.next().and_then(|field| field.parse().ok()).ok_or_else(invalid)?;
            let at = fields.next().and_then(|field| field.parse().ok()).ok_or_else(invalid)?;
            Ok(Switch { timeline, at })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{LogName, Lsn, PieceName, SEGMENT_BYTES, Segment, Switch, System, parse_history};

    #[test]
    fn positions() {
        for (text, position) in [("0/0", 0), ("0/3000028", 0x300_0028), ("1A/FF000000", 0x1A_FF00_0000)] {
            assert_eq!(text.parse(), Ok(Lsn(position)));
            assert_eq!(Lsn(position).to_string(), text);
        }
        for bad in ["", "0", "0/", "0/G", "0/100000000"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad}");
        }
        assert_eq!((Lsn(SEGMENT_BYTES).segment(), Lsn(SEGMENT_BYTES).last_segment()), (1, 0));
    }

    #[test]
    fn names_are_those_of_the_server_and_sort_as_the_log() {
        let segment = Segment { timeline: 1, number: 0x1_02 };
        let names = [
            (PieceName::Whole(segment), "000000010000000100000002"),
            (PieceName::Increment { segment, offset: 0x2000 }, "000000010000000100000002.00002000"),
            (PieceName::Whole(Segment { timeline: 1, number: 0x1_03 }), "000000010000000100000003"),
            (PieceName::History { timeline: 2 }, "00000002.history"),
            (PieceName::Whole(Segment { timeline: 2, number: 0x1_03 }), "000000020000000100000003"),
        ];
        for (name, text) in names {
            assert_eq!(name.to_string(), text);
            assert_eq!(text.parse(), Ok(name));
        }
        assert!(names.windows(2).all(|pair| pair[0].1 < pair[1].1));
        for bad in ["", "00000001000000010000000", "000000010000000100000100", "1.history", "x.00000000"] {
            assert!(bad.parse::<PieceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_piece_says_whose_it_is_unless_an_older_version_recorded_it() {
        let piece = PieceName::Increment { segment: Segment { timeline: 1, number: 3 }, offset: 0x2000 };
        let system = "7575283497123456789".parse().unwrap();
        for (name, text) in [
            (LogName { system: Some(system), piece }, "6920D0347EEC2715-000000010000000000000003.00002000"),
            (LogName { system: None, piece }, "000000010000000000000003.00002000"),
        ] {
            assert_eq!(name.to_string(), text);
            assert_eq!(text.parse(), Ok(name));
        }
        for bad in ["1-000000010000000000000003", "6920D0347EEC2715-", "6920D0347EEC2715", "x-y"] {
            assert!(bad.parse::<LogName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_segment_says_whose_it_is() {
        // Of PostgreSQL 15: magic, info, timeline, address, remaining length, padding, system, sizes of segments and pages.
        let mut head = [0; System::HEAD_BYTES];
        assert_eq!(System::of_segment(&head), None);
        head[..4].copy_from_slice(&[0x10, 0xD1, 0x02, 0x00]);
        head[24..32].copy_from_slice(&7_575_283_497_123_456_789_u64.to_ne_bytes());
        assert_eq!(System::of_segment(&head), None);
        head[32..36].copy_from_slice(&(16_u32 << 20).to_ne_bytes());
        assert_eq!(System::of_segment(&head), Some(System(7_575_283_497_123_456_789)));
        head[2] = 0;
        assert_eq!(System::of_segment(&head), None);
    }

    #[test]
    fn histories() {
        let text = "1\t0/5000000\tno recovery target specified\n\n2\t0/6000100\tbefore 2026-11-21\n";
        let expected = [Switch { timeline: 1, at: Lsn(0x500_0000) }, Switch { timeline: 2, at: Lsn(0x600_0100) }];
        assert_eq!(parse_history(text), Ok(expected.to_vec()));
        assert!(parse_history("1\tx\t").is_err());
    }
}
