//! Lengths of time, as people write them.

use std::fmt;
use std::str::FromStr;

const UNITS: [(char, u64); 5] = [('w', 7 * 86_400), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A whole number of seconds, more than none. Written `90s`, `15m`, `24h`, `1h30m`, `7d`, or as a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Seconds(u64);

impl Seconds {
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "write it like 90s, 15m, 24h, 1h30m or 7d";
        let mut total: u64 = 0;
        let mut digits = String::new();
        for symbol in text.chars() {
            if symbol.is_ascii_digit() {
                digits.push(symbol);
                continue;
            }
            let (_, unit) = UNITS.into_iter().find(|(letter, _)| *letter == symbol).ok_or(rule)?;
            let count: u64 = digits.parse().map_err(|_| rule)?;
            total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or(rule)?;
            digits.clear();
        }
        if !digits.is_empty() {
            // A number without a unit means seconds where it stands alone, and nothing clear elsewhere.
            total = if digits == text { digits.parse().map_err(|_| rule)? } else { return Err(rule) };
        }
        if total == 0 { Err(rule) } else { Ok(Self(total)) }
    }
}

/// With its largest unit alone, as tables show an age: `59s`, `3m`, `47h`, `12d`.
pub(crate) fn rough(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&rough(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Seconds, rough};

    #[test]
    fn as_people_write_it() {
        let cases = [
            ("90s", 90),
            ("15m", 900),
            ("24h", 86_400),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("42", 42),
        ];
        for (text, seconds) in cases {
            assert_eq!(text.parse::<Seconds>().map(Seconds::get), Ok(seconds), "{text}");
        }
        for bad in
            ["", "0", "0s", "h", "1h30", "1x", "-1s", "1.5h", "1 h", "99999999999999999999s", "99999999999999999w"]
        {
            assert!(bad.parse::<Seconds>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ages_are_short() {
        let cases = [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_800, "2d")];
        for (seconds, text) in cases {
            assert_eq!(rough(seconds), text);
        }
    }
}
