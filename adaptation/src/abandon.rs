//! Whether a delivery that is under way is worth going on with, after the path broke down under it.
//!
//! A rung is chosen for a path as it was. Where that falls to a tenth in the middle of a segment, the rest would
//! take longer than the viewer has media for, while the whole segment in the cheapest rung would
//! be there sooner. Players that adapt by themselves give such a download up; for one that does not
//! know of rungs, the server can: it breaks the delivery off, the player asks again, and is given what fits.
//!
//! How it is broken off, and which players ask again and how soon, is the origin's to know.

use std::time::Duration;

use playlists::Bitrate;

use crate::buffer::Level;

/// A delivery under way, as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Outstanding {
    /// Octets not acknowledged yet.
    pub left: u64,
    /// Of those, how many will arrive whatever is done: they are in the kernel's or the path's queues.
    pub stuck: u64,
    /// What the path carried over the last [`LOOKS_BACK`] of it.
    pub pace: Bitrate,
    /// The smallest round trip of the connection.
    pub rtt: Duration,
}

/// Broken off, the same segment in the cheapest rung has `octets`, and is asked for again `after` that.
#[derive(Clone, Copy, Debug)]
pub struct Instead {
    pub octets: u64,
    pub after: Duration,
    /// Where even this would take longer to arrive, the path carries nothing for now. What is on its way is there as soon
    /// as that is over, while a connection would first have to be made anew.
    pub patience: Duration,
}

impl Outstanding {
    /// Whether the viewer, who has `level` ahead, would stand still, and for much less long with what can
    /// be had `instead`.
    pub fn is_lost(&self, level: Level, instead: Instead) -> bool {
        let octets_per_second = self.pace.max(SLOWEST).bps() as f64 / 8.0;
        let ahead = level.media.as_secs_f64();
        let still = |seconds: f64| (seconds - ahead).max(0.0);
        let rest = still(self.left as f64 / octets_per_second);
        let takes = (self.stuck + instead.octets) as f64 / octets_per_second;
        if takes > instead.patience.as_secs_f64() {
            return false;
        }
        let anew = takes + (instead.after + self.rtt).as_secs_f64();
        rest > NOTICED && rest - still(anew) > WORTH
    }
}

/// Over less than this a pace says little: queues are drained, acknowledgements come in bursts.
pub const LOOKS_BACK: Duration = Duration::from_secs(1);

/// How long a delivery has to have gone on that is to play for `media`: after less there is nothing to tell by.
pub fn telling(media: Duration) -> Duration {
    (media / 2).min(TELLING)
}

/// [`Instead::patience`] of who has no more ahead than some parts that play for `media`: as hls.js has it.
pub fn patience(media: Duration) -> Duration {
    media * 10
}

const TELLING: Duration = Duration::from_millis(500);

/// Of standing still, in seconds; less may be an error of the reckoning.
const NOTICED: f64 = 0.5;
/// Seconds of standing still that have to be saved: what was sent already is thrown away.
const WORTH: f64 = 1.0;

/// A path on which nothing moves has a pace as well.
const SLOWEST: Bitrate = Bitrate::from_kbps(4);

#[cfg(test)]
mod tests {
    use super::*;

    fn outstanding(left: u64, kbps: u64) -> Outstanding {
        Outstanding {
            left,
            stuck: 0,
            pace: Bitrate::from_kbps(kbps),
            rtt: Duration::from_millis(40),
        }
    }

    fn ahead(seconds: u64) -> Level {
        Level {
            media: Duration::from_secs(seconds),
            playing: true,
        }
    }

    const CHEAPEST: Instead = Instead {
        octets: 75_000,
        after: Duration::from_secs(1),
        patience: Duration::MAX,
    };

    #[test]
    fn a_path_that_broke_down_is_not_waited_for() {
        // 1.5 MB at 300 kbit/s take 40 s; the cheapest rung takes 2.
        assert!(outstanding(1_500_000, 300).is_lost(ahead(5), CHEAPEST));
        assert!(outstanding(1_500_000, 0).is_lost(ahead(5), CHEAPEST));
    }

    #[test]
    fn what_still_comes_in_time_is_let_come() {
        assert!(!outstanding(1_500_000, 3_000).is_lost(ahead(5), CHEAPEST));
        assert!(!outstanding(150_000, 300).is_lost(ahead(4), CHEAPEST));
    }

    #[test]
    fn of_a_part_it_is_known_sooner_but_an_outage_is_waited_out() {
        // At 6 Mbit/s a part of half a second has 375 kB; at a tenth of that it takes 5 s.
        const MEDIA: Duration = Duration::from_millis(500);
        let part = outstanding(350_000, 600);
        let instead = Instead {
            octets: 20_000,
            patience: patience(MEDIA),
            ..CHEAPEST
        };
        assert!(part.is_lost(ahead(1), instead));
        assert!(!outstanding(350_000, 16).is_lost(ahead(1), instead));
        assert!(telling(MEDIA) < telling(Duration::from_secs(2)));
    }

    #[test]
    fn nothing_is_given_up_that_would_come_as_soon() {
        // Nearly there: the cheapest rung would take as long.
        assert!(!outstanding(150_000, 300).is_lost(ahead(1), CHEAPEST));
        let stuck = Outstanding {
            stuck: 128_000,
            ..outstanding(200_000, 300)
        };
        assert!(!stuck.is_lost(ahead(1), CHEAPEST));
    }
}
