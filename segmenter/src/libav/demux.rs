//! A file or URL, opened, read and decoded: its best video, its sound in every language, its subtitles. Damaged packets are counted and left out, everything else is an error.

use std::{
    collections::VecDeque,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ff::{Dictionary, codec, decoder, format, media};
use ffmpeg_next as ff;
use playlists::{Bitrate, MediaTime, rendition};

use super::{
    About, Coded, Event, Frame, Original, Packet, Picture, Recipe, Samples, failed, media_time,
    patience::Patience, raw, wants_more,
};
use crate::{
    captions::{Cue, Writing},
    clock::{self, Clock, Heard, Reading},
    coded::{Made, Sets, Voice},
    config::{self, Config, Passthrough},
    error::Error,
    gauge::Gauge,
    ladder::{self, Size},
    marks::{Kind, Note},
};

pub(crate) struct Demuxed {
    name: String,
    input: format::context::Input,
    video: Track<decoder::Video>,
    /// Shape of the pixels by the container's word, which counts more than the pictures' own, as in every player.
    shape: ff::Rational,
    /// The main one first.
    audio: Vec<Track<decoder::Audio>>,
    subtitles: Vec<Subtitles>,
    notes: Vec<Notes>,
    /// `None` for a recording, whose clock tells when it was made.
    clock: Option<Clock>,
    looped: bool,
    patience: Patience,
    ready: VecDeque<Event>,
    /// Packets left out because they were damaged, and how many of them in a row.
    damaged: u64,
    in_a_row: u32,
    pictures: u64,
    /// Time of the last key frame.
    key: Option<MediaTime>,
    /// Its pictures are passed on, too.
    original: Option<Sets>,
    /// Nothing is decoded that can be passed on; this is how the main track of sound is.
    undecoded: bool,
    voice: Option<Voice>,
    gauge: Arc<Gauge>,
}

/// A stream of text.
struct Subtitles {
    index: usize,
    base: ff::Rational,
    writing: Writing,
}

impl Subtitles {
    /// The cue that `packet` is; times are the input's. Without a time or a length there is none.
    fn cue(&self, packet: &Packet) -> Option<Cue> {
        let start = media_time(packet.pts()?, self.base);
        let length = Some(packet.duration()).filter(|length| *length > 0)?;
        let settings = packet
            .side_data()
            .find(|data| data.kind() == ff::packet::side_data::Type::WebVTTSettings);
        let settings = settings.map(|data| String::from_utf8_lossy(data.data()).into_owned());
        Some(Cue {
            start,
            end: start + media_time(length, self.base),
            settings: settings
                .unwrap_or_default()
                .replace(['\n', '\r', '\0'], " ")
                .trim()
                .to_owned(),
            text: self.writing.read(packet.data()?)?,
        })
    }
}

/// A stream of what is said beside sound and pictures.
struct Notes {
    index: usize,
    base: ff::Rational,
    kind: Kind,
}

impl Notes {
    /// `None` if it is of another kind.
    fn of(stream: &ff::Stream<'_>) -> Option<Self> {
        let kind = match stream.parameters().id() {
            codec::Id::SCTE_35 => Kind::Splice,
            codec::Id::TIMED_ID3 => Kind::Id3,
            _ => return None,
        };
        Some(Self {
            index: stream.index(),
            base: stream.time_base(),
            kind,
        })
    }
}

/// One elementary stream and the decoder for it.
struct Track<D> {
    index: usize,
    base: ff::Rational,
    decoder: D,
    /// Time of the next frame, should it not know its own.
    next: MediaTime,
}

impl Demuxed {
    pub(crate) fn open(config: &Config, gauge: &Arc<Gauge>) -> Result<(Self, About), Error> {
        let name = config.input.clone();
        let is_file = matches!(config.source(), config::Source::File(_));
        let patience = Patience::new(Duration::from_secs(config.timeout));
        let input = gauge.waiting(|| open_input(config, is_file, &patience))?;
        let is_regular = is_file && Path::new(&name).is_file();
        let has_end = is_regular || input.duration() > 0;

        let streams = input.streams();
        let Some(stream) = streams
            .best(media::Type::Video)
            .filter(|stream| !is_cover(stream))
        else {
            return Err(Error::NoVideo {
                input: name,
                carries: carries(&input),
            });
        };
        let decoder = open_pictures(&name, &stream)?;
        let rate = rate(&stream);
        let turns = raw::turns(&stream);
        let picture = format!(
            "{} {}x{} {rate:.3} fps",
            decoder.id().name(),
            decoder.width(),
            decoder.height()
        );
        let video = Track::new(&stream, decoder);
        let shape = raw::shape(&stream);

        let best = input.streams().best(media::Type::Audio);
        let best = best.map(|stream| stream.index());
        let mut sounds: Vec<_> = streams_of(&input, media::Type::Audio).collect();
        sounds.sort_by_key(|stream| Some(stream.index()) != best);
        let (mut audio, mut tracks) = (Vec::new(), Vec::new());
        for stream in sounds.into_iter().take(config.audio_tracks) {
            if let Some(track) = open_sound(&name, &stream) {
                let fallback = format!("Audio {}", tracks.len() + 1);
                tracks.push(track_of(&stream, &fallback));
                audio.push(track);
            }
        }
        let (subtitles, texts) = open_subtitles(&name, &input);
        let notes: Vec<_> = input
            .streams()
            .filter_map(|stream| Notes::of(&stream))
            .collect();
        let sound = match &audio[..] {
            [] => "no sound".to_owned(),
            tracks => {
                let each = tracks.iter().map(|track| {
                    let decoder = &track.decoder;
                    format!(
                        "{} {} Hz, {} channels",
                        decoder.id().name(),
                        decoder.rate(),
                        decoder.channels()
                    )
                });
                each.collect::<Vec<_>>().join(", ")
            }
        };
        let sound = match subtitles.len() {
            0 => sound,
            count => format!("{sound}, subtitles: {count}"),
        };
        let seconds = if is_file || has_end {
            PATIENCE_FILE
        } else {
            PATIENCE_LIVE
        };
        let mut original = config.passthrough.map(|_| {
            let stream = input.stream(video.index);
            let stream = stream.ok_or_else(|| "it is gone".to_owned())?;
            original(&stream, &video.decoder, shape, turns, rate)
        });
        let undecoded = config.passthrough == Some(Passthrough::Only);
        let (mut sets, mut voice) = (None, None);
        if let Some(Ok(original)) = &mut original {
            let main = audio.first().filter(|_| undecoded);
            original.voice = main.and_then(|track| voice_of(&name, &input, track));
            sets = Some(original.sets.clone());
            voice = original.voice.as_ref().map(|(voice, _)| voice.clone());
        }
        let about = About {
            description: format!("{name}: {}, {picture}, {sound}", input.format().name()),
            rate,
            sounds: tracks,
            subtitles: texts,
            unpaced: is_file || has_end,
            has_end,
            patience: MediaTime::from_seconds(seconds),
            turns,
            original,
        };
        let demuxed = Self {
            name,
            input,
            video,
            shape,
            audio,
            subtitles,
            notes,
            clock: (!has_end).then(Clock::default),
            looped: config.looped,
            patience,
            ready: VecDeque::new(),
            damaged: 0,
            in_a_row: 0,
            pictures: 0,
            key: None,
            original: sets,
            undecoded,
            voice,
            gauge: Arc::clone(gauge),
        };
        Ok((demuxed, about))
    }

    pub(crate) fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let mut packet = Packet::empty();
            self.patience.start();
            let read = self.gauge.waiting(|| packet.read(&mut self.input));
            match read {
                Ok(()) => self.decode(packet)?,
                Err(ff::Error::Eof) => return self.at_the_end(),
                Err(ff::Error::InvalidData) => self.damage("packet")?,
                Err(ff::Error::Other { errno }) if errno == ff::util::error::EAGAIN => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                // The only one who breaks off a read is our own patience.
                Err(ff::Error::Exit) => {
                    return Err(Error::Silent {
                        input: self.name.clone(),
                        seconds: self.patience.limit.as_secs(),
                    });
                }
                Err(why) => {
                    return Err(Error::Read {
                        input: self.name.clone(),
                        why: why.to_string(),
                    });
                }
            }
        }
    }

    fn decode(&mut self, packet: Packet) -> Result<(), Error> {
        let index = packet.stream();
        self.gauge.octets(packet.size());
        if index == self.video.index {
            self.count_key(&packet);
            self.read_clock(&packet);
            let passed = self.undecoded && self.original.is_some();
            if passed {
                self.pictures += 1;
            } else if self.video.decoder.send_packet(&packet).is_err() {
                self.damage("picture")?;
            }
            self.pass_on(packet);
            if !passed {
                self.drain_video();
            }
        } else if let Some(place) = self.audio.iter().position(|track| track.index == index) {
            if self.voice.is_some() && place == 0 {
                self.pass_sound_on(packet);
                return Ok(());
            }
            if self.audio[place].decoder.send_packet(&packet).is_err() {
                self.damage("sound frame")?;
            }
            self.drain_audio(place);
        } else if let Some(place) = self.subtitles.iter().position(|text| text.index == index) {
            let cue = self.subtitles[place].cue(&packet);
            self.ready
                .extend(cue.map(|cue| Event::Cue { track: place, cue }));
        } else if let Some(notes) = self.notes.iter().find(|notes| notes.index == index) {
            let now = || self.video.next;
            let time = packet
                .pts()
                .map_or_else(now, |pts| media_time(pts, notes.base));
            let octets = packet.data().unwrap_or_default().to_vec();
            let kind = notes.kind;
            self.ready
                .push_back(Event::Note(Note { kind, time, octets }));
        }
        Ok(())
    }

    fn count_key(&mut self, packet: &Packet) {
        let time = packet.pts().or(packet.dts()).filter(|_| packet.is_key());
        if let Some(time) = time.map(|ticks| media_time(ticks, self.video.base)) {
            let last = self.key.replace(time);
            let since = last.map(|last| (time - last).duration());
            self.gauge.key(since.filter(|since| !since.is_zero()));
        }
    }

    /// What is damaged, or has no time, is left out: whoever decodes it sees that from what refers to it.
    fn pass_on(&mut self, packet: Packet) {
        let Some(sets) = &self.original else {
            return;
        };
        let time = |ticks: Option<i64>| ticks.map(|ticks| media_time(ticks, self.video.base));
        let (Some(shown), decoded) = (time(packet.pts().or(packet.dts())), time(packet.dts()))
        else {
            return;
        };
        match sets.made(packet.data().unwrap_or_default()) {
            Ok(Made { key, octets }) => self.ready.push_back(Event::Coded(Coded {
                packet: octets.map_or(packet, |octets| Packet::copy(&octets)),
                key,
                shown,
                decoded,
            })),
            Err(why) => tracing::debug!(input = %self.name, why, "not passed on"),
        }
    }

    fn pass_sound_on(&mut self, packet: Packet) {
        let (Some(voice), Some(track)) = (&self.voice, self.audio.first()) else {
            return;
        };
        let octets = voice.frame(packet.data().unwrap_or_default());
        let Some(ticks) = packet.pts().or(packet.dts()).filter(|_| !octets.is_empty()) else {
            return;
        };
        let packet = match octets.len() == packet.size() {
            true => packet,
            false => Packet::copy(octets),
        };
        let time = media_time(ticks, track.base);
        self.ready.push_back(Event::Frame(Frame { packet, time }));
    }

    /// Where the packet says when it was made (of RTP: by its sender's reports).
    fn read_clock(&mut self, packet: &Packet) {
        if self.clock.is_none() {
            return;
        }
        let mut all = packet.side_data();
        let data = all.find(|data| data.kind() == ff::packet::side_data::Type::PRFT);
        // An AVProducerReferenceTime begins with its wallclock.
        let utc = data.and_then(|data| data.data().first_chunk().copied());
        if let (Some(utc), Some(pts)) = (utc.map(i64::from_ne_bytes), packet.pts()) {
            self.hear(media_time(pts, self.video.base), utc);
        }
    }

    /// Before the first picture nobody could make anything of it.
    fn hear(&mut self, time: MediaTime, utc: i64) {
        let Some(clock) = self.clock.as_mut().filter(|_| self.pictures > 0) else {
            return;
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        match clock.read(Reading { time, utc }, now.as_micros() as i64) {
            Heard::News(reading) => self.ready.push_back(Event::Clock(reading)),
            Heard::Nothing => {}
            Heard::Absurd { days } => {
                tracing::warn!(input = %self.name, days, "its clock is that far off; dates are by this machine's clock");
            }
        }
    }

    fn drain_video(&mut self) {
        loop {
            let mut picture = Picture::empty();
            match self.video.decoder.receive_frame(&mut picture) {
                Ok(()) => {
                    if self.shape.numerator() > 0 {
                        raw::set_shape(&mut picture, self.shape);
                    }
                    let time = self.video.time(&picture);
                    self.video.next = time + MediaTime::from_ticks(1, 25);
                    (self.in_a_row, self.pictures) = (0, self.pictures + 1);
                    let utc = raw::user_data(&picture, clock::in_user_data);
                    self.ready.push_back(Event::Picture(picture, time));
                    if let Some(utc) = utc {
                        self.hear(time, utc);
                    }
                }
                Err(why) if wants_more(&why) => return,
                Err(_) => self.damaged += 1,
            }
        }
    }

    fn drain_audio(&mut self, place: usize) {
        let track = &mut self.audio[place];
        loop {
            let mut samples = Samples::empty();
            match track.decoder.receive_frame(&mut samples) {
                Ok(()) => {
                    let time = track.time(&samples);
                    track.next =
                        time + MediaTime::from_ticks(samples.samples() as i64, samples.rate());
                    self.ready.push_back(Event::Sound {
                        track: place,
                        samples,
                        time,
                    });
                }
                Err(why) if wants_more(&why) => return,
                Err(_) => self.damaged += 1,
            }
        }
    }

    /// What the decoders still hold, then the end, or the start again.
    fn at_the_end(&mut self) -> Result<Event, Error> {
        // A decoder that refuses to drain has nothing left, which is what was asked.
        let _ = self.video.decoder.send_eof();
        self.drain_video();
        for place in 0..self.audio.len() {
            let _ = self.audio[place].decoder.send_eof();
            self.drain_audio(place);
        }
        if self.pictures == 0 {
            let codec = self.video.decoder.id().name().to_owned();
            return Err(Error::NoPicture {
                input: self.name.clone(),
                codec,
            });
        }
        if self.looped {
            self.patience.start();
            self.input
                .seek(self.start(), ..)
                .map_err(|why| Error::Read {
                    input: self.name.clone(),
                    why: format!("it cannot start over: {why}"),
                })?;
            self.video.decoder.flush();
            for track in &mut self.audio {
                track.decoder.flush();
            }
            self.pictures = 0;
            self.ready.push_back(Event::Restart);
        } else {
            self.ready.push_back(Event::End);
        }
        self.ready
            .pop_front()
            .ok_or_else(|| failed("ending the input")(ff::Error::Bug))
    }

    /// Where the pictures start, in microseconds, as libav seeks.
    fn start(&self) -> i64 {
        let start = self
            .input
            .stream(self.video.index)
            .map_or(0, |stream| stream.start_time());
        if start == ff::ffi::AV_NOPTS_VALUE {
            return 0;
        }
        media_time(start, self.video.base).to_ticks(1_000_000)
    }

    /// Leaves out something damaged. Nothing but damage, for long, is no input.
    fn damage(&mut self, what: &'static str) -> Result<(), Error> {
        self.damaged += 1;
        self.in_a_row += 1;
        if self.in_a_row >= HOPELESS {
            let why = format!(
                "{} damaged packets and not one picture between them",
                self.in_a_row
            );
            return Err(Error::Read {
                input: self.name.clone(),
                why,
            });
        }
        if self.damaged.is_power_of_two() {
            tracing::warn!(input = %self.name, what, damaged = self.damaged, "left out what was damaged");
        }
        Ok(())
    }
}

