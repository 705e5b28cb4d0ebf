//! The report: what its JSON is (see the head of `congest`), and the sums over what was seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    machine::Machine,
    seen::{Fetched, Seen, Shown, Stall},
    sizes::Sizes,
    trace::Trace,
};

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub about: About,
    pub rounds: Vec<Round>,
    pub totals: Vec<Total>,
    pub against: Vec<Against>,
}

#[derive(Clone, Debug, Serialize)]
pub struct About {
    pub version: &'static str,
    /// Wall clock, RFC 3339.
    pub when: String,
    pub seconds: f64,
    pub seed: u64,
    pub rule: Option<String>,
    pub egress_mbps: Option<String>,
    pub encoded: &'static str,
    pub segment_s: f64,
    /// All players are behind one link.
    pub shared: bool,
    pub rungs: Vec<Rung>,
}

/// A rung as `/v1/streams` tells it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Rung {
    #[serde(alias = "rung")]
    pub name: String,
    pub width: u32,
    pub height: u32,
    #[serde(alias = "declared_kbps")]
    pub kbps: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Round {
    pub trace: Trace,
    pub mean_kbps: f64,
    pub run: u32,
    pub sizes: Sizes,
    pub machine: Machine,
    pub together: Option<Together>,
    pub players: Vec<Played>,
}

/// How players that were behind one link got on with one another.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Together {
    /// Jain's index of their bitrates: 1 if all had the same.
    pub jain: f64,
    /// Share of what the link could carry that was segments.
    pub utilization: f64,
}

impl Together {
    /// `kbits` is what the link could carry.
    pub fn of(players: &[Played], kbits: f64) -> Self {
        let rates = players
            .iter()
            .map(|played| played.summary.bitrate_kbps.unwrap_or(0.0));
        let (sum, squares) = rates.fold((0.0, 0.0), |(sum, squares), rate| {
            (sum + rate, squares + rate * rate)
        });
        let octets: u64 = players
            .iter()
            .filter_map(|played| played.summary.octets)
            .sum();
        Self {
            jain: if squares > 0.0 {
                sum * sum / (players.len() as f64 * squares)
            } else {
                1.0
            },
            utilization: octets as f64 * 8.0 / 1000.0 / kbits,
        }
    }
}

/// One player in one round.
#[derive(Clone, Debug, Serialize)]
pub struct Played {
    pub player: String,
    pub version: Option<String>,
    pub summary: Summary,
    pub link: Vec<(f64, u32)>,
    pub segments: Vec<Fetched>,
    pub shown: Vec<Shown>,
    pub stalls: Vec<Stall>,
    pub buffer: Vec<(f64, f64)>,
    pub age: Vec<(f64, f64)>,
    pub troubles: Vec<String>,
}

/// What one player's viewer saw. What is not known is not there.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// From being started to the first picture that moves.
    pub startup_s: Option<f64>,
    /// Wall time from then to the end, less the stalls.
    pub played_s: f64,
    pub stalls: usize,
    pub stalled_s: f64,
    /// Of the time since the first picture.
    pub stall_ratio: f64,
    /// What it stood still with media in its buffer.
    pub held_s: f64,
    /// Media that it jumped over.
    pub skipped_s: f64,
    /// Mean over the segments that were played, of the average rates of their rungs.
    pub bitrate_kbps: Option<f64>,
    pub switches: usize,
    pub switches_per_minute: f64,
    /// Median.
    pub age_s: Option<f64>,
    pub octets: Option<u64>,
    pub dropped_pictures: Option<u64>,
    pub failed: Option<String>,
}

impl Played {
    pub fn new(player: &str, seen: Seen, link: Vec<(f64, u32)>, about: &About) -> Self {
        let summary = Summary::of(&seen, about);
        Self {
            player: player.to_owned(),
            version: seen.version,
            summary,
            link,
            segments: seen.segments,
            shown: seen.shown,
            stalls: seen.stalls,
            buffer: seen.buffer,
            age: seen.age,
            troubles: seen.troubles,
        }
    }
}

impl About {
    pub fn kbps(&self, rung: &str) -> Option<u64> {
        self.rungs
            .iter()
            .find(|one| one.name == rung)
            .map(|one| one.kbps)
    }
}

