//! What a computation leaves on the stack. Hashes work on a copy of what they hash, which would lie there until something
//! else needs the place: also after custody is sealed, where a search of the memory found tokens and values.

/// More than the frames of a hash need, in builds without optimisation too.
const DEPTH: usize = 4 << 10;

/// Computes something, and overwrites what that has left below this frame.
pub(crate) fn cleared<T>(compute: impl FnOnce() -> T) -> T {
    let outcome = in_its_own_frame(compute);
    overwrite_below();
    outcome
}

#[inline(never)]
fn in_its_own_frame<T>(compute: impl FnOnce() -> T) -> T {
    compute()
}

#[inline(never)]
fn overwrite_below() {
    std::hint::black_box(&mut [0_u8; DEPTH]);
}
