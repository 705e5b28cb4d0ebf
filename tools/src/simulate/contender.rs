//! Who is compared: the origin's rules by name and with other parameters, hls.js, fixed rungs, and the
//! optimum.

use std::{fmt, sync::Arc, time::Instant};

use adaptation::{Mpc, Rate, Rule, rule};
use anyhow::{Context as _, bail};

use super::{
    harmonic::Harmonic,
    hls::{Abr, Level},
    measure::Session,
    mind::Mind,
    optimum::{self, Foresight},
    origin::{Origin, Tells},
    single::{Occasion, Setting},
    stream::Stream,
};

/// See the module.
#[derive(Clone, Debug)]
pub struct Contender {
    /// As it was asked for.
    pub name: String,
    pub kind: Kind,
    /// The origin breaks off deliveries that are lost, as it does to players that ask again.
    pub abandons: bool,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// One of `adaptation`'s rules, at the origin.
    Rule(Arc<dyn Rule>),
    Hls,
    /// hls.js without its emergencies: what it loads it takes.
    Patient,
    Fixed(usize),
    /// Knows the path beforehand.
    Optimum,
    /// Knows so many seconds of it ahead.
    Foresight(f64),
}

impl Contender {
    /// `hls`, `hls-patient`, `optimum`, `foresight:8`, `harmonic`, `fixed:2`, or what the rule is called, of which some take other
    /// parameters than usual: `mpc:stall=20:drain=1`. With `+abandon`, a rule's origin breaks off what is lost.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let (bare, abandons) = match name.strip_suffix(ABANDONS) {
            Some(bare) => (bare, true),
            None => (name, false),
        };
        let (rule, parameters) = bare.split_once(':').unwrap_or((bare, ""));
        let kind = match (rule, parameters) {
            ("hls", "") => Kind::Hls,
            ("hls-patient", "") => Kind::Patient,
            ("optimum", "") => Kind::Optimum,
            ("harmonic", "") => Kind::Rule(Arc::new(Harmonic)),
            ("fixed", rung) if !rung.is_empty() => {
                Kind::Fixed(rung.parse().with_context(|| format!("rung {rung:?}"))?)
            }
            ("foresight", seconds) if !seconds.is_empty() => {
                let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0.0);
                Kind::Foresight(seconds.with_context(|| format!("{name:?}: seconds above 0"))?)
            }
            (_, "") => {
                let rule =
                    rule::named(rule).with_context(|| format!("there is no rule {name:?}"))?;
                Kind::Rule(Arc::from(rule))
            }
            _ => Kind::Rule(with(rule, parameters)?),
        };
        anyhow::ensure!(
            !abandons || matches!(kind, Kind::Rule(_)),
            "{name:?}: only a rule's origin breaks deliveries off"
        );
        Ok(Self {
            name: if name == "hls" { HLS } else { name }.to_owned(),
            kind,
            abandons,
        })
    }

    /// Who chooses for a viewer of `occasion`.
    pub fn mind(
        &self,
        setting: &Setting,
        stream: &Stream,
        occasion: &Occasion,
        epoch: Instant,
    ) -> Mind {
        match &self.kind {
            Kind::Optimum => Mind::Plan(optimum::plan(stream, setting, occasion), 0),
            Kind::Foresight(seconds) => {
                Mind::Foresight(Box::new(Foresight::new(*seconds, setting, occasion)))
            }
            _ => self.blind(setting.tells, stream, occasion.joined, epoch),
        }
    }

    /// Of a viewer who joins at `now` on a path that nobody knows beforehand.
    pub fn blind(&self, tells: Tells, stream: &Stream, now: f64, epoch: Instant) -> Mind {
        match &self.kind {
            Kind::Rule(rule) => {
                let tells = Tells {
                    cuts: self.abandons,
                    ..tells
                };
                Mind::Origin(Box::new(Origin::new(Arc::clone(rule), tells, epoch, now)))
            }
            Kind::Hls => Mind::Hls(Box::new(Abr::new(levels(stream), 0))),
            Kind::Patient => Mind::Hls(Box::new(Abr::new(levels(stream), 0).patient())),
            Kind::Fixed(rung) => Mind::fixed((*rung).min(stream.top())),
            Kind::Optimum | Kind::Foresight(_) => Mind::fixed(0),
        }
    }

    pub fn view(
        &self,
        setting: &Setting,
        stream: &Stream,
        occasion: &Occasion,
        epoch: Instant,
    ) -> Session {
        let mind = self.mind(setting, stream, occasion, epoch);
        setting.view(stream, occasion, mind).0
    }
}

/// A rule with some of its parameters changed.
fn with(rule: &str, parameters: &str) -> anyhow::Result<Arc<dyn Rule>> {
    let (mut mpc, mut rate) = (Mpc::default(), Rate::default());
    for parameter in parameters.split(':') {
        let (name, value) = parameter
            .split_once('=')
            .with_context(|| format!("{parameter:?} is no name=value"))?;
        let number: f64 = value.parse().with_context(|| format!("{parameter:?}"))?;
        match (rule, name) {
            ("mpc", "horizon") => mpc.horizon = number as usize,
            ("mpc", "stall") => mpc.stall = number,
            ("mpc", "close") => mpc.close = number,
            ("mpc", "change") => mpc.change = number,
            ("mpc", "drain") => mpc.drain = number,
            ("mpc", "lost") => mpc.lost = number,
            ("mpc", "margin") => mpc.margin = number,
            ("mpc", "floor") => mpc.floor = number,
            ("mpc", "max_up") => mpc.max_up = number as usize,
            ("rate", "safety") => rate.safety = number,
            ("rate", "hold") => rate.hold = number,
            ("rate", "caution") => rate.caution = number,
            ("rate", "max_up") => rate.max_up = number as usize,
            _ => bail!("{rule} has no parameter {name:?} that could be changed here"),
        }
    }
    Ok(match rule {
        "mpc" => Arc::new(mpc),
        _ => Arc::new(rate),
    })
}

/// What a multivariant playlist of the stream says.
pub fn levels(stream: &Stream) -> Vec<Level> {
    let level = |rate: &f64| Level {
        peak: rate * stream.peak,
        mean: *rate,
    };
    stream.rates.iter().map(level).collect()
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

const ABANDONS: &str = "+abandon";

/// What hls.js is called in tables.
pub const HLS: &str = "hls.js";
