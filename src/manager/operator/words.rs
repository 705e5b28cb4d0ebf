//! What operators say, as JSON: read, checked, and turned into what the balancer understands. Stricter than what nodes and
//! logs say is read: an operator is told of a name that is none, and of `null` where something was meant.

use std::collections::BTreeMap;

use adaptation::region::{Override, Pin, Premise, Region};
use axum::{Json, extract::rejection::JsonRejection};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::api::Problem;

/// What would be otherwise.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Supposed {
    /// What operators would say.
    #[serde(default)]
    #[schema(value_type = Vec<Said>)]
    overrides: Vec<Word>,
    /// Viewers of regions, on whatever node.
    #[serde(default)]
    viewers: BTreeMap<Named, Count>,
    /// How far ahead; less than 1 is taken as 1, and more than 600 as 600.
    #[serde(default = "a_minute")]
    #[schema(default = 60)]
    pub(super) seconds: Count,
}

fn a_minute() -> Count {
    Count(60)
}

impl From<Supposed> for Premise {
    fn from(supposed: Supposed) -> Self {
        let viewers = supposed.viewers.into_iter();
        Self {
            overrides: supposed.overrides.into_iter().map(Override::from).collect(),
            viewers: viewers
                .map(|(region, viewers)| (region.0, viewers.0))
                .collect(),
        }
    }
}

/// What an operator says.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Drain(Whom),
    Undrain(Whom),
    Pin(Pinned),
    Unpin(Unpinned),
    Weigh(Weighed),
}

/// One of these, as the log of decisions has it.
// A word for the description: that of an enum would not say that there is nothing beside it.
#[derive(ToSchema)]
#[schema(as = Word, min_properties = 1, max_properties = 1)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
struct Said {
    #[schema(nullable = false)]
    drain: Option<Whom>,
    #[schema(nullable = false)]
    undrain: Option<Whom>,
    #[schema(nullable = false)]
    pin: Option<Pinned>,
    #[schema(nullable = false)]
    unpin: Option<Unpinned>,
    #[schema(nullable = false)]
    weigh: Option<Weighed>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Whom {
    node: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Pinned {
    region: Named,
    pin: Held,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Unpinned {
    region: Named,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Weighed {
    node: String,
    #[schema(minimum = 0, maximum = 1000)]
    weight: f64,
}

impl From<Word> for Override {
    fn from(word: Word) -> Self {
        match word {
            Word::Drain(Whom { node }) => Self::Drain { node },
            Word::Undrain(Whom { node }) => Self::Undrain { node },
            Word::Pin(Pinned { region, pin }) => Self::Pin {
                region: region.0,
                pin: pin.into(),
            },
            Word::Unpin(Unpinned { region }) => Self::Unpin { region: region.0 },
            Word::Weigh(Weighed { node, weight }) => Self::Weigh { node, weight },
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Weight {
    /// 1 is usual.
    #[schema(minimum = 0, maximum = 1000)]
    pub(super) weight: f64,
}

/// At least one of the two.
#[derive(Deserialize, ToSchema)]
#[schema(min_properties = 1)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    /// No fewer relays and no more.
    #[schema(nullable = false)]
    #[serde(default, deserialize_with = "given")]
    relays: Option<Count>,
    /// Joins go to this node while it serves, whatever its region.
    #[schema(nullable = false)]
    #[serde(default, deserialize_with = "given")]
    node: Option<String>,
}

impl From<Held> for Pin {
    fn from(Held { relays, node }: Held) -> Self {
        let relays = relays.map(|Count(relays)| relays as usize);
        Self { relays, node }
    }
}

/// Whoever writes `null` may mean that it should be so no more, which is not said like that.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// A whole number as JSON has it, where 98.0 is one.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[schema(value_type = i32, minimum = 0, maximum = 2_147_483_647)]
#[serde(try_from = "f64")]
pub(super) struct Count(u32);

impl TryFrom<f64> for Count {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        match number.fract() == 0.0 && (0.0..=MOST).contains(&number) {
            true => Ok(Self(number as u32)),
            false => Err(format!("{number} is no whole number from 0 to {MOST}")),
        }
    }
}

impl From<Count> for u64 {
    fn from(Count(number): Count) -> Self {
        number.into()
    }
}

/// The name of a region; case does not matter.
#[derive(Deserialize, Eq, Ord, PartialEq, PartialOrd, ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,32}$")]
#[serde(try_from = "String")]
struct Named(Region);

impl TryFrom<String> for Named {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let region = Region::new(&text);
        match region.as_str() == text.to_ascii_lowercase() {
            true => Ok(Self(region)),
            false => Err(format!(
                "{text:?} is no region: 1 to 32 letters, digits and '-'"
            )),
        }
    }
}

/// An operator is told of a name that is none, where a viewer gets the default.
pub(super) fn named(text: String) -> Result<Region, Problem> {
    let named = Named::try_from(text).map_err(Problem::bad_request)?;
    Ok(named.0)
}

pub(super) fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    match body {
        Ok(Json(value)) => Ok(value),
        Err(error) => Err(Problem::bad_request(error.body_text())),
    }
}

/// What fits wherever numbers have 32 bits and a sign.
const MOST: f64 = i32::MAX as f64;
