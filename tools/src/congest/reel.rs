//! A stream that was encoded once, to be played as often as it takes: what a segmenter wrote to its stdout, cut to whole
//! segments, and moved along the timeline as if it had just been made.
//!
//! A value: when a part is due, and who takes it, is the program `replay`'s business.

use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use media::{boxes::boxes, init::Init};
use playlists::MediaTime;
use segmenter::wire::{Frame, Hello, Part};

/// At least one whole segment of a ladder without renditions beside it.
#[derive(Clone, Debug)]
pub struct Reel {
    pub hello: Hello,
    pub init: Bytes,
    /// All shares of all parts, in the order in which they were written.
    shares: Vec<Part>,
    /// Ticks per second of each track, by its id.
    clocks: Vec<(u32, u32)>,
    segments: u64,
}

impl Reel {
    /// Reads what a segmenter wrote; a last segment that is shorter than the others is left out.
    pub fn read(octets: &[u8]) -> anyhow::Result<Self> {
        let mut input = BytesMut::from(octets);
        let (mut hello, mut init, mut shares) = (None, None, Vec::new());
        while let Some(frame) = Frame::decode(&mut input)? {
            match frame {
                Frame::Hello(said) => hello = Some(said),
                Frame::Init(media) => init = init.or(Some(media)),
                Frame::Part(part) => shares.push(part),
                Frame::End(end) => {
                    if let Some(error) = end.error {
                        bail!("the segmenter failed: {error}");
                    }
                }
                Frame::Still { .. }
                | Frame::Captions(_)
                | Frame::Mark(_)
                | Frame::Clock(_)
                | Frame::Health(_) => {}
            }
        }
        let hello: Hello = hello.context("it does not say what it holds")?;
        let init = init.context("it has no init section")?;
        ensure!(
            hello.renditions.others.is_empty(),
            "it has renditions beside its ladder, and only the ladder can be replayed"
        );
        let rungs = hello.ladder.rungs().len() as i64;
        let whole = |segment: u64| {
            let of_it = shares.iter().filter(|part| part.segment == segment);
            let length = of_it.clone().map(|part| part.duration.flicks()).sum();
            MediaTime::from_flicks(length) == hello.segment * rungs
                && of_it.clone().any(|part| part.last)
        };
        let last = shares.last().map_or(0, |part| part.segment);
        let segments = (0..=last).take_while(|segment| whole(*segment)).count() as u64;
        ensure!(segments > 0, "it has no whole segment");
        shares.retain(|part| part.segment < segments);
        let clocks = Init::parse(&init)?.tracks;
        Ok(Self {
            clocks: clocks
                .iter()
                .map(|track| (track.id, track.timescale))
                .collect(),
            hello,
            init,
            shares,
            segments,
        })
    }

    /// How long it lasts.
    pub fn length(&self) -> MediaTime {
        self.hello.segment * self.segments as i64
    }

    /// The shares of an endless run that begins at `origin`, in order.
    pub fn from(&self, origin: MediaTime) -> impl Iterator<Item = anyhow::Result<Part>> {
        let begin = self.shares[0].start;
        let laps = (0u64..).flat_map(|lap| self.shares.iter().map(move |part| (lap, part)));
        laps.map(move |(lap, part)| {
            let later = origin - begin + self.length() * lap as i64;
            Ok(Part {
                segment: part.segment + lap * self.segments,
                start: part.start + later,
                media: self.moved(&part.media, later)?,
                ..part.clone()
            })
        })
    }

    /// `media` with its decode times `later` (`tfdt`, ISO/IEC 14496-12 section 8.8.12).
    fn moved(&self, media: &Bytes, later: MediaTime) -> anyhow::Result<Bytes> {
        let mut moved = BytesMut::from(&media[..]);
        for moof in boxes(media) {
            let moof = moof?;
            if &moof.kind.0 != b"moof" {
                continue;
            }
            for traf in boxes(moof.content) {
                let traf = traf?;
                if &traf.kind.0 != b"traf" {
                    continue;
                }
                let at = moof.content_range().start + traf.content_range().start;
                let (mut track, mut time) = (None, None);
                for found in boxes(traf.content) {
                    let found = found?;
                    match &found.kind.0 {
                        b"tfhd" => track = found.content.get(4..8).map(number),
                        b"tfdt" if found.content.first() == Some(&1) => {
                            time = Some(at + found.content_range().start + 4);
                        }
                        _ => {}
                    }
                }
                let clock = self.clocks.iter().find(|(id, _)| Some(*id) == track);
                let (Some((_, clock)), Some(at)) = (clock, time) else {
                    bail!("a fragment says of no track that is known when it is decoded");
                };
                let field = moved
                    .get_mut(at..at + 8)
                    .context("a tfdt that is cut off")?;
                let ticks = i64::from_be_bytes(field.try_into()?) + later.to_ticks(*clock);
                field.copy_from_slice(&ticks.to_be_bytes());
            }
        }
        Ok(moved.freeze())
    }
}

