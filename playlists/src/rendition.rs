//! What a viewer may choose beside the rungs: sound in other languages, and subtitles (RFC 8216bis,
//! `EXT-X-MEDIA`). What is in each segment of them is `segment`'s business.
//!
//! Where there is one sound, the rungs carry it. Where there are several, the rungs are pictures
//! alone and the main sound is a rendition like the others: hls.js cannot take other sound in place
//! of what it finds among the pictures.
//!
//! And what who only listens is given: the main sound alone, which is a rendition that is a variant as well.

use serde::{Deserialize, Serialize};

use crate::{
    ladder::{LadderError, RungName, is_path_safe},
    time::Bitrate,
};

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// CMAF fragments of AAC, cut where the rungs' parts are.
    Audio,
    /// WebVTT, one file a segment.
    Subtitles,
}

/// How a track presents itself to whoever chooses among several.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Track {
    /// For people: `NAME`.
    pub label: String,
    /// RFC 5646 tag, such as `de`; `None` if nobody knows.
    pub language: Option<String>,
}

/// A track that is fetched for itself.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Rendition {
    pub kind: Kind,
    /// Its name in URLs; no rung has the same.
    pub name: RungName,
    pub track: Track,
    /// Played unless another is chosen; of sound, what the rungs do not carry.
    #[serde(default)]
    pub default: bool,
    /// RFC 6381.
    pub codecs: String,
    /// What it adds at most to a variant that is played with it (`BANDWIDTH`).
    pub bandwidth: Bitrate,
    /// It is a variant as well, for who wants no pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<Alone>,
}

/// What sound takes for itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Alone {
    /// At most (`BANDWIDTH`).
    pub bandwidth: Bitrate,
    pub average: Bitrate,
}

/// All that a stream has beside its rungs. By default nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Renditions {
    /// The sound that the rungs carry, if they do; named in playlists only where there is other sound to choose.
    pub main: Track,
    pub others: Vec<Rendition>,
    /// Captions in the pictures themselves; `None`: nobody knows whether there are any.
    #[serde(default)]
    pub closed: Option<Vec<Closed>>,
}

/// Captions among the pictures of every rung (CEA-608, CEA-708).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Closed {
    /// Which of them: `CC1` to `CC4`, or `SERVICE1` to `SERVICE63`.
    pub channel: String,
    pub track: Track,
}

impl Renditions {
    /// Renditions are counted in the order in which a part carries them.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.others
            .iter()
            .position(|rendition| rendition.name.as_str() == name)
    }

    /// Whether the rungs are pictures alone.
    pub fn apart(&self) -> bool {
        self.of(Kind::Audio).any(|rendition| rendition.default)
    }

    /// What the dearest choice of one of each kind adds to a variant.
    pub fn bandwidth(&self) -> Bitrate {
        let dearest = |kind| self.of(kind).map(|rendition| rendition.bandwidth).max();
        dearest(Kind::Audio).unwrap_or(Bitrate::ZERO)
            + dearest(Kind::Subtitles).unwrap_or(Bitrate::ZERO)
    }

    /// Those of a kind that there are to choose beside a variant.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Rendition> {
        self.choices()
            .filter(move |rendition| rendition.kind == kind)
    }

    /// All that there is to choose beside a variant: what is only a variant itself is none of it.
    pub fn choices(&self) -> impl Iterator<Item = &Rendition> {
        self.others.iter().filter(|one| !one.is_only_alone())
    }

    /// The sound that is a variant as well, if there is one.
    pub fn alone(&self) -> Option<(&Rendition, Alone)> {
        self.others.iter().find_map(|one| Some((one, one.alone?)))
    }
}

impl Rendition {
    /// The rungs carry the same sound, so that there is nothing to choose: it is for who wants no pictures.
    pub fn is_only_alone(&self) -> bool {
        self.alone.is_some() && !self.default
    }
}

impl Closed {
    /// Those of `channel`, which has to be one that there can be.
    pub fn new(channel: &str, language: Option<&str>) -> Result<Self, String> {
        let channel = channel.to_ascii_uppercase();
        let number = |prefix: &str, most: u8| {
            let digits = channel.strip_prefix(prefix)?;
            let plain = !digits.starts_with(['0', '+']);
            digits
                .parse()
                .ok()
                .filter(|number: &u8| plain && *number <= most)
        };
        if number("CC", 4).or_else(|| number("SERVICE", 63)).is_none() {
            return Err(format!(
                "{channel:?} is neither CC1 to CC4 nor SERVICE1 to SERVICE63"
            ));
        }
        let track = Track::new(None, language, &channel);
        Ok(Self { channel, track })
    }
}

