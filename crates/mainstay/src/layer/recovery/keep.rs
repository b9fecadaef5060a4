//! Which backups of the layer's own state are kept, and how they are called: by their moment.

use std::collections::BTreeSet;

use mainstay_types::Timestamp;

/// The newest of all that are kept: five minutes of a layer that is busy.
const LAST: usize = 10;
/// Of how many days, and of how many weeks, the newest is kept.
const DAILY: usize = 7;
const WEEKLY: usize = 4;
/// How far the clocks of the machine that wrote and of the one that reads may be apart.
const LARGEST_SKEW_SECONDS: u64 = 24 * 3_600;
const DAY: i64 = 24 * 3_600 * 1_000_000;

/// The name of a backup of some moment. Names sort as their moments do.
pub(super) fn name_of(moment: Timestamp) -> String {
    moment.to_string().replace(':', "-")
}

/// The moment that a name tells.
pub(super) fn moment_of(name: &str) -> Option<Timestamp> {
    let (day, time) = name.split_once('T')?;
    format!("{day}T{}", time.replace('-', ":")).parse().ok()
}

/// The names in the order in which they are tried. What is of a time to come was called so by a clock that was wrong, and is older than it
/// says: it comes last.
pub(super) fn newest_first(names: Vec<String>, now: Timestamp) -> Vec<String> {
    let latest = now.plus_seconds(LARGEST_SKEW_SECONDS);
    let is_to_come = |name: &String| moment_of(name).is_some_and(|moment| moment > latest);
    let (to_come, past): (Vec<_>, Vec<_>) = names.into_iter().rev().partition(is_to_come);
    past.into_iter().chain(to_come).collect()
}

/// The names, of all that there are in their order, that are not kept any longer. What has another name is left alone.
pub(super) fn dropped(names: &[String]) -> Vec<String> {
    let moments: Vec<_> = names.iter().filter_map(|name| Some((name, moment_of(name)?))).collect();
    let mut kept: BTreeSet<&String> = moments.iter().rev().take(LAST).map(|(name, _)| *name).collect();
    for (length, count) in [(DAY, DAILY), (7 * DAY, WEEKLY)] {
        let mut periods = BTreeSet::new();
        for (name, moment) in moments.iter().rev() {
            if periods.len() < count && periods.insert(moment.as_micros().div_euclid(length)) {
                kept.insert(name);
            }
        }
    }
    moments.iter().map(|(name, _)| *name).filter(|name| !kept.contains(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{DAY, dropped, moment_of, name_of};

    #[test]
    fn names_tell_their_moments_and_sort_as_they_do() {
        let moments = [0, 1, 999_999, 1_000_000, 1_795_000_000_123_456].map(Timestamp::from_micros);
        let names = moments.map(name_of);
        assert!(names.is_sorted() && !names.iter().any(|name| name.contains(':')), "{names:?}");
        assert_eq!(names.each_ref().map(|name| moment_of(name)), moments.map(Some));
        assert_eq!(moment_of("something else"), None);
    }

    #[test]
    fn what_a_wrong_clock_called_newest_is_tried_last() {
        let names = [1, 2, 3, 5_000].map(|day| name_of(Timestamp::from_micros(day * DAY)));
        let order = super::newest_first(names.to_vec(), Timestamp::from_micros(2 * DAY));
        assert_eq!(order, [2, 1, 0, 3].map(|at| names[at].clone()));
    }

    #[test]
    fn the_last_ten_seven_days_and_four_weeks_are_kept() {
        let hour = |hour: i64| name_of(Timestamp::from_micros(1_700_000_000_000_000 / DAY * DAY + hour * DAY / 24));
        let names: Vec<String> = (0..24 * 60).map(hour).collect();
        let dropped = dropped(&names);
        let kept: Vec<_> = names.iter().filter(|name| !dropped.contains(name)).collect();
        assert!(names[names.len() - 10..].iter().all(|name| kept.contains(&name)));
        // Ten hours of one day, six days before it, and two or three weeks before those.
        assert!((18..=20).contains(&kept.len()), "{kept:?}");
        assert_eq!(super::dropped(&names[..10]), [""; 0]);
        assert_eq!(super::dropped(&["foreign".to_owned()]), [""; 0]);
    }
}
