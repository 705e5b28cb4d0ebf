//! What a primary decided for whom, off its log: for players that do not say what they fetch.

use chrono::DateTime;

use super::seen::Fetched;

/// One line `rung chosen` of the log at `debug`.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub wall_ms: i64,
    pub segment: u64,
    pub rung: String,
}

impl Chosen {
    /// What was decided for the viewer of `region`, segment by segment; who asks again is not decided for anew.
    pub fn all<'a>(lines: impl IntoIterator<Item = &'a String>, region: &str) -> Vec<Self> {
        let mine = format!(".{region}");
        let lines = lines
            .into_iter()
            .filter(|line| line.contains("rung chosen"));
        let mut all: Vec<Self> = Vec::new();
        for chosen in lines.filter_map(|line| Self::read(line, &mine)) {
            if all.iter().all(|one| one.segment != chosen.segment) {
                all.push(chosen);
            }
        }
        all
    }

    fn read(line: &str, mine: &str) -> Option<Self> {
        // `{16 digits}.{region}`, and maybe `.{profile}`.
        let viewer = field(line, "viewer=")?;
        let rest = viewer.get(16..)?.strip_prefix(mine)?;
        if !(rest.is_empty() || rest.starts_with('.')) {
            return None;
        }
        let moment = DateTime::parse_from_rfc3339(line.split_whitespace().next()?).ok()?;
        Some(Self {
            wall_ms: moment.timestamp_millis(),
            segment: field(line, "number=")?.parse().ok()?,
            rung: field(line, "rung=")?.trim_matches('"').to_owned(),
        })
    }

    /// As what was fetched, with `began` the wall time of the round's beginning.
    pub fn fetched(&self, began: i64) -> Fetched {
        Fetched {
            t: (self.wall_ms - began) as f64 / 1000.0,
            segment: self.segment,
            rung: Some(self.rung.clone()),
            ..Fetched::default()
        }
    }
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = line.find(&format!(" {name}"))? + name.len() + 1;
    line[start..].split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_viewer_finds_its_own_segments_once() {
        let line = |viewer: &str, number: u32, rung: &str| {
            format!(
                "2026-01-01T00:00:02.500000Z DEBUG rung chosen viewer={viewer} number={number} part=None rung={rung} pin=Pin {{ rung: 1 }}"
            )
        };
        let lines = [
            line("0123456789abcdef.lab-1.n", 7, "360p"),
            line("0123456789abcdef.lab-1.n", 7, "360p"),
            line("0123456789abcdef.lab-11.n", 8, "180p"),
            line("0123456789abcdef.lab-1.n", 8, "240p"),
            "2026-01-01T00:00:02Z DEBUG delivered viewer=0123456789abcdef.lab-1.n".to_owned(),
        ];
        let all = Chosen::all(&lines, "lab-1");
        let found: Vec<_> = all
            .iter()
            .map(|chosen| (chosen.segment, chosen.rung.as_str()))
            .collect();
        assert_eq!(found, [(7, "360p"), (8, "240p")]);
        assert_eq!(all[0].fetched(all[0].wall_ms - 1500).t, 1.5);
    }
}
