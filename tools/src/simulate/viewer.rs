//! One viewer's player: asks for segments as they appear, one at a time, and plays them.

use super::{
    hls::Progress,
    link::{Connection, Done, Link},
    mind::Mind,
    playback::Playback,
    stream::Stream,
};

/// How a player joins and loads.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How far behind the edge it begins, in segments.
    pub hold_back: u64,
    /// Media ahead of the playhead above which it does not ask for more, in seconds.
    pub goal: f64,
}

impl Habits {
    /// The first segment of whom joins at `now`.
    pub fn first(&self, stream: &Stream, now: f64) -> u64 {
        stream.current(now).saturating_sub(self.hold_back)
    }
}

/// One segment that was played, or will be.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub number: u64,
    pub rung: usize,
    pub octets: u64,
    /// When it was asked for, and when all of it was there.
    pub asked: f64,
    pub arrived: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Viewer {
    pub id: u64,
    /// When.
    pub joined: f64,
    /// Which of the world's streams.
    pub stream: usize,
    pub playback: Playback,
    pub mind: Mind,
    pub taken: Vec<Taken>,
    /// Octets of responses that were given up.
    pub wasted: f64,
    connection: Connection,
    habits: Habits,
    /// The next to be asked for, or the one on its way.
    number: u64,
    stage: Stage,
    /// Where nothing has to be done by itself before: infinite while the link is at work.
    pub due: f64,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Until the segment is known.
    Idle,
    /// A request on its way, with the rung where the player chose it.
    Asking { asked: f64, rung: Option<usize> },
    Loading {
        asked: f64,
        rung: usize,
        octets: u64,
    },
    /// The last octets on their way.
    Arriving {
        asked: f64,
        rung: usize,
        octets: u64,
    },
}

impl Viewer {
    /// Joins at `now`.
    pub fn new(
        id: u64,
        mind: Mind,
        connection: Connection,
        habits: Habits,
        stream: &Stream,
        now: f64,
    ) -> Self {
        let number = habits.first(stream, now);
        Self {
            id,
            joined: now,
            stream: 0,
            playback: Playback::new(stream.begins(number), now),
            mind,
            taken: Vec::new(),
            wasted: 0.0,
            connection,
            habits,
            number,
            stage: Stage::Idle,
            // A multivariant and a media playlist come first.
            due: now + 2.0 * connection.rtt,
        }
    }

    /// Something is due, or was done by the link.
    pub fn wake(&mut self, stream: &Stream, link: &mut Link, now: f64) {
        self.playback.advance(now);
        match self.stage {
            Stage::Idle => self.ask(stream, now),
            Stage::Asking { asked, rung } => {
                let rung = match (&mut self.mind, rung) {
                    (_, Some(rung)) => rung,
                    (Mind::Origin(origin), None) => origin.decide(stream, self.number, now),
                    (Mind::Plan(plan, next), None) => Mind::planned(plan, next),
                    (Mind::Hls(_), None) => 0,
                };
                let octets = stream.sizes(self.number)[rung];
                link.send(self.id, octets, self.connection);
                self.stage = Stage::Loading {
                    asked,
                    rung,
                    octets,
                };
                self.due = match self.mind {
                    Mind::Hls(_) if rung > 0 => asked + CHECK,
                    _ => f64::INFINITY,
                };
            }
            Stage::Loading { asked, rung, .. } => self.check(stream, link, asked, rung, now),
            Stage::Arriving {
                asked,
                rung,
                octets,
            } => {
                self.receive(stream, asked, rung, octets, now);
                self.ask(stream, now);
            }
        }
    }

    /// The link has sent all of what this viewer asked for.
    pub fn sent(&mut self, done: &Done, stream: &Stream) {
        self.connection = done.connection;
        if let Stage::Loading {
            asked,
            rung,
            octets,
        } = self.stage
        {
            if let Mind::Origin(origin) = &mut self.mind {
                origin.sent(done, self.number, octets, stream.duration);
            }
            self.stage = Stage::Arriving {
                asked,
                rung,
                octets,
            };
            self.due = done.at + self.connection.rtt / 2.0;
        }
    }

    fn ask(&mut self, stream: &Stream, now: f64) {
        let half = self.connection.rtt / 2.0;
        let known = stream.published(self.number, stream.parts - 1) + half;
        let full = now + self.playback.buffer() - self.habits.goal;
        let at = known.max(full);
        if at > now + NOTHING {
            self.stage = Stage::Idle;
            self.due = at;
            return;
        }
        let mut asked = now;
        let rung = match &mut self.mind {
            Mind::Hls(abr) => {
                let before = self.taken.last().map(|taken| taken.rung);
                let rung = abr.next(self.playback.buffer());
                if before.is_some_and(|before| before != rung) {
                    // The level's own playlist comes first.
                    asked += self.connection.rtt;
                }
                abr.playlist(PLAYLIST_SECONDS);
                abr.loading(stream.duration);
                Some(rung)
            }
            _ => None,
        };
        self.stage = Stage::Asking { asked, rung };
        self.due = asked + half;
    }

    /// Whether hls.js gives up what it loads.
    fn check(&mut self, stream: &Stream, link: &mut Link, asked: f64, rung: usize, now: f64) {
        let (half, id) = (self.connection.rtt / 2.0, self.id);
        self.due = now + CHECK;
        let Mind::Hls(abr) = &mut self.mind else {
            self.due = f64::INFINITY;
            return;
        };
        let elapsed = now - asked;
        let first_byte = (elapsed >= 2.0 * half).then_some(2e3 * half);
        // What is sent now arrives half a round trip later.
        let flying = link.pace(id).unwrap_or(0.0) * half / 8.0;
        let progress = Progress {
            elapsed: elapsed * 1e3,
            first_byte,
            octets: (link.sent(id).unwrap_or(0.0) - flying).max(0.0).floor(),
            buffer: self.playback.buffer(),
            watched: self.playback.has_started(),
        };
        let Some(lower) = abr.check(rung, &progress) else {
            return;
        };
        self.wasted += link.sent(id).unwrap_or(0.0);
        if let Some(connection) = link.abort(id) {
            self.connection = connection;
        }
        abr.playlist(PLAYLIST_SECONDS);
        abr.loading(stream.duration);
        let asked = now + self.connection.rtt;
        self.stage = Stage::Asking {
            asked,
            rung: Some(lower),
        };
        self.due = asked + half;
    }

    fn receive(&mut self, stream: &Stream, asked: f64, rung: usize, octets: u64, now: f64) {
        if let Mind::Hls(abr) = &mut self.mind {
            let first_byte = self.connection.rtt * 1e3;
            abr.loaded(rung, first_byte, (now - asked) * 1e3, octets as f64);
        }
        self.taken.push(Taken {
            number: self.number,
            rung,
            octets,
            asked,
            arrived: now,
        });
        self.number += 1;
        self.playback.receive(stream.begins(self.number));
    }
}

/// How often hls.js looks at what it loads.
const CHECK: f64 = 0.1;

/// From the first octet of a media playlist to its last: one flight.
const PLAYLIST_SECONDS: f64 = 0.001;

const NOTHING: f64 = 1e-9;
