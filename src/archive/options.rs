//! What an operator says of the DVR, and what that comes to. Reads no disk.

use std::{path::PathBuf, str::FromStr, time::Duration};

use playlists::MediaTime;
use serde::{Deserialize, Serialize};

/// How far back viewers can go.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DvrConfig {
    /// How far back viewers can go, such as 30m or 2h; `all` is to the beginning [default: what is live]
    #[arg(long, env = "SPILLWAY_DVR", value_name = "SPAN")]
    pub dvr: Option<Reach>,
    /// Folder for what is not live any more; needed for --dvr
    #[arg(long, env = "SPILLWAY_DVR_DIR", value_name = "FOLDER")]
    pub dvr_dir: Option<PathBuf>,
    /// Disk that the DVR of one stream may take, in GB; beyond it the oldest goes [default: no limit]
    #[arg(long, env = "SPILLWAY_DVR_MAX_GB", value_name = "GB")]
    pub dvr_max_gb: Option<f64>,
    /// How long a programme can be watched after it has ended, such as 24h [default: until the node
    /// stops, or for as long as it is in --dvr-dir]
    #[arg(long, env = "SPILLWAY_KEEP_ENDED", value_name = "SPAN")]
    pub keep_ended: Option<Reach>,
}

/// A span as people write it, or all there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reach {
    Span(Duration),
    All,
}

/// Where a node keeps what its streams were, and how much of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Each stream has a folder in it.
    pub folder: PathBuf,
    /// How far back one can go; `None` is to the beginning.
    pub span: Option<MediaTime>,
    /// Octets on disk for each stream; `None` is as many as there are.
    pub most: Option<u64>,
}

impl DvrConfig {
    /// What is to be kept by default; `None` if no archive is to be kept at all.
    pub fn options(&self) -> anyhow::Result<Option<Options>> {
        let Some(folder) = self.dvr_dir.clone() else {
            anyhow::ensure!(
                self.dvr.is_none(),
                "--dvr needs a folder to keep hours of media in; say which with --dvr-dir"
            );
            anyhow::ensure!(
                self.dvr_max_gb.is_none(),
                "--dvr-max-gb limits what is in --dvr-dir, which is not given"
            );
            return Ok(None);
        };
        let most = self.dvr_max_gb.map(|gb| {
            anyhow::ensure!(
                gb.is_finite() && gb > 0.0,
                "dvr-max-gb is {gb}; it has to be above 0"
            );
            Ok((gb * 1e9) as u64)
        });
        Ok(Some(Options {
            folder,
            span: self.dvr.unwrap_or(USUAL).media_time(),
            most: most.transpose()?,
        }))
    }

    /// How long a programme stays after its end; `None` is without a limit.
    pub fn keep_ended(&self) -> Option<Duration> {
        match self.keep_ended? {
            Reach::Span(span) => Some(span),
            Reach::All => None,
        }
    }
}

impl Reach {
    /// `None` is all of it.
    pub fn media_time(self) -> Option<MediaTime> {
        match self {
            Self::Span(span) => Some(MediaTime::from_seconds(span.as_secs_f64())),
            Self::All => None,
        }
    }
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let wrong = || {
            format!(
                "{text:?} is no span such as 90s, 30m, 2h or 1d, of up to 366 days, nor \"all\""
            )
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number
            .checked_mul(unit)
            .filter(|seconds| (1..=366 * 86_400).contains(seconds))
            .map(|seconds| Self::Span(Duration::from_secs(seconds)))
            .ok_or_else(wrong)
    }
}

impl TryFrom<String> for Reach {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Reach> for String {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::All => "all".into(),
            Reach::Span(span) => format!("{}s", span.as_secs()),
        }
    }
}

/// With a folder and nothing else said.
const USUAL: Reach = Reach::Span(Duration::from_secs(2 * 3600));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        let seconds = |seconds| Ok(Reach::Span(Duration::from_secs(seconds)));
        assert_eq!("90s".parse(), seconds(90));
        assert_eq!("30m".parse(), seconds(1800));
        assert_eq!("2h".parse(), seconds(7200));
        assert_eq!("7d".parse(), seconds(604_800));
        assert_eq!("all".parse(), Ok(Reach::All));
        for wrong in [
            "", "2", "h", "2 h", "2.5h", "0s", "-1h", "999999d", "2hh", "2ä",
        ] {
            assert!(wrong.parse::<Reach>().is_err(), "{wrong:?}");
        }
        assert_eq!(String::from("2h".parse::<Reach>().unwrap()), "7200s");
    }

    #[test]
    fn hours_need_a_folder() {
        let lost = DvrConfig {
            dvr: Some(Reach::All),
            ..DvrConfig::default()
        };
        assert!(lost.options().is_err());
        assert!(DvrConfig::default().options().unwrap().is_none());
    }
}
