//! What of a cluster's log reaches how far from a backup. Pure.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use mainstay_engine::EngineError;
use mainstay_engine::recovery::{LogPiece, Until, Window};
use mainstay_types::Timestamp;

use super::wal::{LogName, Lsn, PieceName, SEGMENT_BYTES, Segment, Switch, System};

/// A backup as far as the log matters to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub system: System,
    pub timeline: u32,
    /// From where on the log is needed.
    pub start: Lsn,
    /// Until where it is needed to restore anything at all.
    pub stop: Lsn,
    pub ended_at: Timestamp,
}

/// The pieces that the archive has of one system's log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub segments: BTreeMap<Segment, Kept>,
    pub histories: BTreeMap<u32, History>,
}

/// What there is of one segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub whole: Option<LogPiece>,
    /// By offset.
    pub increments: BTreeMap<u32, LogPiece>,
}

/// Where a timeline comes from.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub piece: LogPiece,
    pub switches: Vec<Switch>,
}

/// What a replay is to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// That, and nothing else will do.
    Until(Until),
    /// The newest moment, or this one; where the log does not come to it, as far as it comes.
    AsFarAs(Option<Timestamp>),
}

/// What to replay after a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    pub timeline: u32,
    /// In the order of the log.
    pub pieces: Vec<(PieceName, LogPiece)>,
    /// The moment that it is to end at, and the end of the pieces where there is none.
    pub end: End,
    /// From where on a piece that turns out to be damaged is given up with all that follow it.
    pub expendable: Option<Lsn>,
    /// Why it ends before its goal.
    pub gap: Option<String>,
}

/// Where a replay ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As soon as the backup is consistent.
    Consistent,
    /// Before the first commit that is later.
    At(Timestamp),
    /// Where the pieces end.
    Pieces,
}

/// How far the log reaches without a gap.
#[derive(Debug, Default)]
struct Reach {
    pieces: Vec<(PieceName, LogPiece)>,
    latest: Option<Timestamp>,
    /// The end of what is there.
    end: Lsn,
    gap: Option<String>,
}

// === impl Base ===

impl Base {
    /// Whether this backup needs a piece, now or to go on from.
    pub fn needs(&self, name: &LogName) -> bool {
        let in_reach = match name.piece {
            PieceName::History { timeline } => timeline >= self.timeline,
            PieceName::Whole(segment) | PieceName::Increment { segment, .. } => {
                segment.timeline >= self.timeline && segment.number >= self.start.segment()
            }
        };
        in_reach && name.system.is_none_or(|system| system == self.system)
    }
}

// === impl Replay ===

impl Replay {
    /// Whether this can be done without a piece, and without those after it.
    pub fn can_end_before(&self, name: &PieceName) -> bool {
        let begin = match name {
            PieceName::History { .. } => return false,
            PieceName::Whole(segment) => segment.begin(),
            PieceName::Increment { segment, offset } => Lsn(segment.begin().0 + u64::from(*offset)),
        };
        self.expendable.is_some_and(|from| begin >= from)
    }
}

// === impl Log ===

impl Log {
    /// The log from a backup on, with what an older version has recorded of it without saying whose it is. That counts where the
    /// backup begins in it: one that was taken since begins in a segment that says so.
    pub fn completed(mut self, older: Self, base: &Base) -> Self {
        let first = Segment { timeline: base.timeline, number: base.start.segment() };
        if !self.segments.contains_key(&first) {
            for (segment, kept) in older.segments {
                let own = self.segments.entry(segment).or_default();
                own.whole = own.whole.take().or(kept.whole);
                if own.increments.is_empty() {
                    own.increments = kept.increments;
                }
            }
            // The earlier moment is when a timeline began; the later one when this version came to know of it.
            self.histories.extend(older.histories);
        }
        self
    }

    /// Adds a piece; the switches are those of a history.
    pub fn add(&mut self, name: PieceName, piece: LogPiece, switches: Vec<Switch>) {
        match name {
            PieceName::History { timeline } => drop(self.histories.insert(timeline, History { piece, switches })),
            PieceName::Whole(segment) => self.segments.entry(segment).or_default().whole = Some(piece),
            PieceName::Increment { segment, offset } => {
                self.segments.entry(segment).or_default().increments.insert(offset, piece);
            }
        }
    }

