//! What is on its way to one viewer, on however many connections: how much of it is left, how fast it
//! goes, and what the viewer's path carried while one of them lasted.
//!
//! Connections of one viewer share its path, so that each alone gets less than the path has. What counts
//! for a delivery is all that arrived while it did. How one goes by itself is `meter`'s business.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use adaptation::Flight;
use playlists::Bitrate;

use super::meter::{Meter, Outcome, Progress};

/// Deliveries to one viewer. Of very many at a time the oldest are left out of the reckoning.
#[derive(Debug, Default)]
pub(super) struct Flights {
    outstanding: Vec<Begun>,
    /// Octets that arrived of those that are over.
    arrived: u64,
}

#[derive(Debug)]
struct Begun {
    meter: Weak<Meter>,
    /// Octets that had arrived of all of them when it began.
    before: u64,
}

impl Flights {
    pub(super) fn begin(&mut self, meter: &Arc<Meter>, now: Instant) {
        self.forget();
        if self.outstanding.len() >= AT_A_TIME {
            let oldest = self.outstanding.remove(0);
            self.arrived += acked(&oldest.meter);
        }
        let before = self.so_far(now);
        let meter = Arc::downgrade(meter);
        self.outstanding.push(Begun { meter, before });
    }

    /// Looks at all of them; returns what came of those that are over.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Outcome> {
        let meters: Vec<_> = self.meters().collect();
        let sampled: Vec<_> = meters.iter().map(|meter| meter.sample(now)).collect();
        let both = meters.iter().zip(sampled);
        both.filter_map(|(meter, progress)| self.end(meter, &progress, now))
            .collect()
    }

    /// What came of one, if it is over and nobody was told yet.
    pub(super) fn end(
        &mut self,
        meter: &Arc<Meter>,
        progress: &Progress,
        now: Instant,
    ) -> Option<Outcome> {
        let mut outcome = meter.outcome(progress, now)?;
        let own = Arc::as_ptr(meter);
        let place = self
            .outstanding
            .iter()
            .position(|begun| begun.meter.as_ptr() == own);
        self.arrived += outcome.octets;
        let Some(place) = place else {
            // It was left out, and is reckoned with alone.
            return Some(outcome);
        };
        let begun = self.outstanding.remove(place);
        let all = self.so_far(now).saturating_sub(begun.before);
        if let Some(delivery) = &mut outcome.delivery
            && !meter.is_shared()
            && !outcome.abandoned
        {
            let others = all.saturating_sub(outcome.octets);
            delivery.octets += within(others, delivery.elapsed, meter.lasted(now));
        }
        Some(outcome)
    }

    /// What is on its way, together: connections add up, and on one of them the slowest tells.
    pub(super) fn flight(&self, now: Instant) -> Option<Flight> {
        let mut paces: Vec<(usize, Bitrate)> = Vec::new();
        let (mut left, mut any) = (0, false);
        for meter in self.meters() {
            (left, any) = (left + meter.left(), true);
            let Some(pace) = meter.pace(now) else {
                continue;
            };
            let connection = Arc::as_ptr(meter.connection()).addr();
            match paces.iter_mut().find(|(known, _)| *known == connection) {
                Some((_, slowest)) => *slowest = pace.min(*slowest),
                None => paces.push((connection, pace)),
            }
        }
        let pace: u64 = paces.iter().map(|(_, pace)| pace.bps()).sum();
        any.then(|| Flight {
            pace: (pace > 0).then(|| Bitrate::from_bps(pace)),
            left,
        })
    }

    /// Lets go of those that nobody watches any more; whether there are others.
    pub(super) fn forget(&mut self) -> bool {
        self.outstanding
            .retain(|begun| begun.meter.strong_count() > 0);
        if self.outstanding.is_empty() {
            // Its storage goes with it: most viewers wait for most of their time.
            self.outstanding = Vec::new();
        }
        !self.outstanding.is_empty()
    }

    /// Octets that had arrived of those under way when each was looked at last, by rung.
    pub(super) fn under_way(&self) -> impl Iterator<Item = (Option<u8>, u64)> {
        self.meters().filter_map(|meter| meter.under_way())
    }

    /// Octets that have arrived of all that there ever were.
    fn so_far(&self, now: Instant) -> u64 {
        let outstanding = self.meters().map(|meter| meter.sample(now).acked);
        self.arrived + outstanding.sum::<u64>()
    }

    fn meters(&self) -> impl Iterator<Item = Arc<Meter>> {
        self.outstanding
            .iter()
            .filter_map(|begun| begun.meter.upgrade())
    }
}

