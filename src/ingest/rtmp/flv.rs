//! FLV out of RTMP's messages: the tags that libav reads, what every reader has to see first, and where it may
//! begin. Looks at the first octets of media only, and decodes none.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::amf::Value;
use crate::ingest::feed::Piece;

/// What is known of a publisher's media so far.
#[derive(Debug, Default)]
pub struct Muxer {
    metadata: Option<Bytes>,
    video: Option<Bytes>,
    audio: Option<Bytes>,
    /// What it says of itself.
    pub said: Said,
}

/// For the log: what a publisher announces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub encoder: Option<String>,
    video: Option<String>,
    audio: Option<String>,
    width: Option<f64>,
    height: Option<f64>,
    rate: Option<f64>,
    video_kbps: Option<f64>,
    audio_kbps: Option<f64>,
    sample_rate: Option<f64>,
    channels: Option<f64>,
}

/// A codec that libav's FLV does not know.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} is not supported over RTMP; publish H.264 and AAC")]
pub struct Unsupported(String);

impl Muxer {
    pub fn metadata(&mut self, values: &Value, octets: &Bytes) {
        self.said.metadata(values);
        self.metadata = Some(tag(SCRIPT, 0, octets));
    }

    /// A piece of video; `None` if there is nothing in it to show.
    pub fn video(&mut self, timestamp: u32, octets: &Bytes) -> Result<Option<Piece>, Unsupported> {
        let [first, kind, ..] = octets[..] else {
            return Ok(None);
        };
        if first & EXTENDED != 0 {
            return Err(Unsupported(four_cc(octets)));
        }
        let codec = first & 0x0f;
        let name = match codec {
            2 => "H.263",
            4 | 5 => "VP6",
            AVC => "H.264",
            12 => return Err(Unsupported("H.265".into())),
            codec => return Err(Unsupported(format!("video codec {codec}"))),
        };
        let media = tag(VIDEO, timestamp, octets);
        if codec == AVC && kind == 0 {
            self.said.video = Some(avc(octets));
            self.video = Some(media.clone());
        } else if self.said.video.is_none() {
            self.said.video = Some(name.into());
        }
        // A codec's configuration is no picture to begin with.
        let begins = first >> 4 == KEY && (codec != AVC || kind == 1);
        Ok(Some(Piece { media, begins }))
    }

    pub fn audio(&mut self, timestamp: u32, octets: &Bytes) -> Result<Option<Piece>, Unsupported> {
        let [first, kind, ..] = octets[..] else {
            return Ok(None);
        };
        let name = match first >> 4 {
            0 | 3 => "PCM",
            1 => "ADPCM",
            2 | 14 => "MP3",
            4..=6 => "Nellymoser",
            7 | 8 => "G.711",
            AAC => "AAC",
            11 => "Speex",
            9 => {
                return Err(Unsupported(four_cc(octets)));
            }
            codec => return Err(Unsupported(format!("audio codec {codec}"))),
        };
        let media = tag(AUDIO, timestamp, octets);
        if first >> 4 == AAC && kind == 0 {
            self.audio = Some(media.clone());
        }
        self.said.audio.get_or_insert_with(|| name.into());
        Ok(Some(Piece {
            media,
            begins: false,
        }))
    }

    /// What comes first for whoever begins to read: the header, and all that later tags rely on.
    pub fn prologue(&self) -> Bytes {
        // libav waits for what is announced here, and is done with probing when it has come.
        let sound = if self.said.audio.is_some() || self.said.sample_rate.is_some() {
            4
        } else {
            0
        };
        let mut out = BytesMut::from(&[b'F', b'L', b'V', 1, 1 | sound, 0, 0, 0, 9, 0, 0, 0, 0][..]);
        let known = [&self.metadata, &self.video, &self.audio];
        known
            .into_iter()
            .flatten()
            .for_each(|tag| out.put_slice(tag));
        out.freeze()
    }
}

impl Said {
    fn metadata(&mut self, values: &Value) {
        let number = |name| {
            values
                .get(name)
                .and_then(Value::number)
                .filter(|number| *number > 0.0)
        };
        let encoder = values.get("encoder").and_then(Value::text);
        // It goes to the log, so no more of it than a name is long, and no line of its own.
        self.encoder =
            encoder.map(|name| name.chars().filter(|c| !c.is_control()).take(80).collect());
        (self.width, self.height) = (number("width"), number("height"));
        self.rate = number("framerate");
        (self.video_kbps, self.audio_kbps) = (number("videodatarate"), number("audiodatarate"));
        self.sample_rate = number("audiosamplerate");
        self.channels = number("audiochannels").or_else(|| match values.get("stereo") {
            Some(Value::Boolean(stereo)) => Some(if *stereo { 2.0 } else { 1.0 }),
            _ => None,
        });
    }

    /// As ffprobe would say it.
    pub fn video(&self) -> String {
        let size = self.width.zip(self.height);
        line([
            self.video.clone(),
            size.map(|(width, height)| format!("{width}x{height}")),
            self.rate.map(|rate| format!("{} fps", short(rate))),
            self.video_kbps
                .map(|kbps| format!("{} kbit/s", kbps.round())),
        ])
    }

