//! Deliveries that are broken off, since what is left of them would come too late: when, and to whom. Whether one
//! is lost is `adaptation`'s to say; here is what it is told, and what is done then.
//!
//! A browser's player loads a segment in one piece. When its connection ends before the last octet, it throws away
//! what it has and asks again for all of it (hls.js after a second, unless it said at its join that it does so
//! sooner), and is given what its path carries now. Other players keep what they have and ask for the rest, or end
//! (VLC), so their deliveries are let go on.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use adaptation::{
    Level,
    abandon::{self, Instead, LOOKS_BACK, Outstanding},
};
use playlists::{Bitrate, Segment};

use super::{
    Origin,
    asking::Brought,
    meter::{Meter, Progress},
    profile::Choosing,
    seat::Seat,
};

/// What a viewer would be given were its delivery of `segment` in `rung`, or of a part of it, broken off; `None` if
/// that is not to happen.
pub(super) fn instead(
    origin: &Origin,
    seat: &Seat,
    segment: &Segment,
    rung: usize,
    brought: &Brought,
) -> Option<Instead> {
    let profile = &seat.viewer.profile;
    let may = origin.terms.abandon && brought.whole && rung > 0;
    let chosen = profile.choosing == Choosing::AtGet && profile.rung.is_none();
    if !(may && chosen) {
        return None;
    }
    let after = Duration::from_millis(u64::from(profile.asks_again?) * 100);
    let (octets, patience) = match brought.part {
        None if segment.complete => (segment.octets(0), Duration::MAX),
        None => return None,
        // What goes on from the part before could not be shown after another rung.
        Some(part) => {
            let part = segment.parts.get(part).filter(|part| part.open > 0)?;
            let octets = part.media.first()?.len() as u64;
            (octets, abandon::patience(part.duration.duration()))
        }
    };
    Some(Instead {
        octets,
        after,
        patience,
    })
}

/// How one delivery went lately.
#[derive(Debug)]
pub(super) struct Abandoning {
    instead: Instead,
    /// Octets acknowledged by then; the oldest is about [`LOOKS_BACK`] ago.
    looks: VecDeque<(Instant, u64)>,
}

impl Abandoning {
    pub(super) fn new(instead: Instead, now: Instant) -> Self {
        Self {
            instead,
            looks: VecDeque::from([(now, 0)]),
        }
    }

    /// Breaks the delivery off if it is lost to a viewer who has so much ahead.
    pub(super) fn look(
        &mut self,
        meter: &Meter,
        progress: &Progress,
        level: impl FnOnce() -> Option<Level>,
        now: Instant,
    ) {
        self.looks.push_back((now, progress.acked));
        let old = |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) >= LOOKS_BACK;
        while self.looks.get(1).is_some_and(old) {
            self.looks.pop_front();
        }
        let Some((then, before)) = self.looks.front().copied() else {
            return;
        };
        let elapsed = now.saturating_duration_since(then);
        if elapsed < meter.telling() || !meter.tells() || !meter.is_held_up(progress) {
            return;
        }
        let octets = progress.acked.saturating_sub(before);
        let outstanding = Outstanding {
            left: meter.left(),
            stuck: 0,
            pace: Bitrate::of(octets, elapsed),
            rtt: progress.min_rtt,
        };
        // Nobody's buffer is asked for unless it would matter.
        let empty = Level {
            media: Duration::ZERO,
            playing: false,
        };
        if !outstanding.is_lost(empty, self.instead) {
            return;
        }
        if level().is_some_and(|level| outstanding.is_lost(level, self.instead)) {
            tracing::debug!(?outstanding, instead = ?self.instead, "delivery broken off");
            meter.abandon(progress, octets, elapsed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use playlists::{Epoch, Head, Init, MediaTime, Part, WallTime};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::{super::meter::Span, *};
    use crate::{
        net::{Peer, socket::Stream},
        origin::Terms,
        store::Store,
    };

    const OCTETS: usize = 2_000_000;
    const AHEAD: Level = Level {
        media: Duration::from_secs(5),
        playing: true,
    };

    /// A delivery of a megabyte or two that goes at so many kbit/s.
    async fn under_way(kbps: u64) -> (Stream, TcpStream, Arc<Meter>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reader = TcpStream::connect(listener.local_addr().unwrap());
        let (reader, accepted) = tokio::join!(reader, listener.accept());
        let (stream, address) = accepted.unwrap();
        let peer = Peer {
            address,
            direct: true,
            local: true,
        };
        let stream = Stream::new(stream, peer, Duration::from_secs(10));
        let connection = stream.connection().clone();
        connection.pace(Some(Bitrate::from_kbps(kbps)));
        let span = Span {
            number: 7,
            part: None,
            begins: MediaTime::ZERO,
            media: MediaTime::from_seconds(2.0),
            rung: None,
        };
        let meter = Meter::begin(connection, OCTETS as u64, span, Instant::now());
        (stream, reader.unwrap(), Arc::new(meter))
    }

    /// What the reader gets, looked at as it goes for as long as it takes.
    async fn read(kbps: u64) -> std::io::Result<usize> {
        let (mut stream, mut reader, meter) = under_way(kbps).await;
        let instead = Instead {
            octets: 10_000,
            after: Duration::from_secs(1),
            patience: Duration::MAX,
        };
        let serving = tokio::spawn(async move {
            let mut abandoning = Abandoning::new(instead, Instant::now());
            let looking = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let now = Instant::now();
                    let progress = meter.sample(now);
                    if progress.acked == OCTETS as u64 || meter.was_abandoned() {
                        return;
                    }
                    abandoning.look(&meter, &progress, || Some(AHEAD), now);
                }
            };
            // The stream stays until then: what the kernel has taken of it is not yet delivered.
            let octets = vec![0; OCTETS];
            let (_, ()) = tokio::join!(stream.write_all(&octets), looking);
        });
        let mut all = Vec::new();
        let done = tokio::time::timeout(Duration::from_secs(30), reader.read_to_end(&mut all));
        let done = done.await.expect("it ends, one way or the other");
        serving.await.unwrap();
        done
    }

