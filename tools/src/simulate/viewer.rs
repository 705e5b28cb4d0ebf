//! One viewer's player: asks for segments as they appear, one at a time, and plays them.

use std::collections::VecDeque;

use adaptation::abandon::LOOKS_BACK;

use super::{
    hls::Progress,
    link::{Connection, Done, Link},
    mind::Mind,
    origin::Underway,
    playback::Playback,
    stream::Stream,
};

/// How a player joins and loads.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How far behind the edge it begins, in seconds: at the segment that is so far, or within it where there
    /// are parts.
    pub hold_back: f64,
    /// Media ahead of the playhead above which it does not ask for more, in seconds.
    pub goal: f64,
    /// Seconds after which it asks again for what broke off.
    pub asks_again: f64,
}

impl Habits {
    /// [`Habits::asks_again`] of hls.js, unless its `fragLoadPolicy` says otherwise.
    pub const HLS_JS_ASKS_AGAIN: f64 = 1.0;

    /// The first segment of whom joins at `now`.
    pub fn first(&self, stream: &Stream, now: f64) -> u64 {
        if stream.parts > 1 {
            return stream.current(self.head(stream, now));
        }
        let segments = (self.hold_back / stream.duration).round() as u64;
        stream.current(now).saturating_sub(segments)
    }

    /// What it sees first.
    fn head(&self, stream: &Stream, now: f64) -> f64 {
        if stream.parts > 1 {
            stream.edge(now) - self.hold_back
        } else {
            stream.begins(self.first(stream, now))
        }
    }
}

/// One segment that was played, or will be.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub number: u64,
    pub rung: usize,
    pub octets: u64,
    /// When it was asked for, and when all of it was there, or all so far.
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
    /// When the origin looked at what is on its way, and how much was sent by then.
    looks: VecDeque<(f64, f64)>,
    habits: Habits,
    /// What is to be asked for next, or is on its way.
    number: u64,
    part: usize,
    stage: Stage,
    /// Before this nothing has to be done by itself: infinite while the link is at work.
    pub due: f64,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
