//! Rounds of the lab (`congest --json`) once more in virtual time: the same trace from its beginning, the same sizes
//! of segments and times at which they were there, each player from its first request on. How far the two are apart is
//! how much the simulator's word is worth.

use std::{fmt, sync::Arc, time::Instant};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::{
    contender::Contender,
    measure::Session,
    single::{Occasion, Setting},
    stream::Stream,
    trace::Trace,
};

/// A report of `congest`, as far as it is needed.
#[derive(Debug, Deserialize)]
pub struct Report {
    about: About,
    rounds: Vec<Round>,
}

#[derive(Debug, Deserialize)]
struct About {
    seconds: f64,
    segment_s: f64,
    rule: Option<String>,
    #[serde(default)]
    shared: bool,
    rungs: Vec<Rung>,
}

#[derive(Debug, Deserialize)]
struct Rung {
    kbps: f64,
}

#[derive(Debug, Deserialize)]
struct Round {
    trace: Points,
    run: u32,
    sizes: Sizes,
    machine: Machine,
    players: Vec<Played>,
}

#[derive(Debug, Deserialize)]
struct Points {
    name: String,
    /// Milliseconds, kbit/s.
    points: Vec<(f64, f64)>,
}

#[derive(Debug, Deserialize)]
struct Sizes {
    segments: Vec<Sized>,
}

#[derive(Debug, Deserialize)]
struct Sized {
    complete_s: f64,
    octets: Vec<u64>,
}

#[derive(Debug, Deserialize)]
struct Machine {
    limits: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Played {
    player: String,
    summary: Summary,
    segments: Vec<Fetched>,
}

#[derive(Debug, Deserialize)]
struct Summary {
    startup_s: Option<f64>,
    stall_ratio: f64,
    bitrate_kbps: Option<f64>,
    switches_per_minute: f64,
}

#[derive(Debug, Deserialize)]
struct Fetched {
    t: f64,
}

/// One player in one round, as it was and as the simulator has it.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub trace: String,
    pub run: u32,
    pub player: String,
    pub lab: Seen,
    pub simulated: Seen,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Seen {
    pub bitrate_mbps: f64,
    /// Of the time since the first picture.
    pub stall_ratio: f64,
    pub switches_per_minute: f64,
    /// From the first request to the first picture.
    pub startup_s: f64,
}

/// All rounds, and what was left out of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    pub compared: Vec<Compared>,
    pub left_out: Vec<String>,
}

impl Report {
    pub fn read(text: &str) -> anyhow::Result<Self> {
        serde_json::from_str(text).context("not a report of congest")
    }

    /// Plays all again as `setting` says; the length is the report's.
    pub fn again(&self, setting: &Setting) -> anyhow::Result<Comparison> {
        ensure!(
            !self.about.shared,
            "its players shared one link, which is not simulated from a report"
        );
        let (mut comparison, epoch) = (Comparison::default(), Instant::now());
        for round in &self.rounds {
            let name = format!("{}, run {}", round.trace.name, round.run);
            if let Some(limit) = round.machine.limits.first() {
                let why = format!("{name}: the machine was the limit: {limit}");
                comparison.left_out.push(why);
                continue;
            }
            let (stream, began) = self.stream(round).context(name.clone())?;
            let points = round.trace.points.iter();
            let points: Vec<_> = points.map(|(ms, kbps)| (ms / 1e3, kbps * 1e3)).collect();
            let trace = Arc::new(Trace::new(round.trace.name.clone(), &points)?);
            for played in &round.players {
                match self.compare(played, (&stream, began), &trace, setting, epoch)? {
                    Ok((lab, simulated)) => comparison.compared.push(Compared {
                        trace: round.trace.name.clone(),
                        run: round.run,
                        player: played.player.clone(),
                        lab,
                        simulated,
                    }),
                    Err(why) => {
                        let why = format!("{name}, {}: {why}", played.player);
                        comparison.left_out.push(why);
                    }
                }
            }
        }
        Ok(comparison)
    }

