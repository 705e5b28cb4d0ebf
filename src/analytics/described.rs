//! What the answers of `ask` look like, for the description of the interface. They are made where they are asked for; a test
//! (`interfaces`) holds them against this.
#![expect(dead_code, reason = "only described")]

use utoipa::{IntoResponses, ToSchema};

use crate::api::Told;

/// Who watches now.
#[derive(ToSchema)]
pub(super) struct NowTold {
    /// Unix time in seconds.
    at: i64,
    viewers: i64,
    watching: Vec<Watching>,
}

/// Viewers of a stream, of a region, at a node.
#[derive(ToSchema)]
struct Watching {
    stream: String,
    region: String,
    node: String,
    viewers: i64,
}

/// Figures of steps of a time. Times are Unix times in seconds.
#[derive(ToSchema)]
pub(super) struct Series {
    from: i64,
    to: i64,
    /// Seconds.
    step: i64,
    points: Vec<Point>,
    /// Whether there is more than what is told.
    cut: bool,
}

/// Figures of a step.
#[derive(ToSchema)]
struct Point {
    /// When the step began.
    at: i64,
    #[serde(flatten)]
    figures: Figures,
}

/// What became of viewers in a time.
#[derive(ToSchema)]
struct Figures {
    /// Which stream, region or node, as `by` says; empty for all.
    of: String,
    /// On average over the time.
    viewers: f64,
    joins: i64,
    visits: i64,
    watched_s: i64,
    stalls: i64,
    stalled_s: f64,
    /// Of the time that was watched.
    stalled_share: f64,
    starved: i64,
    octets: i64,
}

/// Octets by rung.
#[derive(ToSchema)]
pub(super) struct Octets {
    from: i64,
    to: i64,
    step: i64,
    points: Vec<RungPoint>,
    /// Whether there is more than what is told.
    cut: bool,
}

/// Octets of a rung in a step.
#[derive(ToSchema)]
struct RungPoint {
    at: i64,
    rung: String,
    octets: i64,
}

/// Sums over a time.
#[derive(ToSchema)]
pub(super) struct Totals {
    from: i64,
    to: i64,
    each: Vec<Figures>,
    /// The most viewers on average over a minute; of a region or a node it is not kept.
    peak_viewers: Option<f64>,
    /// Of a stream or a region there is none.
    account: Option<Account>,
}

/// Whether what viewers took adds up to what nodes have sent, in octets.
#[derive(ToSchema)]
struct Account {
    sent: i64,
    in_visits: i64,
    without_seat: i64,
    /// As a share of what was sent; null if that is nothing.
    difference: Option<f64>,
}

/// Why it is not told.
#[derive(IntoResponses)]
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
