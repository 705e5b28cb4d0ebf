//! A multivariant playlist: its variants and renditions with their lines, and whether they say what they have to.

use super::{
    finding::{Findings, Place},
    lines::{self, Attributes, Line},
    listing, rule,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Multivariant {
    pub url: String,
    pub variants: Vec<Variant>,
    pub renditions: Vec<Rendition>,
    pub independent: bool,
}

/// `EXT-X-STREAM-INF` and its URI, or `EXT-X-I-FRAME-STREAM-INF`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variant {
    pub line: usize,
    pub uri: String,
    pub i_frames: bool,
    /// Bits per second.
    pub bandwidth: Option<u64>,
    pub average: Option<u64>,
    pub codecs: Option<String>,
    pub resolution: Option<(u32, u32)>,
    pub frame_rate: Option<f64>,
    /// The groups it names: type and name.
    pub groups: Vec<(&'static str, String)>,
}

/// `EXT-X-MEDIA`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendition {
    pub line: usize,
    pub kind: String,
    pub group: String,
    pub name: String,
    pub uri: Option<String>,
    pub default: bool,
    pub language: Option<String>,
}

/// Whether `text` is a multivariant playlist: it has one of its tags, and none of a media playlist's.
pub fn is_multivariant(text: &str) -> bool {
    lines::lines(text).any(|(_, line)| {
        matches!(
            line,
            Line::Tag {
                name: "EXT-X-STREAM-INF" | "EXT-X-MEDIA" | "EXT-X-I-FRAME-STREAM-INF",
                ..
            }
        )
    })
}

impl Multivariant {
    /// Reads `text` and says what is wrong with it; `None` if it is no playlist.
    pub fn read(url: &str, text: &str, findings: &mut Findings) -> Option<Self> {
        if !listing::begins_well(url, text, findings) {
            return None;
        }
        let mut all = Self {
            url: url.to_owned(),
            ..Self::default()
        };
        let mut open: Option<Variant> = None;
        for (number, line) in lines::lines(text) {
            let place = Place::of(url).line(number);
            match line {
                Line::Tag { name, value } => {
                    let list = all.tag(name, value.unwrap_or_default(), &place, findings);
                    if name == "EXT-X-STREAM-INF"
                        && let Some(variant) = open.replace(variant(&list, number))
                    {
                        no_uri(url, variant.line, findings);
                    }
                }
                Line::Uri(uri) => match open.take() {
                    Some(mut variant) => {
                        variant.uri = uri.to_owned();
                        all.variants.push(variant);
                    }
                    None => findings.say(&rule::VARIANT, place, uri, "EXT-X-STREAM-INF before it"),
                },
                Line::Comment | Line::Blank => {}
            }
        }
        if let Some(variant) = open {
            no_uri(url, variant.line, findings);
        }
        all.check(findings);
        Some(all)
    }

