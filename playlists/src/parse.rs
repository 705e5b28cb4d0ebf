//! HLS text as values: what a relay or a player needs to follow somebody's stream.
//!
//! Lenient about what it does not use, strict about what it does: a playlist that would lead
//! its reader astray is an error that names the rule. Multivariant playlists are read by
//! `m3u8_rs`; media playlists, and what is said of content steering, by `quick_m3u8`, which knows parts and pathways.

use m3u8_rs::{AlternativeMediaType, ClosedCaptionGroupId, MasterPlaylist};
use quick_m3u8::{
    HlsLine, Reader,
    config::{ParsingOptions, ParsingOptionsBuilder},
    tag::{KnownTag, hls},
};

use crate::{
    daterange::{self, DateRange},
    ladder::LadderError,
    rendition::{Closed, Kind, Track},
    time::{Bitrate, MediaTime, WallTime},
};

/// A variant of a multivariant playlist (`EXT-X-STREAM-INF`).
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub uri: String,
    pub bandwidth: Bitrate,
    pub average: Option<Bitrate>,
    pub codecs: Option<String>,
    pub resolution: Option<(u32, u32)>,
    pub frame_rate: Option<f64>,
    pub score: Option<f32>,
}

impl Variant {
    /// It has no pictures.
    pub fn is_sound(&self) -> bool {
        let codecs = self.codecs.iter().flat_map(|codecs| codecs.split(','));
        let mut codecs = codecs.map(str::trim).peekable();
        let named = codecs.peek().is_some();
        self.resolution.is_none() && named && codecs.all(|codec| codec.starts_with("mp4a."))
    }
}

