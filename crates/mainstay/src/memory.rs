//! How much of the memory that was given back the allocator keeps.

/// Blocks as long as this come from the system, and go back to it when they are freed: packs of the repository, pieces of streams. Most of
/// them are used again by whoever takes them, so that the system is seldom asked. By itself glibc raises this up to 32 MiB once such
/// blocks are freed, and what lies between them in the heap is kept.
const LARGE_BLOCK: i32 = 1 << 20;

/// Lets the allocator keep little. To be called before there are other threads.
///
/// Threads that work for a moment only would each leave behind what they once needed: glibc makes eight arenas for each core, and none can use
/// what another has kept. As many as there are cores are enough for those that work at the same time.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        tune(libc::M_ARENA_MAX, i32::try_from(cores).unwrap_or(i32::MAX));
        tune(libc::M_MMAP_THRESHOLD, LARGE_BLOCK);
    }
}

#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn tune(parameter: i32, value: i32) {
    // SAFETY: `mallopt` takes two numbers and touches nothing but the allocator's own settings, under its lock. A value that it does not
    // know it refuses.
    unsafe { libc::mallopt(parameter, value) };
}