    fn tag<'v>(
        &mut self,
        name: &str,
        value: &'v str,
        place: &Place,
        findings: &mut Findings,
    ) -> Attributes<'v> {
        let line = place.line.unwrap_or(0);
        if MEDIA.contains(&name) {
            let expected = "no such tag in a multivariant playlist";
            findings.say(&rule::MIXED, place.clone(), name, expected);
        }
        if name == "EXT-X-INDEPENDENT-SEGMENTS" {
            self.independent = true;
        }
        if !LISTS.contains(&name) {
            return Attributes::default();
        }
        let list = Attributes::read(value);
        for fault in &list.faults {
            findings.say(
                &rule::ATTRIBUTES,
                place.clone(),
                fault.to_string(),
                "an attribute list",
            );
        }
        match name {
            "EXT-X-MEDIA" => self.renditions.push(Rendition {
                line,
                kind: list.text("TYPE").unwrap_or_default().to_owned(),
                group: list.text("GROUP-ID").unwrap_or_default().to_owned(),
                name: list.text("NAME").unwrap_or_default().to_owned(),
                uri: list.text("URI").map(str::to_owned),
                default: list.yes("DEFAULT"),
                language: list.text("LANGUAGE").map(str::to_owned),
            }),
            "EXT-X-I-FRAME-STREAM-INF" => {
                let mut variant = variant(&list, line);
                variant.i_frames = true;
                variant.uri = list.text("URI").unwrap_or_default().to_owned();
                self.variants.push(variant);
            }
            _ => {}
        }
        list
    }

    fn check(&self, findings: &mut Findings) {
        if !self.variants.iter().any(|variant| !variant.i_frames) {
            let expected = "EXT-X-STREAM-INF and a URI";
            findings.say(&rule::NO_VARIANT, Place::of(&self.url), "none", expected);
        }
        for variant in &self.variants {
            self.variant(variant, findings);
        }
        for (index, rendition) in self.renditions.iter().enumerate() {
            self.rendition(rendition, &self.renditions[..index], findings);
        }
    }

    fn variant(&self, variant: &Variant, findings: &mut Findings) {
        let place = || Place::of(&self.url).line(variant.line);
        match variant.bandwidth {
            None | Some(0) => {
                let found = "no BANDWIDTH, or none that is a whole number";
                findings.say(&rule::VARIANT, place(), found, "BANDWIDTH in bit/s");
            }
            Some(peak) => {
                if let Some(average) = variant.average.filter(|average| *average > peak) {
                    let found = format!("AVERAGE-BANDWIDTH {average} above BANDWIDTH {peak}");
                    findings.say(
                        &rule::VARIANT,
                        place(),
                        found,
                        "the peak is not below the average",
                    );
                }
            }
        }
        if variant.uri.is_empty() {
            findings.say(&rule::VARIANT, place(), "no URI", "a URI");
        }
        for (kind, group) in &variant.groups {
            let known =
                |rendition: &Rendition| rendition.kind == *kind && rendition.group == *group;
            // CLOSED-CAPTIONS=NONE names no group.
            if !(self.renditions.iter().any(known) || *kind == "CLOSED-CAPTIONS" && group == "NONE")
            {
                let found = format!("{kind}={group:?}, which no EXT-X-MEDIA has");
                findings.say(&rule::GROUP, place(), found, "a group that is there");
            }
        }
        let missing = [
            ("CODECS", variant.codecs.is_none()),
            ("AVERAGE-BANDWIDTH", variant.average.is_none()),
            (
                "RESOLUTION",
                variant.resolution.is_none() && !variant.is_sound(),
            ),
            (
                "FRAME-RATE",
                variant.frame_rate.is_none() && !variant.is_sound() && !variant.i_frames,
            ),
        ];
        for (name, _) in missing.iter().filter(|(_, missing)| *missing) {
            findings.say(
                &rule::VARIANT_ADVICE,
                place(),
                format!("no {name}"),
                name.to_string(),
            );
        }
    }

    fn rendition(&self, rendition: &Rendition, before: &[Rendition], findings: &mut Findings) {
        let place = || Place::of(&self.url).line(rendition.line);
        for (name, value) in [("GROUP-ID", &rendition.group), ("NAME", &rendition.name)] {
            if value.is_empty() {
                findings.say(
                    &rule::VARIANT,
                    place(),
                    format!("EXT-X-MEDIA without {name}"),
                    name,
                );
            }
        }
        match rendition.kind.as_str() {
            "AUDIO" | "VIDEO" => {}
            "SUBTITLES" if rendition.uri.is_none() => {
                findings.say(&rule::VARIANT, place(), "SUBTITLES without URI", "URI");
            }
            "SUBTITLES" => {}
            "CLOSED-CAPTIONS" if rendition.uri.is_some() => {
                findings.say(
                    &rule::VARIANT,
                    place(),
                    "CLOSED-CAPTIONS with URI",
                    "no URI",
                );
            }
            "CLOSED-CAPTIONS" => {}
            other => {
                let expected = "AUDIO, VIDEO, SUBTITLES or CLOSED-CAPTIONS";
                findings.say(&rule::VARIANT, place(), format!("TYPE {other:?}"), expected);
            }
        }
        let mut others = before
            .iter()
            .filter(|other| other.kind == rendition.kind && other.group == rendition.group);
        if others.clone().any(|other| other.name == rendition.name) {
            let found = format!("another {:?} in {:?}", rendition.name, rendition.group);
            findings.say(&rule::GROUP, place(), found, "a NAME of its own");
        }
        if rendition.default && others.any(|other| other.default) {
            let found = format!("another DEFAULT=YES in {:?}", rendition.group);
            findings.say(&rule::GROUP, place(), found, "one default in a group");
        }
    }
}

impl Variant {
    /// It has no picture, as far as CODECS says.
    pub fn is_sound(&self) -> bool {
        let sound = |codec: &str| {
            let kind = codec
                .trim()
                .split('.')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            [
                "mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "fLaC", "alac", "wvtt", "stpp",
            ]
            .contains(&kind.as_str())
        };
        self.codecs
            .as_ref()
            .is_some_and(|codecs| codecs.split(',').all(sound))
    }
}

fn no_uri(url: &str, line: usize, findings: &mut Findings) {
    let place = Place::of(url).line(line);
    findings.say(
        &rule::VARIANT,
        place,
        "EXT-X-STREAM-INF without a URI",
        "a URI in the next line",
    );
}

fn variant(list: &Attributes<'_>, line: usize) -> Variant {
    let size = list.text("RESOLUTION").and_then(|text| {
        let (width, height) = text.split_once('x')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    });
    let groups = ["AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"];
    let groups = groups
        .into_iter()
        .filter_map(|kind| Some((kind, list.text(kind)?.to_owned())));
    Variant {
        line,
        uri: String::new(),
        i_frames: false,
        bandwidth: list.integer("BANDWIDTH"),
        average: list.integer("AVERAGE-BANDWIDTH"),
        codecs: list.text("CODECS").map(str::to_owned),
        resolution: size,
        frame_rate: list.decimal("FRAME-RATE"),
        groups: groups.collect(),
    }
}

const LISTS: &[&str] = &[
    "EXT-X-MEDIA",
    "EXT-X-STREAM-INF",
    "EXT-X-I-FRAME-STREAM-INF",
    "EXT-X-SESSION-DATA",
    "EXT-X-SESSION-KEY",
    "EXT-X-CONTENT-STEERING",
];

/// Tags of media playlists (sections 4.4.3 to 4.4.5).
const MEDIA: &[&str] = &[
    "EXTINF",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-I-FRAMES-ONLY",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-BYTERANGE",
    "EXT-X-DISCONTINUITY",
    "EXT-X-KEY",
    "EXT-X-MAP",
    "EXT-X-PROGRAM-DATE-TIME",
    "EXT-X-GAP",
    "EXT-X-PART",
    "EXT-X-SKIP",
    "EXT-X-PRELOAD-HINT",
    "EXT-X-RENDITION-REPORT",
];
