//! How far recovery work has come, for people who watch it. It is on no record: work that is begun anew begins at nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mainstay_domain::event::OperationKind;
use mainstay_domain::plan::Work;
use mainstay_domain::view::{Instance, View};
use mainstay_engine::recovery::Progress;

/// How far one piece of work has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doing {
    /// What is being done, as people read it: `copying the cluster`.
    pub stage: String,
    /// Bytes that were copied so far, in all stages.
    pub bytes_done: u64,
    /// Bytes that there are, by the backup that is read or the one before the one that is made; none before the first.
    pub bytes_expected: Option<u64>,
}

/// The work that is carried out at present.
#[derive(Default)]
pub(crate) struct Watched(Mutex<BTreeMap<Work, Weak<Course>>>);

/// How far one piece of work has come, as the engine that does it tells.
struct Course {
    stage: Mutex<String>,
    bytes_done: AtomicU64,
    bytes_expected: Option<u64>,
}

/// Nobody is told how far it is.
pub(super) struct Silent;

impl Watched {
    /// Watches work that begins, until what is answered is dropped.
    pub(super) fn begin(&self, work: &Work, view: &View) -> Arc<dyn Progress> {
        let course = Arc::new(Course {
            stage: Mutex::new(String::new()),
            bytes_done: AtomicU64::new(0),
            bytes_expected: expected(work, view),
        });
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, course| course.strong_count() > 0);
        watched.insert(work.clone(), Arc::downgrade(&course));
        course
    }

    /// How far the work has come that an operation on an instance waits for; none while it has not begun.
    pub(crate) fn of(&self, kind: OperationKind, instance: &Instance) -> Option<Doing> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let course = watched.iter().find(|(work, _)| serves(work, kind, instance))?.1.upgrade()?;
        Some(course.seen())
    }
}

impl Course {
    fn seen(&self) -> Doing {
        Doing {
            stage: self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_expected: self.bytes_expected,
        }
    }
}

impl Progress for Course {
    fn stage(&self, stage: &str) {
        stage.clone_into(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn copied(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Progress for Silent {
    fn stage(&self, _: &str) {}

    fn copied(&self, _: u64) {}
}

/// Whether work is what an operation on an instance waits for.
fn serves(work: &Work, kind: OperationKind, of: &Instance) -> bool {
    match (work, kind) {
        (Work::BackUp { cluster, whole_cluster: true, .. }, OperationKind::CreateBackup) => *cluster == of.cluster,
        (Work::BackUp { instance, .. }, OperationKind::CreateBackup)
        | (Work::Restore { instance }, OperationKind::RestoreInstance)
        | (Work::Drill { instance }, OperationKind::RunDrill) => *instance == of.id,
        _ => false,
    }
}

/// How many bytes work has before it.
fn expected(work: &Work, view: &View) -> Option<u64> {
    let newest = |id| Some(view.points_of(view.instance_by_id(id)?).next_back()?.bytes);
    match work {
        Work::BackUp { instance, .. } | Work::Drill { instance } => newest(instance),
        Work::Restore { instance } => {
            let restoring = view.instance_by_id(instance)?.recovery.restoring.as_ref()?;
            Some(view.point(&restoring.backup)?.bytes)
        }
        Work::Expire { .. } => None,
    }
}