/// Sound or subtitles beside the variants (`EXT-X-MEDIA`).
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    pub kind: Kind,
    pub track: Track,
    pub default: bool,
    /// Absent for the sound that the variants carry.
    pub uri: Option<String>,
}

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaPlaylist {
    /// Seconds.
    pub target_duration: u64,
    pub part_target: Option<MediaTime>,
    pub can_block_reload: bool,
    /// How far behind the end a delta update begins (`CAN-SKIP-UNTIL`), if there are any.
    pub skip_until: Option<MediaTime>,
    /// How far behind the end to play by parts (`PART-HOLD-BACK`).
    pub part_hold_back: Option<MediaTime>,
    /// Segments left out at the beginning of a delta update. Discontinuities among them are not
    /// counted in `timeline`.
    pub skipped: u64,
    /// The part that comes next (`EXT-X-PRELOAD-HINT`).
    pub hint: Option<String>,
    pub ended: bool,
    /// Consecutive; the last may be open, which is to have no `uri` yet.
    pub segments: Vec<ListedSegment>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListedSegment {
    pub number: u64,
    /// Discontinuity sequence number.
    pub timeline: u64,
    pub discontinuity: bool,
    pub date_time: Option<WallTime>,
    pub map: Option<String>,
    pub parts: Vec<ListedPart>,
    /// What is told here of spans.
    pub ranges: Vec<DateRange>,
    /// Absent while the segment is open.
    pub uri: Option<String>,
    pub duration: MediaTime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListedPart {
    pub uri: String,
    pub duration: MediaTime,
    pub independent: bool,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParseError {
    #[error("not a playlist: it does not start with #EXTM3U")]
    NotAPlaylist,
    #[error("a media playlist where a multivariant one is expected")]
    NotMultivariant,
    #[error("a multivariant playlist where a media playlist is expected")]
    NotMedia,
    #[error("line {line}: {why}")]
    Line { line: usize, why: String },
    #[error("no {tag}, which every media playlist has")]
    Missing { tag: &'static str },
    #[error("{tag} is not supported")]
    Unsupported { tag: &'static str },
    #[error("{tag} after what it counts; it stands before the first segment")]
    Late { tag: &'static str },
    #[error("{0}")]
    Ladder(#[from] LadderError),
}

/// Reads a multivariant playlist's variants.
pub fn multivariant(text: &str) -> Result<Vec<Variant>, ParseError> {
    let variants = main_playlist(text)?.variants.into_iter();
    let variants = variants
        .filter(|variant| !variant.is_i_frame)
        .map(|variant| Variant {
            uri: variant.uri,
            bandwidth: Bitrate::from_bps(variant.bandwidth),
            average: variant.average_bandwidth.map(Bitrate::from_bps),
            codecs: variant.codecs,
            resolution: variant
                .resolution
                .map(|size| (size.width as u32, size.height as u32)),
            frame_rate: variant.frame_rate,
            score: variant
                .other_attributes
                .and_then(|others| others.get("SCORE")?.as_unquoted()?.parse().ok())
                .filter(|score: &f32| score.is_finite() && *score > 0.0),
        });
    Ok(variants.collect())
}

/// Reads what a multivariant playlist has beside its variants.
pub fn alternatives(text: &str) -> Result<Vec<Alternative>, ParseError> {
    let alternatives = main_playlist(text)?.alternatives.into_iter();
    let alternatives = alternatives.filter_map(|media| {
        let kind = match media.media_type {
            AlternativeMediaType::Audio => Kind::Audio,
            AlternativeMediaType::Subtitles => Kind::Subtitles,
            _ => return None,
        };
        Some(Alternative {
            kind,
            track: Track {
                label: media.name,
                language: media.language,
            },
            default: media.default,
            uri: media.uri,
        })
    });
    Ok(alternatives.collect())
}

/// Reads what it says of captions in the pictures; `None` if it does not say.
pub fn closed(text: &str) -> Result<Option<Vec<Closed>>, ParseError> {
    let playlist = main_playlist(text)?;
    let captions = playlist.alternatives.into_iter().filter_map(|media| {
        let captions = media.media_type == AlternativeMediaType::ClosedCaptions;
        let closed =
            Closed::new(&media.instream_id.filter(|_| captions)?.to_string(), None).ok()?;
        let track = Track {
            label: media.name,
            language: media.language,
        };
        Some(Closed { track, ..closed })
    });
    let captions: Vec<_> = captions.collect();
    let none = playlist
        .variants
        .iter()
        .any(|variant| variant.closed_captions == Some(ClosedCaptionGroupId::None));
    Ok((none || !captions.is_empty()).then_some(captions))
}

/// Where players that honour content steering are told where to go on (`EXT-X-CONTENT-STEERING`), and what they may choose from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Steering {
    pub server: String,
    /// Each pathway with its first variant; the one to begin with comes first.
    pub pathways: Vec<(String, String)>,
}

/// Reads what a multivariant playlist says of content steering, if it does.
pub fn steering(text: &str) -> Result<Option<Steering>, ParseError> {
    if !text.contains("#EXT-X-CONTENT-STEERING") {
        return Ok(None);
    }
    let options = ParsingOptionsBuilder::new()
        .with_parsing_for_all_tags()
        .build();
    let (mut server, mut first) = (None, None);
    let (mut way, mut pathways) = (None, Vec::<(String, String)>::new());
    each_line(text, options, |_, line| {
        match line {
            HlsLine::KnownTag(KnownTag::Hls(hls::Tag::ContentSteering(tag))) => {
                server = Some(tag.server_uri().to_owned());
                first = tag.pathway_id().map(str::to_owned);
            }
            HlsLine::KnownTag(KnownTag::Hls(hls::Tag::StreamInf(tag))) => {
                // What names none is on the one that is called so (RFC 8216bis section 4.4.6.2).
                way = Some(tag.pathway_id().unwrap_or(".").to_owned());
            }
            HlsLine::Uri(uri) => {
                if let Some(way) = way.take()
                    && pathways.iter().all(|(known, _)| *known != way)
                {
                    pathways.push((way, uri.to_string()));
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    if let Some(at) = pathways
        .iter()
        .position(|(id, _)| Some(id) == first.as_ref())
    {
        pathways[..=at].rotate_right(1);
    }
    Ok(server.map(|server| Steering { server, pathways }))
}

fn main_playlist(text: &str) -> Result<MasterPlaylist, ParseError> {
    if !text.starts_with("#EXTM3U") {
        return Err(ParseError::NotAPlaylist);
    }
    if !m3u8_rs::is_master_playlist(text.as_bytes()) {
        return Err(ParseError::NotMultivariant);
    }
    m3u8_rs::parse_master_playlist_res(text.as_bytes()).map_err(|error| ParseError::Line {
        line: 0,
        why: error.to_string(),
    })
}

/// Reads a media playlist.
pub fn media(text: &str) -> Result<MediaPlaylist, ParseError> {
    if !text.starts_with("#EXTM3U") {
        return Err(ParseError::NotAPlaylist);
    }
    let options = ParsingOptionsBuilder::new()
        .with_parsing_for_all_tags()
        .without_parsing_for_daterange()
        .build();
    let mut state = State::default();
    each_line(text, options, |number, line| {
        match line {
            HlsLine::KnownTag(KnownTag::Hls(tag)) => state.tag(tag)?,
            HlsLine::Uri(uri) => state.uri(number, &uri)?,
            HlsLine::UnknownTag(tag) if tag.name() == "-X-DATERANGE" => {
                let value = tag.value().and_then(|value| str::from_utf8(value.0).ok());
                let range = value.and_then(daterange::read);
                // One that cannot be read tells nobody anything.
                state.next.ranges.extend(range);
            }
            _ => {}
        }
        Ok(())
    })?;
    state.finish()
}

/// Gives each line to `take`, with its number from 1 on.
fn each_line<'a>(
    text: &'a str,
    options: ParsingOptions,
    mut take: impl FnMut(usize, HlsLine<'a>) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    let mut reader = Reader::from_str(text, options);
    for number in 1.. {
        let line = reader.read_line().map_err(|error| ParseError::Line {
            line: number,
            why: error.to_string(),
        })?;
        let Some(line) = line else { break };
        take(number, line)?;
    }
    Ok(())
}

/// What was read so far, and the segment that the next URI line completes.
#[derive(Default)]
struct State {
    playlist: MediaPlaylist,
    has_target: bool,
    next: ListedSegment,
    has_duration: bool,
}

impl State {
    fn tag(&mut self, tag: hls::Tag<'_>) -> Result<(), ParseError> {
        use hls::Tag;
        match tag {
            Tag::Targetduration(tag) => {
                self.playlist.target_duration = tag.target_duration();
                self.has_target = true;
            }
            Tag::PartInf(tag) => {
                self.playlist.part_target = Some(MediaTime::from_seconds(tag.part_target()))
            }
            Tag::ServerControl(tag) => {
                self.playlist.can_block_reload = tag.can_block_reload();
                self.playlist.skip_until = tag.can_skip_until().map(seconds);
                self.playlist.part_hold_back = tag.part_hold_back().map(seconds);
            }
            Tag::PreloadHint(tag)
                if tag.hint_type() == hls::EnumeratedString::Known(hls::PreloadHintType::Part) =>
            {
                self.playlist.hint = Some(tag.uri().to_owned());
            }
            Tag::MediaSequence(tag) => {
                self.before_segments("EXT-X-MEDIA-SEQUENCE")?;
                self.next.number = tag.media_sequence();
            }
            Tag::DiscontinuitySequence(tag) => {
                self.before_segments("EXT-X-DISCONTINUITY-SEQUENCE")?;
                self.next.timeline = tag.discontinuity_sequence();
            }
            Tag::Discontinuity(_) => {
                self.next.discontinuity = true;
                self.next.timeline = self.next.timeline.saturating_add(1);
            }
            Tag::ProgramDateTime(tag) => {
                self.next.date_time = Some(WallTime::from_millis(
                    tag.program_date_time().timestamp_millis(),
                ));
            }
            Tag::Key(tag) if tag.method() != hls::EnumeratedString::Known(hls::Method::None) => {
                return Err(ParseError::Unsupported {
                    tag: "EXT-X-KEY (encrypted media)",
                });
            }
            Tag::Map(tag) => self.next.map = Some(tag.uri().to_owned()),
            Tag::Inf(tag) => {
                self.next.duration = seconds(tag.duration());
                self.has_duration = true;
            }
            Tag::Part(tag) => self.next.parts.push(ListedPart {
                uri: tag.uri().to_owned(),
                duration: seconds(tag.duration()),
                independent: tag.independent(),
            }),
            Tag::Endlist(_) => self.playlist.ended = true,
            Tag::StreamInf(_) => return Err(ParseError::NotMedia),
            Tag::Byterange(_) => {
                return Err(ParseError::Unsupported {
                    tag: "EXT-X-BYTERANGE",
                });
            }
            Tag::Skip(tag) => {
                self.playlist.skipped = tag.skipped_segments();
                self.next.number = self.next.number.saturating_add(self.playlist.skipped);
            }
            _ => {}
        }
        Ok(())
    }

    /// What numbers the segments comes before them (RFC 8216bis sections 4.4.3.2 and 4.4.3.3), or
    /// they would not be consecutive.
    fn before_segments(&self, tag: &'static str) -> Result<(), ParseError> {
        if self.playlist.segments.is_empty() && !self.next.discontinuity {
            Ok(())
        } else {
            Err(ParseError::Late { tag })
        }
    }

    fn uri(&mut self, line: usize, uri: &str) -> Result<(), ParseError> {
        if !self.has_duration {
            return Err(ParseError::Line {
                line,
                why: format!("{uri:?} has no EXTINF"),
            });
        }
        self.has_duration = false;
        let following = ListedSegment {
            number: self.next.number.saturating_add(1),
            timeline: self.next.timeline,
            map: self.next.map.clone(),
            ..Default::default()
        };
        let mut segment = std::mem::replace(&mut self.next, following);
        segment.uri = Some(uri.to_owned());
        self.playlist.segments.push(segment);
        Ok(())
    }

    fn finish(mut self) -> Result<MediaPlaylist, ParseError> {
        if !self.has_target {
            return Err(ParseError::Missing {
                tag: "EXT-X-TARGETDURATION",
            });
        }
        if !self.next.parts.is_empty() {
            self.next.duration = self.next.parts.iter().map(|part| part.duration).sum();
            self.playlist.segments.push(self.next);
        }
        Ok(self.playlist)
    }
}

/// A length read from text: never negative, never absurd.
fn seconds(seconds: f64) -> MediaTime {
    MediaTime::from_seconds(if seconds.is_finite() {
        seconds.clamp(0.0, 86_400.0)
    } else {
        0.0
    })
}