impl Track {
    /// A label fit for a quoted string of a playlist (RFC 8216bis section 4.2), never empty: what an
    /// input says of itself is nobody's promise.
    pub fn new(title: Option<&str>, language: Option<&str>, fallback: &str) -> Self {
        let language = language
            .map(str::trim)
            .filter(|tag| is_path_safe(tag) && !tag.eq_ignore_ascii_case("und"))
            .map(shortest);
        let title = title
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control() && *c != '"');
        let title = title.take(LABEL).collect::<String>().trim().to_owned();
        let label = match (title.is_empty(), &language) {
            (false, _) => title,
            (true, Some(language)) => language.clone(),
            (true, None) => fallback.to_owned(),
        };
        Self { label, language }
    }
}

impl Kind {
    /// The name of rendition `index` of this kind in URLs.
    pub fn name(self, index: usize, language: Option<&str>) -> Result<RungName, LadderError> {
        let kind = match self {
            Self::Audio => "audio",
            Self::Subtitles => "subtitles",
        };
        let name = match language {
            Some(language) => format!("{kind}-{}-{language}", index + 1),
            None => format!("{kind}-{}", index + 1),
        };
        RungName::try_from(name.chars().take(32).collect::<String>())
    }
}

/// Containers say `deu` or `ger`, RFC 5646 wants the two-letter tag where there is one
/// (section 2.2.1). These are the languages that containers mostly name; others stay as they are.
fn shortest(tag: &str) -> String {
    let tag = tag.to_ascii_lowercase();
    let short = LANGUAGES
        .iter()
        .find(|(long, _)| long.split(' ').any(|long| long == tag));
    short.map_or(tag, |(_, short)| (*short).to_owned())
}

const LABEL: usize = 64;

/// What main sound alone is called where nothing else has its name, and what a viewer calls it who wants no more, whatever its name.
pub const ALONE: &str = "audio";

/// ISO 639-2 (both of its forms) to ISO 639-1.
const LANGUAGES: &[(&str, &str)] = &[
    ("ara", "ar"),
    ("bul", "bg"),
    ("cat", "ca"),
    ("ces cze", "cs"),
    ("cym wel", "cy"),
    ("dan", "da"),
    ("deu ger", "de"),
    ("ell gre", "el"),
    ("eng", "en"),
    ("est", "et"),
    ("eus baq", "eu"),
    ("fas per", "fa"),
    ("fin", "fi"),
    ("fra fre", "fr"),
    ("gle", "ga"),
    ("heb", "he"),
    ("hin", "hi"),
    ("hrv", "hr"),
    ("hun", "hu"),
    ("hye arm", "hy"),
    ("ind", "id"),
    ("isl ice", "is"),
    ("ita", "it"),
    ("jpn", "ja"),
    ("kat geo", "ka"),
    ("kor", "ko"),
    ("lav", "lv"),
    ("lit", "lt"),
    ("mkd mac", "mk"),
    ("msa may", "ms"),
    ("nld dut", "nl"),
    ("nor", "no"),
    ("pol", "pl"),
    ("por", "pt"),
    ("ron rum", "ro"),
    ("rus", "ru"),
    ("slk slo", "sk"),
    ("slv", "sl"),
    ("spa", "es"),
    ("sqi alb", "sq"),
    ("srp", "sr"),
    ("swe", "sv"),
    ("tha", "th"),
    ("tur", "tr"),
    ("ukr", "uk"),
    ("vie", "vi"),
    ("zho chi", "zh"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_says_what_its_container_knows_and_never_breaks_a_playlist() {
        let track = Track::new(Some("Original \"\n"), Some("ger"), "1");
        assert_eq!(
            (track.label.as_str(), track.language.as_deref()),
            ("Original", Some("de"))
        );
        let unnamed = Track::new(Some(" "), Some("und"), "sound 2");
        assert_eq!(
            (unnamed.label.as_str(), unnamed.language),
            ("sound 2", None)
        );
        let strange = Track::new(None, Some("x\"y"), "sound 3");
        assert_eq!(strange.language, None);
        assert_eq!(Track::new(None, Some("gsw"), "").label, "gsw");
    }

    #[test]
    fn captions_have_a_channel_that_there_is() {
        let closed = Closed::new("cc3", Some("spa")).unwrap();
        assert_eq!(
            (closed.channel.as_str(), closed.track.language.as_deref()),
            ("CC3", Some("es"))
        );
        assert_eq!(
            Closed::new("service63", None).unwrap().track.label,
            "SERVICE63"
        );
        for wrong in ["", "CC", "CC0", "CC5", "CC01", "SERVICE64", "cc+1", "text1"] {
            assert!(Closed::new(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_fit_for_urls() {
        assert_eq!(
            Kind::Audio.name(0, Some("de")).unwrap().as_str(),
            "audio-1-de"
        );
        assert_eq!(
            Kind::Subtitles.name(1, None).unwrap().as_str(),
            "subtitles-2"
        );
    }
}
