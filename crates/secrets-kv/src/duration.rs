//! Durations as Go writes them, which is how Vault answers them.

/// Whole seconds as `1h30m0s`.
pub(crate) fn go_duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn durations_read_as_go_writes_them() {
        let table = [(0, "0s"), (59, "59s"), (60, "1m0s"), (1800, "30m0s"), (12_319, "3h25m19s"), (90_000, "25h0m0s")];
        for (seconds, text) in table {
            assert_eq!(go_duration(seconds), text);
        }
    }
}
