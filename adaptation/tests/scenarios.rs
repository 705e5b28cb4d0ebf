//! Stories of one viewer on one link, in virtual time: what the default rule makes of them.
//!
//! The link is a fluid whose rate changes with time; the player fetches each segment when it is
//! listed, starts with three and stops when its buffer is empty. No slow start, no loss.

use std::time::{Duration, Instant};

use adaptation::{Delivery, Flight, Hint, Limits, Mpc, Offer, Part, Rate, Reason, Rule, Viewer};
use playlists::{Bitrate, MediaTime};

const LADDER: [u64; 4] = [350, 700, 1300, 2200];
const TOP: usize = 3;
const RTT: f64 = 0.03;

/// 64 frames of 30 per second.
fn segment() -> MediaTime {
    MediaTime::from_ticks(64, 30)
}

#[test]
fn a_drop_to_a_sixth_is_survived_and_forgotten() {
    let (drop, recovery) = (40.0, 80.0);
    let link = |at: f64| {
        if (drop..recovery).contains(&at) {
            1000.0
        } else {
            6000.0
        }
    };
    for phase in 0..20 {
        let story = Story::default()
            .shifted(f64::from(phase) * 0.11)
            .play(&link, 140.0);

        assert!(story.stalls.len() <= 1, "phase {phase}: {:?}", story.stalls);
        assert!(
            story.stalls.iter().all(|stall| *stall <= 1.0),
            "phase {phase}: {:?}",
            story.stalls
        );

        let after: Vec<_> = story
            .fetches
            .iter()
            .filter(|fetch| fetch.asked >= drop)
            .collect();
        assert!(
            after[..2].iter().any(|fetch| LADDER[fetch.rung] <= 1000),
            "phase {phase}: {after:?}"
        );

        let back = story
            .fetches
            .iter()
            .find(|fetch| fetch.asked >= recovery && fetch.rung == TOP);
        assert!(
            back.is_some_and(|fetch| fetch.asked <= recovery + 20.0),
            "phase {phase}: {back:?}"
        );
    }
}

#[test]
fn noise_on_a_steady_link_moves_hardly_anybody() {
    for (mean, allowed) in [
        (1000.0, 0.5),
        (3000.0, 0.5),
        // Marginal for a rung, which is had for as long as the buffer pays for what the path lacks.
        (1600.0, 3.5),
        (2000.0, 3.5),
        (2600.0, 3.5),
    ] {
        for period in [0.3, 1.0, 3.0] {
            let (mut switches, mut minutes) = (0, 0.0);
            for seed in 0..10 {
                let story = Story::default().play(&noisy(mean, 0.2, period, seed), 600.0);
                assert!(
                    story.stalls.is_empty(),
                    "{mean} kbit/s, {period} s: {:?}",
                    story.stalls
                );
                let settled: Vec<_> = story
                    .fetches
                    .iter()
                    .filter(|fetch| fetch.asked > 30.0)
                    .collect();
                switches += settled
                    .windows(2)
                    .filter(|pair| pair[0].rung != pair[1].rung)
                    .count();
                minutes += 9.5;
            }
            let pace = switches as f64 / minutes;
            assert!(
                pace <= allowed,
                "{mean} kbit/s, {period} s: {pace} switches a minute"
            );
        }
    }
}

#[test]
fn a_wild_link_is_survived() {
    for seed in 0..10 {
        let story = Story::default().play(&noisy(2000.0, 0.5, 2.0, seed), 600.0);
        assert!(
            story.stalls.iter().sum::<f64>() <= 1.0,
            "{:?}",
            story.stalls
        );
    }
}

/// A viewer of whom two seconds are ahead, whose path carried 6 Mbit/s, and who is in the top rung of segment 10.
fn close_to_live(now: Instant) -> Viewer {
    let mut viewer = Viewer::new(None, now);
    let rule = Mpc::default();
    for number in 6..10 {
        let sizes = sizes(number);
        let offer = Offer::new(number, &sizes, segment());
        viewer.decide(&offer, Limits::NONE, None, &rule, now);
        viewer.delivered(&delivered(number, 1_500_000, segment(), 2.0), now);
    }
    let hint = Hint {
        buffer: Some(Duration::from_secs(2)),
        ..Hint::default()
    };
    viewer.hinted(&hint, true, now);
    viewer
}

fn delivered(number: u64, octets: u64, media: MediaTime, seconds: f64) -> Delivery {
    Delivery {
        number,
        octets,
        begins: MediaTime::ZERO,
        media,
        elapsed: Duration::from_secs_f64(seconds),
        min_rtt: Duration::from_millis(40),
        capacity: None,
        receiver_limited: 0.0,
        complete: true,
    }
}

