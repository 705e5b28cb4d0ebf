//! The time of day by this machine's clock, as programs write it down: since 1970, and 0 of a clock that is before that. Spans
//! are measured by `Instant`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use playlists::WallTime;

pub fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// In milliseconds.
pub fn unix_ms() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

/// As playlists write it.
pub fn wall() -> WallTime {
    WallTime::from_millis(i64::try_from(unix_ms()).unwrap_or(i64::MAX))
}
