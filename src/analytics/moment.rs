//! A time as people say it, when they ask what was kept of it.

use std::str::FromStr;

use serde::Deserialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type, schema::AnyOfBuilder,
    },
};

/// Unix time in seconds, from a number of them, a day (`2026-11-29`) or a time of it (`2026-11-29T20:00:00Z`), in UTC where
/// nothing else is said.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Moment(pub i64);

impl Moment {
    /// From when until when somebody asks, at `now`: until now, and of a day, if nothing else is said. In seconds.
    pub(super) fn span(from: Option<Self>, to: Option<Self>, now: i64) -> (i64, i64) {
        let to = to.map_or(now + 60, |to| to.0);
        (from.map_or(to - 86_400, |from| from.0), to)
    }
}

impl ToSchema for Moment {}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let of = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
        AnyOfBuilder::new()
            .item(text().pattern(Some("^[0-9]{1,10}$")))
            .item(of(KnownFormat::Date))
            .item(of(KnownFormat::DateTime))
            .into()
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read(text).map(Self).ok_or_else(|| {
            format!("{text:?} is no time: seconds since 1970, 2026-11-29 or 2026-11-29T20:00:00Z")
        })
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn read(text: &str) -> Option<i64> {
    // Whoever counts milliseconds would be told of nothing otherwise.
    if (1..=10).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit()) {
        return text.parse().ok();
    }
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        17 => format!("{}:00Z", text.strip_suffix('Z')?),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    let time = chrono::DateTime::parse_from_rfc3339(&whole).ok()?;
    Some(time.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_as_people_say_it() {
        for (text, seconds) in [
            ("1764446400", 1_764_446_400),
            ("2025-11-29", 1_764_374_400),
            ("2025-11-29T20:00:00Z", 1_764_446_400),
            ("2025-11-29T20:00", 1_764_446_400),
            ("2025-11-29T20:00Z", 1_764_446_400),
            ("2025-11-29T20:00:00", 1_764_446_400),
            ("2025-11-29T21:00:00.5+01:00", 1_764_446_400),
        ] {
            assert_eq!(text.parse(), Ok(Moment(seconds)), "{text}");
        }
        for wrong in [
            "",
            "now",
            "yesterday",
            "2025-13-01",
            "2025-11-29T25:00:00Z",
            "2025-1-1",
            "2025-02-29",
            "-1",
            "1764446400000",
        ] {
            let told = wrong.parse::<Moment>().unwrap_err();
            assert!(told.contains("is no time"), "{wrong}");
        }
    }
}
