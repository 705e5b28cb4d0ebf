//! The run's one sound track: whatever is decoded, at 48 kHz in stereo, without a gap from sample 0 on, as AAC.
//!
//! When silence must stand in for sound that does not come is the pipeline's decision.

use std::collections::VecDeque;

use ff::{codec, encoder, filter, format, frame};
use ffmpeg_next as ff;
use playlists::{Bitrate, MediaTime};

use super::{
    Packet, Samples, failed,
    filter::{End, SOUND, build},
    wants_more,
};
use crate::error::Error;
use segmenter::cutter::{AAC_FRAME, SAMPLE_RATE};

pub(crate) struct Sound {
    encoder: encoder::audio::Encoder,
    resampler: Option<(Kind, filter::Graph)>,
    /// Where the input's next sample is due, by the run's clock.
    due: Option<i64>,
    spoilt: u64,
    /// Samples that do not fill an AAC frame yet, one queue per channel.
    waiting: [Vec<f32>; CHANNELS],
    /// Samples so far, the waiting ones included: the next one's place on the timeline.
    placed: i64,
    /// One past the last sample in an encoded frame.
    encoded: i64,
    /// Encoded frames that no part has taken yet, in order. Bounded by how far sound may be ahead of pictures.
    ready: VecDeque<Packet>,
}

/// What a resampler was built for.
type Kind = (format::Sample, u32, u64, u16);

impl Sound {
    pub(crate) fn open(rate: Bitrate) -> Result<Self, Error> {
        let doing = || failed("opening the AAC encoder");
        let codec = encoder::find_by_name("aac")
            .ok_or(ff::Error::EncoderNotFound)
            .map_err(doing())?;
        let mut audio = codec::Context::new_with_codec(codec)
            .encoder()
            .audio()
            .map_err(doing())?;
        audio.set_rate(SAMPLE_RATE as i32);
        audio.set_format(format::Sample::F32(format::sample::Type::Planar));
        audio.set_channel_layout(ff::ChannelLayout::STEREO);
        audio.set_time_base((1, SAMPLE_RATE as i32));
        audio.set_bit_rate(rate.bps() as usize);
        audio.set_flags(codec::Flags::GLOBAL_HEADER);
        let encoder = audio.open().map_err(doing())?;
        Ok(Self {
            encoder,
            resampler: None,
            due: None,
            spoilt: 0,
            waiting: Default::default(),
            placed: 0,
            encoded: 0,
            ready: VecDeque::new(),
        })
    }

    pub(super) fn context(&self) -> &codec::Context {
        &self.encoder
    }

    /// How much of the timeline has sound, silence included.
    pub(crate) fn until(&self) -> MediaTime {
        MediaTime::from_ticks(self.placed, SAMPLE_RATE)
    }

    /// Puts `samples` where they belong: a gap before them becomes silence, what is there already is left out. Sound that is
    /// slow or fast is stretched, for nobody hears that. Says whether they were of use.
    pub(crate) fn place(&mut self, samples: &mut Samples, at: MediaTime) -> Result<bool, Error> {
        let starts = at.to_ticks(SAMPLE_RATE);
        // A step of the clock is no drift: what follows it is new.
        if self
            .due
            .is_some_and(|due| (starts - due).abs() > LARGEST_STEP)
        {
            self.resampler = None;
        }
        let length = MediaTime::from_ticks(samples.samples() as i64, samples.rate().max(1));
        self.due = Some(starts + length.to_ticks(SAMPLE_RATE));
        samples.set_pts(Some(starts));
        let mut useful = false;
        for resampled in self.resampled(samples) {
            let starts = resampled.pts().unwrap_or(self.placed);
            let ahead = starts - self.placed;
            if ahead > FARTHEST {
                continue; // its clock jumped; the pictures will say where to
            }
            if ahead > SLACK {
                self.silence(ahead)?;
            }
            let known = if ahead < -SLACK {
                ahead.unsigned_abs() as usize
            } else {
                0
            };
            if known < resampled.samples() {
                self.append(&resampled, known)?;
                useful = true;
            }
        }
        Ok(useful)
    }

    /// Another source speaks from now on: nothing that the resampler has of the one before is heard in it.
    pub(crate) fn switch(&mut self) {
        (self.resampler, self.due) = (None, None);
    }

    /// Silence up to `time`, so that a part which ends there can be cut.
    pub(crate) fn fill(&mut self, time: MediaTime) -> Result<(), Error> {
        self.silence(time.to_ticks(SAMPLE_RATE) + ENCODER_DELAY - self.placed)
    }

    /// Whether every frame that starts before sample `end` is encoded.
    pub(crate) fn reaches(&self, end: i64) -> bool {
        self.encoded >= end
    }

    /// The frames that start before sample `end`.
    pub(crate) fn take(&mut self, end: i64) -> Vec<Packet> {
        let count = self
            .ready
            .partition_point(|packet| packet.pts().unwrap_or(0) < end);
        self.ready.drain(..count).collect()
    }

    fn append(&mut self, samples: &frame::Audio, skip: usize) -> Result<(), Error> {
        for (channel, waiting) in self.waiting.iter_mut().enumerate() {
            waiting.extend_from_slice(&samples.plane::<f32>(channel)[skip..]);
        }
        self.placed += (samples.samples() - skip) as i64;
        self.encode()
    }

