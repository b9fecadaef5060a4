//! Whether there is room on the machine for a scratch cluster. A drill must never take the last of it from those who serve.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::outside::{Room, room};

/// What a restored cluster takes for each part in a hundred of what its backup has read: what is replayed onto it comes on top.
const GROWTH_PERCENT: u64 = 125;
/// What a scratch cluster takes however little is in it: an empty one of PostgreSQL with its log.
const LEAST_NEEDED: u64 = 128 << 20;
/// What a drill leaves free: the twentieth part of the disk, but no less than engines write while one notices, and no more than
/// what the fastest disks write while it is looked twice. With more, a large disk that is well filled, as most are one day, would
/// refuse every drill, and nothing on it would be proven.
const LEFT_PERCENT: u64 = 5;
const LEAST_LEFT: u64 = 64 << 20;
const MOST_LEFT: u64 = 2 << 30;
/// How often it is looked while a drill goes on: a disk that writes a gigabyte each second is stopped before the room that is left
/// is used up.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why a drill is not begun, or is ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRoom {
    #[error(
        "it needs {needed} bytes of room for a moment, and the disk under {} has {free}, of which {left} are left to those who serve; \
         make room there, and drill again", path.display()
    )]
    ToBegin { path: PathBuf, needed: u64, free: u64, left: u64 },
    #[error(
        "the disk under {} was filling up, with {free} bytes left, so that it was ended for the sake of those who serve; make room there, \
         and drill again", path.display()
    )]
    ToGoOn { path: PathBuf, free: u64 },
}

/// Whether a backup that has read so many bytes can be restored beside what is there. What can not be seen is no reason not to.
pub(super) fn admit(path: &Path, backup_bytes: u64) -> Result<(), NoRoom> {
    match look(path) {
        Some(found) => judge(path, found, backup_bytes),
        None => Ok(()),
    }
}

fn judge(path: &Path, Room { free, total }: Room, backup_bytes: u64) -> Result<(), NoRoom> {
    let needed = (backup_bytes / 100).saturating_mul(GROWTH_PERCENT).saturating_add(LEAST_NEEDED);
    let left = left(total);
    if free < needed.saturating_add(left) {
        return Err(NoRoom::ToBegin { path: path.to_owned(), needed, free, left });
    }
    Ok(())
}

/// Ends once there is less than is left to others, for as long as this is polled.
pub(super) async fn run_short(path: &Path) -> NoRoom {
    loop {
        if let Some(Room { free, total }) = look(path)
            && free < left(total)
        {
            return NoRoom::ToGoOn { path: path.to_owned(), free };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn left(total: u64) -> u64 {
    (total / 100 * LEFT_PERCENT).clamp(LEAST_LEFT, MOST_LEFT)
}

fn look(path: &Path) -> Option<Room> {
    let told = |error: io::Error| tracing::warn!(path = %path.display(), %error, "cannot see how full the disk is");
    room(path).map_err(told).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Room, judge, left};

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn a_drill_leaves_others_their_room() {
        let fits = |free, total, bytes| judge(Path::new("/data"), Room { free, total }, bytes);
        assert!(fits(10 * GIB, 100 * GIB, GIB).is_ok());
        assert!(fits(7 * GIB, 1000 * GIB, GIB).is_ok(), "a large disk that is nearly full has drills too");
        assert!(fits(3 * GIB, 100 * GIB, GIB).is_err(), "two of them are left to others");
        assert!(fits(200 * MIB, 300 * MIB, 5 * MIB).is_ok(), "small disks have small drills");
        assert!(fits(190 * MIB, 300 * MIB, 5 * MIB).is_err());
        assert!(fits(u64::MAX - 1, u64::MAX, u64::MAX).is_err(), "figures that nothing has overflow nothing");
        let refused = fits(GIB, 100 * GIB, GIB).unwrap_err().to_string();
        assert!(refused.contains("the disk under /data has 1073741824") && refused.contains("make room"), "{refused}");
    }

    #[test]
    fn what_is_left_follows_the_disk() {
        assert_eq!([0, 10 * GIB, 100 << 40].map(left), [64 * MIB, 10 * GIB / 100 * 5, 2 * GIB]);
    }
}