impl<D> Track<D> {
    fn new(stream: &ff::Stream<'_>, decoder: D) -> Self {
        Self {
            index: stream.index(),
            base: stream.time_base(),
            decoder,
            next: MediaTime::ZERO,
        }
    }

    fn time(&self, frame: &ff::Frame) -> MediaTime {
        frame
            .timestamp()
            .or(frame.pts())
            .map_or(self.next, |ticks| media_time(ticks, self.base))
    }
}

fn open_pictures(name: &str, stream: &ff::Stream<'_>) -> Result<decoder::Video, Error> {
    let refused = |why: ff::Error| Error::Open {
        input: name.to_owned(),
        why: format!("its video cannot be decoded: {why}"),
        fatal: true,
    };
    let mut context = codec::Context::from_parameters(stream.parameters()).map_err(refused)?;
    raw::set_threads(&mut context, DECODER_THREADS);
    context.decoder().video().map_err(refused)
}

/// How a stream's pictures can be passed on as they are, or why they cannot.
fn original(
    stream: &ff::Stream<'_>,
    decoder: &decoder::Video,
    shape: ff::Rational,
    turns: u8,
    rate: f64,
) -> Result<Original, String> {
    let parameters = stream.parameters();
    if parameters.id() != codec::Id::H264 {
        return Err(format!("they are {}, not H.264", parameters.id().name()));
    }
    if decoder.format() != ff::format::Pixel::YUV420P {
        return Err(format!(
            "they are {:?}, not 8 bits of 4:2:0 in the range of television",
            decoder.format()
        ));
    }
    let square =
        |shape: ff::Rational| shape.numerator() <= 0 || shape.numerator() == shape.denominator();
    if !square(shape) || !square(decoder.aspect_ratio()) {
        return Err("their pixels are not square".into());
    }
    if turns != 0 {
        return Err("they have to be turned".into());
    }
    let most = ladder::FASTEST;
    if rate > f64::from(most) * 1.01 {
        return Err(format!("{rate:.0} of them a second are more than {most}"));
    }
    let sets = Sets::read(&raw::said(&parameters))?;
    let sps = sets.first().ok_or("their parameter sets cannot be read")?;
    if !sps.frames_only {
        return Err("they may be interlaced".into());
    }
    let bits = u64::try_from(parameters.bit_rate()).unwrap_or(0);
    Ok(Original {
        sets,
        size: Size {
            width: sps.width,
            height: sps.height,
        },
        rate: (bits > 0).then(|| Bitrate::from_bps(bits)),
        recipe: Recipe(parameters.clone()),
        voice: None,
    })
}

