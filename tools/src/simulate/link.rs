//! A bottleneck, as a fluid: what it carries is shared evenly among the responses under way, each held
//! back by slow start and by its own path.
//!
//! Seconds and bits as `f64`: a fluid has no packets. Knows nothing of who sends what, and has no clock
//! of its own.

use std::sync::Arc;

use super::trace::{Cursor, Trace};

/// See the module.
#[derive(Clone, Debug)]
pub struct Link {
    cursor: Cursor,
    now: f64,
    flows: Vec<Flow>,
    settled: bool,
    /// Bits that went through.
    pub carried: f64,
    /// Bits that could have.
    pub could: f64,
}

/// What a connection remembers from one response to the next.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Round trip without queues, in seconds.
    pub rtt: f64,
    /// What the viewer's own path carries, in bit/s.
    pub path: f64,
    /// The window falls back to the first after idleness, as Linux does by default and BBR does not.
    pub restarts: bool,
    /// The rate reached last, in bit/s.
    reached: f64,
}

/// One response under way.
#[derive(Clone, Debug)]
struct Flow {
    id: u64,
    left: f64,
    bits: f64,
    began: f64,
    connection: Connection,
    /// What slow start allows, in bit/s; infinite once it is over.
    window: f64,
    /// When the window doubles.
    doubles: f64,
    rate: f64,
    capacity: Capacity,
}

/// A response that went through.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub id: u64,
    /// When its last bit was sent.
    pub at: f64,
    pub began: f64,
    /// The best rate that the kernel would have sampled while it was not limited by the application, in bit/s.
    pub capacity: Option<f64>,
    pub connection: Connection,
}

/// Rate samples over a round trip each. The kernel marks what was sent before the first acknowledgement as
/// limited by the application: those samples do not count.
#[derive(Clone, Copy, Debug, Default)]
struct Capacity {
    best: f64,
    bits: f64,
    seconds: f64,
}

impl Connection {
    pub fn new(rtt: f64, path: f64, restarts: bool) -> Self {
        Self {
            rtt: rtt.max(1e-3),
            path,
            restarts,
            reached: 0.0,
        }
    }

    /// It has carried so much just before.
    pub fn warm(&mut self, bps: f64) {
        self.reached = bps;
    }

    /// It is another one.
    pub fn forget(&mut self) {
        self.reached = 0.0;
    }

    fn window(&self) -> f64 {
        let first = FIRST_WINDOW / self.rtt;
        if self.restarts {
            first
        } else {
            self.reached.max(first)
        }
    }
}

impl Link {
    pub fn new(trace: &Arc<Trace>, offset: f64, now: f64) -> Self {
        Self::at(trace.cursor(now, offset), now)
    }

    /// As it is at `now`.
    pub fn at(cursor: Cursor, now: f64) -> Self {
        Self {
            cursor,
            now,
            flows: Vec::new(),
            settled: true,
            carried: 0.0,
            could: 0.0,
        }
    }

    /// Another trace from now on.
    pub fn replace(&mut self, trace: &Arc<Trace>) {
        self.cursor = trace.cursor(self.now, 0.0);
        self.settled = false;
    }

    /// Begins to send `octets` under the name `id`.
    pub fn send(&mut self, id: u64, octets: u64, connection: Connection) {
        let bits = (octets as f64 * 8.0).max(1.0);
        self.flows.push(Flow {
            id,
            left: bits,
            bits,
            began: self.now,
            connection,
            window: connection.window(),
            doubles: self.now + connection.rtt,
            rate: 0.0,
            capacity: Capacity::default(),
        });
        self.settled = false;
    }

    /// Gives up `id`.
    pub fn abort(&mut self, id: u64) -> Option<Connection> {
        let at = self.flows.iter().position(|flow| flow.id == id)?;
        self.settled = false;
        Some(self.flows.swap_remove(at).finish())
    }

    /// Octets of `id` that were sent.
    pub fn sent(&self, id: u64) -> Option<f64> {
        let flow = self.flows.iter().find(|flow| flow.id == id)?;
        Some((flow.bits - flow.left) / 8.0)
    }