    /// The moments that can be restored.
    pub fn window(&self, base: &Base) -> Window {
        let reach = self.reach(base, self.newest_timeline(base, None));
        let latest = reach.latest.unwrap_or(base.ended_at).max(base.ended_at);
        Window { earliest: base.ended_at, latest, gap: reach.gap }
    }

    /// What to replay to come to a moment; an error names the window where it can not be reached.
    pub fn replay(&self, base: &Base, goal: Goal) -> Result<Replay, EngineError> {
        let (until, is_lenient) = match goal {
            Goal::Until(until) => (until, false),
            Goal::AsFarAs(at) => (at.map_or(Until::Latest, Until::Time), true),
        };
        let moment = match until {
            Until::Time(moment) => Some(moment),
            Until::Backup | Until::Latest => None,
        };
        let timeline = match until {
            Until::Backup => base.timeline,
            Until::Latest | Until::Time(_) => self.newest_timeline(base, moment),
        };
        let mut reach = self.reach(base, timeline);
        if reach.end < base.stop {
            let gap = reach.gap.unwrap_or_else(|| format!("the log ends at {}", reach.end));
            return Err(EngineError::permanent(
                format!("the backup that ended at {} lacks what was written while it was made: {gap}", base.ended_at),
                "restore another backup",
            ));
        }
        let end = match (until, moment) {
            (Until::Backup, _) => {
                let needed = |(name, _): &(PieceName, LogPiece)| match name {
                    PieceName::History { .. } => true,
                    PieceName::Whole(segment) | PieceName::Increment { segment, .. } => segment.begin() < base.stop,
                };
                reach.pieces.retain(needed);
                End::Consistent
            }
            (_, None) => End::Pieces,
            // All that there is was before it.
            (_, Some(moment)) if is_lenient && reach.latest.max(Some(base.ended_at)) < Some(moment) => End::Pieces,
            (_, Some(moment)) => {
                let latest = reach.latest.unwrap_or(base.ended_at);
                if !(base.ended_at..=latest.max(base.ended_at)).contains(&moment) {
                    return Err(self.unreachable(base, moment));
                }
                let is_log = |name: &PieceName| !matches!(name, PieceName::History { .. });
                let enough = |(name, piece): &(PieceName, LogPiece)| is_log(name) && piece.until >= moment;
                if let Some(last) = reach.pieces.iter().position(enough) {
                    reach.pieces.truncate(last + 1);
                }
                End::At(moment)
            }
        };
        // Every timeline that there ever was is told, so that what is restored begins one that never was.
        let mut pieces: Vec<_> = self
            .histories
            .iter()
            .map(|(timeline, history)| (PieceName::History { timeline: *timeline }, history.piece.clone()))
            .collect();
        pieces.extend(reach.pieces);
        let gap = reach.gap.filter(|_| is_lenient && end == End::Pieces);
        Ok(Replay { timeline, pieces, end, expendable: is_lenient.then_some(base.stop), gap })
    }

    fn unreachable(&self, base: &Base, moment: Timestamp) -> EngineError {
        let Window { earliest, latest, gap } = self.window(base);
        let gap = gap.map_or_else(String::new, |gap| format!("; {gap}"));
        EngineError::permanent(
            format!("{moment} can not be restored from this backup: it reaches from {earliest} to {latest}{gap}"),
            "choose a moment within that window, or another backup",
        )
    }

    /// The newest timeline that goes back to the backup's, and began by that moment where one is given: what was served
    /// then.
    fn newest_timeline(&self, base: &Base, by: Option<Timestamp>) -> u32 {
        let descends = |history: &&History| {
            history.switches.iter().any(|switch| switch.timeline == base.timeline && switch.at >= base.stop)
        };
        let candidates = self.histories.iter().rev().filter(|(timeline, _)| **timeline > base.timeline);
        let mut candidates = candidates.filter(|(_, history)| by.is_none_or(|moment| history.piece.until <= moment));
        candidates.find(|(_, history)| descends(history)).map_or(base.timeline, |(timeline, _)| *timeline)
    }

