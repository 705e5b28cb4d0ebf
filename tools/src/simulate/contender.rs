//! Who is compared: the origin's rules by name, hls.js, fixed rungs.

use std::{fmt, sync::Arc, time::Instant};

use adaptation::{Rate, Rule};
use anyhow::bail;

use super::{
    hls::{Abr, Level},
    measure::Session,
    mind::Mind,
    optimum,
    origin::Origin,
    single::{Occasion, Setting},
    stream::Stream,
};

/// See the module.
#[derive(Clone, Debug)]
pub enum Contender {
    /// One of `adaptation`'s rules, at the origin.
    Rule(Arc<dyn Rule>),
    Hls,
    Fixed(usize),
    /// Knows the path beforehand.
    Optimum,
}

impl Contender {
    /// `hls`, `fixed:2`, or what the rule is called.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        if let Some(rung) = name.strip_prefix("fixed:") {
            return Ok(Self::Fixed(rung.parse()?));
        }
        Ok(match name {
            "hls" => Self::Hls,
            "optimum" => Self::Optimum,
            "rate" => Self::Rule(Arc::new(Rate::default())),
            _ => bail!("there is no rule {name:?}"),
        })
    }

    pub fn mind(
        &self,
        setting: &Setting,
        stream: &Stream,
        occasion: &Occasion,
        epoch: Instant,
    ) -> Mind {
        match self {
            Self::Rule(rule) => Mind::Origin(Box::new(Origin::new(Arc::clone(rule), epoch))),
            Self::Hls => Mind::Hls(Box::new(Abr::new(levels(stream), 0))),
            Self::Fixed(rung) => Mind::fixed((*rung).min(stream.top())),
            Self::Optimum => Mind::Plan(optimum::plan(stream, setting, occasion), 0),
        }
    }

    pub fn view(
        &self,
        setting: &Setting,
        stream: &Stream,
        occasion: &Occasion,
        epoch: Instant,
    ) -> Session {
        setting
            .view(
                stream,
                occasion,
                self.mind(setting, stream, occasion, epoch),
            )
            .0
    }
}

/// What a multivariant playlist of the stream says.
fn levels(stream: &Stream) -> Vec<Level> {
    let level = |rate: &f64| Level {
        peak: rate * stream.peak,
        mean: *rate,
    };
    stream.rates.iter().map(level).collect()
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => f.write_str(rule.name()),
            Self::Hls => f.write_str("hls.js"),
            Self::Optimum => f.write_str("optimum"),
            Self::Fixed(rung) => write!(f, "fixed:{rung}"),
        }
    }
}
