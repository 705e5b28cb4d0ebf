//! Single pictures for people to look at: one size in one coding, from the top rung's pictures.

use bytes::Bytes;
use ff::{Dictionary, codec, encoder, filter, format::Pixel};
use ffmpeg_next as ff;
use playlists::still::Coding;

use super::{
    Packet, Picture, failed,
    filter::{End, PICTURES, build},
    shape::Colours,
};
use crate::{error::Error, ladder::Size};

pub(crate) struct StillEncoder {
    graph: filter::Graph,
    encoder: encoder::video::Encoder,
    made: i64,
}

impl StillEncoder {
    /// Of pictures of `from`, to the size of `to`.
    pub(crate) fn open(
        from: Size,
        colours: Colours,
        to: Size,
        coding: Coding,
        quality: u8,
    ) -> Result<Self, Error> {
        let doing = || failed(format!("opening the encoder of {} in {to}", coding.mime()));
        let (name, format, range) = match coding {
            Coding::Jpeg => ("mjpeg", Pixel::YUVJ420P, "pc"),
            Coding::Webp => ("libwebp", Pixel::YUV420P, "tv"),
        };
        let codec = encoder::find_by_name(name)
            .ok_or(ff::Error::EncoderNotFound)
            .map_err(doing())?;
        let context = codec::Context::new_with_codec(codec);
        let mut video = context.encoder().video().map_err(doing())?;
        video.set_width(to.width);
        video.set_height(to.height);
        video.set_format(format);
        video.set_time_base((1, 1));
        super::raw::set_threads(&mut video, 1);
        let mut options = Dictionary::new();
        match coding {
            Coding::Jpeg => {
                video.set_flags(codec::Flags::QSCALE | codec::Flags::BITEXACT);
                // A frame that says no quality of its own gets the nearest that is allowed.
                video.set_qmin(i32::from(quality));
                video.set_qmax(i32::from(quality));
                video.set_color_range(ff::color::Range::JPEG);
                // The same tables in each, so that tiles can be put together.
                options.set("huffman", "default");
            }
            Coding::Webp => {
                options.set("quality", &quality.to_string());
                options.set("compression_level", WEBP_EFFORT);
            }
        }
        Ok(Self {
            graph: graph(from, colours, to, (format, range))?,
            encoder: video.open_with(options).map_err(doing())?,
            made: 0,
        })
    }

    pub(crate) fn encode(&mut self, picture: &Picture) -> Result<Bytes, Error> {
        let doing = || failed("scaling a still");
        // The graph takes what it is given.
        let given = super::share(picture).map_err(doing())?;
        let mut small = Picture::empty();
        let mut ends = |label: &str| self.graph.get(label).ok_or(ff::Error::Bug);
        let mut source = ends("in").map_err(doing())?;
        source.source().add(&given).map_err(doing())?;
        let mut sink = ends(PICTURES.label).map_err(doing())?;
        sink.sink().frame(&mut small).map_err(doing())?;
        small.set_pts(Some(self.made));
        small.set_kind(ff::picture::Type::None);
        self.made += 1;
        let doing = || failed("encoding a still");
        self.encoder.send_frame(&small).map_err(doing())?;
        let mut packet = Packet::empty();
        self.encoder.receive_packet(&mut packet).map_err(doing())?;
        Ok(Bytes::copy_from_slice(packet.data().unwrap_or_default()))
    }
}

/// Whether libav can make it here.
pub(crate) fn codes(coding: Coding) -> bool {
    coding == Coding::Jpeg || encoder::find_by_name("libwebp").is_some()
}

/// JFIF and WebP have the matrix of BT.601, whatever the size.
fn graph(
    from: Size,
    colours: Colours,
    to: Size,
    (format, range): (Pixel, &str),
) -> Result<filter::Graph, Error> {
    let Size { width, height } = from;
    let arguments =
        format!("video_size={width}x{height}:pix_fmt=yuv420p:time_base=1/90000:pixel_aspect=1/1");
    let matrix = match colours {
        Colours::Bt601 => "bt601",
        Colours::Bt709 => "bt709",
    };
    let format = format.descriptor().map_or("yuv420p", |known| known.name());
    let Size { width, height } = to;
    let text = format!(
        "[in]scale={width}:{height}:flags=area:in_color_matrix={matrix}:in_range=tv:out_color_matrix=bt601:out_range={range},format={format}[out0]"
    );
    let source = End {
        label: "in",
        filter: "buffer",
        arguments: &arguments,
    };
    build(&text, &[source], &[&PICTURES])
}

/// 0 is fastest, 6 smallest; from 2 on little is won.
const WEBP_EFFORT: &str = "2";
