//! Brings pictures to size: whatever is decoded to the top rung's, and each rung's to the one below.

use ff::{filter, format::Pixel};
use ffmpeg_next as ff;

use super::{
    Picture, failed,
    filter::{End, INPUT, PICTURES, build, build_alone, pass},
    tone::Range,
};
use crate::{error::Error, ladder::Size};

/// How pictures are to be looked at. The run's is that of its first picture and kept; each source has one of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Upright, and with square pixels.
    pub(crate) size: Size,
    /// Quarter turns to the right until upright.
    pub(crate) turns: u8,
    interlaced: bool,
    pub(crate) colours: Colours,
}

/// Which matrix the pictures' colours are made with. Every rung says the same, so that no player guesses by size.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) enum Colours {
    Bt601,
    Bt709,
}

impl Colours {
    /// As ITU-T H.273 and x264 name them: primaries, transfer, matrix.
    pub(crate) fn names(self) -> [&'static str; 3] {
        match self {
            Self::Bt601 => ["smpte170m"; 3],
            Self::Bt709 => ["bt709"; 3],
        }
    }
}

impl Colours {
    /// Says of a picture what it is by now, whatever its source said: scalers believe it.
    fn marked(self, mut picture: Picture) -> Picture {
        use ff::color::{Primaries, Range, Space, TransferCharacteristic as Transfer};
        let (space, primaries, transfer) = match self {
            Self::Bt601 => (Space::SMPTE170M, Primaries::SMPTE170M, Transfer::SMPTE170M),
            Self::Bt709 => (Space::BT709, Primaries::BT709, Transfer::BT709),
        };
        picture.set_color_space(space);
        picture.set_color_primaries(primaries);
        picture.set_color_transfer_characteristic(transfer);
        picture.set_color_range(Range::MPEG);
        picture
    }
}

impl Look {
    /// That of a run whose first picture is not there yet.
    pub(crate) fn of_size(size: Size) -> Self {
        Self {
            size,
            turns: 0,
            interlaced: false,
            colours: match size.height >= HIGH_DEFINITION {
                true => Colours::Bt709,
                false => Colours::Bt601,
            },
        }
    }

    pub(crate) fn of(picture: &Picture, turns: u8) -> Self {
        let shape = picture.aspect_ratio();
        let stretch = match f64::from(shape) {
            // Further from square than any camera's it is a mistake.
            stretch if (1.0 / OBLONG..=OBLONG).contains(&stretch) => stretch,
            _ => 1.0,
        };
        let (width, height) = (
            (f64::from(picture.width()) * stretch).round().max(1.0) as u32,
            picture.height().max(1),
        );
        let size = if turns % 2 == 1 {
            Size {
                width: height,
                height: width,
            }
        } else {
            Size { width, height }
        };
        let colours = match picture.color_space() {
            _ if Range::of(picture) != Range::Standard => Colours::Bt709,
            ff::color::Space::BT709 | ff::color::Space::RGB => Colours::Bt709,
            ff::color::Space::Unspecified if height >= HIGH_DEFINITION => Colours::Bt709,
            _ => Colours::Bt601,
        };
        Self {
            size,
            turns,
            interlaced: picture.is_interlaced(),
            colours,
        }
    }
}

/// From decoded pictures to the top rung's: upright, progressive, 8 bit 4:2:0, of standard range, at its size.
pub(crate) struct Shaper {
    /// The run's.
    look: Look,
    /// Of who is on the air.
    source: Look,
    size: Size,
    /// `None` in it: its pictures are as they should be.
    way: Option<(Kind, Option<filter::Graph>)>,
    /// What it gave last, to give again in the place of what cannot be shaped.
    last: Option<Picture>,
    spoilt: u64,
}

/// What a graph was built for; another kind of picture needs another graph.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kind {
    format: Pixel,
    size: (u32, u32),
    shape: Size,
    range: Range,
    colours: ff::color::Space,
    full: bool,
    /// There were fields once. They may come again at any time, and what is progressive passes through unharmed.
    interlaced: bool,
}

impl Shaper {
    pub(crate) fn new(look: Look, size: Size) -> Self {
        Self {
            look,
            source: look,
            size,
            way: None,
            last: None,
            spoilt: 0,
        }
    }

    /// Pictures are another source's from now on, of which the first has this look.
    pub(crate) fn switch(&mut self, source: Look) {
        (self.source, self.way) = (source, None);
    }

    /// `picture`, shaped. `None` while a deinterlacer waits for the next one.
    ///
    /// One that cannot be shaped is a damaged one: the one before it stands in for it, so that pictures stay in time.
    pub(crate) fn shape(&mut self, picture: &Picture) -> Result<Option<Picture>, Error> {
        let shaped = match (self.try_shape(picture), &self.last) {
            (Ok(shaped), _) => shaped.map(|shaped| self.look.colours.marked(shaped)),
            (Err(why), None) => return Err(why),
            (Err(why), Some(last)) => {
                self.way = None;
                self.spoilt += 1;
                if self.spoilt.is_power_of_two() {
                    tracing::warn!(%why, spoilt = self.spoilt, "a picture is unlike all others; the one before it is shown");
                }
                Some(super::share(last).map_err(failed("sharing a picture"))?)
            }
        };
        if let Some(shaped) = &shaped {
            self.last = Some(super::share(shaped).map_err(failed("sharing a picture"))?);
        }
        Ok(shaped)
    }

