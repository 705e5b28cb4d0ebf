//! What the segmenter says on its stdout: frames, each `length: u32 | kind: u8 | body`, big-endian,
//! `length` counting kind and body. The first frame is `Hello`, whose version both sides must share.
//!
//! Sans-IO: `encode` appends to a buffer, `decode` takes whole frames off one, and media bytes are
//! split off without a copy. Reading and writing pipes is the caller's business.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use playlists::{
    Closed, Ladder, MediaTime, Renditions, WallTime,
    daterange::Value,
    still::{Coding, Still},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Raised whenever a frame changes shape; both programs come from one build, so there is no older peer to please.
pub const VERSION: u16 = 6;

/// No part is near this; a longer frame is a broken pipe or a foreign program, not media.
pub const MAX_FRAME: usize = 64 << 20;

#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// First, once: what will come.
    Hello(Hello),
    /// Before the first part: the one init segment (`ftyp`, `moov`) of every rung, then one for each rendition,
    /// in their order; that of subtitles is empty.
    Init(Bytes),
    /// One rung's or one rendition's share of one part. All shares of a part come together, cheapest rung first,
    /// renditions last.
    Part(Part),
    /// A picture of a segment, before the last part of it. There may be none: pictures hold nobody up.
    Still {
        /// Counted as in `Part`.
        segment: u64,
        still: Still,
    },
    /// Which captions the pictures carry, as soon as that is known, and again when there are more.
    Captions(Vec<Closed>),
    /// Something is said of a moment or a span, before the part at which it is to be told.
    Mark(Mark),
    /// What the source's own clock says, if it has one: before the first part that it is known at, and then again and again.
    Clock(Clock),
    /// About once a second: how encoding goes.
    Health(Health),
    /// Last, when the input ended or failed; the only one if it could not be opened. A pipe that closes without it is a crash.
    End(End),
}

/// What the segmenter is going to make.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Hello {
    pub version: u16,
    pub ladder: Ladder,
    pub renditions: Renditions,
    /// Length of every segment but a shortened last one; where they follow the key frames of a source, about that.
    pub segment: MediaTime,
    /// How short a segment is at most, but where a source is lost: numbers that follow the clock must not fall behind.
    pub shortest: MediaTime,
    /// Length of every part but a segment's last one, which may be shorter.
    pub part: MediaTime,
    /// What was opened, for the log: container, codecs, size, rate.
    pub input: String,
    /// What the next run has to be given (`--like`) to make the same kind of stream before its input is there.
    pub likeness: String,
}

/// One CMAF fragment (`moof`, `mdat`) of one rung or of sound; or, with the last part of a segment, its WebVTT.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Index into `Hello::ladder`; from the ladder's length on, into `Hello::renditions`.
    pub rung: u8,
    /// Counted from 0 in each run of the segmenter.
    pub segment: u64,
    /// Counted from 0 in each segment.
    pub index: u16,
    /// Starts with an IDR frame.
    pub independent: bool,
    /// The segment is complete with this part.
    pub last: bool,
    /// Presentation time of its first video frame, on the timeline of `tfdt`.
    pub start: MediaTime,
    pub duration: MediaTime,
    pub media: Bytes,
}

/// What is said of a moment or a span: a break, timed metadata. Times are those of `Part::start`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Mark {
    /// The same in all that is said of one span.
    pub id: String,
    pub class: Option<String>,
    /// It may be yet to come.
    pub start: MediaTime,
    pub end: Option<MediaTime>,
    pub duration: Option<MediaTime>,
    /// How long it is expected to be.
    pub planned: Option<MediaTime>,
    pub others: Vec<(String, Value)>,
}

/// At media time `at`, which is that of `Part::start`, it was `utc`, by the source's own word.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Clock {
    pub at: MediaTime,
    pub utc: WallTime,
}

