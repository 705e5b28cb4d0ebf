//! What was seen of one player in one round, whatever player it was; and where it stood still, from how far it was when.

use serde::{Deserialize, Serialize};

/// One player's round, in seconds since its beginning.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Where it says it.
    pub version: Option<String>,
    /// When the first picture moved.
    pub began: Option<f64>,
    pub stalls: Vec<Stall>,
    /// Media that was jumped over.
    pub skipped: f64,
    pub buffer: Vec<(f64, f64)>,
    pub age: Vec<(f64, f64)>,
    pub segments: Vec<Fetched>,
    pub shown: Vec<Shown>,
    /// Pictures that came too late to be shown, and all.
    pub dropped: Option<(u64, u64)>,
    /// Octets of what was given up on.
    pub wasted: u64,
    /// Of a page: by how much its timer was late, each time.
    pub late_ms: Vec<f64>,
    pub troubles: Vec<String>,
    /// Why there is nothing, or not all.
    pub failed: Option<String>,
}

/// One answer with media. What is not known of it is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fetched {
    pub t: f64,
    pub segment: u64,
    pub part: Option<u64>,
    pub rung: Option<String>,
    pub octets: Option<u64>,
    pub first_ms: Option<f64>,
    pub delivered_ms: Option<f64>,
    /// Why the server chose that rung, and what it took the path for.
    pub reason: Option<String>,
    pub estimate_kbps: Option<u64>,
}

/// What is on the screen from `t` on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Shown {
    pub t: f64,
    pub segment: u64,
    pub rung: Option<String>,
}

/// A player stood still.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stall {
    pub at: f64,
    pub seconds: f64,
    /// Media that it had before it.
    pub buffer: Option<f64>,
    /// Whether it is the link's.
    pub link: bool,
}

impl Stall {
    pub fn new(at: f64, seconds: f64, buffer: Option<f64>) -> Self {
        let link = buffer.is_none_or(|ahead| ahead < ENOUGH);
        Self {
            at,
            seconds,
            buffer,
            link,
        }
    }
}

/// How a player's clock counts, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// It goes in such steps.
    pub step: f64,
    /// Between two of its moves so much is not a stall.
    pub blur: f64,
}

impl Clock {
    /// Where it stood still, and how much it jumped over; `positions` are what it said when, from the first picture on.
    pub fn stalls(self, positions: &[(f64, f64)], buffer: &[(f64, f64)]) -> (Vec<Stall>, f64) {
        // Only where it moves is known to the moment.
        let mut moves: Vec<(f64, f64)> = Vec::new();
        for (t, position) in positions {
            let last = moves.last();
            if last.is_none_or(|(_, last)| (position - last).abs() > 0.01) {
                moves.push((*t, *position));
            }
        }
        let (mut stalls, mut skipped) = (Vec::new(), 0.0);
        for pair in moves.windows(2) {
            let ((from, left), (to, reached)) = (pair[0], pair[1]);
            let (wall, moved) = (to - from, reached - left);
            // Back or far forward: it was put there, and until then it did not move.
            let jumped = moved < 0.0 || moved > wall + JUMP;
            if jumped {
                skipped += (moved - wall).max(0.0);
            }
            let still = if jumped { wall } else { wall - moved };
            if still > self.blur {
                let at = to - still;
                stalls.push(Stall::new(at, still, ahead(buffer, at)));
            }
        }
        // And at the end it may stand; when its next step was due nobody knows.
        if let (Some((moved, _)), Some((end, _))) = (moves.last(), positions.last()) {
            let (at, still) = (moved + self.step, end - moved - self.step);
            if still > self.blur {
                stalls.push(Stall::new(at, still, ahead(buffer, at)));
            }
        }
        (merged(stalls, self.blur), skipped)
    }
}

/// Stalls as a viewer would count them: two with less than `apart` seconds of playing between them are one.
pub fn merged(stalls: impl IntoIterator<Item = Stall>, apart: f64) -> Vec<Stall> {
    let (mut merged, mut end) = (Vec::<Stall>::new(), f64::NEG_INFINITY);
    for stall in stalls {
        match merged.last_mut() {
            Some(last) if stall.at - end < apart && stall.link == last.link => {
                last.seconds += stall.seconds
            }
            _ => merged.push(stall),
        }
        end = stall.at + stall.seconds;
    }
    merged
}

/// What was in the buffer when the player stopped: the least of what was seen about then.
fn ahead(buffer: &[(f64, f64)], at: f64) -> Option<f64> {
    let about = buffer
        .iter()
        .filter(|(t, _)| (at - 0.05..at + 0.35).contains(t));
    about.map(|(_, ahead)| *ahead).reduce(f64::min)
}

/// With so much media before it, a player that stands still does not wait for the link.
const ENOUGH: f64 = 1.0;
/// Further than any clock is wrong.
const JUMP: f64 = 0.7;

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Clock = Clock {
        step: 0.0,
        blur: 0.25,
    };

    /// A clock that is looked at ten times a second.
    fn clock(position: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..100)
            .map(|tenth| f64::from(tenth) / 10.0)
            .map(|t| (t, position(t)))
            .collect()
    }

    #[test]
    fn a_clock_that_runs_has_no_stall_however_late_it_is_looked_at() {
        let mut seen = clock(|t| t + 5.0);
        seen.drain(30..50);
        assert_eq!(PAGE.stalls(&seen, &[]), (vec![], 0.0));
    }

    #[test]
    fn what_stands_still_is_a_stall_also_at_the_end() {
        let seen = clock(|t| {
            if t < 3.0 {
                t
            } else {
                (t - 2.0).clamp(3.0, 6.0)
            }
        });
        let (found, skipped) = PAGE.stalls(&seen, &[(2.9, 0.1), (3.1, 0.0), (8.0, 2.0)]);
        assert_eq!((found.len(), skipped), (2, 0.0), "{found:?}");
        assert!(
            (found[0].at - 3.0).abs() < 0.15 && (found[0].seconds - 2.0).abs() < 0.15,
            "{found:?}"
        );
        assert!(
            found[0].link && !found[1].link,
            "the second stood before 2 s of media: {found:?}"
        );
    }

    #[test]
    fn a_jump_over_media_is_told_apart() {
        let seen = clock(|t| {
            if t < 3.0 {
                t
            } else if t < 5.0 {
                3.0
            } else {
                t + 4.0
            }
        });
        let (found, skipped) = PAGE.stalls(&seen, &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            (found[0].seconds - 2.0).abs() < 0.2 && (skipped - 4.0).abs() < 0.2,
            "{found:?} {skipped}"
        );
    }

    #[test]
    fn what_trickles_in_is_one_stall() {
        let gaps = [(5.0, 0.3), (5.7, 0.4), (9.0, 0.5)];
        let stalls = merged(gaps.map(|(at, seconds)| Stall::new(at, seconds, None)), 1.0);
        assert_eq!(
            stalls.iter().map(|stall| stall.at).collect::<Vec<_>>(),
            [5.0, 9.0]
        );
        assert!((stalls[0].seconds - 0.7).abs() < 1e-9, "{stalls:?}");
    }

    #[test]
    fn a_clock_of_whole_seconds_is_not_taken_for_one_that_stops() {
        let seen = clock(f64::floor);
        let whole = Clock {
            step: 1.0,
            blur: 0.7,
        };
        assert_eq!(whole.stalls(&seen, &[]).0, []);
    }
}
