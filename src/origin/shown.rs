//! What others get to see of one viewer: whoever answers its requests, and the node's operator.

use std::time::Duration;

use adaptation::Level;
use playlists::Bitrate;
use serde::Serialize;

use crate::store::StreamName;

/// What is known of a viewer when its segment has been chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    pub estimate: Option<Bitrate>,
    /// Standard deviation of ln(rate).
    pub deviation: f64,
    pub rtt: Duration,
    pub buffer: Option<Level>,
    /// The highest rung that it may have.
    pub ceiling: usize,
    /// It stands there, though its own path would allow more.
    pub held: bool,
    /// The rung that it would have, were it at hand.
    pub wished: Option<usize>,
    pub arm: Option<u8>,
    pub rule: &'static str,
}

/// One viewer as `/v1/viewers` shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Viewer)]
pub struct ViewerReport {
    pub viewer: String,
    #[schema(value_type = String)]
    pub stream: StreamName,
    pub region: String,
    /// That its token says, if it has a weight; told from the place, where the weights are known.
    pub class: Option<String>,
    #[serde(skip)]
    pub place: u8,
    /// Index of the rung decided last; 0 is the cheapest.
    pub rung: Option<usize>,
    pub reason: Option<adaptation::Reason>,
    /// Highest rung that the node's budget allows this viewer.
    pub ceiling: usize,
    pub estimate_kbps: Option<u64>,
    /// What it has ahead, as it is reckoned here.
    #[schema(value_type = Option<u64>)]
    pub buffer_ms: Option<u128>,
    /// By the same account.
    pub stalls: u32,
    /// Which rule it has, of those that are assigned by share.
    pub arm: Option<u8>,
    pub switches: u32,
    /// Deliveries that were broken off, since they would have come too late.
    pub abandoned: u32,
    pub segments: u64,
    pub octets: u64,
    pub moved: bool,
    pub since_s: u64,
    pub silent_ms: u64,
}