fn acked(meter: &Weak<Meter>) -> u64 {
    meter.upgrade().map_or(0, |meter| meter.acked())
}

/// Of `octets` that arrived in `span`, those of the first `elapsed` of it: the last acknowledgement is seen
/// a little after it came.
fn within(octets: u64, elapsed: Duration, span: Duration) -> u64 {
    if span.is_zero() || elapsed >= span {
        return octets;
    }
    (octets as f64 * (elapsed.as_secs_f64() / span.as_secs_f64())) as u64
}

/// More than any player fetches at a time.
const AT_A_TIME: usize = 16;

#[cfg(test)]
mod tests {
    use playlists::MediaTime;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::{super::meter::Span, *};
    use crate::net::{Peer, socket::Stream};

    #[test]
    fn what_came_after_the_last_acknowledgement_is_not_counted() {
        let seconds = Duration::from_secs;
        assert_eq!(within(900, seconds(2), seconds(3)), 600);
        assert_eq!(within(900, seconds(3), seconds(3)), 900);
        assert_eq!(within(900, seconds(0), seconds(0)), 900);
    }

    /// One end of a connection, and whoever reads the other.
    async fn connection(listener: &TcpListener) -> (Stream, TcpStream) {
        let address = listener.local_addr().unwrap();
        let reader = TcpStream::connect(address).await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        let peer = Peer {
            address,
            direct: true,
            local: true,
        };
        (Stream::new(stream, peer, seconds(10)), reader)
    }

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test]
    async fn deliveries_on_two_connections_add_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut one, mut reads_one) = connection(&listener).await;
        let (mut two, mut reads_two) = connection(&listener).await;
        // The kernel's clock of acknowledgements is coarser than a loopback's transfer is long.
        let start = Instant::now() - Duration::from_millis(50);
        let mut flights = Flights::default();
        let span = Span {
            number: 7,
            part: None,
            begins: MediaTime::ZERO,
            media: MediaTime::from_seconds(2.0),
            rung: None,
        };
        let meter = |stream: &Stream| {
            let connection = stream.connection().clone();
            Arc::new(Meter::begin(connection, OCTETS as u64, span, start))
        };
        let (first, second) = (meter(&one), meter(&two));
        flights.begin(&first, start);
        flights.begin(&second, start);
        for (stream, reader, meter) in [
            (&mut one, &mut reads_one, &first),
            (&mut two, &mut reads_two, &second),
        ] {
            stream.write_all(&[0; OCTETS]).await.unwrap();
            stream.connection().flushed();
            meter.given(true);
            stream.connection().flushed();
            reader.read_exact(&mut [0; OCTETS]).await.unwrap();
        }
        let whole = async {
            while !(first.sample(Instant::now()).over && second.sample(Instant::now()).over) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(seconds(10), whole).await.unwrap();
        let outcomes = flights.look(Instant::now());
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            assert_eq!(outcome.octets, OCTETS as u64);
            let delivery = outcome.delivery.unwrap();
            // What came over the other meanwhile counts, and no octet twice.
            assert!(delivery.octets > OCTETS as u64, "{delivery:?}");
            assert!(delivery.octets <= 2 * OCTETS as u64, "{delivery:?}");
        }
        assert!(!flights.forget() && flights.flight(Instant::now()).is_none());
    }

    const OCTETS: usize = 100_000;
}
