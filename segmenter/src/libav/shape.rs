//! Brings pictures to size: whatever is decoded to the top rung's, and each rung's to the one below.

use ff::{filter, format::Pixel, software::scaling};
use ffmpeg_next as ff;

use super::{
    Picture, failed,
    filter::{End, PICTURES, build},
    wants_more,
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
        let stretch = if shape.numerator() > 0 && shape.denominator() > 0 {
            f64::from(shape)
        } else {
            1.0
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

/// From decoded pictures to the top rung's: upright, progressive, 8 bit 4:2:0, at its size.
pub(crate) struct Shaper {
    /// The run's.
    look: Look,
    /// Of who is on the air.
    source: Look,
    size: Size,
    graph: Option<(Kind, filter::Graph)>,
}

/// What a graph was built for; another kind of picture needs another graph.
type Kind = (Pixel, u32, u32);

impl Shaper {
    pub(crate) fn new(look: Look, size: Size) -> Self {
        Self {
            look,
            source: look,
            size,
            graph: None,
        }
    }

    /// Pictures are another source's from now on, of which the first has this look.
    pub(crate) fn switch(&mut self, source: Look) {
        (self.source, self.graph) = (source, None);
    }

    /// `picture`, shaped. `None` while a deinterlacer waits for the next one.
    pub(crate) fn shape(&mut self, picture: &Picture) -> Result<Option<Picture>, Error> {
        let kind = (picture.format(), picture.width(), picture.height());
        if self
            .graph
            .as_ref()
            .is_none_or(|(built_for, _)| *built_for != kind)
        {
            self.graph = Some((kind, self.build(picture)?));
        }
        let Some((_, graph)) = &mut self.graph else {
            return Ok(None);
        };
        let doing = || failed("shaping a picture");
        graph
            .get("in")
            .ok_or(ff::Error::Bug)
            .map_err(doing())?
            .source()
            .add(picture)
            .map_err(doing())?;
        let mut shaped = Picture::empty();
        match graph
            .get(PICTURES.label)
            .ok_or(ff::Error::Bug)
            .map_err(doing())?
            .sink()
            .frame(&mut shaped)
        {
            Ok(()) => Ok(Some(shaped)),
            Err(why) if wants_more(&why) => Ok(None),
            Err(why) => Err(doing()(why)),
        }
    }

    fn build(&self, picture: &Picture) -> Result<filter::Graph, Error> {
        let (width, height) = (picture.width(), picture.height());
        let format = picture
            .format()
            .descriptor()
            .map_or("yuv420p", |descriptor| descriptor.name());
        let arguments = format!(
            "video_size={width}x{height}:pix_fmt={format}:time_base=1/90000:pixel_aspect=1/1"
        );
        let deinterlace = if self.source.interlaced {
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
        // Another shape in mid-run gets bars rather than being distorted.
        let Size { width, height } = self.size;
        let fit = if Look::of(picture, self.source.turns).size == self.look.size {
            format!(
                "scale={width}:{height}:flags={FLAGS}:in_color_matrix={input_matrix}:out_color_matrix={matrix}:out_range=tv"
            )
        } else {
            format!(
                "scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2:flags={FLAGS}:out_color_matrix={matrix}:out_range=tv,\
                 pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"
            )
        };
        let text = format!("[in]{deinterlace}{turn}{fit},format=yuv420p,setsar=1[out0]");
        build(
            &text,
            &[End {
                label: "in",
                filter: "buffer",
                arguments: &arguments,
            }],
            &[&PICTURES],
        )
    }
}

/// From one rung's pictures to the next smaller rung's. Stays on the thread that made it.
pub(crate) struct Scaler(Option<scaling::Context>);

impl Scaler {
    /// Rungs of one size share their pictures.
    pub(crate) fn new(from: Size, to: Size) -> Result<Self, Error> {
        if from == to {
            return Ok(Self(None));
        }
        let doing = failed(format!("scaling {from} to {to}"));
        scaling::Context::get(
            Pixel::YUV420P,
            from.width,
            from.height,
            Pixel::YUV420P,
            to.width,
            to.height,
            scaling::Flags::BILINEAR,
        )
        .map(|context| Self(Some(context)))
        .map_err(doing)
    }

    pub(crate) fn scale(&mut self, picture: &Picture) -> Result<Picture, Error> {
        let doing = failed("scaling a picture");
        let Some(context) = &mut self.0 else {
            return super::share(picture).map_err(doing);
        };
        let mut smaller = Picture::empty();
        context.run(picture, &mut smaller).map_err(doing)?;
        Ok(smaller)
    }
}

const FLAGS: &str = "bilinear";
/// Unmarked pictures from here on are taken to be BT.709, smaller ones BT.601, as every player guesses.
const HIGH_DEFINITION: u32 = 720;
