//! One viewer at this node: what it was given, what is on its way to it, when it was last seen, and
//! in which sums it counts. Where it is kept, and when it is looked at, is `viewers`' business.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use adaptation::{Choice, Fixed, Level, Limits, Pin, Rule, Viewer};
use playlists::{Bitrate, Timeline};

use super::{
    account::Account,
    arms::Tally,
    asking::small,
    cadence::Cadence,
    explain::{Explained, Kept, Ring},
    flights::Flights,
    ledger::Line,
    meter::{Meter, Outcome, Progress},
    own::Taken,
    room::{Crowd, RUNGS, Room},
    seat::ViewerId,
    shown::{Known, ViewerReport},
    viewers::{Ask, Newcomer, Rules},
};
use crate::control::visits::{End, Session, Visit};

/// A viewer that has a seat.
#[derive(Debug)]
pub(super) struct Seated {
    pub id: ViewerId,
    pub room: Arc<Room>,
    pub crowd: Arc<Crowd>,
    pub line: Line,
    /// Which rule it has, of those that are assigned by share; `None` if its rungs are its own choice.
    pub arm: Option<u8>,
    pub since: Instant,
    /// Milliseconds after `since`.
    seen: AtomicU64,
    /// In milliseconds: a viewer is kept small.
    patience: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    viewer: Viewer,
    place: Place,
    /// It takes sound alone, and asks for no share.
    listens: bool,
    /// What it took, and for how long it was here.
    account: Account,
    segments: u32,
    ceiling: u8,
    flights: Flights,
    /// Deliveries that were broken off.
    abandoned: u32,
    /// What it asked for last, where its path cannot be seen.
    cadence: Option<Box<Cadence>>,
    /// What it was told, if its rungs are chosen when they are listed.
    told: Option<Box<Timeline>>,
    /// Of the segments that were chosen for it: their length in milliseconds, their octets.
    media_ms: u32,
    chosen: u64,
    /// Sum of the estimates that choices were made with, in kbit/s, and how many there were.
    estimates_kbps: u64,
    estimated: u32,
    /// Its last decisions, if they are kept.
    ring: Option<Box<Ring>>,
}

/// In which sums a viewer counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// In none: it was told which rungs it would get, and has not taken anything yet.
    Looking,
    Watching,
    /// Sent elsewhere since this node drains; it keeps asking here, but it is not watching here.
    Moved,
    Gone,
}

impl Seated {
    /// Counts from its first segment on.
    pub(super) fn new(
        id: ViewerId,
        (room, line): (Arc<Room>, Line),
        crowd: Arc<Crowd>,
        (arm, ring): (Option<u8>, Option<Box<Ring>>),
        newcomer: &Newcomer,
        now: Instant,
    ) -> Self {
        let state = State {
            viewer: Viewer::new(newcomer.known, now),
            place: Place::Looking,
            listens: false,
            account: Account::default(),
            segments: 0,
            ceiling: small(newcomer.ceiling),
            flights: Flights::default(),
            abandoned: 0,
            cadence: None,
            told: None,
            media_ms: 0,
            chosen: 0,
            estimates_kbps: 0,
            estimated: 0,
            ring,
        };
        Self {
            id,
            room,
            crowd,
            line,
            arm,
            since: now,
            seen: AtomicU64::new(0),
            patience: u32::try_from(newcomer.patience.as_millis()).unwrap_or(u32::MAX),
            state: Mutex::new(state),
        }
    }