#[test]
fn who_takes_parts_comes_down_in_the_middle_of_a_segment_and_only_where_it_helps() {
    let (now, rule, sizes) = (Instant::now(), Mpc::default(), sizes(10));
    let quarter = MediaTime::from_seconds(segment().seconds() / 4.0);
    let part = |index: u8, open: u8| Offer {
        part: Some(Part {
            index,
            of: 4,
            there: 1,
            open: if index == 0 { u8::MAX } else { open },
            later: open,
        }),
        ..Offer::new(10, &sizes, segment())
    };
    for (open, seconds, expected) in [
        // The path carries a sixth: the rest of the segment would take longer than there is ahead.
        (1, 1.8, 0),
        // The same where there is no way down.
        (0, 1.8, TOP),
        // It is as it was.
        (1, 0.3, TOP),
    ] {
        let mut viewer = close_to_live(now);
        let limits = Limits::NONE;
        let first = viewer.decide(&part(0, open), limits, None, &rule, now).pin;
        assert_eq!(first.rung, TOP);
        let later = now + Duration::from_secs_f64(seconds);
        let octets = sizes[TOP] / 4;
        viewer.delivered(&delivered(10, octets, quarter, seconds), later);
        let next = viewer
            .decide(&part(1, open), limits, None, &rule, later)
            .pin;
        assert_eq!(next.rung, expected, "{open} open, {seconds} s");
    }
}

#[test]
fn what_is_in_flight_bounds_the_next_rung() {
    let (sizes, now) = (sizes(0), Instant::now());
    let offer = |number| Offer::new(number, &sizes, segment());
    let free = Limits::NONE;
    let flight = |kbps| {
        Some(Flight {
            pace: Some(Bitrate::from_kbps(kbps)),
            left: 0,
        })
    };
    let mut viewer = Viewer::new(Some(Bitrate::from_kbps(9000)), now);
    let rule = Rate::default();
    let pin = viewer.decide(&offer(1), free, None, &rule, now).pin;
    assert_eq!(pin.rung, TOP);
    let pin = viewer.decide(&offer(2), free, flight(1000), &rule, now).pin;
    assert_eq!(pin.rung, 1);
    // Without evidence a pace is no reason to begin higher than the start.
    let mut unknown = Viewer::new(None, now);
    let pin = unknown
        .decide(&offer(1), free, flight(9000), &rule, now)
        .pin;
    assert_eq!(pin.rung, 1);
}

#[test]
fn a_fast_link_is_at_the_top_with_the_third_segment() {
    let story = Story {
        rtt: 0.0,
        ..Story::default()
    }
    .play(&|_| 1e7, 30.0);
    assert!(
        story.fetches[2..].iter().all(|fetch| fetch.rung == TOP),
        "{:?}",
        story.fetches
    );
    assert!(story.stalls.is_empty());
}

#[test]
fn a_player_that_loses_picture_at_a_change_climbs_all_the_same_and_seldom_changes() {
    let vlc = || Story {
        lost: 0.9,
        ..Story::default()
    };
    let wide = vlc().play(&|_| 1e5, 60.0);
    assert!(
        wide.fetches[12..].iter().all(|fetch| fetch.rung == TOP),
        "{:?}",
        wide.fetches
    );
    let switches = |story: Story| {
        let pairs = story.fetches.windows(2);
        pairs.filter(|pair| pair[0].rung != pair[1].rung).count()
    };
    let (mut often, mut seldom) = (0, 0);
    for seed in 0..5 {
        let link = noisy(2000.0, 0.3, 3.0, seed);
        often += switches(Story::default().play(&link, 300.0));
        seldom += switches(vlc().play(&link, 300.0));
    }
    assert!(seldom < often, "{seldom} {often}");
}

#[test]
fn a_gigabit_path_that_breaks_down_is_left_at_once() {
    let story = Story::default().play(&|at| if at < 40.0 { 1e6 } else { 1000.0 }, 100.0);
    let after: Vec<_> = story
        .fetches
        .iter()
        .filter(|fetch| fetch.asked >= 40.0)
        .collect();
    assert!(
        after[1..].iter().all(|fetch| LADDER[fetch.rung] <= 1000),
        "{after:?}"
    );
}

#[test]
fn a_path_below_the_cheapest_rung_gets_the_cheapest() {
    let story = Story::default().play(&|_| 250.0, 60.0);
    let last = story.fetches.last().expect("something was fetched");
    assert_eq!((last.rung, last.reason), (0, Reason::Emergency));
}

#[test]
fn a_ceiling_is_obeyed_at_once_and_left_in_steps() {
    let ceiling = |at: f64| if (20.0..40.0).contains(&at) { 0 } else { TOP };
    let story = Story {
        ceiling: Box::new(ceiling),
        ..Story::default()
    }
    .play(&|_| 6000.0, 60.0);
    for fetch in &story.fetches {
        assert!(fetch.rung <= ceiling(fetch.asked), "{fetch:?}");
        assert_eq!(
            fetch.reason == Reason::Ceiling,
            (20.0..40.0).contains(&fetch.asked),
            "{fetch:?}"
        );
    }
    let free: Vec<_> = story
        .fetches
        .iter()
        .filter(|fetch| fetch.asked >= 40.0)
        .map(|fetch| fetch.rung)
        .collect();
    assert_eq!(free[..3], [2, 3, 3]);
}