    /// The timelines that can hold each segment on the way to a timeline, with the segments that each holds, newest first.
    fn ways(&self, timeline: u32) -> Vec<(u32, RangeInclusive<u64>)> {
        let switches = self.histories.get(&timeline).map(|history| history.switches.as_slice()).unwrap_or_default();
        let mut ways = Vec::new();
        let mut first = 0;
        for switch in switches {
            ways.push((switch.timeline, first..=switch.at.last_segment()));
            first = switch.at.segment();
        }
        ways.push((timeline, first..=u64::MAX));
        ways.reverse();
        ways
    }

    fn reach(&self, base: &Base, timeline: u32) -> Reach {
        let ways = self.ways(timeline);
        let mut reach = Reach { end: base.start, ..Reach::default() };
        let mut number = base.start.segment();
        loop {
            let there = ways.iter().filter(|(_, range)| range.contains(&number)).filter_map(|(timeline, _)| {
                let segment = Segment { timeline: *timeline, number };
                Some((segment, self.segments.get(&segment)?))
            });
            let there: Vec<_> = there.collect();
            // Where a timeline begins within a segment, that of the older one is needed too while the newer is not there.
            let Some((segment, kept)) = there.first() else { break };
            let (end, whole) = kept.add_to(*segment, &mut reach);
            reach.end = segment.begin().max(Lsn(segment.begin().0 + end));
            let later_timeline =
                ways.first().is_some_and(|(newest, range)| *newest != segment.timeline && range.contains(&number));
            if !whole && !later_timeline {
                break;
            }
            number += 1;
        }
        reach.gap = self.gap(&ways, number, &reach);
        reach
    }

    /// Why the log ends where it does, where it goes on later.
    fn gap(&self, ways: &[(u32, RangeInclusive<u64>)], missing: u64, reach: &Reach) -> Option<String> {
        let on_the_way = |segment: &&Segment| {
            segment.number > missing
                && ways.iter().any(|(timeline, range)| *timeline == segment.timeline && range.contains(&segment.number))
        };
        let next = self.segments.keys().filter(on_the_way).min_by_key(|segment| segment.number)?;
        Some(format!("the log has a gap from {} to {}", reach.end, next.begin()))
    }
}

impl Kept {
    /// Adds what there is of a segment from its beginning on; answers how many bytes that are, and whether it is whole.
    fn add_to(&self, segment: Segment, reach: &mut Reach) -> (u64, bool) {
        if let Some(piece) = &self.whole {
            reach.latest = reach.latest.max(Some(piece.until));
            reach.pieces.push((PieceName::Whole(segment), piece.clone()));
            return (SEGMENT_BYTES, true);
        }
        let mut end = 0;
        for (offset, piece) in &self.increments {
            if u64::from(*offset) > end {
                break;
            }
            end = end.max(u64::from(*offset) + piece.size);
            reach.latest = reach.latest.max(Some(piece.until));
            reach.pieces.push((PieceName::Increment { segment, offset: *offset }, piece.clone()));
        }
        (end, false)
    }
}

#[cfg(test)]
mod tests {
    use mainstay_dataplane::Address;
    use mainstay_engine::recovery::{LogPiece, Until};
    use mainstay_types::Timestamp;

    use super::{Base, End, Goal, Log};
    use crate::recovery::wal::{LogName, Lsn, PieceName, SEGMENT_BYTES, System, parse_history};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    /// Pieces by name, size and end.
    fn log(pieces: &[(&str, u64, i64)], histories: &[(u32, i64, &str)]) -> Log {
        let mut log = Log::default();
        let piece = |size, until| LogPiece { address: Address::of(b""), size, until: at(until), system: None };
        for (name, size, until) in pieces {
            log.add(name.parse().unwrap(), piece(*size, *until), Vec::new());
        }
        for (timeline, until, text) in histories {
            let name = PieceName::History { timeline: *timeline };
            log.add(name, piece(1, *until), parse_history(text).unwrap());
        }
        log
    }