    /// The round's segments, and when on the stream's clock the round began.
    fn stream(&self, round: &Round) -> anyhow::Result<(Stream, f64)> {
        let rates: Vec<f64> = self
            .about
            .rungs
            .iter()
            .map(|rung| rung.kbps * 1e3)
            .collect();
        let rows = round.sizes.segments.iter();
        let rows: Vec<_> = rows.map(|sized| sized.octets.as_slice()).collect();
        let stream = Stream::sized(&rates, self.about.segment_s, &rows)?;
        let first = round.sizes.segments.first().context("no sizes")?;
        // The first of them is complete as it ends, and was so at this time of the round.
        Ok((stream, self.about.segment_s - first.complete_s))
    }

    fn compare(
        &self,
        played: &Played,
        (stream, began): (&Stream, f64),
        trace: &Arc<Trace>,
        setting: &Setting,
        epoch: Instant,
    ) -> anyhow::Result<Result<(Seen, Seen), &'static str>> {
        let rule = self.about.rule.as_deref().unwrap_or("mpc");
        let contender = match played.player.split('#').next().unwrap_or_default() {
            "ours" => Contender::named(&format!("{rule}+abandon"))?,
            "own" => Contender::named("hls")?,
            _ => return Ok(Err("the simulator has no player of this kind")),
        };
        let summary = &played.summary;
        let (Some(fetched), Some(startup), Some(kbps)) = (
            played.segments.first(),
            summary.startup_s,
            summary.bitrate_kbps,
        ) else {
            return Ok(Err("it never began to play"));
        };
        let asked = fetched.t.max(0.0);
        let lab = Seen {
            bitrate_mbps: kbps / 1e3,
            stall_ratio: summary.stall_ratio,
            switches_per_minute: summary.switches_per_minute,
            startup_s: (startup - asked).max(0.0),
        };
        let occasion = Occasion {
            trace: Arc::clone(trace),
            offset: asked,
            joined: began + asked,
        };
        let setting = Setting {
            seconds: self.about.seconds - asked,
            ..setting.clone()
        };
        let session = contender.view(&setting, stream, &occasion, epoch);
        Ok(Ok((lab, Seen::of(&session))))
    }
}

impl Seen {
    fn of(session: &Session) -> Self {
        let playing = (session.seconds - session.startup - session.stalled).max(1.0);
        Self {
            bitrate_mbps: session.bitrate,
            stall_ratio: session.stall_ratio(),
            switches_per_minute: f64::from(session.switches) * 60.0 / playing,
            startup_s: session.startup,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28} {:<8} {:>15} {:>17} {:>15} {:>15}",
            "lab / simulator", "", "Mbit/s", "stalled %", "switches/min", "start s"
        )?;
        let mut players: Vec<&str> = Vec::new();
        for one in &self.compared {
            let Compared {
                trace,
                run,
                player,
                lab,
                simulated,
            } = one;
            line(f, &format!("{trace}, run {run}"), player, lab, simulated)?;
            if !players.contains(&player.as_str()) {
                players.push(player);
            }
        }
        for player in players {
            let of = || self.compared.iter().filter(|one| one.player == player);
            line(
                f,
                "mean",
                player,
                &mean(of().map(|one| one.lab)),
                &mean(of().map(|one| one.simulated)),
            )?;
            let apart = of().map(|one| (one.lab.bitrate_mbps / one.simulated.bitrate_mbps).ln());
            let (count, sum) = apart.fold((0.0, 0.0), |(count, sum): (f64, f64), apart| {
                (count + 1.0, sum + apart.abs())
            });
            let factor = (sum / count.max(1.0)).exp();
            writeln!(
                f,
                "{:<28} {player:<8} bitrates apart by a factor of {factor:.2} in the geometric mean of {count} rounds",
                ""
            )?;
        }
        for why in &self.left_out {
            writeln!(f, "left out: {why}")?;
        }
        Ok(())
    }
}