/// How a track of sound is passed on; `None` if it has to be encoded anew.
fn voice_of(
    name: &str,
    input: &format::context::Input,
    track: &Track<decoder::Audio>,
) -> Option<(Voice, Recipe)> {
    let stream = input.stream(track.index)?;
    let parameters = stream.parameters();
    let voice = match parameters.id() {
        codec::Id::AAC => Voice::read(
            &raw::said(&parameters),
            track.decoder.rate(),
            track.decoder.channels(),
        ),
        other => Err(format!("it is {}", other.name())),
    };
    match voice {
        Ok(voice) => Some((voice, Recipe(parameters.clone()))),
        Err(why) => {
            tracing::info!(input = name, why, "its sound is encoded anew, as AAC");
            None
        }
    }
}

/// Pictures per second; 0 where the container does not know.
fn rate(stream: &ff::Stream<'_>) -> f64 {
    let rates = [stream.avg_frame_rate(), stream.rate()].map(f64::from);
    rates
        .into_iter()
        .find(|rate| rate.is_finite() && *rate > 0.0)
        .unwrap_or(0.0)
}

/// Sound that cannot be decoded is no sound; the pictures are still worth showing.
fn open_sound(name: &str, stream: &ff::Stream<'_>) -> Option<Track<decoder::Audio>> {
    let opened = codec::Context::from_parameters(stream.parameters())
        .and_then(|context| context.decoder().audio());
    match opened {
        Ok(decoder) => Some(Track::new(stream, decoder)),
        Err(why) => {
            tracing::warn!(input = name, %why, "its sound cannot be decoded; it goes out silent");
            None
        }
    }
}