    fn base() -> Base {
        Base {
            system: System(7),
            timeline: 1,
            start: Lsn(2 * SEGMENT_BYTES + 40),
            stop: Lsn(2 * SEGMENT_BYTES + 300),
            ended_at: at(10),
        }
    }

    const S1: &str = "000000010000000000000001";
    const S2: &str = "000000010000000000000002";
    const S3: &str = "000000010000000000000003";
    const S4: &str = "000000010000000000000004";

    #[test]
    fn the_window_ends_with_the_last_piece_in_a_row() {
        let whole = SEGMENT_BYTES;
        for (pieces, latest, gap) in [
            (vec![(S1, whole, 5), (S2, whole, 12)], 12, None),
            (vec![(S2, whole, 8)], 10, None),
            (vec![(S2, whole, 12), (S3, whole, 20), ("000000010000000000000004.00000000", 100, 21)], 21, None),
            (vec![(S2, whole, 12), (S4, whole, 20)], 12, Some("the log has a gap from 0/3000000 to 0/4000000")),
            (
                vec![
                    (S2, whole, 12),
                    ("000000010000000000000003.00000000", 100, 13),
                    ("000000010000000000000003.00000064", 50, 14),
                    ("000000010000000000000003.00000100", 50, 15),
                ],
                14,
                None,
            ),
            (
                vec![(S2, whole, 12), ("000000010000000000000003.00000000", 100, 13), (S4, whole, 20)],
                13,
                Some("the log has a gap from 0/3000064 to 0/4000000"),
            ),
        ] {
            let window = log(&pieces, &[]).window(&base());
            assert_eq!((window.earliest, window.latest), (at(10), at(latest)), "{pieces:?}");
            assert_eq!(window.gap.as_deref(), gap, "{pieces:?}");
        }
    }

    #[test]
    fn what_is_needed_is_replayed_and_no_more() {
        let log = log(&[(S1, SEGMENT_BYTES, 5), (S2, SEGMENT_BYTES, 12), (S3, SEGMENT_BYTES, 20)], &[]);
        let names = |until| {
            let replay = log.replay(&base(), Goal::Until(until)).unwrap();
            (replay.pieces.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(), replay.end)
        };
        assert_eq!(names(Until::Backup), (vec![S2.to_owned()], End::Consistent));
        assert_eq!(names(Until::Latest), (vec![S2.to_owned(), S3.to_owned()], End::Pieces));
        assert_eq!(names(Until::Time(at(12))), (vec![S2.to_owned()], End::At(at(12))));
        assert_eq!(names(Until::Time(at(13))), (vec![S2.to_owned(), S3.to_owned()], End::At(at(13))));
        for unreachable in [9, 21] {
            let error = log.replay(&base(), Goal::Until(Until::Time(at(unreachable)))).unwrap_err().to_string();
            assert!(error.contains(&format!("from {} to {}", at(10), at(20))), "{error}");
        }
    }

    #[test]
    fn after_a_disaster_the_log_is_taken_as_far_as_it_comes() {
        let whole = SEGMENT_BYTES;
        let log = log(&[(S2, whole, 12), (S3, whole, 20), ("000000010000000000000005", whole, 30)], &[]);
        let gap = Some("the log has a gap from 0/4000000 to 0/5000000".to_owned());
        for (by, pieces, end, gap) in [
            (None, 2, End::Pieces, gap.clone()),
            (Some(at(40)), 2, End::Pieces, gap.clone()),
            (Some(at(25)), 2, End::Pieces, gap),
            (Some(at(20)), 2, End::At(at(20)), None),
            (Some(at(12)), 1, End::At(at(12)), None),
        ] {
            let replay = log.replay(&base(), Goal::AsFarAs(by)).unwrap();
            assert_eq!((replay.pieces.len(), replay.end, &replay.gap), (pieces, end, &gap), "{by:?}");
            // What the backup itself needs has to be whole.
            assert!(!replay.can_end_before(&S2.parse().unwrap()));
            assert!(!replay.can_end_before(&"000000010000000000000002.00000100".parse().unwrap()));
            assert!(replay.can_end_before(&"000000010000000000000002.0000012C".parse().unwrap()));
            assert!(replay.can_end_before(&S3.parse().unwrap()));
        }
        let asked = log.replay(&base(), Goal::Until(Until::Latest)).unwrap();
        assert!(!asked.can_end_before(&S3.parse().unwrap()), "who asks for a moment gets that one or none");
    }

