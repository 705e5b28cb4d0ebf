//! How much a viewer counts where egress is short: as its stream does, times as its class does. Its class is what the
//! token says that it joined with; what is made of the weights is `adaptation`'s business.

use std::collections::BTreeMap;

use axum::Extension;

use super::{Origin, gate::Pass};
use crate::store::StreamName;

/// How much the viewers of some streams and of some classes count; all others count once.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    pub streams: BTreeMap<StreamName, f64>,
    /// By name; at most [`CLASSES`].
    pub classes: BTreeMap<String, f64>,
}

impl Weights {
    /// The place of a class among those that have a weight, from 1 on; 0 is everybody else.
    pub fn place(&self, class: Option<&str>) -> u8 {
        let place = class.and_then(|class| self.classes.keys().position(|name| name == class));
        place.map_or(0, |place| u8::try_from(place + 1).unwrap_or(0))
    }

    /// The class that has this place; `None` of everybody else's.
    pub fn class(&self, place: u8) -> Option<&str> {
        let nth = usize::from(place).checked_sub(1)?;
        self.classes.keys().nth(nth).map(String::as_str)
    }

    /// How much a viewer of `stream` counts, for each place in turn.
    pub fn of(&self, stream: &StreamName) -> impl Iterator<Item = f64> {
        let stream = self.streams.get(stream).copied().unwrap_or(1.0);
        std::iter::once(stream).chain(self.classes.values().map(move |class| stream * class))
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.classes.len() + 1
    }
}

impl Origin {
    /// The place of whoever came in with this.
    pub(super) fn place(&self, pass: Option<&Extension<Pass>>) -> u8 {
        self.terms.weights.place(pass.and_then(|pass| pass.class()))
    }
}

/// Each stream has as many kinds of viewers, which are looked at one by one when the egress is shared.
pub const CLASSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_counts_as_its_stream_times_its_class() {
        let weights = Weights {
            streams: [("demo".parse().unwrap(), 2.0)].into(),
            classes: [("premium".to_owned(), 3.0), ("free".to_owned(), 0.5)].into(),
        };
        let of = |stream: &str, class| {
            let place = weights.place(class);
            weights.of(&stream.parse().unwrap()).nth(place.into())
        };
        for class in [Some("premium"), Some("free"), None] {
            assert_eq!(weights.class(weights.place(class)), class);
        }
        assert_eq!(of("demo", Some("premium")), Some(6.0));
        assert_eq!(of("demo", Some("free")), Some(1.0));
        assert_eq!(of("other", Some("premium")), Some(3.0));
        for nobody in [None, Some("unheard-of")] {
            assert_eq!(
                (of("demo", nobody), of("other", nobody)),
                (Some(2.0), Some(1.0))
            );
        }
        assert_eq!(
            weights.of(&"demo".parse().unwrap()).count(),
            weights.places()
        );
    }
}