    pub fn audio(&self) -> String {
        line([
            self.audio.clone(),
            self.sample_rate.map(|rate| format!("{rate} Hz")),
            self.channels.map(|count| format!("{count} channels")),
            self.audio_kbps
                .map(|kbps| format!("{} kbit/s", kbps.round())),
        ])
    }
}

/// Three decimals at most.
fn short(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

fn line<const N: usize>(facts: [Option<String>; N]) -> String {
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    if facts.is_empty() {
        "none".into()
    } else {
        facts.join(", ")
    }
}

/// Profile and level out of an `AVCDecoderConfigurationRecord`.
fn avc(octets: &[u8]) -> String {
    let [_, _, _, _, _, _, profile, _, level, ..] = octets[..] else {
        return "H.264".into();
    };
    let profile = match profile {
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 => "High 10",
        122 => "High 4:2:2",
        244 => "High 4:4:4",
        _ => "?",
    };
    format!("H.264 {profile} {}.{}", level / 10, level % 10)
}

/// The name of a codec of Enhanced RTMP, which is four characters behind the first octet.
fn four_cc(octets: &[u8]) -> String {
    match &octets[1..octets.len().min(5)] {
        b"hvc1" => "H.265 (hvc1)".into(),
        b"av01" => "AV1 (av01)".into(),
        b"vp09" => "VP9 (vp09)".into(),
        b"Opus" => "Opus".into(),
        b"avc1" => "H.264 in the form of Enhanced RTMP (avc1)".into(),
        four => format!("codec {}", four.escape_ascii()),
    }
}

fn tag(kind: u8, timestamp: u32, octets: &[u8]) -> Bytes {
    let [high, low @ ..] = timestamp.to_be_bytes();
    let mut out = BytesMut::with_capacity(octets.len() + 15);
    out.put_u8(kind);
    out.put_uint(octets.len() as u64, 3);
    out.put_slice(&low);
    out.put_u8(high);
    out.put_uint(0, 3);
    out.put_slice(octets);
    out.put_u32(octets.len() as u32 + 11);
    out.freeze()
}

const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;

const KEY: u8 = 1;
const AVC: u8 = 7;
const AAC: u8 = 10;
/// The first octet of a video tag of Enhanced RTMP.
const EXTENDED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_reader_needs_comes_first_and_media_begins_with_a_key_picture() {
        let mut muxer = Muxer::default();
        let mut video = |octets: &'static [u8]| {
            let piece = muxer
                .video(40, &Bytes::from_static(octets))
                .unwrap()
                .unwrap();
            piece.begins
        };
        assert!(
            !video(&[0x17, 0, 0, 0, 0, 1, 100, 0, 31, 0xff]),
            "configuration"
        );
        assert!(video(&[0x17, 1, 0, 0, 0, 1]));
        assert!(!video(&[0x27, 1, 0, 0, 0, 1]));
        assert!(!video(&[0x17, 2, 0, 0, 0]), "the end of a sequence");
        let sound = muxer
            .audio(41, &Bytes::from_static(&[0xaf, 0, 0x11, 0x90]))
            .unwrap();
        assert!(!sound.unwrap().begins);
        let prologue = muxer.prologue();
        assert!(prologue.starts_with(b"FLV\x01\x05\0\0\0\x09\0\0\0\0"));
        assert_eq!(prologue.len(), 13 + (15 + 10) + (15 + 4));
        assert_eq!(muxer.said.video(), "H.264 High 3.1");
    }

    #[test]
    fn codecs_that_do_not_go_into_flv_are_named() {
        let mut muxer = Muxer::default();
        let why = |first: &'static [u8]| {
            let mut muxer = Muxer::default();
            muxer
                .video(0, &Bytes::from_static(first))
                .unwrap_err()
                .to_string()
        };
        assert!(why(b"\x90hvc1").contains("H.265 (hvc1)"));
        assert!(why(b"\x90\xff\n").contains("codec \\xff\\n"));
        assert!(why(&[0x1c, 1]).contains("H.265"));
        let opus = muxer
            .audio(0, &Bytes::from_static(b"\x90Opus"))
            .unwrap_err();
        assert!(opus.to_string().contains("Opus"));
        assert_eq!(muxer.video(0, &Bytes::new()), Ok(None));
    }

    #[test]
    fn a_publisher_is_described_by_what_it_says() {
        let mut muxer = Muxer::default();
        let values = Value::Object(vec![
            ("width".into(), Value::Number(1280.0)),
            ("height".into(), Value::Number(720.0)),
            ("framerate".into(), Value::Number(29.97002997)),
            ("videodatarate".into(), Value::Number(2500.0)),
            ("audiosamplerate".into(), Value::Number(48000.0)),
            ("stereo".into(), Value::Boolean(true)),
            ("encoder".into(), Value::Text("obs-output\nmodule".into())),
        ]);
        muxer.metadata(&values, &Bytes::new());
        assert_eq!(muxer.said.video(), "1280x720, 29.97 fps, 2500 kbit/s");
        assert_eq!(muxer.said.audio(), "48000 Hz, 2 channels");
        assert_eq!(muxer.said.encoder.as_deref(), Some("obs-outputmodule"));
    }
}