/// How encoding and the inputs go, over the time since the last report.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Health {
    /// Media seconds made per second of wall clock; below 1.0 the segmenter is falling behind.
    pub speed: f64,
    /// Frames per second out of the ladder.
    pub fps: f64,
    /// Media time made less wall time since the start; negative: behind real time.
    pub lead_ms: i64,
    /// How much less that is than it was at its best of late: the time that waits to be made up for.
    pub lag_ms: u64,
    /// Input frames dropped or repeated to hold the constant frame rate, since the start.
    pub dropped: u64,
    pub repeated: u64,
    /// Segments without pictures because there was no time to make them, since the start.
    pub unpictured: u64,
    pub on_air: OnAir,
    pub main: InputHealth,
    /// `None` if no backup is wanted.
    pub backup: Option<InputHealth>,
    /// So many rungs, the dearest, are not encoded: each has the octets of the dearest one that is.
    pub rungs_dropped: u8,
    /// What somebody should know, each once, in the order of their names.
    pub alerts: Vec<Alert>,
}

/// Whose pictures go out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OnAir {
    #[default]
    Main,
    Backup,
    Slate,
}

/// How an input goes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct InputHealth {
    pub state: InputState,
    /// Pictures a second.
    pub fps: f64,
    /// All that comes, sound and container's overhead included; 0 for what has no octets, such as a filter graph.
    pub kbps: f64,
    /// From one key frame to the next; longer, if the next is overdue. `None` where there are none, or only one yet.
    pub keyframe_s: Option<f64>,
    /// How often it was opened.
    pub opened: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum InputState {
    /// Not open, or open and without a picture yet.
    #[default]
    Opening,
    Live,
    /// Open, and its next picture is long overdue.
    Stalled,
    /// It failed, and is opened again.
    Failed,
    /// It ended, and is opened again if it is a feed.
    Ended,
}

/// Conditions that an operator may want to be woken by.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Alert {
    /// There is a backup, and it gives no pictures.
    BackupLost,
    /// Encoding is slower than real time; see `rungs_dropped` for what is done about it.
    EncoderOverloaded,
    /// The input on the air has key frames so far apart that it comes back late after every loss.
    InputKeyframesSparse,
    /// The main input has failed or ended.
    InputLost,
    /// The main input is open and gives no pictures.
    InputStalled,
    OnBackup,
    OnSlate,
    /// The input on the air has sound, and it has stopped.
    SoundMissing,
}

impl Alert {
    pub const ALL: [Self; 8] = [
        Self::BackupLost,
        Self::EncoderOverloaded,
        Self::InputKeyframesSparse,
        Self::InputLost,
        Self::InputStalled,
        Self::OnBackup,
        Self::OnSlate,
        Self::SoundMissing,
    ];

    /// As it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Self::BackupLost => "backup-lost",
            Self::EncoderOverloaded => "encoder-overloaded",
            Self::InputKeyframesSparse => "input-keyframes-sparse",
            Self::InputLost => "input-lost",
            Self::InputStalled => "input-stalled",
            Self::OnBackup => "on-backup",
            Self::OnSlate => "on-slate",
            Self::SoundMissing => "sound-missing",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct End {
    /// `None`: the input came to its end. Otherwise what failed, as one line.
    pub error: Option<String>,
    /// The same input would fail the same way again (no such file, no video in it): do not restart.
    pub fatal: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("frame of {length} octets; at most {MAX_FRAME} are allowed")]
    Length { length: usize },
    #[error("unknown frame kind {kind}")]
    Kind { kind: u8 },
    #[error("{what} frame of {length} octets is too short")]
    Short { what: &'static str, length: usize },
    #[error("{what} frame is not readable: {why}")]
    Json {
        what: &'static str,
        why: serde_json::Error,
    },
    #[error(
        "the segmenter speaks wire version {found}, this program {VERSION}; both must come from one build"
    )]
    Version { found: u16 },
}

