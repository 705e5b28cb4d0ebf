//! Values of a node's options that are more than a number or a name: how they are written, on the command
//! line as in the file, and what is wrong with one that is not.

use std::str::FromStr;

use adaptation::rule;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::{
    origin::{
        arms::{ARMS, Arms},
        weights::{CLASSES, Weights},
    },
    store::StreamName,
    token,
};

/// What a node may send: so much, or what it finds out that it can.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Egress {
    Mbps(f64),
    #[serde(with = "auto")]
    Auto,
}

/// The word for it in a file.
mod auto {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("auto")
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "auto" => Ok(()),
            other => Err(D::Error::custom(format!(
                "{other:?} is neither a number nor \"auto\""
            ))),
        }
    }
}

impl FromStr for Egress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let number = text.parse().map(Self::Mbps);
        number.map_err(|_| format!("{text:?} is neither a number nor \"auto\""))
    }
}

/// A stream or a class of viewers, and how much each of its viewers counts.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Weight(Whose, f64);

#[derive(Clone, Debug, PartialEq)]
enum Whose {
    Stream(StreamName),
    Class(String),
}

impl Weight {
    pub(super) fn all(weights: &[Self]) -> anyhow::Result<Weights> {
        let mut all = Weights::default();
        for Self(whose, weight) in weights.iter().cloned() {
            match whose {
                Whose::Stream(stream) => all.streams.insert(stream, weight),
                Whose::Class(class) => all.classes.insert(class, weight),
            };
        }
        anyhow::ensure!(
            all.classes.len() <= CLASSES,
            "weight: {} classes are more than {CLASSES}",
            all.classes.len()
        );
        Ok(all)
    }
}

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = || {
            format!(
                "{text:?} is no STREAM=WEIGHT or class:CLASS=WEIGHT, with a weight of 0.01 to 100"
            )
        };
        let (whose, weight) = text.split_once('=').ok_or_else(why)?;
        let weight: f64 = weight.trim().parse().map_err(|_| why())?;
        // No stream's name has a colon in it.
        let whose = match whose.trim().strip_prefix("class:") {
            Some(class) if token::is_id(class) => Whose::Class(class.to_owned()),
            Some(_) => return Err(why()),
            None => Whose::Stream(whose.trim().parse().map_err(|_| why())?),
        };
        let usual = (0.01..=100.0).contains(&weight);
        usual.then_some(Self(whose, weight)).ok_or_else(why)
    }
}

impl TryFrom<String> for Weight {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Weight> for String {
    fn from(Weight(whose, weight): Weight) -> Self {
        match whose {
            Whose::Stream(stream) => format!("{stream}={weight}"),
            Whose::Class(class) => format!("class:{class}={weight}"),
        }
    }
}

/// Rules for choosing rungs, and the share of the viewers that each has: `mpc`, or `mpc=90,rate=10`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleShares(Vec<(String, u32)>);

impl RuleShares {
    pub(super) fn arms(&self) -> anyhow::Result<Arms> {
        let rule = |(name, share): &(String, u32)| Some((rule::named(name)?, *share));
        let rules: Option<Vec<_>> = self.0.iter().map(rule).collect();
        // Checked when it was read.
        rules
            .and_then(Arms::new)
            .context("rule: nobody would have one")
    }
}

impl Default for RuleShares {
    fn default() -> Self {
        Self(vec![("mpc".into(), 1)])
    }
}

impl FromStr for RuleShares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut shares = Vec::new();
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let (name, share) = (name.trim(), share.trim());
            if rule::named(name).is_none() {
                return Err(format!("rule {name:?} is none of {RULES}"));
            }
            let share = share.parse().map_err(|_| {
                format!("rule {name}={share}: a share is a whole number, such as 90")
            })?;
            shares.push((name.to_owned(), share));
        }
        match shares.iter().map(|(_, share)| u64::from(*share)).sum() {
            0u64 => Err(format!("rule {text:?}: nobody would have one")),
            _ if shares.len() > ARMS => Err(format!("rule {text:?}: more than {ARMS} at a time")),
            _ => Ok(Self(shares)),
        }
    }
}

impl TryFrom<String> for RuleShares {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RuleShares> for String {
    fn from(shares: RuleShares) -> Self {
        let shares = shares.0.iter();
        let parts: Vec<_> = shares
            .map(|(name, share)| format!("{name}={share}"))
            .collect();
        parts.join(",")
    }
}

const RULES: &str = "mpc, rate, bba, bola, robust-mpc, cycle, fixed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_shares_and_what_is_none_is_named() {
        let shares: RuleShares = "mpc=90, rate=10".parse().unwrap();
        assert_eq!(String::from(shares), "mpc=90,rate=10");
        assert_eq!(
            String::from("bola".parse::<RuleShares>().unwrap()),
            "bola=1"
        );
        for (text, why) in [
            ("mcp", "none of mpc, rate"),
            ("mpc=some", "a whole number"),
            ("mpc=0", "nobody would have one"),
            ("", "none of"),
        ] {
            let said = text.parse::<RuleShares>().unwrap_err();
            assert!(said.contains(why), "{text:?}: {said}");
        }
    }

    #[test]
    fn an_egress_is_a_number_or_to_be_found_out() {
        #[derive(Debug, Deserialize, PartialEq, Serialize)]
        struct File {
            egress: Egress,
        }
        for (text, egress) in [("20", Egress::Mbps(20.0)), ("'auto'", Egress::Auto)] {
            let file: File = toml::from_str(&format!("egress = {text}")).unwrap();
            assert_eq!(file.egress, egress);
            let again = toml::to_string(&file).unwrap();
            assert_eq!(toml::from_str::<File>(&again).unwrap(), file, "{again}");
            assert_eq!(text.trim_matches('\'').parse(), Ok(egress));
        }
        assert!("much".parse::<Egress>().is_err());
        assert!(toml::from_str::<File>("egress = 'much'").is_err());
    }

    #[test]
    fn a_weight_is_of_a_stream_or_of_a_class() {
        let read = |text: &str| text.parse::<Weight>();
        for text in ["gold=2.5", "class:gold=0.5", "class=3"] {
            assert_eq!(read(text).map(String::from).as_deref(), Ok(text));
        }
        for wrong in [
            "gold",
            "gold=",
            "gold=0",
            "gold=-1",
            "a b=1",
            "gold=NaN",
            "class:=2",
            "class:a b=2",
            "class:a:b=2",
            "klass:gold=2",
            "gold:2",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let all = ["demo=2", "class:gold=3"].map(|text| read(text).unwrap());
        let all = Weight::all(&all).unwrap();
        assert_eq!((all.streams["demo"], all.classes["gold"]), (2.0, 3.0));
        let many: Vec<_> = (0..=CLASSES)
            .map(|nth| read(&format!("class:c{nth}=2")).unwrap())
            .collect();
        assert!(Weight::all(&many).is_err());
    }
}