impl Summary {
    fn of(seen: &Seen, about: &About) -> Self {
        let seconds = |link: bool| -> f64 {
            let mine = seen.stalls.iter().filter(|stall| stall.link == link);
            mine.map(|stall| stall.seconds)
                .fold(0.0, |sum, seconds| sum + seconds)
        };
        let (stalled_s, held_s) = (seconds(true), seconds(false));
        let span = seen
            .began
            .map_or(0.0, |began| (about.seconds - began).max(0.0));
        let played_s = (span - stalled_s - held_s).max(0.0);
        let rungs = rungs(seen);
        let kbps: Vec<_> = rungs.iter().filter_map(|rung| about.kbps(rung)).collect();
        let switches = rungs.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let octets = seen
            .segments
            .iter()
            .map(|fetched| fetched.octets)
            .sum::<Option<u64>>();
        Self {
            startup_s: seen.began,
            played_s,
            stalls: seen.stalls.iter().filter(|stall| stall.link).count(),
            stalled_s,
            // Who never began has stalled all the time.
            stall_ratio: if span > 0.0 { stalled_s / span } else { 1.0 },
            held_s,
            skipped_s: seen.skipped,
            bitrate_kbps: (!kbps.is_empty())
                .then(|| kbps.iter().sum::<u64>() as f64 / kbps.len() as f64),
            switches,
            switches_per_minute: if played_s > 0.0 {
                switches as f64 * 60.0 / played_s
            } else {
                0.0
            },
            age_s: median(seen.age.iter().map(|(_, age)| *age).collect()),
            octets: octets
                .filter(|octets| *octets > 0)
                .map(|octets| octets + seen.wasted),
            dropped_pictures: seen.dropped.map(|(dropped, _)| dropped),
            failed: seen.failed.clone().or_else(|| {
                seen.began
                    .is_none()
                    .then(|| "it never began to play".into())
            }),
        }
    }
}

/// The rungs of what was played, segment by segment: as shown where that is said, else as fetched.
fn rungs(seen: &Seen) -> Vec<&str> {
    let fetched = seen
        .segments
        .iter()
        .map(|one| (one.segment, one.rung.as_deref()));
    let shown = seen
        .shown
        .iter()
        .map(|one| (one.segment, one.rung.as_deref()));
    let played: BTreeMap<u64, Option<&str>> = if seen.shown.is_empty() {
        fetched.collect()
    } else {
        shown.collect()
    };
    played.into_values().flatten().collect()
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// One player over all rounds in which the machine was no limit.
#[derive(Clone, Debug, Serialize)]
pub struct Total {
    pub player: String,
    pub rounds: usize,
    /// Rounds that do not count, as the machine was the limit.
    pub left_out: usize,
    /// Over all the time there was.
    pub stall_ratio: f64,
    pub stalls: usize,
    pub stalled_s: f64,
    /// Means over rounds.
    pub startup_s: Option<f64>,
    pub bitrate_kbps: Option<f64>,
    pub switches_per_minute: f64,
    pub age_s: Option<f64>,
    pub skipped_s: f64,
    /// Rounds that it did not come through.
    pub failed: usize,
}

/// Two players in the same rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Against {
    pub player: String,
    pub against: String,
    pub rounds: usize,
    /// Mean bitrate of the first over that of the second.
    pub bitrate: Option<f64>,
    /// Stall ratio of the first less that of the second.
    pub stall_ratio: f64,
}

impl Report {
    pub fn new(about: About, rounds: Vec<Round>) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for player in rounds.iter().flat_map(|round| &round.players) {
            if !names.contains(&player.player.as_str()) {
                names.push(&player.player);
            }
        }
        let totals: Vec<_> = names.iter().map(|name| Total::of(name, &rounds)).collect();
        // What is of interest is who chooses: the server, or the player by itself.
        let (own, others): (Vec<_>, Vec<_>) = totals
            .iter()
            .partition(|total| total.player.starts_with("own"));
        let pairs = others
            .iter()
            .flat_map(|one| own.iter().map(move |other| (*one, *other)));
        let against = pairs
            .filter(|(one, _)| one.rounds > 0)
            .map(|(one, other)| Against {
                player: one.player.clone(),
                against: other.player.clone(),
                rounds: one.rounds,
                bitrate: one
                    .bitrate_kbps
                    .zip(other.bitrate_kbps)
                    .map(|(one, other)| one / other),
                stall_ratio: one.stall_ratio - other.stall_ratio,
            });
        Self {
            against: against.collect(),
            about,
            totals,
            rounds,
        }
    }
}