    fn try_shape(&mut self, picture: &Picture) -> Result<Option<Picture>, Error> {
        let was_interlaced = self.way.as_ref().is_some_and(|(kind, _)| kind.interlaced);
        let kind = Kind {
            format: picture.format(),
            size: (picture.width(), picture.height()),
            shape: Look::of(picture, self.source.turns).size,
            range: Range::of(picture),
            colours: picture.color_space(),
            full: picture.color_range() == ff::color::Range::JPEG,
            interlaced: was_interlaced || self.source.interlaced || picture.is_interlaced(),
        };
        if self
            .way
            .as_ref()
            .is_none_or(|(built_for, _)| *built_for != kind)
        {
            let graph = if self.is_right(&kind) {
                None
            } else {
                Some(self.build(picture, &kind)?)
            };
            self.way = Some((kind, graph));
        }
        let doing = || failed("shaping a picture");
        let Some((_, Some(graph))) = &mut self.way else {
            return super::share(picture).map(Some).map_err(doing());
        };
        pass(graph, picture).map_err(doing())
    }

    /// Whether pictures of this kind need nothing done.
    fn is_right(&self, kind: &Kind) -> bool {
        let matrix = match self.look.colours {
            Colours::Bt601 => [ff::color::Space::SMPTE170M, ff::color::Space::BT470BG],
            Colours::Bt709 => [ff::color::Space::BT709; 2],
        };
        kind.format == Pixel::YUV420P
            && kind.size == (self.size.width, self.size.height)
            && kind.shape == self.size
            && kind.range == Range::Standard
            && (matrix.contains(&kind.colours) || kind.colours == ff::color::Space::Unspecified)
            && !kind.full
            && !kind.interlaced
            && self.source.turns.is_multiple_of(4)
    }

    fn build(&self, picture: &Picture, kind: &Kind) -> Result<filter::Graph, Error> {
        let (width, height) = (picture.width(), picture.height());
        let format = picture
            .format()
            .descriptor()
            .map_or("yuv420p", |descriptor| descriptor.name());
        let arguments = format!(
            "video_size={width}x{height}:pix_fmt={format}:time_base=1/90000:pixel_aspect=1/1"
        );
        let deinterlace = if kind.interlaced {
            "yadif=deint=interlaced,"
        } else {
            ""
        };
        let turn = ["", "transpose=clock,", "hflip,vflip,", "transpose=cclock,"]
            [usize::from(self.source.turns % 4)];
        let matrix = match self.look.colours {
            Colours::Bt601 => "bt601",
            Colours::Bt709 => "bt709",
        };
        let input_matrix = match picture.color_space() {
            ff::color::Space::Unspecified => matrix,
            _ => "auto",
        };
        let tone = kind.range.to_standard(picture)?;
        if let Some(range) = kind.range.name() {
            tracing::info!(range, "high dynamic range; brought down to standard");
        }
        // Light is no matter of the matrix: who maps it does that as well, on pictures that are small already.
        let colours = if tone.is_empty() {
            format!(":in_color_matrix={input_matrix}:out_color_matrix={matrix}:out_range=tv")
        } else {
            String::new()
        };
        let Size { width, height } = self.size;
        let scale = format!("scale={width}:{height}:flags={KERNEL}{colours}");
        // Another shape in mid-run gets bars rather than being distorted.
        let (fit, bars) = match kind.shape == self.look.size {
            true => ("", String::new()),
            false => (
                ":force_original_aspect_ratio=decrease:force_divisible_by=2",
                format!("pad={width}:{height}:(ow-iw)/2:(oh-ih)/2,"),
            ),
        };
        let text = format!(
            "[in]{deinterlace}{turn}{scale}{fit},{tone}format=yuv420p,{bars}setsar=1[out0]"
        );
        build(
            &text,
            &[End {
                label: INPUT,
                filter: "buffer",
                arguments: &arguments,
            }],
            &[&PICTURES],
        )
    }
}

/// From one rung's pictures to the next smaller rung's. Stays on the thread that made it.
pub(crate) struct Scaler(Option<filter::Graph>);

impl Scaler {
    /// Rungs of one size share their pictures.
    pub(crate) fn new(from: Size, to: Size) -> Result<Self, Error> {
        if from == to {
            return Ok(Self(None));
        }
        let Size { width, height } = to;
        // libzimg is twice as fast as libswscale here, and every FFmpeg of note has it. A graph, for its pool of pictures.
        let scale = match filter::find("zscale") {
            Some(_) => format!("zscale={width}:{height}:filter={DOWN}"),
            None => format!("scale={width}:{height}:flags={DOWN}"),
        };
        let arguments =
            format!("video_size={from}:pix_fmt=yuv420p:time_base=1/90000:pixel_aspect=1/1");
        let source = End {
            label: INPUT,
            filter: "buffer",
            arguments: &arguments,
        };
        let text = format!("[in]{scale},format=yuv420p[out0]");
        build_alone(&text, source, &PICTURES).map(|graph| Self(Some(graph)))
    }

    pub(crate) fn scale(&mut self, picture: &Picture) -> Result<Picture, Error> {
        let doing = || failed("scaling a picture");
        let Some(graph) = &mut self.0 else {
            return super::share(picture).map_err(doing());
        };
        let mut scaled = pass(graph, picture)
            .map_err(doing())?
            .ok_or(ff::Error::Bug)
            .map_err(doing())?;
        // Some filters keep what lies beside the picture, and some do not.
        if let Some(captions) = super::captions(picture) {
            super::caption(&mut scaled, &captions).map_err(failed("captioning a picture"))?;
        }
        Ok(scaled)
    }
}

const KERNEL: &str = "bicubic";
/// Sharper, since pictures are made smaller from rung to rung and would be softer each time. Three steps of it are as like the
/// original as one bicubic one.
const DOWN: &str = "lanczos";
/// How far pixels may be from square.
const OBLONG: f64 = 8.0;
/// Unmarked pictures from here on are taken to be BT.709, smaller ones BT.601, as every player guesses.
const HIGH_DEFINITION: u32 = 720;
