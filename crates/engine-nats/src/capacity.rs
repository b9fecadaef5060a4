//! What a machine can promise to accounts. Promises are kept back, so that no tenant's use takes from another's.

use std::path::Path;

use mainstay_engine::EngineError;
use mainstay_engine::supervise::Machine;

use crate::offering::Limits;

/// The share of the machine's memory that streams in memory may be promised: the server itself, its connections and the
/// other engines need the rest.
const MEMORY_SHARE: u64 = 2;
/// Files that the server has open besides its connections: those of streams that are written to.
const FILES_FOR_STREAMS: u64 = 8_192;
/// All that can be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub storage_mib: u64,
    pub memory_mib: u64,
    pub connections: u64,
}

impl Capacity {
    /// More than is ever asked for.
    #[cfg(test)]
    pub const UNBOUNDED: Self = Self { storage_mib: u64::MAX, memory_mib: u64::MAX, connections: u64::MAX };

    /// What this machine can promise: only what stays the same while it runs.
    pub fn look(clusters_dir: &Path) -> Self {
        let machine = Machine::look(clusters_dir);
        Self {
            storage_mib: machine.disk_mib,
            memory_mib: machine.memory_mib / MEMORY_SHARE,
            connections: Self::connections(),
        }
    }

    /// The connections among it, which are asked for with every change of an account.
    pub fn connections() -> u64 {
        let files = Machine::open_files();
        files.saturating_sub(FILES_FOR_STREAMS).max(files / 2)
    }

    /// Refuses limits that go beyond what is left when the others have all that they were promised.
    ///
    /// An account that grows in nothing is not refused: the machine may have become smaller under it.
    pub fn check(&self, others: &[&Limits], before: Option<&Limits>, wanted: &Limits) -> Result<(), EngineError> {
        let kinds = [
            ("storage_mib", self.storage_mib, (|limits| limits.storage_mib) as fn(&Limits) -> u64),
            ("memory_mib", self.memory_mib, |limits| limits.memory_mib),
            ("max_connections", self.connections, |limits| limits.max_connections),
        ];
        for (name, whole, of) in kinds {
            let promised: u64 = others.iter().map(|limits| of(limits)).fold(0, u64::saturating_add);
            let (left, wanted) = (whole.saturating_sub(promised), of(wanted));
            if wanted > left && before.is_none_or(|before| wanted > of(before)) {
                return Err(EngineError::permanent(
                    format!(
                        "{name} of {wanted} is more than the {left} that this machine can promise besides what it has"
                    ),
                    match left {
                        0 => "delete an instance that is not needed, or enlarge the machine".to_owned(),
                        left => format!("create the instance with at most --set {name}={left}, or enlarge the machine"),
                    },
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Capacity;
    use crate::offering::Limits;

    #[test]
    fn promises_are_kept_back() {
        let capacity = Capacity { storage_mib: 10, memory_mib: 10, connections: 10 };
        let limits = |storage_mib, memory_mib, max_connections| Limits {
            storage_mib,
            memory_mib,
            max_connections,
            ..Limits::LEAST
        };
        let check = |others: &[&Limits], before: Option<&Limits>, wanted: &Limits| {
            capacity.check(others, before, wanted).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[], None, &limits(10, 10, 10)), Ok(()));
        assert_eq!(check(&[&limits(4, 4, 4)], None, &limits(6, 6, 6)), Ok(()));
        for wanted in [limits(7, 1, 1), limits(1, 7, 1), limits(1, 1, 7)] {
            let error = check(&[&limits(4, 4, 4)], None, &wanted).unwrap_err();
            assert!(error.contains("of 7 is more than the 6") && error.contains("=6"), "{error}");
        }
        assert!(check(&[&limits(10, 1, 1)], None, &limits(1, 1, 1)).unwrap_err().contains("delete an instance"));
        // The machine became smaller; what was promised before is served all the same, and does not grow.
        assert_eq!(check(&[], Some(&limits(20, 20, 20)), &limits(20, 20, 20)), Ok(()));
        assert!(check(&[], Some(&limits(20, 20, 20)), &limits(21, 20, 20)).is_err());
    }
}