fn number(octets: &[u8]) -> u32 {
    octets
        .iter()
        .fold(0, |number, octet| number << 8 | u32::from(*octet))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use media::fragment::fragments;
    use playlists::{Bitrate, Ladder, Renditions, Rung};
    use segmenter::wire::VERSION;

    use super::*;

    const INIT: &[u8] = include_bytes!("../../../media/tests/data/init.mp4");
    const MEDIA: &[u8] = include_bytes!("../../../media/tests/data/high.m4s");

    /// What a segmenter writes of one rung: `lengths` segments, in seconds.
    fn written(lengths: &[i64]) -> anyhow::Result<Vec<u8>> {
        let second = MediaTime::from_flicks(MediaTime::PER_SECOND);
        let rung = Rung {
            name: "high".to_owned().try_into()?,
            width: 320,
            height: 180,
            bandwidth: Bitrate::from_kbps(500),
            average: Bitrate::from_kbps(400),
            codecs: "avc1.4D400D,mp4a.40.2".into(),
            frame_rate: 30.0,
            score: None,
        };
        let mut frames = vec![
            Frame::Hello(Hello {
                version: VERSION,
                ladder: Ladder::new(vec![rung])?,
                renditions: Renditions::default(),
                segment: second * 2,
                shortest: second * 2,
                part: second * 2,
                input: String::new(),
                likeness: String::new(),
            }),
            Frame::Init(Bytes::from_static(INIT)),
        ];
        for (segment, length) in lengths.iter().enumerate() {
            frames.push(Frame::Part(Part {
                rung: 0,
                segment: segment as u64,
                index: 0,
                independent: true,
                last: true,
                start: second * (10 + 2 * segment as i64),
                duration: second * *length,
                media: Bytes::from_static(MEDIA),
            }));
        }
        let mut octets = BytesMut::new();
        for frame in frames {
            frame.encode(&mut octets)?;
        }
        Ok(octets.to_vec())
    }

    #[test]
    fn a_lap_later_the_same_media_is_as_much_later() -> anyhow::Result<()> {
        let reel = Reel::read(&written(&[2, 2, 1])?)?;
        assert_eq!(
            reel.length().seconds(),
            4.0,
            "the third is no whole segment"
        );
        let origin = MediaTime::from_seconds(100.0);
        let parts = reel
            .from(origin)
            .take(4)
            .collect::<anyhow::Result<Vec<_>>>()?;
        let numbers: Vec<_> = parts.iter().map(|part| part.segment).collect();
        let starts: Vec<_> = parts.iter().map(|part| part.start.seconds()).collect();
        assert_eq!(
            (numbers, starts),
            (vec![0, 1, 2, 3], vec![100.0, 102.0, 104.0, 106.0])
        );

        let init = Init::parse(INIT)?;
        let times = |media: &[u8]| -> anyhow::Result<Vec<f64>> {
            let fragments = fragments(media, &init)?;
            let of = |id| init.track(id).map_or(1, |track| track.timescale);
            let first = fragments
                .iter()
                .flat_map(|fragment| &fragment.runs)
                .map(|track| track.start as f64 / f64::from(of(track.track)));
            Ok(first.collect())
        };
        let moved = times(&parts[2].media)?
            .into_iter()
            .zip(times(MEDIA)?)
            .map(|(new, old)| new - old);
        for later in moved {
            assert!(
                (later - 94.0).abs() < 1e-4,
                "moved by {later} s: 90 to the origin, and a lap of 4"
            );
        }
        Ok(())
    }

    #[test]
    fn what_is_no_stream_is_refused() -> anyhow::Result<()> {
        for (octets, says) in [
            (vec![], "what it holds"),
            (written(&[1])?, "no whole segment"),
        ] {
            let why = Reel::read(&octets).unwrap_err().to_string();
            assert!(why.contains(says), "{why}");
        }
        Ok(())
    }
}
