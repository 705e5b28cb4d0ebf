//! Everything that touches libav, and the only place that names `ffmpeg_next`.
//!
//! What comes in (`source`: demuxed or made by a filter graph), how a picture is brought to size and range (`shape`, `tone`),
//! how sound is brought onto the timeline (`sound`), how both become parts (`video`, `mux`), and single pictures (`still`).
//! What is done when is the pipeline's business.

mod demux;
mod filter;
mod list;
mod mux;
mod patience;
mod programme;
mod raw;
mod shape;
mod sound;
mod source;
mod still;
mod tone;
mod video;

use ffmpeg_next as ff;

pub(crate) use mux::{Muxer, Setup, codec_name};
pub(crate) use raw::{caption, captions, share};
pub(crate) use shape::{Colours, Look, Scaler, Shaper};
pub(crate) use sound::Sound;
pub(crate) use source::{About, Coded, Event, Frame, Original, Recipe, Source};
pub(crate) use still::{StillEncoder, codes};
pub(crate) use video::{Common, VideoEncoder};

use crate::error::Error;

pub(crate) type Picture = ff::frame::Video;
pub(crate) type Samples = ff::frame::Audio;
pub(crate) type Packet = ff::Packet;

/// Once, before anything else here. libav prints nothing by itself: what matters comes back as an `Error`.
pub(crate) fn start() -> Result<(), Error> {
    ff::init().map_err(failed("libav does not start"))?;
    ff::log::set_level(ff::log::Level::Quiet);
    Ok(())
}

/// Says what was being done when libav refused.
fn failed(doing: impl Into<String>) -> impl FnOnce(ff::Error) -> Error {
    move |why| Error::Libav {
        doing: doing.into(),
        why: why.to_string(),
    }
}

/// Nothing to be had before more is put in.
fn wants_more(error: &ff::Error) -> bool {
    matches!(error, ff::Error::Other { errno } if *errno == ff::util::error::EAGAIN)
        || *error == ff::Error::Eof
}

/// `ticks` of a stream's clock as media time.
fn media_time(ticks: i64, base: ff::Rational) -> playlists::MediaTime {
    let flicks = i128::from(ticks)
        * i128::from(base.numerator())
        * i128::from(playlists::MediaTime::PER_SECOND);
    playlists::MediaTime::from_flicks((flicks / i128::from(base.denominator().max(1))) as i64)
}
