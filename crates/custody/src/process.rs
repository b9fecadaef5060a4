//! Keeping key material in memory, and out of everywhere that memory is copied to.

use std::alloc::System;

use rustix::io;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use zeroizing_alloc::ZeroAlloc;

/// A global allocator that overwrites memory when it is freed, so that no value, request body or intermediate copy of one
/// stays behind in the heap.
pub type ZeroizeOnFree = ZeroAlloc<System>;

/// For `#[global_allocator]` of a binary that holds secrets.
pub const ZEROIZE_ON_FREE: ZeroizeOnFree = ZeroAlloc(System);

/// The capability that locks memory without limit (linux/capability.h).
const CAP_IPC_LOCK: u64 = 1 << 14;

/// Keeps this process's memory from core dumps, from debuggers of the same user and from swap, and says what of it the
/// system did not permit, each with its remedy. To be called first of all, before anything secret is in memory.
///
/// What it starts is not concerned, but for the limit of core dumps, which engines inherit: they hold secrets too.
pub fn protect_process() -> Vec<String> {
    let mut refused = Vec::new();
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        refused.push(format!("memory can be dumped and debugged: PR_SET_DUMPABLE was refused ({error})"));
    }
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        refused.push(format!("core dumps are possible: RLIMIT_CORE cannot be set ({error}); set `ulimit -c 0`"));
    }
    if let Err(reason) = lock_memory() {
        refused.push(format!(
            "memory may be swapped to disk: {reason}; give the service LimitMEMLOCK=infinity or CAP_IPC_LOCK, or turn swap \
             off or encrypt it"
        ));
    }
    refused
}

/// Locks what is mapped now and later, each page once it is touched.
///
/// Under a finite limit it is not even tried: the lock would be granted as long as the process is small, and memory be
/// refused to it when it grows.
fn lock_memory() -> Result<(), String> {
    let limit = getrlimit(Resource::Memlock);
    if limit.current.is_some() && !may_lock_without_limit() {
        // A hard limit above the soft one may be used by anybody.
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match limit.maximum {
            None => setrlimit(Resource::Memlock, raised)
                .map_err(|error| format!("RLIMIT_MEMLOCK cannot be set ({error})"))?,
            Some(bytes) => return Err(format!("only {} KiB may be locked", bytes >> 10)),
        }
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(|error: io::Errno| format!("mlockall was refused ({error})"))
}

fn may_lock_without_limit() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|bits| bits & CAP_IPC_LOCK != 0)
}
