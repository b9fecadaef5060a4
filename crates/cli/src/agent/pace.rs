//! How long the agent waits.

use std::time::Duration;

/// However short a lease is, looking after it is no busy loop.
pub(super) const SHORTEST: Duration = Duration::from_millis(100);

/// The first pause after a failure; each further one doubles it, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A random byte; where the operating system has none the middle of the range does.
pub(super) fn draw() -> u8 {
    let mut byte = [128];
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

/// The pause until secrets are looked at again, after so many failures in a row. It is up to a tenth shorter or longer,
/// so that agents which were started together do not ask together for ever.
pub(super) fn pause(interval: Duration, failures: u32, drawn: u8) -> Duration {
    let pause = match failures {
        0 => interval,
        count => FIRST_RETRY.saturating_mul(1 << (count - 1).min(16)).min(interval),
    };
    pause.mul_f64(0.9 + 0.2 * f64::from(drawn) / 255.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::pause;

    #[test]
    fn failures_are_retried_soon_and_then_less_often() {
        let interval = Duration::from_secs(30);
        for (failures, seconds) in [(0, 30), (1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (1000, 30)] {
            let (least, most) =
                (pause(interval, failures, 0).as_secs_f64(), pause(interval, failures, 255).as_secs_f64());
            let expected = f64::from(seconds);
            assert!((least - expected * 0.9).abs() < 1e-6 && (most - expected * 1.1).abs() < 1e-6, "{failures}");
        }
    }
}
