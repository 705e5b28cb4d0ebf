//! How the source of a stream goes, as it says itself: for operators, and for whoever counts.
//!
//! Kept here since a source and who asks about it do not know each other. What is done about it is the source's business.

/// What a report is made of, for those who know no segmenter.
pub use segmenter::wire::{Alert, Health, InputHealth, InputState, OnAir};
use serde::Serialize;

/// The last that was heard of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Intake {
    /// How often a segmenter was started for it; 0 for a stream that comes from another node.
    pub runs: u64,
    /// Of the segmenter that runs now; `None` before its first report, and while none runs.
    pub health: Option<Health>,
}
