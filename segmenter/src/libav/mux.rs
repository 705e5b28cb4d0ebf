//! A CMAF muxer, of one rung or of sound alone: encoded pictures and sound in, one fragment at each cut.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use ff::{Dictionary, format};
use ffmpeg_next as ff;
use media::{avc, order::Times};
use playlists::MediaTime;

use super::{Coded, Frame, Packet, Recipe, Sound, VideoEncoder, failed, raw};
use crate::{
    coded::{Sets, Voice},
    config::CLOCK,
    error::Error,
};
use segmenter::cutter::{AAC_FRAME, SAMPLE_RATE};

pub(crate) struct Muxer {
    output: format::context::Output,
    sink: Sink,
    setup: Setup,
    /// Which of its tracks is the sound.
    audio: usize,
}

/// What a muxer needs to know of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Media time of picture 0 and of sample 0.
    pub(crate) origin: MediaTime,
    pub(crate) fps: u32,
}

impl Muxer {
    /// A muxer, and the init segment it begins with. `parameter_sets` are those of all rungs, this one's or
    /// the largest one's first: the sample entry takes its size from `video`, its profile from the first set.
    pub(crate) fn open(
        video: &VideoEncoder,
        sound: Option<&Sound>,
        parameter_sets: &[u8],
        setup: Setup,
    ) -> Result<(Self, Bytes), Error> {
        let doing = || failed("opening the CMAF muxer");
        let (mut output, sink) = output()?;
        let mut stream = output.add_stream_with(video.context()).map_err(doing())?;
        stream.set_time_base((1, CLOCK as i32));
        raw::set_extradata(&mut stream, parameter_sets).map_err(doing())?;
        Self::with_sound(output, sink, sound, setup)
    }

    /// The same for pictures that are passed on.
    pub(crate) fn open_original(
        recipe: &Recipe,
        sound: Option<&Sound>,
        parameter_sets: &[u8],
        setup: Setup,
    ) -> Result<(Self, Bytes), Error> {
        let (mut output, sink) = output()?;
        add_original(&mut output, recipe, parameter_sets)?;
        Self::with_sound(output, sink, sound, setup)
    }

    fn with_sound(
        mut output: format::context::Output,
        sink: Sink,
        sound: Option<&Sound>,
        setup: Setup,
    ) -> Result<(Self, Bytes), Error> {
        let doing = || failed("opening the CMAF muxer");
        let mut clocks = vec![CLOCK];
        if let Some(sound) = sound {
            let mut stream = output.add_stream_with(sound.context()).map_err(doing())?;
            stream.set_time_base((1, SAMPLE_RATE as i32));
            clocks.push(SAMPLE_RATE);
        }
        let muxer = Self {
            output,
            sink,
            setup,
            audio: VIDEO + 1,
        };
        muxer.begin(&clocks)
    }

    /// The same for sound that is passed on as well.
    pub(crate) fn open_copied(
        recipe: &Recipe,
        (voice, sound): (&Voice, &Recipe),
        parameter_sets: &[u8],
        setup: Setup,
    ) -> Result<(Self, Bytes), Error> {
        let (mut output, sink) = output()?;
        add_original(&mut output, recipe, parameter_sets)?;
        let mut stream = add_copied(&mut output, sound, &voice.said)?;
        stream.set_time_base((1, voice.rate as i32));
        let muxer = Self {
            output,
            sink,
            setup,
            audio: VIDEO + 1,
        };
        muxer.begin(&[CLOCK, voice.rate])
    }

    /// A muxer of sound alone, and its init segment. `origin`: media time of sample 0.
    pub(crate) fn open_sound(sound: &Sound, origin: MediaTime) -> Result<(Self, Bytes), Error> {
        let doing = || failed("opening the CMAF muxer of a track of sound");
        let (mut output, sink) = output()?;
        let mut stream = output.add_stream_with(sound.context()).map_err(doing())?;
        stream.set_time_base((1, SAMPLE_RATE as i32));
        let muxer = Self {
            output,
            sink,
            setup: Setup { origin, fps: 1 },
            audio: 0,
        };
        muxer.begin(&[SAMPLE_RATE])
    }

    /// Writes the init segment; every track has to keep the clock it was given.
    fn begin(mut self, clocks: &[u32]) -> Result<(Self, Bytes), Error> {
        let doing = || failed("opening the CMAF muxer");
        let options = Dictionary::from_iter([("movflags", MOVFLAGS), ("use_editlist", "0")]);
        let unknown = self.output.write_header_with(options).map_err(doing())?;
        if let Some((option, _)) = unknown.iter().next() {
            return Err(Error::Libav {
                doing: "opening the CMAF muxer".into(),
                why: format!("it does not know the option {option}"),
            });
        }
        drop(unknown);
        for (index, rate) in clocks.iter().enumerate() {
            let base = self.output.stream(index).map(|stream| stream.time_base());
            if base != Some(ff::Rational::new(1, *rate as i32)) {
                let why = format!("track {index} counts in {base:?}, not in 1/{rate} s");
                return Err(Error::Libav {
                    doing: "opening the CMAF muxer".into(),
                    why,
                });
            }
        }
        let init = self.cut()?;
        Ok((self, init))
    }

    /// An encoded picture; its timestamp counts pictures.
    pub(crate) fn picture(&mut self, mut packet: Packet) -> Result<(), Error> {
        let tick = i64::from(CLOCK / self.setup.fps);
        let time = self.setup.origin.to_ticks(CLOCK) + packet.pts().unwrap_or(0) * tick;
        packet.set_duration(tick);
        self.write(packet, VIDEO, time)
    }