impl Total {
    fn of(name: &str, rounds: &[Round]) -> Self {
        let counts = rounds
            .iter()
            .filter(|round| round.machine.limits.is_empty());
        let mine = counts
            .flat_map(|round| &round.players)
            .filter(|one| one.player == name);
        let mine: Vec<_> = mine.map(|one| &one.summary).collect();
        let sum = |of: fn(&Summary) -> f64| mine.iter().fold(0.0, |sum, summary| sum + of(summary));
        let mean = |of: fn(&Summary) -> Option<f64>| {
            let known: Vec<f64> = mine.iter().filter_map(|summary| of(summary)).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let time = sum(|summary| summary.played_s + summary.stalled_s);
        Self {
            player: name.to_owned(),
            rounds: mine.len(),
            left_out: rounds.len() - mine.len(),
            stall_ratio: if time > 0.0 {
                sum(|summary| summary.stalled_s) / time
            } else {
                1.0
            },
            stalls: mine.iter().map(|summary| summary.stalls).sum(),
            stalled_s: sum(|summary| summary.stalled_s),
            startup_s: mean(|summary| summary.startup_s),
            bitrate_kbps: mean(|summary| summary.bitrate_kbps),
            switches_per_minute: mean(|summary| Some(summary.switches_per_minute)).unwrap_or(0.0),
            age_s: mean(|summary| summary.age_s),
            skipped_s: sum(|summary| summary.skipped_s),
            failed: mine
                .iter()
                .filter(|summary| summary.failed.is_some())
                .count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        let rung = |name: &str, kbps| Rung {
            name: name.to_owned(),
            width: 0,
            height: 0,
            kbps,
        };
        About {
            version: "",
            when: String::new(),
            seconds: 60.0,
            seed: 0,
            rule: None,
            egress_mbps: None,
            encoded: "once",
            segment_s: 2.0,
            shared: false,
            rungs: vec![rung("low", 500), rung("high", 3000)],
        }
    }

    fn fetched(segment: u64, rung: &str) -> Fetched {
        Fetched {
            segment,
            rung: Some(rung.to_owned()),
            octets: Some(1000),
            ..Fetched::default()
        }
    }

    #[test]
    fn a_segment_fetched_twice_is_played_once_and_both_are_paid_for() {
        let segments = vec![
            fetched(1, "high"),
            fetched(2, "high"),
            fetched(2, "low"),
            fetched(3, "low"),
        ];
        let stalls = vec![
            Stall::new(20.0, 5.0, Some(0.0)),
            Stall::new(40.0, 3.0, Some(4.0)),
        ];
        let seen = Seen {
            began: Some(10.0),
            segments,
            stalls,
            ..Seen::default()
        };
        let summary = Summary::of(&seen, &about());
        assert_eq!(
            (
                summary.stalls,
                summary.stalled_s,
                summary.held_s,
                summary.played_s
            ),
            (1, 5.0, 3.0, 42.0)
        );
        assert_eq!(
            (summary.stall_ratio, summary.switches, summary.octets),
            (0.1, 1, Some(4000))
        );
        assert!((summary.bitrate_kbps.unwrap() - 4000.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn who_shares_alike_is_fair_and_who_takes_all_is_not() {
        let one = |rung: &str| {
            let segments = vec![fetched(1, rung)];
            let seen = Seen {
                began: Some(0.0),
                segments,
                ..Seen::default()
            };
            Played::new("ffmpeg", seen, vec![], &about())
        };
        let alike = Together::of(&[one("low"), one("low")], 32.0);
        assert_eq!((alike.jain, alike.utilization), (1.0, 0.5));
        assert!(Together::of(&[one("low"), one("high")], 32.0).jain < 0.7);
    }

    #[test]
    fn a_round_in_which_the_machine_was_the_limit_does_not_count() {
        let round = |limits: Vec<String>, rung: &str| {
            let seen = |rung: &str| Seen {
                began: Some(0.0),
                segments: vec![fetched(1, rung)],
                ..Seen::default()
            };
            Round {
                trace: Trace::named("1000", 0).unwrap(),
                mean_kbps: 1000.0,
                run: 0,
                sizes: Sizes::default(),
                together: None,
                machine: Machine {
                    limits,
                    ..Machine::default()
                },
                players: vec![
                    Played::new("ours", seen(rung), vec![], &about()),
                    Played::new("own", seen("low"), vec![], &about()),
                ],
            }
        };
        let held = vec!["the lab was held up by 900 ms".to_owned()];
        let report = Report::new(about(), vec![round(vec![], "high"), round(held, "low")]);
        assert_eq!((report.totals[0].rounds, report.totals[0].left_out), (1, 1));
        assert_eq!(report.against[0].bitrate, Some(6.0));
    }
}