    fn silence(&mut self, mut samples: i64) -> Result<(), Error> {
        while samples > 0 {
            let some = samples.min(i64::from(SAMPLE_RATE));
            for waiting in &mut self.waiting {
                waiting.resize(waiting.len() + some as usize, 0.0);
            }
            self.placed += some;
            samples -= some;
            self.encode()?;
        }
        Ok(())
    }

    fn encode(&mut self) -> Result<(), Error> {
        let whole = AAC_FRAME as usize;
        let mut done = 0;
        while self.waiting[0].len() - done >= whole {
            let mut samples = frame::Audio::new(
                format::Sample::F32(format::sample::Type::Planar),
                whole,
                ff::ChannelLayout::STEREO,
            );
            samples.set_rate(SAMPLE_RATE);
            samples.set_pts(Some(self.placed - (self.waiting[0].len() - done) as i64));
            for (channel, waiting) in self.waiting.iter().enumerate() {
                samples
                    .plane_mut::<f32>(channel)
                    .copy_from_slice(&waiting[done..done + whole]);
            }
            done += whole;
            self.encoder
                .send_frame(&samples)
                .map_err(failed("encoding sound"))?;
            self.collect()?;
        }
        for waiting in &mut self.waiting {
            waiting.drain(..done);
        }
        Ok(())
    }

    /// The encoder's first frame lies before sample 0: it only primes decoders, and no part has room for it.
    fn collect(&mut self) -> Result<(), Error> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {
                    let starts = packet.pts().unwrap_or(self.encoded);
                    if starts >= 0 {
                        self.encoded = starts + i64::from(AAC_FRAME);
                        self.ready.push_back(packet);
                    }
                }
                Err(why) if wants_more(&why) => return Ok(()),
                Err(why) => return Err(failed("taking encoded sound")(why)),
            }
        }
    }

    /// Nothing of samples that cannot be resampled: they are damaged, and silence will stand in for them.
    fn resampled(&mut self, samples: &mut Samples) -> Vec<Samples> {
        self.resample(samples).unwrap_or_else(|why| {
            self.resampler = None;
            self.spoilt += 1;
            if self.spoilt.is_power_of_two() {
                tracing::warn!(%why, spoilt = self.spoilt, "sound that nobody can play is left out");
            }
            Vec::new()
        })
    }

    fn resample(&mut self, samples: &mut Samples) -> Result<Vec<Samples>, Error> {
        if samples.channel_layout().is_empty() {
            samples.set_channel_layout(ff::ChannelLayout::default(i32::from(samples.channels())));
        }
        let kind = (
            samples.format(),
            samples.rate(),
            samples.channel_layout().bits(),
            samples.channels(),
        );
        if self
            .resampler
            .as_ref()
            .is_none_or(|(built_for, _)| *built_for != kind)
        {
            self.resampler = Some((kind, resampler(samples)?));
        }
        let Some((_, graph)) = &mut self.resampler else {
            return Ok(Vec::new());
        };
        let doing = || failed("resampling sound");
        graph
            .get("in")
            .ok_or(ff::Error::Bug)
            .map_err(doing())?
            .source()
            .add(samples)
            .map_err(doing())?;
        let mut sink = graph
            .get(SOUND.label)
            .ok_or(ff::Error::Bug)
            .map_err(doing())?;
        let mut resampled = Vec::new();
        loop {
            let mut samples = Samples::empty();
            match sink.sink().frame(&mut samples) {
                Ok(()) => resampled.push(samples),
                Err(why) if wants_more(&why) => return Ok(resampled),
                Err(why) => return Err(doing()(why)),
            }
        }
    }
}

fn resampler(samples: &Samples) -> Result<filter::Graph, Error> {
    let arguments = format!(
        "time_base=1/{SAMPLE_RATE}:sample_rate={}:sample_fmt={}:channel_layout=0x{:x}",
        samples.rate(),
        samples.format().name(),
        samples.channel_layout().bits()
    );
    let text = format!(
        "[in]aresample={SAMPLE_RATE}:{STRETCHING},aformat=sample_fmts=fltp:channel_layouts=stereo[out1]"
    );
    build(
        &text,
        &[End {
            label: "in",
            filter: "abuffer",
            arguments: &arguments,
        }],
        &[&SOUND],
    )
}

const CHANNELS: usize = 2;
/// Less than this, a millisecond, is rounding.
const SLACK: i64 = SAMPLE_RATE as i64 / 1000;
/// How far one frame of sound may be from where the one before it ended and still belong to it: 30 ms, well under what is seen
/// at the lips (ITU-R BT.1359-1: 45 ms early, 125 ms late), and well over the millisecond clocks of FLV and Matroska.
const LARGEST_STEP: i64 = 30 * SAMPLE_RATE as i64 / 1000;
/// Sound that strays by 5 ms is made longer or shorter by up to 0.5 % until it is right again, which is a twelfth of a semitone. Where
/// that is not enough, it is cut or filled up at 60 ms.
const STRETCHING: &str = "min_comp=0.005:max_soft_comp=0.005:comp_duration=1:min_hard_comp=0.06";
/// Farther ahead than this is another clock.
const FARTHEST: i64 = 10 * SAMPLE_RATE as i64;
/// A frame may leave the encoder only when two more were put in; one for what does not fill a frame.
const ENCODER_DELAY: i64 = 3 * AAC_FRAME as i64;