    /// How fast `id` is sent now, in bit/s.
    pub fn pace(&mut self, id: u64) -> Option<f64> {
        self.settle();
        self.flows
            .iter()
            .find(|flow| flow.id == id)
            .map(|flow| flow.rate)
    }

    /// When something happens by itself; not before that does [`Link::advance`] have to be called.
    pub fn due(&mut self) -> Option<f64> {
        if self.flows.is_empty() {
            return None;
        }
        self.settle();
        let flows = self.flows.iter().map(|flow| flow.due(self.now));
        Some(flows.fold(self.cursor.now().1, f64::min).max(self.now))
    }

    /// Forward to `to`, which is not after [`Link::due`]; what is done by then.
    pub fn advance(&mut self, to: f64, done: &mut Vec<Done>) {
        if self.flows.is_empty() {
            self.idle(to);
            return;
        }
        self.settle();
        let span = to - self.now;
        self.could += self.cursor.now().0 * span;
        self.now = to;
        let mut at = 0;
        while at < self.flows.len() {
            let flow = &mut self.flows[at];
            self.carried += flow.advance(to, span);
            if flow.left <= CRUMB {
                let flow = self.flows.swap_remove(at);
                done.push(flow.done(to));
                self.settled = false;
            } else {
                if flow.window.is_finite() && flow.doubles <= to {
                    flow.window *= 2.0;
                    flow.doubles = to + flow.connection.rtt;
                    self.settled = false;
                }
                at += 1;
            }
        }
        if self.cursor.now().1 <= to {
            self.cursor.go(to);
            self.settled = false;
        }
    }

    fn idle(&mut self, to: f64) {
        while self.now < to {
            let (bps, until) = self.cursor.now();
            let until = until.min(to);
            self.could += bps * (until - self.now);
            self.now = until;
            self.cursor.go(until);
        }
        self.settled = false;
    }

    /// When `octets` are sent if nothing else is, but not after `limit`.
    pub fn alone(mut self, octets: u64, connection: Connection, limit: f64) -> f64 {
        let mut done = Vec::new();
        self.send(0, octets, connection);
        while let Some(next) = self.due().filter(|next| *next < limit) {
            self.advance(next, &mut done);
            if let Some(done) = done.first() {
                return done.at;
            }
        }
        limit
    }

    /// Shares the capacity: to each as much as to any other, unless it cannot use it.
    fn settle(&mut self) {
        if self.settled {
            return;
        }
        self.settled = true;
        let mut left = self.cursor.now().0;
        let mut count = self.flows.len();
        // Those who cannot use an even share, the most modest first.
        if count > 1 {
            self.flows
                .sort_by(|a, b| a.most().total_cmp(&b.most()).then(a.id.cmp(&b.id)));
        }
        for flow in &mut self.flows {
            let even = left / count as f64;
            flow.rate = flow.most().min(even);
            if flow.window > even {
                // The queue grows, or the pacing settles: slow start is over.
                flow.window = f64::INFINITY;
            }
            left -= flow.rate;
            count -= 1;
        }
    }
}

impl Flow {
    fn most(&self) -> f64 {
        self.window.min(self.connection.path)
    }

    fn due(&self, now: f64) -> f64 {
        let done = if self.rate > 0.0 {
            now + self.left / self.rate
        } else {
            f64::INFINITY
        };
        if self.window.is_finite() {
            done.min(self.doubles)
        } else {
            done
        }
    }

    /// Sends for `span`, which ends at `now`; returns how many bits.
    fn advance(&mut self, now: f64, span: f64) -> f64 {
        let bits = (self.rate * span).min(self.left);
        self.left -= bits;
        // Of the stretch only what was sent after the first acknowledgement.
        let acked = (now - self.began - self.connection.rtt).clamp(0.0, span);
        self.capacity
            .add(self.rate * acked, acked, self.connection.rtt);
        bits
    }

