//! Moments.

use std::time::{Duration, UNIX_EPOCH};

use mainstay_types::Timestamp;
use s3s::dto::TimestampFormat;

use crate::error::{Failure, Result};

/// As s3s writes it. Moments before 1970 do not happen to objects.
pub fn timestamp(moment: Timestamp) -> s3s::dto::Timestamp {
    let since = Duration::from_micros(u64::try_from(moment.as_micros()).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH).into()
}

/// As s3s has read it.
pub fn moment(timestamp: &s3s::dto::Timestamp) -> Result<Timestamp> {
    let text = text(timestamp, TimestampFormat::DateTime)?;
    text.parse().map_err(|_| Failure::invalid_argument("A date is not one that this world knows"))
}

/// As HTTP's headers have it (RFC 9110, section 5.6.7).
pub fn http_date(timestamp: &s3s::dto::Timestamp) -> Result<String> {
    text(timestamp, TimestampFormat::HttpDate)
}

fn text(timestamp: &s3s::dto::Timestamp, format: TimestampFormat) -> Result<String> {
    let mut bytes = Vec::new();
    let written = timestamp.format(format, &mut bytes);
    let text = written.ok().and_then(|()| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Failure::invalid_argument("A date is not one that this world knows"))
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    #[test]
    fn moments_come_back() {
        let moment = Timestamp::from_micros(1_795_262_400_123_000);
        assert_eq!(super::moment(&super::timestamp(moment)).ok(), Some(moment));
        assert_eq!(super::http_date(&super::timestamp(moment)).ok().unwrap(), "Sat, 21 Nov 2026 12:00:00 GMT");
    }
}