impl Frame {
    /// Appends this frame to `out`.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), WireError> {
        let media = self.encode_head(out)?;
        out.put_slice(&media);
        Ok(())
    }

    /// Appends this frame to `out`, but for the media of a part, which follows it: so that it need not be copied.
    pub fn encode_head(&self, out: &mut BytesMut) -> Result<Bytes, WireError> {
        let start = out.len();
        out.put_u32(0);
        let mut media = Bytes::new();
        match self {
            Self::Hello(hello) => json(out, HELLO, "hello", hello)?,
            Self::Init(media) => {
                out.put_u8(INIT);
                out.put_slice(media);
            }
            Self::Part(part) => {
                part.encode_head(out);
                media = part.media.clone();
            }
            Self::Still { segment, still } => put_still(out, *segment, still),
            Self::Captions(closed) => json(out, CAPTIONS, "captions", closed)?,
            Self::Mark(mark) => json(out, MARK, "mark", mark)?,
            Self::Clock(clock) => json(out, CLOCK, "clock", clock)?,
            Self::Health(health) => json(out, HEALTH, "health", health)?,
            Self::End(end) => json(out, END, "end", end)?,
        }
        let length = out.len() - start - LENGTH + media.len();
        if length > MAX_FRAME {
            out.truncate(start);
            return Err(WireError::Length { length });
        }
        out[start..start + LENGTH].copy_from_slice(&(length as u32).to_be_bytes());
        Ok(media)
    }

    /// Takes the first whole frame off `input`; `None` when more octets are needed.
    pub fn decode(input: &mut BytesMut) -> Result<Option<Self>, WireError> {
        let Some(head) = input.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(WireError::Length { length });
        }
        if input.len() < LENGTH + length {
            input.reserve(LENGTH + length - input.len());
            return Ok(None);
        }
        input.advance(LENGTH);
        let mut body = input.split_to(length).freeze();
        match body.get_u8() {
            HELLO => {
                let hello: Hello = from_json("hello", &body)?;
                if hello.version != VERSION {
                    return Err(WireError::Version {
                        found: hello.version,
                    });
                }
                Ok(Self::Hello(hello))
            }
            // This and stills are kept for longer than what came in the same buffer.
            INIT => Ok(Self::Init(Bytes::copy_from_slice(&body))),
            PART => Part::decode(body).map(Self::Part),
            STILL => take_still(body),
            CAPTIONS => from_json("captions", &body).map(Self::Captions),
            MARK => from_json("mark", &body).map(Self::Mark),
            CLOCK => from_json("clock", &body).map(Self::Clock),
            HEALTH => from_json("health", &body).map(Self::Health),
            END => from_json("end", &body).map(Self::End),
            kind => Err(WireError::Kind { kind }),
        }
        .map(Some)
    }
}

impl Hello {
    /// How many shares a part has.
    pub fn shares(&self) -> usize {
        self.ladder.rungs().len() + self.renditions.others.len()
    }
}

impl Part {
    fn encode_head(&self, out: &mut BytesMut) {
        out.put_u8(PART);
        out.put_u8(self.rung);
        out.put_u8(u8::from(self.independent) | u8::from(self.last) << 1);
        out.put_u16(self.index);
        out.put_u64(self.segment);
        out.put_i64(self.start.flicks());
        out.put_i64(self.duration.flicks());
    }

    fn decode(mut body: Bytes) -> Result<Self, WireError> {
        if body.len() < PART_HEAD {
            return Err(WireError::Short {
                what: "part",
                length: body.len(),
            });
        }
        let (rung, flags) = (body.get_u8(), body.get_u8());
        Ok(Self {
            rung,
            independent: flags & 1 != 0,
            last: flags & 2 != 0,
            index: body.get_u16(),
            segment: body.get_u64(),
            start: MediaTime::from_flicks(body.get_i64()),
            duration: MediaTime::from_flicks(body.get_i64()),
            media: body,
        })
    }
}

