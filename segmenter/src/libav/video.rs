//! One rung's H.264 encoder, set up so that all rungs are in step.

use ff::{Dictionary, codec, encoder};
use ffmpeg_next as ff;

use super::{Look, Packet, Picture, failed, raw, wants_more};
use crate::{
    error::Error,
    ladder::{self, Plan, Size},
};

/// Gives a packet for each picture at once: no B-frames, no look-ahead. Threads, if there are any, share a picture; none
/// holds one back.
pub(crate) struct VideoEncoder {
    encoder: encoder::video::Encoder,
}

/// What all rungs of a run share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) preset: String,
    pub(crate) fps: u32,
    pub(crate) segment_frames: u32,
    /// H.264 level, times ten.
    pub(crate) level: u32,
    pub(crate) look: Look,
    /// The largest rung's size, and how many threads its encoder has.
    pub(crate) largest: Size,
    pub(crate) threads: u32,
}

impl VideoEncoder {
    /// `id` numbers the rung's parameter sets, so that those of all rungs fit into one init segment.
    pub(crate) fn open(rung: &Plan, id: u32, common: &Common) -> Result<Self, Error> {
        let doing = || {
            failed(format!(
                "rung {}: opening the H.264 encoder for {}",
                rung.name, rung.size
            ))
        };
        let codec = encoder::find_by_name("libx264")
            .ok_or(ff::Error::EncoderNotFound)
            .map_err(doing())?;
        let mut video = codec::Context::new_with_codec(codec)
            .encoder()
            .video()
            .map_err(doing())?;
        video.set_width(rung.size.width);
        video.set_height(rung.size.height);
        video.set_format(ff::format::Pixel::YUV420P);
        video.set_aspect_ratio((1, 1));
        video.set_time_base((1, common.fps as i32));
        video.set_frame_rate(Some((common.fps as i32, 1)));
        video.set_bit_rate(rung.video.bps() as usize);
        video.set_max_bit_rate(rung.video.bps() as usize);
        video.set_gop(common.segment_frames);
        video.set_max_b_frames(0);
        video.set_color_range(ff::color::Range::MPEG);
        video.set_flags(codec::Flags::GLOBAL_HEADER | codec::Flags::CLOSED_GOP);
        let threads = ladder::threads(rung.size, common.largest, common.threads);
        raw::set_threads(&mut video, threads as usize);

        let [primaries, transfer, matrix] = common.look.colours.names();
        let mut options = Dictionary::new();
        options.set("preset", &common.preset);
        options.set("profile", "high");
        options.set(
            "level",
            &format!("{}.{}", common.level / 10, common.level % 10),
        );
        options.set("bufsize", &rung.buffer_bits().to_string());
        options.set("forced-idr", "1");
        options.set("color_primaries", primaries);
        options.set("color_trc", transfer);
        options.set("colorspace", matrix);
        let keyint = common.segment_frames;
        let sliced = u8::from(threads > 1);
        options.set(
            "x264-params",
            &format!(
                "sps-id={id}:repeat-headers=1:keyint={keyint}:min-keyint=1:scenecut=0:open-gop=0:bframes=0:rc-lookahead=0:\
                 sync-lookahead=0:mbtree=0:sliced-threads={sliced}:force-cfr=1"
            ),
        );
        Ok(Self {
            encoder: video.open_with(options).map_err(doing())?,
        })
    }

    /// SPS and PPS, each behind a start code (ITU-T H.264, annex B).
    pub(crate) fn parameter_sets(&self) -> Vec<u8> {
        raw::extradata(&self.encoder)
    }

    pub(super) fn context(&self) -> &codec::Context {
        &self.encoder
    }

    /// Puts in picture `frame` of the run.
    pub(crate) fn put(&mut self, picture: &Picture, frame: u64, idr: bool) -> Result<(), Error> {
        let doing = || failed(format!("encoding picture {frame}"));
        let mut picture = raw::share(picture).map_err(doing())?;
        picture.set_pts(Some(frame as i64));
        picture.set_kind(if idr {
            ff::picture::Type::I
        } else {
            ff::picture::Type::None
        });
        self.encoder.send_frame(&picture).map_err(doing())
    }

    pub(crate) fn take(&mut self) -> Result<Option<Packet>, Error> {
        let mut packet = Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => Ok(Some(packet)),
            Err(why) if wants_more(&why) => Ok(None),
            Err(why) => Err(failed("taking an encoded picture")(why)),
        }
    }
}