    /// A picture that is passed on, so many ticks of `CLOCK` long in the order of decoding.
    pub(crate) fn original(
        &mut self,
        coded: Coded,
        times: Times,
        duration: i64,
    ) -> Result<(), Error> {
        let mut packet = coded.packet;
        packet.set_flags(match coded.key {
            true => ff::packet::Flags::KEY,
            false => ff::packet::Flags::empty(),
        });
        let origin = self.setup.origin.to_ticks(CLOCK);
        packet.set_duration(duration);
        packet.set_pts(Some(origin + times.shown));
        packet.set_dts(Some(origin + times.decoded));
        self.put(packet, VIDEO)
    }

    /// A frame of sound that is passed on, which is heard at run time `time`.
    pub(crate) fn frame(
        &mut self,
        frame: Frame,
        voice: &Voice,
        time: MediaTime,
    ) -> Result<(), Error> {
        let mut packet = frame.packet;
        packet.set_flags(ff::packet::Flags::KEY);
        packet.set_duration(i64::from(voice.frame));
        self.write(
            packet,
            self.audio,
            (self.setup.origin + time).to_ticks(voice.rate),
        )
    }

    /// An encoded sound frame; its timestamp counts samples.
    pub(crate) fn sound(&mut self, packet: &Packet) -> Result<(), Error> {
        let mut packet = packet.clone();
        let time = self.setup.origin.to_ticks(SAMPLE_RATE) + packet.pts().unwrap_or(0);
        packet.set_duration(i64::from(AAC_FRAME));
        self.write(packet, self.audio, time)
    }

    /// Ends the fragment and takes it.
    pub(crate) fn cut(&mut self) -> Result<Bytes, Error> {
        raw::flush(&mut self.output).map_err(failed("writing a fragment"))?;
        Ok(self.sink.take())
    }

    /// Nothing was put in for a while: the next fragment keeps its true time all the same.
    pub(crate) fn skip(&mut self) -> Result<(), Error> {
        raw::skip(&mut self.output).map_err(failed("going on after a pause"))
    }

    fn write(&mut self, mut packet: Packet, stream: usize, time: i64) -> Result<(), Error> {
        packet.set_pts(Some(time));
        packet.set_dts(Some(time));
        self.put(packet, stream)
    }

    fn put(&mut self, mut packet: Packet, stream: usize) -> Result<(), Error> {
        packet.set_stream(stream);
        packet.set_position(-1);
        packet
            .write(&mut self.output)
            .map_err(failed("writing into a fragment"))?;
        Ok(())
    }
}

fn add_original(
    output: &mut format::context::Output,
    recipe: &Recipe,
    parameter_sets: &[u8],
) -> Result<(), Error> {
    let sets = Sets::read(parameter_sets).map_err(|why| Error::Libav {
        doing: "telling the muxer the parameter sets".into(),
        why,
    })?;
    let mut stream = add_copied(output, recipe, &sets.record())?;
    stream.set_time_base((1, CLOCK as i32));
    Ok(())
}

/// A stream like that of `recipe`, of whose coding this is `said`.
fn add_copied<'a>(
    output: &'a mut format::context::Output,
    recipe: &Recipe,
    said: &[u8],
) -> Result<ff::StreamMut<'a>, Error> {
    let doing = || failed("opening the CMAF muxer for what is passed on");
    let codec = ff::encoder::find(recipe.0.id());
    let mut stream = output.add_stream(codec).map_err(doing())?;
    stream.set_parameters(recipe.0.clone());
    raw::forget_tag(&mut stream);
    raw::set_extradata(&mut stream, said).map_err(doing())?;
    Ok(stream)
}

/// A muxer's output, and where it goes.
fn output() -> Result<(format::context::Output, Sink), Error> {
    let doing = || failed("opening the CMAF muxer");
    let sink = Sink::default();
    let io = format::context::StreamIo::from_write_with_capacity(sink.clone(), BUFFER)
        .map_err(doing())?;
    let output = format::output_to_stream(io, None, Some("mp4")).map_err(doing())?;
    Ok((output, sink))
}

/// RFC 6381 name of H.264 with these parameter sets: profile, constraints and level of the first SPS.
pub(crate) fn codec_name(parameter_sets: &[u8]) -> Option<String> {
    let mut units = avc::annex_b(parameter_sets);
    let sps = units.find(|unit| avc::kind(unit) == avc::unit::SPS)?;
    Some(avc::codec_name(sps).into_owned())
}

/// Where the muxer writes to. The lock is held for one copy or one take, never across a call into libav.
#[derive(Clone, Debug, Default)]
struct Sink(Arc<Mutex<BytesMut>>);

impl Sink {
    fn take(&self) -> Bytes {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .split()
            .freeze()
    }
}

impl io::Write for Sink {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const VIDEO: usize = 0;
const BUFFER: usize = 64 * 1024;
/// Fragments are cut by us and keep the true decode time; without `frag_discont` and with an edit list libavformat
/// would count each track from 0, and sound and picture of a restarted run would drift apart.
const MOVFLAGS: &str = "+frag_custom+frag_discont+empty_moov+default_base_moof+cmaf+skip_trailer";

#[cfg(test)]
mod tests {
    use super::codec_name;

    #[test]
    fn the_codec_is_named_by_its_first_sps() {
        let sets = [
            0, 0, 0, 1, 9, 0x10, 0, 0, 0, 1, 0x67, 0x64, 0x00, 0x1f, 0xac, 0, 0, 1, 0x68, 1, 2, 3,
        ];
        assert_eq!(codec_name(&sets).as_deref(), Some("avc1.64001F"));
        assert_eq!(codec_name(&[0, 0, 1, 0x68, 1, 2, 3]), None);
    }
}