fn streams_of(
    input: &format::context::Input,
    kind: media::Type,
) -> impl Iterator<Item = ff::Stream<'_>> {
    input
        .streams()
        .filter(move |stream| stream.parameters().medium() == kind)
}

/// What the container says of a stream.
fn track_of(stream: &ff::Stream<'_>, fallback: &str) -> rendition::Track {
    let said = stream.metadata();
    rendition::Track::new(said.get("title"), said.get("language"), fallback)
}

/// The subtitles that are text, and what they are called. Pictures of text are named and left out.
fn open_subtitles(
    name: &str,
    input: &format::context::Input,
) -> (Vec<Subtitles>, Vec<rendition::Track>) {
    let (mut subtitles, mut tracks) = (Vec::new(), Vec::new());
    for stream in streams_of(input, media::Type::Subtitle).take(MOST_SUBTITLES) {
        let id = stream.parameters().id();
        let writing = match id {
            codec::Id::WEBVTT => Writing::WebVtt,
            codec::Id::SUBRIP | codec::Id::SRT | codec::Id::TEXT => Writing::SubRip,
            codec::Id::MOV_TEXT => Writing::Timed,
            codec::Id::ASS | codec::Id::SSA => Writing::Ass,
            _ => {
                let codec = id.name();
                tracing::warn!(input = name, codec, "its subtitles are not text; left out");
                continue;
            }
        };
        tracks.push(track_of(
            &stream,
            &format!("Subtitles {}", tracks.len() + 1),
        ));
        subtitles.push(Subtitles {
            index: stream.index(),
            base: stream.time_base(),
            writing,
        });
    }
    (subtitles, tracks)
}

