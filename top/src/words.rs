//! Numbers and times as people read them, as the operators' page writes them.

/// Three digits, or as many as it takes.
pub(crate) fn bitrate(bps: u64) -> String {
    let bps = bps as f64;
    let (value, unit) = match bps {
        1e9.. => (bps / 1e9, "Gbit/s"),
        1e6.. => (bps / 1e6, "Mbit/s"),
        1e3.. => (bps / 1e3, "kbit/s"),
        _ => return format!("{bps:.0} bit/s"),
    };
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

/// The two largest units say enough.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

pub(crate) fn price(price: f64) -> String {
    if price == 0.0 {
        return "0".into();
    }
    format!("{price:.3}")
}

/// The time of day of an instant in UTC.
pub(crate) fn clock(at: &str) -> &str {
    at.get(11..19).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_are_read() {
        let rates = [0, 999, 1_500, 13_800_000, 421_000_000, 4_200_000_000].map(bitrate);
        assert_eq!(
            rates,
            [
                "0 bit/s",
                "999 bit/s",
                "1.50 kbit/s",
                "13.8 Mbit/s",
                "421 Mbit/s",
                "4.20 Gbit/s"
            ]
        );
        assert_eq!(
            [7, 61, 3_960, 90_000].map(span),
            ["7 s", "1 min 01 s", "1 h 06 min", "1 d 01 h"]
        );
        assert_eq!(clock("2026-11-21T10:00:07.000Z"), "10:00:07");
        assert_eq!(clock("soon"), "soon");
    }
}