    fn segment() -> Segment {
        let init = Arc::new(Init {
            epoch: Epoch(7),
            media: Bytes::new(),
            renditions: Vec::new(),
        });
        let mut segment = Segment::new(Head {
            number: 7,
            epoch: Epoch(7),
            init,
            discontinuity: false,
            timeline: 0,
            date_time: WallTime::from_millis(0),
        });
        for open in [2, 1, 0] {
            segment.push(Part {
                duration: MediaTime::from_seconds(0.5),
                open,
                media: vec![vec![0; 1_000].into(), vec![0; 9_000].into()],
                renditions: Vec::new(),
            });
        }
        segment
    }

    #[test]
    fn a_part_is_broken_off_only_where_another_rung_can_be_begun() {
        let terms = Terms {
            abandon: true,
            ..Terms::default()
        };
        let origin = Origin::new("node".into(), Store::default(), terms);
        let seat = |viewer: &str| Seat {
            stream: "demo".parse().unwrap(),
            viewer: viewer.parse().unwrap(),
        };
        let (browser, other) = ("00000000000a11ce.paris.g", "00000000000a11ce.paris");
        let mut segment = segment();
        let part = Some((1_000, Duration::from_secs(5)));
        let of = |segment: &Segment, viewer, rung, part, whole| {
            let brought = Brought {
                part,
                whole,
                ..Brought::default()
            };
            let instead = instead(&origin, &seat(viewer), segment, rung, &brought);
            instead.map(|instead| (instead.octets, instead.patience))
        };
        assert_eq!(of(&segment, browser, 1, Some(0), true), part);
        assert_eq!(of(&segment, browser, 1, Some(1), true), part);
        assert_eq!(of(&segment, browser, 1, Some(2), true), None, "it goes on");
        assert_eq!(
            of(&segment, browser, 0, Some(1), true),
            None,
            "the cheapest"
        );
        assert_eq!(of(&segment, browser, 1, Some(1), false), None, "a range");
        assert_eq!(of(&segment, other, 1, Some(1), true), None);
        assert_eq!(of(&segment, browser, 1, None, true), None, "it is made yet");
        segment.complete = true;
        assert_eq!(
            of(&segment, browser, 1, None, true),
            Some((3_000, Duration::MAX))
        );
    }

    #[tokio::test]
    async fn what_would_come_too_late_is_broken_off_by_a_reset() {
        let error = read(200).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn what_comes_in_time_comes_whole() {
        assert_eq!(read(40_000).await.unwrap(), OCTETS);
    }
}
