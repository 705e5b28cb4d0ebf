//! No adaptation at all: the dearest rung on offer, for a viewer who named the one it wants.

use super::{Choice, Reason, Rule, Situation};

#[derive(Clone, Copy, Debug)]
pub struct Fixed;

impl Rule for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    /// The node's budget still counts: a wish must not cost others theirs.
    fn choose(&self, situation: &Situation<'_>) -> Choice {
        situation.within(situation.top(), Reason::Fixed)
    }
}