/// What happened to one player.
struct Story {
    rtt: f64,
    rule: Box<dyn Rule>,
    ceiling: Box<dyn Fn(f64) -> usize>,
    joined: f64,
    /// Seconds of picture that the player loses at each change.
    lost: f64,
    fetches: Vec<Fetch>,
    /// In seconds each.
    stalls: Vec<f64>,
}

#[derive(Debug)]
struct Fetch {
    asked: f64,
    rung: usize,
    reason: Reason,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            rtt: RTT,
            rule: Box::new(Mpc::default()),
            ceiling: Box::new(|_| TOP),
            joined: 10.0,
            lost: 0.0,
            fetches: Vec::new(),
            stalls: Vec::new(),
        }
    }
}

impl Story {
    /// Joins later, so that the link's changes meet another phase of the segments.
    fn shifted(mut self, by: f64) -> Self {
        self.joined += by;
        self
    }

    /// `link` is in kbit/s at a time in seconds.
    fn play(mut self, link: &dyn Fn(f64) -> f64, until: f64) -> Self {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut viewer = Viewer::new(None, at(self.joined));
        let length = segment().seconds();
        // Segment n is listed at (n + 1) lengths; the third from the live edge is the first.
        let phase = self.joined % length;
        let mut number = ((self.joined - phase) / length) as u64 - 3;
        let mut now = self.joined;
        let mut buffer = Buffer::default();
        while now < until {
            now = now.max((number + 1) as f64 * length + phase);
            let sizes = sizes(number);
            let published = ((now - phase) / length + 1e-9) as u64;
            let offer = Offer {
                ahead: segment() * published.saturating_sub(number + 1) as i64,
                pictures: &[0, 1, 2, 3],
                lost: Duration::from_secs_f64(self.lost),
                ..Offer::new(number, &sizes, segment())
            };
            let limits = Limits::ceiling((self.ceiling)(now));
            let decided = viewer.decide(&offer, limits, None, self.rule.as_ref(), at(now));
            let pin = decided.pin;
            self.fetches.push(Fetch {
                asked: now,
                rung: pin.rung,
                reason: pin.reason,
            });
            let octets = sizes[pin.rung];
            let sent = now + self.rtt / 2.0;
            let arrived = transfer(link, sent, octets);
            let elapsed = arrived - sent + self.rtt;
            let delivery = Delivery {
                number,
                octets,
                begins: MediaTime::ZERO,
                media: segment(),
                elapsed: Duration::from_secs_f64(elapsed),
                min_rtt: Duration::from_secs_f64(self.rtt),
                capacity: None,
                receiver_limited: 0.0,
                complete: true,
            };
            now = arrived + self.rtt / 2.0;
            viewer.delivered(&delivery, at(now));
            self.stalls.extend(buffer.add(length, now));
            number += 1;
        }
        self
    }
}

/// Plays from the third segment on, and after a stall as soon as there is something.
#[derive(Default)]
struct Buffer {
    level: f64,
    seen: f64,
    playing: bool,
}

impl Buffer {
    /// Returns the stall that this ended.
    fn add(&mut self, length: f64, now: f64) -> Option<f64> {
        let mut stall = None;
        if self.playing {
            let left = self.level - (now - self.seen);
            stall = (left < 0.0).then_some(-left);
            self.level = left.max(0.0);
        }
        self.level += length;
        self.seen = now;
        self.playing |= self.level >= 2.9 * length;
        stall
    }
}

/// When `octets` have passed a link that they enter at `from`.
fn transfer(link: &dyn Fn(f64) -> f64, from: f64, octets: u64) -> f64 {
    const STEP: f64 = 0.005;
    let (mut at, mut left) = (from, octets as f64 * 8.0);
    loop {
        let passed = link(at) * 1000.0 * STEP;
        if passed >= left {
            return at + STEP * left / passed;
        }
        left -= passed;
        at += STEP;
    }
}

/// A tenth more or less than the ladder says, as encoders do.
fn sizes(number: u64) -> [u64; 4] {
    let factor = 1.0 + 0.1 * random(number, 7);
    LADDER.map(|kbps| {
        Bitrate::from_kbps(kbps)
            .scale(factor)
            .octets_in(segment().duration())
    })
}

/// Another rate every `period` seconds.
fn noisy(mean: f64, spread: f64, period: f64, seed: u64) -> impl Fn(f64) -> f64 {
    move |at| mean * (1.0 + spread * random((at / period) as u64, seed))
}

/// Even in -1 to 1; the same for the same arguments.
fn random(number: u64, seed: u64) -> f64 {
    let mixed = (number ^ (seed << 32)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}