fn open_input(
    config: &Config,
    is_file: bool,
    patience: &Patience,
) -> Result<format::context::Input, Error> {
    let name = &config.input;
    let mut options = Dictionary::new();
    patience.start();
    if !is_file {
        options.set("analyzeduration", "2000000");
    }
    if name.starts_with("rtsp://") {
        // One connection, which gets through where ports of UDP do not.
        options.set("rtsp_flags", "prefer_tcp");
    }
    // A name such as "12:30.mp4" is a file's, not a protocol's.
    let path = if is_file {
        format!("file:{name}")
    } else {
        name.clone()
    };
    let over = patience.clone();
    let opened = format::input_with_interrupt_and_dictionary(
        Path::new(&path),
        move || over.is_over(),
        options,
    );
    opened.map_err(|why| {
        if patience.is_over() {
            return Error::Silent {
                input: name.clone(),
                seconds: patience.limit.as_secs(),
            };
        }
        let fatal =
            is_file || matches!(why, ff::Error::ProtocolNotFound | ff::Error::OptionNotFound);
        Error::Open {
            input: name.clone(),
            why: reason(why).to_lowercase(),
            fatal,
        }
    })
}

fn reason(why: ff::Error) -> String {
    match why {
        ff::Error::InvalidData => {
            "it is not in any format that libav knows, or it is damaged".into()
        }
        why => why.to_string(),
    }
}

fn carries(input: &format::context::Input) -> String {
    let streams: Vec<_> = input
        .streams()
        .map(|stream| match stream.parameters().medium() {
            media::Type::Video => "a cover picture".to_owned(),
            media::Type::Audio => format!("audio ({})", stream.parameters().id().name()),
            media::Type::Subtitle => "subtitles".into(),
            _ => "data".into(),
        })
        .collect();
    if streams.is_empty() {
        "nothing".into()
    } else {
        streams.join(", ")
    }
}

/// A still picture that a sound file carries.
fn is_cover(stream: &ff::Stream<'_>) -> bool {
    stream
        .disposition()
        .contains(format::stream::Disposition::ATTACHED_PIC)
}

/// How many seconds sound and pictures of a file may lie apart, and those of a live input, where waiting is delay.
const PATIENCE_FILE: f64 = 3.0;
const PATIENCE_LIVE: f64 = 1.5;
const DECODER_THREADS: usize = 2;
/// More subtitles than this nobody chooses from.
const MOST_SUBTITLES: usize = 8;
/// Damaged packets in a row after which an input is given up.
const HOPELESS: u32 = 1000;
