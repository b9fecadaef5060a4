//! The threads that hash for all streams.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::lanes::{LANES, WORTH_IT, is_wide, run};
use super::{BLOCK, Md5Hasher};

/// How far streams are hashed before it is looked who else has come: some 250 microseconds' work.
const SLICE: usize = 64 * 1024;

/// Hashes a stream's next piece beside those of other streams, from now on. The hasher comes back when that is done.
pub(crate) fn hash(mut hasher: Md5Hasher, piece: Bytes) -> oneshot::Receiver<Md5Hasher> {
    let (done, hashed) = oneshot::channel();
    let rest = hasher.complete_block(&piece).len();
    crew().join(Job { hasher, done: piece.len() - rest, piece, owner: done });
    hashed
}

/// Pieces in work, of which each stream has one at most, and the threads that take them. They belong to no runtime:
/// streams of several may be hashed together.
struct Crew {
    work: Mutex<Work>,
    more: Condvar,
}

#[derive(Default)]
struct Work {
    /// Nobody is at these.
    waiting: Vec<Job>,
    /// Threads that hash streams side by side, and will soon take whoever waits.
    wide: usize,
}

/// A piece, as far as it is hashed.
struct Job {
    hasher: Md5Hasher,
    piece: Bytes,
    done: usize,
    owner: oneshot::Sender<Md5Hasher>,
}

fn crew() -> &'static Crew {
    static CREW: OnceLock<Crew> = OnceLock::new();
    static THREADS: OnceLock<()> = OnceLock::new();
    let crew = CREW.get_or_init(|| Crew { work: Mutex::default(), more: Condvar::new() });
    THREADS.get_or_init(|| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..threads {
            let thread = std::thread::Builder::new().name(format!("md5-{number}"));
            thread.spawn(|| crew.serve()).expect("the system gives a process some threads when it starts");
        }
    });
    crew
}

impl Crew {
    fn join(&self, job: Job) {
        self.lock().waiting.push(job);
        self.more.notify_one();
    }

    fn serve(&self) {
        let mut jobs = Vec::with_capacity(LANES);
        loop {
            let wide = self.take(&mut jobs);
            slice(&mut jobs);
            jobs.extract_if(.., |job| job.is_done()).for_each(Job::end);
            let mut work = self.lock();
            work.waiting.append(&mut jobs);
            work.wide -= usize::from(wide);
        }
    }

    /// What one thread does next: many streams side by side, or else one, so that the other threads have theirs. Where a
    /// few wait for a thread that has many already, they are left to it. Answers whether it is many.
    fn take(&self, jobs: &mut Vec<Job>) -> bool {
        let mut work = self.lock();
        loop {
            let wide = is_wide() && work.waiting.len() >= WORTH_IT;
            if wide || work.wide == 0 && !work.waiting.is_empty() {
                let count = if wide { work.waiting.len().min(LANES) } else { 1 };
                jobs.extend(work.waiting.drain(..count));
                work.wide += usize::from(wide);
                if !work.waiting.is_empty() {
                    self.more.notify_one();
                }
                return wide;
            }
            work = self.more.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings streams further: as far as the shortest goes, and no further than a slice.
fn slice(jobs: &mut [Job]) {
    let blocks = |job: &Job| (job.piece.len() - job.done) / BLOCK * BLOCK;
    let len = jobs.iter().map(blocks).min().unwrap_or(0).min(SLICE);
    if let [job] = jobs {
        job.hasher.blocks(&job.piece[job.done..job.done + len]);
    } else if len > 0 {
        let streams = jobs.iter_mut().map(|job| (&mut job.hasher.state, &job.piece[job.done..job.done + len]));
        run(&mut streams.collect::<Vec<_>>());
        jobs.iter_mut().for_each(|job| job.hasher.len += len as u64);
    }
    jobs.iter_mut().for_each(|job| job.done += len);
}

impl Job {
    /// Whether there is no whole block left.
    fn is_done(&self) -> bool {
        self.piece.len() - self.done < BLOCK
    }

    fn end(mut self) {
        self.hasher.begin_block(&self.piece[self.done..]);
        // Whoever does not wait any more has given its stream up.
        drop(self.owner.send(self.hasher));
    }
}