    fn finish(self) -> Connection {
        Connection {
            reached: if self.rate > 0.0 {
                self.rate
            } else {
                self.connection.reached
            },
            ..self.connection
        }
    }

    fn done(self, at: f64) -> Done {
        Done {
            id: self.id,
            at,
            began: self.began,
            capacity: (self.capacity.best > 0.0).then_some(self.capacity.best),
            connection: self.finish(),
        }
    }
}

impl Capacity {
    fn add(&mut self, bits: f64, seconds: f64, rtt: f64) {
        self.bits += bits;
        self.seconds += seconds;
        if self.seconds >= rtt {
            self.best = self.best.max(self.bits / self.seconds);
            (self.bits, self.seconds) = (0.0, 0.0);
        }
    }
}

/// Ten packets of 1460 octets (RFC 6928), in bits.
const FIRST_WINDOW: f64 = 10.0 * 1460.0 * 8.0;

/// Less than a bit is nothing.
const CRUMB: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    fn link(stretches: &[(f64, f64)]) -> Link {
        let trace = Trace::new("test", stretches).expect("carries something");
        Link::new(&Arc::new(trace), 0.0, 0.0)
    }

    fn cold() -> Connection {
        Connection::new(0.1, f64::INFINITY, false)
    }

    fn finish(link: &mut Link) -> Vec<Done> {
        let mut done = Vec::new();
        while let Some(due) = link.due() {
            link.advance(due, &mut done);
        }
        done
    }

    #[test]
    fn a_long_response_takes_its_size_over_the_rate_and_its_slow_start() {
        let mut link = link(&[(1e6, 8e6)]);
        link.send(0, 2_000_000, cold());
        let done = finish(&mut link);
        // 14.6 kB in the first round trip, 29.2 and 58.4 in the next, then a megabyte a second.
        let expected = 0.3 + (2_000_000.0 - 7.0 * 14_600.0) / 1e6;
        assert!((done[0].at - expected).abs() < 1e-6, "{done:?}");
        assert_eq!(done[0].capacity.map(f64::round), Some(8e6));
    }

    #[test]
    fn a_connection_that_was_fast_is_fast_at_once_unless_it_forgets() {
        let mut link = link(&[(1e6, 8e6)]);
        link.send(0, 2_000_000, cold());
        let warm = finish(&mut link)[0].connection;
        for (restarts, takes) in [(false, 0.5), (true, 0.3 + 0.5 - 0.1022)] {
            let began = link.now;
            link.send(0, 500_000, Connection { restarts, ..warm });
            let took = finish(&mut link)[0].at - began;
            assert!((took - takes).abs() < 1e-3, "{restarts}: {took}");
        }
    }

    #[test]
    fn what_one_cannot_use_the_others_have() {
        let mut link = link(&[(1e6, 9e6)]);
        let mut slow = Connection::new(0.1, 1e6, false);
        slow.warm(1e6);
        let mut fast = cold();
        fast.warm(8e6);
        link.send(0, 125_000, slow);
        link.send(1, 500_000, fast);
        link.send(2, 500_000, fast);
        let done = finish(&mut link);
        assert!(
            done.iter().all(|done| (done.at - 1.0).abs() < 1e-3),
            "{done:?}"
        );
        assert!((link.carried - 9e6).abs() < 1.0, "{}", link.carried);
        assert!((link.could - link.carried).abs() < 1.0, "{}", link.could);
    }

    #[test]
    fn an_outage_is_waited_out() {
        let mut link = link(&[(1.0, 8e6), (5.0, 0.0), (1e6, 8e6)]);
        let mut warm = cold();
        warm.warm(8e6);
        link.send(0, 2_000_000, warm);
        let done = finish(&mut link);
        assert!((done[0].at - 7.0).abs() < 1e-6, "{done:?}");
    }

    #[test]
    fn a_response_within_one_round_trip_says_nothing_of_the_capacity() {
        let mut link = link(&[(1e6, 8e6)]);
        link.send(0, 10_000, cold());
        assert_eq!(finish(&mut link)[0].capacity, None);
    }
}