fn put_still(out: &mut BytesMut, segment: u64, still: &Still) {
    out.put_u8(STILL);
    out.put_u64(segment);
    let webp = still.coding == Coding::Webp;
    out.put_u8(u8::from(still.tile) | u8::from(webp) << 1);
    out.put_u16(still.width);
    out.put_u16(still.height);
    out.put_slice(&still.media);
}

fn take_still(mut body: Bytes) -> Result<Frame, WireError> {
    if body.len() < STILL_HEAD {
        return Err(WireError::Short {
            what: "still",
            length: body.len(),
        });
    }
    let (segment, flags) = (body.get_u64(), body.get_u8());
    let coding = match flags & 2 {
        0 => Coding::Jpeg,
        _ => Coding::Webp,
    };
    Ok(Frame::Still {
        segment,
        still: Still {
            tile: flags & 1 != 0,
            coding,
            width: body.get_u16(),
            height: body.get_u16(),
            media: Bytes::copy_from_slice(&body),
        },
    })
}

fn json(
    out: &mut BytesMut,
    kind: u8,
    what: &'static str,
    body: &impl Serialize,
) -> Result<(), WireError> {
    out.put_u8(kind);
    serde_json::to_writer(out.writer(), body).map_err(|why| WireError::Json { what, why })
}

fn from_json<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(body).map_err(|why| WireError::Json { what, why })
}

const LENGTH: usize = 4;
const PART_HEAD: usize = 1 + 1 + 2 + 8 + 8 + 8;
const STILL_HEAD: usize = 8 + 1 + 2 + 2;
const HELLO: u8 = 1;
const INIT: u8 = 2;
const PART: u8 = 3;
const HEALTH: u8 = 4;
const END: u8 = 5;
const STILL: u8 = 6;
const CAPTIONS: u8 = 7;
const MARK: u8 = 8;
const CLOCK: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_pipe_whatever_the_reads() {
        let part = Frame::Part(Part {
            rung: 2,
            segment: 7,
            index: 3,
            independent: true,
            last: false,
            start: MediaTime::from_ticks(64, 30),
            duration: MediaTime::from_ticks(16, 30),
            media: Bytes::from_static(b"moofmdat"),
        });
        let end = Frame::End(End {
            error: Some("no such file".into()),
            fatal: true,
        });
        let still = Frame::Still {
            segment: 7,
            still: Still {
                tile: true,
                coding: Coding::Webp,
                width: 160,
                height: 90,
                media: Bytes::from_static(b"RIFF"),
            },
        };
        let mut pipe = BytesMut::new();
        part.encode(&mut pipe).unwrap();
        still.encode(&mut pipe).unwrap();
        end.encode(&mut pipe).unwrap();

        let (mut input, mut seen) = (BytesMut::new(), Vec::new());
        for octet in pipe {
            input.put_u8(octet);
            seen.extend(Frame::decode(&mut input).unwrap());
        }
        assert_eq!(seen, [part, still, end]);
    }

    #[test]
    fn an_alert_is_written_by_its_name_and_all_are_in_order() {
        for alert in Alert::ALL {
            let written = serde_json::to_value(alert).unwrap();
            assert_eq!(written, alert.name());
        }
        assert!(Alert::ALL.is_sorted());
    }

    #[test]
    fn garbage_is_named_and_allocates_nothing() {
        let mut huge = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 1][..]);
        assert!(matches!(
            Frame::decode(&mut huge),
            Err(WireError::Length { .. })
        ));
        let mut unknown = BytesMut::from(&[0, 0, 0, 1, 99][..]);
        assert!(matches!(
            Frame::decode(&mut unknown),
            Err(WireError::Kind { kind: 99 })
        ));
        let mut short = BytesMut::from(&[0, 0, 0, 2, PART, 0][..]);
        assert!(matches!(
            Frame::decode(&mut short),
            Err(WireError::Short { .. })
        ));
    }
}