    #[test]
    fn a_backup_without_its_own_log_restores_nothing() {
        for pieces in [vec![], vec![(S1, SEGMENT_BYTES, 5)], vec![(S3, SEGMENT_BYTES, 12)]] {
            let error = log(&pieces, &[]).replay(&base(), Goal::Until(Until::Backup)).unwrap_err();
            assert!(error.to_string().contains("lacks what was written"), "{error}");
        }
    }

    #[test]
    fn a_moment_is_restored_from_the_timeline_that_was_served_then() {
        // Restored at 30 to where segment 3 was half-way; the first timeline went on until 25.
        let new = "000000020000000000000003";
        let pieces = [
            (S2, SEGMENT_BYTES, 12),
            (S3, SEGMENT_BYTES, 20),
            (S4, SEGMENT_BYTES, 25),
            (new, SEGMENT_BYTES, 40),
            ("000000020000000000000004.00000000", 10, 41),
        ];
        let log = log(&pieces, &[(2, 30, "1\t0/3800000\tbefore\n")]);
        let timeline = |until| {
            let replay = log.replay(&base(), Goal::Until(until)).unwrap();
            (replay.timeline, replay.pieces.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>())
        };
        let history = "00000002.history".to_owned();
        assert_eq!(
            timeline(Until::Time(at(24))),
            (1, vec![history.clone(), S2.to_owned(), S3.to_owned(), S4.to_owned()])
        );
        let (newest, names) = timeline(Until::Latest);
        assert_eq!((newest, &names[..3]), (2, &[history, S2.to_owned(), new.to_owned()][..]));
        assert_eq!(timeline(Until::Time(at(41))).0, 2);
        assert_eq!(log.window(&base()).latest, at(41));
        // Between the two nothing was served that could be restored.
        assert!(log.replay(&base(), Goal::Until(Until::Time(at(27)))).is_err());
    }

    #[test]
    fn a_timeline_that_left_before_the_backup_is_not_its_own() {
        let pieces = [(S2, SEGMENT_BYTES, 12)];
        let log = log(&pieces, &[(2, 30, "1\t0/1000000\tbefore\n")]);
        assert_eq!(log.replay(&base(), Goal::Until(Until::Latest)).unwrap().timeline, 1);
    }

    #[test]
    fn what_does_not_say_whose_it_is_counts_for_backups_of_its_time() {
        let older = || log(&[(S2, SEGMENT_BYTES, 12), (S3, SEGMENT_BYTES, 20)], &[]);
        // An older version's backup, whose log goes on by name.
        let since = log(&[(S4, SEGMENT_BYTES, 25)], &[]);
        assert_eq!(since.completed(older(), &base()).window(&base()).latest, at(25));
        // A backup that was taken since. What is called S3 is of another cluster, that had this one's name.
        let own = log(&[(S2, SEGMENT_BYTES, 30)], &[]).completed(older(), &base());
        assert_eq!(own.window(&base()).latest, at(30));
        assert_eq!(own.window(&base()).gap, None);
    }

    #[test]
    fn a_piece_of_another_system_is_needed_by_none_of_this_ones_backups() {
        let needs = |system: Option<u64>, name: &str| {
            base().needs(&LogName { system: system.map(System), piece: name.parse().unwrap() })
        };
        assert!(needs(Some(7), S2) && needs(Some(7), S3) && needs(None, S2));
        assert!(!needs(Some(7), S1) && !needs(None, S1) && !needs(Some(8), S2));
    }
}