    pub(super) fn touch(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.since).as_millis();
        self.seen
            .fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Relaxed);
    }

    /// The rung of a segment.
    pub(super) fn decide(&self, ask: &Ask<'_>, rules: &Rules, now: Instant) -> (Pin, Known) {
        let mut state = self.state();
        if let Some(hint) = &ask.hint {
            state.account.starved(hint.starved);
            state.viewer.hinted(hint, ask.measured, now);
        }
        let mut wished = None;
        let told = state.told.as_ref();
        let told = told
            .and_then(|told| told.rung(ask.offer.number))
            .or(ask.listed);
        let pin = match told {
            // It was chosen when it was listed, be it by another node.
            Some(rung) => state.viewer.repeat(rung),
            None => {
                let (pin, wish) = self.choose(&mut state, ask, rules, now);
                wished = wish;
                pin
            }
        };
        state.listens = false;
        self.counts(&mut state);
        self.write(&state);
        let estimate = state.viewer.estimate();
        let known = Known {
            estimate: estimate.map(|estimate| estimate.rate),
            deviation: estimate.map_or(0.0, |estimate| estimate.deviation),
            rtt: state.viewer.rtt(),
            buffer: state.viewer.buffer(now),
            ceiling: state.ceiling.into(),
            held: state.viewer.is_held(),
            wished,
            arm: self.arm,
            rule: match ask.taken {
                Some(rung) => Taken(rung).name(),
                None => self.rule(ask, rules).name(),
            },
        };
        (pin, known)
    }

    /// It takes sound alone.
    pub(super) fn listens(&self, begins: bool) {
        let mut state = self.state();
        state.listens = true;
        state.segments += u32::from(begins);
        self.counts(&mut state);
        self.write(&state);
    }

    /// What it is to be told of `segments`; see [`Viewers::list`](super::viewers::Viewers::list).
    pub(super) fn list(
        &self,
        segments: &[(u64, bool)],
        ask: &Ask<'_>,
        told: Option<Timeline>,
        rules: &Rules,
        now: Instant,
    ) -> Timeline {
        let mut state = self.state();
        // What it takes of what it was told may come from a cache, so whoever asks again counts.
        if state.told.is_some() || state.place == Place::Moved {
            self.counts(&mut state);
        }
        let mut told = match state.told.take() {
            Some(told) => told,
            None => Box::new(told.unwrap_or_default()),
        };
        let newest = segments.last().map_or(0, |(number, _)| *number);
        let is_new = |(number, _): &&(u64, bool)| told.is_new(*number, newest);
        let new: Vec<_> = segments.iter().filter(is_new).copied().collect();
        if !new.is_empty() {
            // One choice for all that are new, which is one segment but for the first playlist.
            let (pin, _) = self.choose(&mut state, ask, rules, now);
            for (number, stream_breaks) in new {
                told.append(number, pin.rung, stream_breaks);
            }
        }
        if let Some((first, _)) = segments.first() {
            told.forget_before(*first);
        }
        let timeline = Timeline::clone(&told);
        state.told = Some(told);
        self.write(&state);
        timeline
    }

    /// The pin, and what would have been pinned, were it at hand.
    fn choose(
        &self,
        state: &mut State,
        ask: &Ask<'_>,
        rules: &Rules,
        now: Instant,
    ) -> (Pin, Option<usize>) {
        // Who came after the last sharing has no share yet, and must not take that of others.
        let newcomer = ask.shared.is_some_and(|shared| self.since > shared);
        let ceiling = if newcomer {
            ask.ceiling.min(ask.offer.start)
        } else {
            ask.ceiling
        };
        state.ceiling = small(ceiling);
        state.look(&self.id, now);
        let begins = ask.offer.part.is_none_or(|part| part.index == 0);
        if !ask.measured && begins {
            state.follow(&self.id, ask.offer.number, now);
        }
        let in_flight = state.flights.flight(now);
        // Who takes more than it is allowed has to be reckoned with all the same.
        let taken = ask.taken.map(Taken);
        let rule = match &taken {
            Some(taken) => taken,
            None => self.rule(ask, rules),
        };
        let limits = Limits {
            ceiling: ceiling.max(ask.taken.unwrap_or(0)),
            price: ask.price,
            absent: ask.absent,
            wait: ask.wait,
        };
        if ask.whole {
            let part = ask.offer.part.map(|part| part.index);
            state.viewer.asked_anew(ask.offer.number, part);
        }
        let decided = state
            .viewer
            .decide(&ask.offer, limits, in_flight, rule, now);
        let (pin, wished) = (decided.pin, decided.wished);
        let Some(because) = decided.because else {
            return (pin, wished);
        };
        if ask.taken.is_none() {
            let decided = &self.room.decided[pin.rung.min(RUNGS - 1)];
            decided.fetch_add(1, Relaxed);
        }
        state.segments += u32::from(begins);
        let parts = ask.offer.part.map_or(1, |part| u32::from(part.of.max(1)));
        let length = ask.offer.duration.duration().as_millis();
        let length = u32::try_from(length).unwrap_or(0) / parts;
        state.media_ms = state.media_ms.saturating_add(length);
        let octets = because
            .offer
            .sizes
            .this()
            .get(pin.rung)
            .copied()
            .unwrap_or(0);
        state.chosen += octets / u64::from(parts);
        if !ask.measured && begins {
            state.cadence = Some(Box::new(Cadence {
                number: ask.offer.number,
                octets,
                media: ask.offer.duration,
                answered: now,
            }));
        }
        if let Some(estimate) = because.viewer.estimate {
            state.estimates_kbps += estimate.rate.kbps();
            state.estimated += 1;
        }
        // What a player chose by itself is no decision of ours.
        if let Some(table) = ask.table.filter(|_| ask.taken.is_none())
            && (state.ring.is_some() || rules.journal.is_some())
        {
            let choice = Choice {
                rung: pin.rung,
                reason: pin.reason,
            };
            let kept = Kept::new(
                (self.arm.unwrap_or(0), rule.name()),
                &because,
                choice,
                table,
            );
            if let Some(journal) = &rules.journal {
                journal.note(&self.room.stream, &self.id, kept.clone());
            }
            // What goes on as it was says nothing new.
            if let Some(ring) = &mut state.ring
                && (begins || because.viewer.previous != Some(pin.rung))
            {
                ring.push(kept);
            }
        }
        (pin, wished)
    }

    fn rule<'a>(&self, ask: &Ask<'_>, rules: &'a Rules) -> &'a dyn Rule {
        if ask.fixed {
            &Fixed
        } else {
            rules.arms.rule(self.arm.unwrap_or(0))
        }
    }

    /// Its last decisions; `None` if they were not kept, which they are from now on if there is a `place`.
    pub(super) fn explained(
        &self,
        place: impl FnOnce() -> Option<Box<Ring>>,
    ) -> Option<Vec<Explained>> {
        let mut state = self.state();
        let Some(ring) = &state.ring else {
            state.ring = place();
            return None;
        };
        let kept: Vec<_> = ring.iter().cloned().collect();
        // What takes long is done while nobody waits for it.
        drop(state);
        let explained = kept
            .iter()
            .map(|kept| kept.explained(&self.room.stream, &self.id));
        Some(explained.collect())
    }

    /// What has come of it so far.
    pub(super) fn tally(&self) -> Tally {
        let state = self.state();
        let (stalls, stalled) = state.viewer.stalls();
        Tally {
            watched_ms: self.seen.load(Relaxed),
            stalled_ms: u64::try_from(stalled.as_millis()).unwrap_or(u64::MAX),
            stalls,
            switches: state.viewer.switches(),
            media_ms: state.media_ms.into(),
            octets: state.chosen,
            estimates_kbps: state.estimates_kbps,
            estimated: state.estimated,
        }
    }

    /// It is watching here, even if it was sent elsewhere before.
    fn counts(&self, state: &mut State) {
        if matches!(state.place, Place::Moved | Place::Looking) {
            self.count(state, Place::Watching);
        }
    }

    pub(super) fn is_moved(&self) -> bool {
        self.state().place == Place::Moved
    }

    pub(super) fn is_watching(&self) -> bool {
        self.state().place == Place::Watching
    }

    /// It was sent elsewhere; returns what is known of its path.
    pub(super) fn moved(&self) -> Option<Bitrate> {
        let mut state = self.state();
        if state.place == Place::Watching {
            self.count(&mut state, Place::Moved);
        }
        self.write(&state);
        state.viewer.estimate().map(|estimate| estimate.rate)
    }

    /// What it was told, if its rungs are chosen when they are listed.
    pub(super) fn told(&self) -> Option<Timeline> {
        self.state().told.as_deref().cloned()
    }

    /// What it has ahead, by our account.
    pub(super) fn level(&self, now: Instant) -> Option<Level> {
        self.state().viewer.buffer(now)
    }

    /// A delivery begins.
    pub(super) fn delivering(&self, meter: &Arc<Meter>) {
        self.state().flights.begin(meter, Instant::now());
    }

    /// A delivery is over.
    pub(super) fn delivered(&self, meter: Arc<Meter>, progress: &Progress, now: Instant) {
        let mut state = self.state();
        if let Some(outcome) = state.flights.end(&meter, progress, now) {
            state.learn(&self.id, &outcome, now);
        }
        // It is not on its way any more.
        drop(meter);
        state.flights.forget();
        self.write(&state);
    }

    /// When it will have been silent for too long, if it is not seen before; `None` if it has been.
    pub(super) fn stays_until(&self, now: Instant) -> Option<Instant> {
        let seen = self.since + Duration::from_millis(self.seen.load(Relaxed));
        let until = seen + self.patience();
        if until > now {
            return Some(until);
        }
        // Whoever is still being sent something has not been silent.
        let mut state = self.state();
        state.flights.forget().then_some(now + self.patience())
    }

    /// It counts no more.
    pub(super) fn leave(&self) {
        self.count(&mut self.state(), Place::Gone);
    }

    pub(super) fn report(&self, now: Instant) -> ViewerReport {
        let state = self.state();
        let silent = now.saturating_duration_since(self.since).as_millis() as u64;
        ViewerReport {
            viewer: self.id.to_string(),
            stream: self.room.stream.clone(),
            region: self.crowd.name.to_string(),
            class: None,
            place: self.line.place,
            rung: state.viewer.current(),
            reason: state.viewer.reason(),
            ceiling: state.ceiling.into(),
            estimate_kbps: state.viewer.estimate().map(|estimate| estimate.rate.kbps()),
            buffer_ms: state
                .viewer
                .buffer(now)
                .map(|level| level.media.as_millis()),
            stalls: state.viewer.stalls().0,
            arm: self.arm,
            abandoned: state.abandoned,
            switches: state.viewer.switches(),
            segments: state.segments.into(),
            octets: state.account.octets(),
            moved: state.place == Place::Moved,
            since_s: now.saturating_duration_since(self.since).as_secs(),
            silent_ms: silent.saturating_sub(self.seen.load(Relaxed)),
        }
    }

    /// What there is to tell of it since it was told last, for analytics; `None` if that is nothing. `end` is why it
    /// is over, if it is.
    pub(super) fn visit(&self, began_ms: u64, end: Option<End>) -> Option<Visit> {
        let mut state = self.state();
        let end = Some(End::Moved)
            .filter(|_| state.account.was_sent_on())
            .or(end);
        if !state.account.is_news(end) {
            return None;
        }
        let under_way = state.flights.under_way();
        let (octets, other) = state.account.by_rung(under_way);
        let (stalls, stalled) = state.viewer.stalls();
        Some(Visit {
            session: Session::of(self.room.stream.as_str(), self.id.key),
            region: self.crowd.name.to_string(),
            began_ms,
            watched_ms: state.account.watched_ms(self.seen.load(Relaxed)),
            stalls,
            stalled_ms: u64::try_from(stalled.as_millis()).unwrap_or(u64::MAX),
            starved: state.account.starvations(),
            octets,
            other,
            end,
        })
    }

    fn write(&self, state: &State) {
        let watching = state.place == Place::Watching && !state.listens;
        self.line.write(watching.then(|| state.viewer.wish()));
    }

    /// Takes it out of the sums that it is in, and into those where it belongs now.
    fn count(&self, state: &mut State, place: Place) {
        let seen = self.seen.load(Relaxed);
        state.account.is_here(place == Place::Watching, seen);
        if place != Place::Gone {
            state.account.is_sent_on(place == Place::Moved);
        }
        match std::mem::replace(&mut state.place, place) {
            Place::Watching => {
                self.room.watching.fetch_sub(1, Relaxed);
                self.crowd.viewers.fetch_sub(1, Relaxed);
            }
            Place::Moved => _ = self.room.moved.fetch_sub(1, Relaxed),
            Place::Looking | Place::Gone => {}
        }
        match place {
            Place::Watching => {
                self.room.watching.fetch_add(1, Relaxed);
                self.crowd.viewers.fetch_add(1, Relaxed);
            }
            Place::Moved => _ = self.room.moved.fetch_add(1, Relaxed),
            Place::Looking | Place::Gone => {}
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.patience.into())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Looks at what is on its way. What has arrived by now counts: the request that asks for a
    /// segment is often what proves that the part before it was read, and who measures that one
    /// may look a moment later.
    fn look(&mut self, id: &ViewerId, now: Instant) {
        for outcome in self.flights.look(now) {
            self.learn(id, &outcome, now);
        }
    }

    /// Learns from a delivery that is over.
    fn learn(&mut self, id: &ViewerId, outcome: &Outcome, now: Instant) {
        self.account.took(outcome.rung, outcome.octets);
        if let Some(delivery) = &outcome.delivery {
            let evidence = if outcome.abandoned {
                self.abandoned = self.abandoned.saturating_add(1);
                self.viewer.abandoned(delivery, outcome.part, now)
            } else {
                self.viewer.delivered(delivery, now)
            };
            let (estimate, abandoned) = (self.viewer.estimate(), outcome.abandoned);
            tracing::debug!(viewer = %id, ?delivery, abandoned, ?evidence, ?estimate, "delivered");
        }
    }

    /// Learns from it that segment `number` is asked for.
    fn follow(&mut self, id: &ViewerId, number: u64, now: Instant) {
        let Some(cadence) = self.cadence.as_deref() else {
            return;
        };
        if let Some(delivery) = cadence.followed_by(number, now) {
            let evidence = self.viewer.delivered(&delivery, now);
            tracing::debug!(viewer = %id, ?delivery, ?evidence, "asked on");
        } else if let Some(since) = cadence.there_since(number, now) {
            self.viewer.has(cadence.number, cadence.media, since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_takes_no_more_than_three_quarters_of_a_kilobyte() {
        assert!(size_of::<Seated>() <= 768, "{}", size_of::<Seated>());
    }
}