fn line(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    player: &str,
    lab: &Seen,
    simulated: &Seen,
) -> fmt::Result {
    let pair = |a: f64, b: f64, digits: usize| format!("{a:.digits$} / {b:.digits$}");
    writeln!(
        f,
        "{what:<28} {player:<8} {:>15} {:>17} {:>15} {:>15}",
        pair(lab.bitrate_mbps, simulated.bitrate_mbps, 2),
        pair(lab.stall_ratio * 100.0, simulated.stall_ratio * 100.0, 2),
        pair(lab.switches_per_minute, simulated.switches_per_minute, 1),
        pair(lab.startup_s, simulated.startup_s, 1),
    )
}

fn mean(seen: impl Iterator<Item = Seen>) -> Seen {
    let (mut sum, mut count) = ([0.0; 4], 0.0_f64);
    for one in seen {
        let Seen {
            bitrate_mbps,
            stall_ratio,
            switches_per_minute,
            startup_s,
        } = one;
        let values = [bitrate_mbps, stall_ratio, switches_per_minute, startup_s];
        sum.iter_mut()
            .zip(values)
            .for_each(|(sum, value)| *sum += value);
        count += 1.0;
    }
    let [bitrate_mbps, stall_ratio, switches_per_minute, startup_s] =
        sum.map(|sum| sum / count.max(1.0));
    Seen {
        bitrate_mbps,
        stall_ratio,
        switches_per_minute,
        startup_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{origin::Tells, viewer::Habits};

    fn setting() -> Setting {
        Setting {
            seconds: 0.0,
            rtt: 0.002,
            habits: Habits {
                hold_back: 6.0,
                goal: 30.0,
                asks_again: Habits::HLS_JS_ASKS_AGAIN,
            },
            seeds: 1,
            restarts: false,
            tells: Tells::default(),
        }
    }

    /// A round of 40 s on 4 Mbit/s, of two rungs of 1 and 2 Mbit/s.
    fn report(limits: &str, players: &str) -> String {
        let segments: Vec<String> = (0..40)
            .map(|number| {
                let complete = f64::from(number - 15) * 2.0;
                format!(
                    r#"{{"number":{number},"duration_s":2,"complete_s":{complete},"octets":[250000,500000]}}"#
                )
            })
            .collect();
        format!(
            r#"{{"about":{{"seconds":40,"segment_s":2,"rule":null,"rungs":[{{"kbps":1000}},{{"kbps":2000}}]}},
               "rounds":[{{"trace":{{"name":"steady","points":[[60000,4000]]}},"run":0,"sizes":{{"segments":[{}]}},
               "machine":{{"limits":[{limits}]}},"players":[{players}]}}]}}"#,
            segments.join(",")
        )
    }

    fn player(name: &str) -> String {
        format!(
            r#"{{"player":"{name}","summary":{{"startup_s":1.5,"stall_ratio":0,"bitrate_kbps":1900,"switches_per_minute":1.5}},
               "segments":[{{"t":1.0}}]}}"#
        )
    }

    #[test]
    fn a_round_is_played_again_from_the_players_first_request() {
        let text = report(
            "",
            &[player("ours"), player("own#2"), player("vlc")].join(","),
        );
        let comparison = Report::read(&text).unwrap().again(&setting()).unwrap();
        let [ours, own] = comparison.compared.as_slice() else {
            panic!("{comparison}")
        };
        assert_eq!((ours.lab.bitrate_mbps, ours.lab.startup_s), (1.9, 0.5));
        for simulated in [ours.simulated, own.simulated] {
            assert!(simulated.bitrate_mbps > 1.8, "{comparison}");
            assert_eq!(simulated.stall_ratio, 0.0);
        }
        assert!(comparison.left_out[0].contains("vlc"), "{comparison}");
    }

    #[test]
    fn where_the_machine_was_the_limit_nothing_is_compared() {
        let text = report("\"it was busy\"", &player("ours"));
        let comparison = Report::read(&text).unwrap().again(&setting()).unwrap();
        assert!(comparison.compared.is_empty());
        assert!(
            comparison.left_out[0].ends_with("it was busy"),
            "{comparison}"
        );
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(Report::read("{}").is_err());
    }
}
