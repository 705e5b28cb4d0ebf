//! What operators are told, as JSON: the shapes of `ask`'s answers, which are also what the description of the interface is made of.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::api::Told;

/// One of them.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Now(NowTold),
    Series(Series),
    Rungs(Octets),
    Totals(Totals),
}

/// Who watches now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NowTold {
    /// Unix time in seconds.
    pub at: i64,
    pub viewers: i64,
    pub watching: Vec<Watching>,
}

/// Viewers of a stream, of a region, at a node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Watching {
    pub stream: String,
    pub region: String,
    pub node: String,
    pub viewers: i64,
}

/// Figures of steps of a time. Times are Unix times in seconds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Series {
    pub from: i64,
    pub to: i64,
    /// Seconds.
    pub step: i64,
    pub points: Vec<Point>,
    /// Whether there is more than what is told.
    pub cut: bool,
}

/// Figures of a step.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Point {
    /// When the step began.
    pub at: i64,
    #[serde(flatten)]
    pub figures: Figures,
}

/// What became of viewers in a time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Figures {
    /// Which stream, region or node, as `by` says; empty for all.
    pub of: String,
    /// On average over the time.
    pub viewers: f64,
    pub joins: i64,
    pub visits: i64,
    pub watched_s: i64,
    pub stalls: i64,
    pub stalled_s: f64,
    /// Of the time that was watched.
    pub stalled_share: f64,
    pub starved: i64,
    pub octets: i64,
}

/// Octets by rung.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Octets {
    pub from: i64,
    pub to: i64,
    pub step: i64,
    pub points: Vec<RungPoint>,
    /// Whether there is more than what is told.
    pub cut: bool,
}

/// Octets of a rung in a step.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RungPoint {
    pub at: i64,
    pub rung: String,
    pub octets: i64,
}

/// Sums over a time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Totals {
    pub from: i64,
    pub to: i64,
    pub each: Vec<Figures>,
    /// The most viewers on average over a minute; of a region or a node it is not kept.
    pub peak_viewers: Option<f64>,
    /// Of a stream or a region there is none.
    pub account: Option<Account>,
}

/// Whether what viewers took adds up to what nodes have sent, in octets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Account {
    pub sent: i64,
    pub in_visits: i64,
    pub without_seat: i64,
    /// As a share of what was sent; null if that is nothing.
    pub difference: Option<f64>,
}

/// Why it is not told.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(super) enum Refusals {
    /// It cannot be asked like this, and why.
    #[response(status = 400)]
    Wrong(#[to_schema] Told),
    /// Without the operator's token.
    #[response(status = 401)]
    Unknown(#[to_schema] Told),
    /// There is no such token, and this is another machine.
    #[response(status = 403)]
    Never(#[to_schema] Told),
    /// The database does not answer; ask again.
    #[response(status = 503)]
    Waits(#[to_schema] Told),
}
