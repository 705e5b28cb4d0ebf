//! Decisions that are kept with all that they were made from: the last of some viewers, to be looked at;
//! and of all viewers, for whoever writes them down.
//!
//! Many decisions rest on the same sizes, so that these are shared; what is a viewer's own is copied.
//! Keeping costs a viewer [`KEPT`] times a third of a kilobyte, which is why not all have it: the first
//! so many who come, and whoever was asked after. What is decided, and how, is `adaptation`'s business.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use adaptation::{Choice, Decision, Offer, Rule, Situation, Sizes, Standing};
use serde::{Deserialize, Serialize};

use super::{arms::Arms, journal::Journal, seat::ViewerId};
use crate::{
    clock::unix_ms,
    store::{StreamName, Table},
};

/// By what rules rungs are chosen, and who is told why.
#[derive(Debug)]
pub struct Rules {
    pub arms: Arms,
    /// Of how many viewers the last decisions are kept.
    pub explained: usize,
    /// Where all decisions are written down.
    pub journal: Option<Journal>,
}

/// One rule for everybody.
impl<R: Rule + 'static> From<Box<R>> for Rules {
    fn from(rule: Box<R>) -> Self {
        Self {
            arms: Arms::one(rule),
            explained: EXPLAINED,
            journal: None,
        }
    }
}

/// One decision, in a form that is made quickly and of which many can be kept.
#[derive(Clone, Debug)]
pub struct Kept {
    at_ms: u64,
    arm: u8,
    rule: &'static str,
    choice: Choice,
    table: Arc<Table>,
    /// Without what the table has.
    bare: Offer<'static>,
    viewer: Standing,
    /// How many rungs of the table were on offer.
    rungs: u8,
}

/// One decision of one viewer, as it is written down and shown.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, utoipa::ToSchema)]
#[schema(as = Decision)]
pub struct Explained {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub stream: String,
    pub viewer: String,
    /// Of the rules that are assigned by share, which one.
    pub arm: u8,
    /// The rule, what it chose, and all that it was told; as in the log of decisions.
    #[serde(flatten)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub decision: Decision,
}

impl Kept {
    /// `situation` is one that was made from `table`.
    pub fn new(
        (arm, rule): (u8, &'static str),
        situation: &Situation<'_>,
        choice: Choice,
        table: &Arc<Table>,
    ) -> Self {
        Self {
            at_ms: unix_ms(),
            arm,
            rule,
            choice,
            table: table.clone(),
            bare: situation.offer.bare(),
            viewer: situation.viewer,
            rungs: u8::try_from(situation.offer.sizes.rungs()).unwrap_or(u8::MAX),
        }
    }

    /// With names, and everything that it was made from.
    pub fn explained(&self, stream: &StreamName, viewer: &ViewerId) -> Explained {
        let laid = Laid::out(&self.table, self.bare.number, self.rungs.into());
        let situation = Situation {
            offer: Offer {
                sizes: laid.sizes,
                expected: laid.expected,
                pictures: laid.pictures,
                quality: laid.worth,
                ..self.bare
            },
            viewer: self.viewer,
        };
        Explained {
            at_ms: self.at_ms,
            stream: stream.to_string(),
            viewer: viewer.to_string(),
            arm: self.arm,
            decision: Decision::of(self.rule, &situation, self.choice),
        }
    }
}

/// What a table says of one segment.
#[derive(Clone, Copy, Debug)]
pub struct Laid<'a> {
    pub sizes: Sizes<'a>,
    pub expected: &'a [u64],
    pub pictures: &'a [u8],
    pub worth: &'a [f32],
    pub ahead: playlists::MediaTime,
}

impl<'a> Laid<'a> {
    /// Of segment `number`, in the cheapest `rungs`. Of one that is not complete nobody knows the size;
    /// what it is expected to take stands for it, and nothing is behind it.
    pub fn out(table: &'a Table, number: u64, rungs: usize) -> Self {
        let expected = table.expected();
        let cut = |all: &'a [u64]| &all[..rungs.min(all.len())];
        let (sizes, ahead) = match table.from(number) {
            Some((rows, ahead)) => (Sizes::of(rows, table.rungs(), rungs), ahead),
            None => (Sizes::one(cut(expected)), playlists::MediaTime::ZERO),
        };
        let (pictures, worth) = (table.pictures(), table.worth());
        Self {
            sizes,
            expected: cut(expected),
            pictures: &pictures[..rungs.min(pictures.len())],
            worth: &worth[..rungs.min(worth.len())],
            ahead,
        }
    }
}

/// The last decisions of one viewer, oldest first.
#[derive(Debug)]
pub struct Ring {
    kept: VecDeque<Kept>,
    /// Gives the place back.
    _place: Place,
}

impl Ring {
    pub fn push(&mut self, kept: Kept) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(kept);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter()
    }
}

/// How many viewers' decisions are kept.
#[derive(Debug)]
pub struct Places {
    taken: Arc<AtomicUsize>,
    most: usize,
}

#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Places {
    pub fn new(most: usize) -> Self {
        Self {
            taken: Arc::default(),
            most,
        }
    }

    /// For whoever comes, while there is room.
    pub fn ring(&self) -> Option<Box<Ring>> {
        self.take(self.most)
    }

    /// For whoever an operator asks after: some more than come by themselves.
    pub fn ring_asked_for(&self) -> Option<Box<Ring>> {
        self.take(self.most + ASKED_FOR)
    }

    fn take(&self, most: usize) -> Option<Box<Ring>> {
        if self.taken.fetch_add(1, Relaxed) >= most {
            self.taken.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Box::new(Ring {
            kept: VecDeque::new(),
            _place: Place(self.taken.clone()),
        }))
    }

    pub fn most(&self) -> usize {
        self.most
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A megabyte and a half of decisions, where it is not said otherwise.
pub const EXPLAINED: usize = 256;

/// Decisions kept of a viewer: half a minute of them.
pub const KEPT: usize = 16;

/// How many viewers more may be asked after than are kept by themselves.
const ASKED_FOR: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_have_a_place_and_one_that_goes_leaves_it_to_another() {
        let places = Places::new(2);
        let (one, two) = (places.ring(), places.ring());
        assert!(one.is_some() && two.is_some());
        assert!(places.ring().is_none());
        let asked: Vec<_> = (0..ASKED_FOR).map(|_| places.ring_asked_for()).collect();
        assert!(asked.iter().all(Option::is_some));
        assert!(places.ring_asked_for().is_none());
        drop((one, asked));
        assert!(places.ring().is_some());
    }

    #[test]
    fn what_is_kept_of_a_decision_is_a_third_of_a_kilobyte() {
        assert!(size_of::<Kept>() <= 400, "{}", size_of::<Kept>());
    }
}
