//! An input on a thread of its own: opened, read, decoded, held to real time if it has no clock, and opened again when
//! it fails or ends, if that is wanted.
//!
//! Who is on the air is not known here: every input speaks all the time.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use playlists::MediaTime;
use segmenter::wire::OnAir;

use crate::{
    config::{Config, Pacing, Passthrough},
    error::Error,
    gauge::Gauge,
    libav::{About, Event, Source},
};

/// What an input says.
pub(crate) enum Said {
    Opened(Box<About>),
    Event(Event),
    /// It came to its end; `for_good` if it is a file, say, and not a feed that may come back.
    Ended {
        for_good: bool,
    },
    Failed(Error),
}

/// Who says it, and what.
pub(crate) type Message = (OnAir, Said);

/// All inputs speak into one queue. When it is full they wait, and with them whoever sends to us; all wait alike, so
/// that who is not on the air does not fall behind who is.
pub(crate) fn queue() -> (SyncSender<Message>, Receiver<Message>) {
    sync_channel(QUEUE)
}

/// What one input is.
pub(crate) struct Feed {
    pub(crate) who: OnAir,
    pub(crate) config: Config,
    /// It is opened again, whatever happened.
    pub(crate) again: bool,
    pub(crate) gauge: Arc<Gauge>,
}

/// Nobody listens any more.
struct Deaf;

impl Feed {
    /// Speaks into `queue` until nobody listens there. The thread may hang in a read of libav then: the end of the program ends it.
    pub(crate) fn start(self, queue: SyncSender<Message>) -> Result<(), Error> {
        let name = match self.who {
            OnAir::Backup => "backup",
            _ => "input",
        };
        thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                // There is nobody to tell that there is nobody to tell.
                let _ = self.speak(&queue);
            })
            .map_err(Error::Thread)?;
        Ok(())
    }

    fn speak(&self, queue: &SyncSender<Message>) -> Result<(), Deaf> {
        let mut back_off = BACK_OFF_MIN;
        loop {
            let started = Instant::now();
            let last = match self.once(queue)? {
                Ok(for_good) => Said::Ended { for_good },
                Err(why) => Said::Failed(why),
            };
            let over = !self.again || matches!(last, Said::Ended { for_good: true });
            if started.elapsed() > HEALTHY {
                back_off = BACK_OFF_MIN;
            }
            if !over {
                self.log(&last, back_off);
            }
            tell(queue, self.who, last)?;
            if over {
                return Ok(());
            }
            self.gauge.waiting(|| thread::sleep(back_off));
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    /// One opening of it, to its end. Says whether that is for good.
    fn once(&self, queue: &SyncSender<Message>) -> Result<Result<bool, Error>, Deaf> {
        let (mut source, about) = match Source::open(&self.config, &self.gauge) {
            Ok(opened) => opened,
            Err(why) => return Ok(Err(why)),
        };
        self.gauge.opened();
        let mut pace = self.paced(&about).then(|| Pace::new(about.rate));
        let for_good = about.has_end;
        tell(queue, self.who, Said::Opened(Box::new(about)))?;
        loop {
            let event = match source.next() {
                Ok(Event::End) => return Ok(Ok(for_good)),
                Ok(event) => event,
                Err(why) => return Ok(Err(why)),
            };
            if let Some(time) = self.shown(&event) {
                if let Some(pace) = &mut pace {
                    let now = Instant::now();
                    let ahead = pace.due(time, now).saturating_duration_since(now);
                    self.gauge.waiting(|| thread::sleep(ahead));
                }
                self.gauge.picture();
            }
            if let (Event::Restart, Some(pace)) = (&event, &mut pace) {
                pace.anew();
            }
            tell(queue, self.who, Said::Event(event))?;
        }
    }

    /// When a picture comes up, if `event` is one.
    fn shown(&self, event: &Event) -> Option<MediaTime> {
        let undecoded = self.config.passthrough == Some(Passthrough::Only);
        match event {
            Event::Picture(_, time) => Some(*time),
            Event::Coded(coded) if undecoded => Some(coded.decoded.unwrap_or(coded.shown)),
            _ => None,
        }
    }

    fn paced(&self, about: &About) -> bool {
        match self.config.pace {
            Pacing::Auto => about.unpaced,
            Pacing::On => true,
            Pacing::Off => false,
        }
    }

    fn log(&self, last: &Said, again_in: Duration) {
        let input = &self.config.input;
        // Refused and refused again is one piece of news; who asks is told by `Health`.
        match last {
            Said::Failed(why) if again_in == BACK_OFF_MIN => {
                tracing::warn!(%input, %why, ?again_in, "the input failed; opening it again");
            }
            Said::Failed(why) => tracing::debug!(%input, %why, ?again_in, "the input failed again"),
            _ => tracing::info!(%input, ?again_in, "the input ended; opening it again"),
        }
    }
}

fn tell(queue: &SyncSender<Message>, who: OnAir, said: Said) -> Result<(), Deaf> {
    queue.send((who, said)).map_err(|_| Deaf)
}

/// When pictures are due that come as fast as they are read. Late ones are not held back, so that what was lost is
/// caught up.
#[derive(Debug)]
struct Pace {
    /// From one picture to the next. A picture is shown when the next one comes, so each may come that much early.
    interval: Duration,
    /// A time, and the picture's that was due then.
    base: Option<(Instant, MediaTime)>,
    /// When the last picture was due, and its time.
    last: Option<(Instant, MediaTime)>,
}

impl Pace {
    fn new(rate: f64) -> Self {
        let rate = if rate.is_finite() && rate >= 1.0 {
            rate
        } else {
            USUAL
        };
        Self {
            interval: Duration::from_secs_f64(1.0 / rate),
            base: None,
            last: None,
        }
    }

    /// The source starts over: the next picture follows the last one.
    fn anew(&mut self) {
        self.base = None;
    }

    fn due(&mut self, time: MediaTime, now: Instant) -> Instant {
        let jumped = |(_, last): (Instant, MediaTime)| time - last > JUMP || last - time > JUMP;
        let (base, from) = match (self.base, self.last) {
            (Some(base), last) if !last.is_some_and(jumped) => base,
            (_, Some((last, _))) => (last + self.interval, time),
            (_, None) => (now.checked_sub(self.interval).unwrap_or(now), time),
        };
        self.base = Some((base, from));
        let due = base + (time - from).duration();
        self.last = Some((due, time));
        due
    }
}

/// Decoded pictures and sound, some of each; a picture may be large.
const QUEUE: usize = 8;
const USUAL: f64 = 25.0;
/// A longer step is another clock.
const JUMP: MediaTime = MediaTime::from_flicks(10 * MediaTime::PER_SECOND);
const BACK_OFF_MIN: Duration = Duration::from_millis(250);
/// An input that is back is to be back on the air within seconds.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// An opening this long ends the back-off.
const HEALTHY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_held_to_real_time_round_after_round() {
        let start = Instant::now();
        let mut pace = Pace::new(25.0);
        let due = |millis: i64, pace: &mut Pace| {
            let due = pace.due(MediaTime::from_ticks(millis, 1000), start);
            due.saturating_duration_since(start).as_millis()
        };
        // The second picture shows the first, so it comes at once.
        assert_eq!([0, 40, 80].map(|time| due(time, &mut pace)), [0, 0, 40]);
        pace.anew();
        assert_eq!([0, 40].map(|time| due(time, &mut pace)), [80, 120]);
        assert_eq!(due(3_600_000, &mut pace), 160);
    }
}
