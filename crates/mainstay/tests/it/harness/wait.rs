//! Waiting for a condition, the only place where a test pauses.

use std::time::{Duration, Instant};

/// Short against everything that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Asks until there is an answer, and gives it.
pub fn until<T>(what: &str, at_most: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + at_most;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it should come true within {at_most:?} that {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}