struct Request {
    asked: f64,
    /// Where the player chose it, and from when on it is chosen.
    rung: Option<usize>,
    /// How many of the segment's parts it is.
    parts: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Until something is known of.
    Idle,
    /// On its way to the origin.
    Asking(Request),
    Loading(Request, u64),
    /// The last octets on their way.
    Arriving(Request, u64),
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
        Self {
            id,
            joined: now,
            stream: 0,
            playback: Playback::new(habits.head(stream, now), now),
            mind,
            taken: Vec::new(),
            wasted: 0.0,
            connection,
            looks: VecDeque::new(),
            habits,
            number: habits.first(stream, now),
            part: 0,
            stage: Stage::Idle,
            // A multivariant and a media playlist come first.
            due: now + 2.0 * connection.rtt,
        }
    }

    /// Something is due.
    pub fn wake(&mut self, stream: &Stream, link: &mut Link, now: f64) {
        self.playback.advance(now);
        match self.stage {
            Stage::Idle => self.ask(stream, now),
            Stage::Asking(request) => self.answer(request, stream, link, now),
            Stage::Loading(request, _) => self.check(request, stream, link, now),
            Stage::Arriving(request, octets) => {
                self.receive(request, octets, stream, now);
                self.ask(stream, now);
            }
        }
    }

    /// The link has sent all of what this viewer asked for.
    pub fn sent(&mut self, done: &Done, stream: &Stream) {
        self.connection = done.connection;
        if let Stage::Loading(request, octets) = self.stage {
            if let Mind::Origin(origin) = &mut self.mind {
                let begins = stream.part() * self.part as f64;
                let ends = begins + stream.part() * request.parts as f64;
                origin.sent(done, self.number, octets, begins..ends);
            }
            self.stage = Stage::Arriving(request, octets);
            self.due = done.at + self.connection.rtt / 2.0;
        }
    }

    /// Asks for what comes next, if it is known of: for the whole segment, or where that is not there yet for
    /// its next part.
    fn ask(&mut self, stream: &Stream, now: f64) {
        let half = self.connection.rtt / 2.0;
        let whole = self.part == 0
            && stream.published(self.number, stream.parts - 1) + half <= now + NOTHING;
        let parts = if whole { stream.parts } else { 1 };
        let known = stream.published(self.number, self.part + parts - 1) + half;
        let full = now + self.playback.buffer() - self.habits.goal;
        let at = known.max(full);
        if at > now + NOTHING {
            self.stage = Stage::Idle;
            self.due = at;
            return;
        }
        let mut asked = now;
        let before = self.taken.last().map(|taken| taken.rung);
        let rung = match &mut self.mind {
            // It changes where a segment begins: other parts need not begin with a picture of their own.
            Mind::Hls(abr) => {
                let rung = match before {
                    Some(rung) if self.part > 0 => rung,
                    _ => abr.next(self.playback.buffer()),
                };
                if before.is_some_and(|before| before != rung) {
                    // The level's own playlist comes first.
                    asked += self.connection.rtt;
                }
                abr.playlist(PLAYLIST_SECONDS);
                abr.loading(stream.part() * parts as f64);
                Some(rung)
            }
            Mind::Plan(..) | Mind::Foresight(_) => before.filter(|_| self.part > 0),
            Mind::Origin(_) => None,
        };
        self.stage = Stage::Asking(Request { asked, rung, parts });
        self.due = asked + half;
    }

    /// The request has arrived.
    fn answer(&mut self, mut request: Request, stream: &Stream, link: &mut Link, now: f64) {
        let rung = match (&mut self.mind, request.rung) {
            (_, Some(rung)) => rung,
            (Mind::Origin(origin), None) => {
                let part = (request.parts < stream.parts).then_some(self.part);
                origin.decide(stream, self.number, part, now)
            }
            (Mind::Plan(plan, next), None) => Mind::planned(plan, next),
            (Mind::Foresight(foresight), None) => {
                let lost = self.playback.startup + self.playback.stalled;
                foresight.next(stream, self.number, lost, now)
            }
            (Mind::Hls(_), None) => 0,
        };
        request.rung = Some(rung);
        if let Mind::Origin(origin) = &mut self.mind {
            origin.hear(now);
        }
        let octets = stream.octets(self.number, rung, self.part..self.part + request.parts);
        link.send(self.id, octets, self.connection);
        self.stage = Stage::Loading(request, octets);
        self.looks.clear();
        self.looks.push_back((now, 0.0));
        self.due = match &self.mind {
            Mind::Plan(..) | Mind::Foresight(_) => f64::INFINITY,
            Mind::Origin(origin) if !origin.tells.cuts => f64::INFINITY,
            _ if rung == 0 => f64::INFINITY,
            _ => request.asked + CHECK,
        };
    }

    /// Whether what is on its way is given up: by hls.js, or by an origin that may.
    fn check(&mut self, request: Request, stream: &Stream, link: &mut Link, now: f64) {
        self.due = now + CHECK;
        let rung = request.rung.unwrap_or(0);
        let lower = match &self.mind {
            Mind::Hls(_) => self.give_up(request, rung, stream, link, now),
            Mind::Origin(_) => self.cut_off(stream, link, now).map(|again| (None, again)),
            Mind::Plan(..) | Mind::Foresight(_) => None,
        };
        let Some((lower, again)) = lower else {
            return;
        };
        self.wasted += link.sent(self.id).unwrap_or(0.0);
        if let Some(connection) = link.abort(self.id) {
            self.connection = connection;
        }
        if matches!(self.mind, Mind::Origin(_)) {
            self.connection.forget();
        }
        self.stage = Stage::Asking(Request {
            asked: now + again,
            rung: lower,
            ..request
        });
        self.due = now + again + self.connection.rtt / 2.0;
    }

    /// The level to load instead, and in how many seconds that is asked for: a playlist comes first.
    fn give_up(
        &mut self,
        request: Request,
        rung: usize,
        stream: &Stream,
        link: &mut Link,
        now: f64,
    ) -> Option<(Option<usize>, f64)> {
        let Mind::Hls(abr) = &mut self.mind else {
            return None;
        };
        let rtt = self.connection.rtt;
        let elapsed = now - request.asked;
        // What is sent now arrives half a round trip later.
        let flying = link.pace(self.id).unwrap_or(0.0) * rtt / 16.0;
        let progress = Progress {
            elapsed: elapsed * 1e3,
            first_byte: (elapsed >= rtt).then_some(rtt * 1e3),
            octets: (link.sent(self.id).unwrap_or(0.0) - flying)
                .max(0.0)
                .floor(),
            buffer: self.playback.buffer(),
            watched: self.playback.has_started(),
        };
        let lower = abr.check(rung, &progress)?;
        abr.playlist(PLAYLIST_SECONDS);
        abr.loading(stream.part() * request.parts as f64);
        Some((Some(lower), rtt))
    }

    /// In how many seconds the player asks again for what the origin breaks off: hls.js waits, and there is a
    /// connection to be made.
    fn cut_off(&mut self, stream: &Stream, link: &Link, now: f64) -> Option<f64> {
        let (Mind::Origin(origin), Stage::Loading(request, octets)) = (&mut self.mind, self.stage)
        else {
            return None;
        };
        let sent = link.sent(self.id)?;
        self.looks.push_back((now, sent));
        let old = |(at, _): &(f64, f64)| now - at >= LOOKS_BACK.as_secs_f64();
        while self.looks.get(1).is_some_and(old) {
            self.looks.pop_front();
        }
        let (began, before) = self.looks[0];
        let rtt = self.connection.rtt;
        let underway = Underway {
            number: self.number,
            part: (request.parts < stream.parts).then_some(self.part),
            left: octets as f64 - sent,
            sent: sent - before,
            seconds: now - began,
            rtt,
            again: self.habits.asks_again + 3.0 * rtt,
        };
        let cuts = origin.cuts(&underway, stream, now);
        cuts.then_some(self.habits.asks_again + 2.5 * rtt)
    }

    fn receive(&mut self, request: Request, octets: u64, stream: &Stream, now: f64) {
        let rung = request.rung.unwrap_or(0);
        if let Mind::Hls(abr) = &mut self.mind {
            let first_byte = self.connection.rtt * 1e3;
            abr.loaded(rung, first_byte, (now - request.asked) * 1e3, octets as f64);
        }
        match self.taken.last_mut() {
            Some(taken) if self.part > 0 => {
                taken.octets += octets;
                taken.arrived = now;
            }
            _ => self.taken.push(Taken {
                number: self.number,
                rung,
                octets,
                asked: request.asked,
                arrived: now,
            }),
        }
        self.part += request.parts;
        let end = stream.begins(self.number) + self.part as f64 * stream.part();
        if self.part >= stream.parts {
            (self.number, self.part) = (self.number + 1, 0);
        }
        self.playback.receive(end);
    }
}

/// How often hls.js looks at what it loads; an origin would do well to.
const CHECK: f64 = 0.1;

/// From the first octet of a media playlist to its last: one flight.
const PLAYLIST_SECONDS: f64 = 0.001;

const NOTHING: f64 = 1e-9;
