//! What a node's operator is told, as JSON: its shapes, which are also what the description of the interface is made of.

use playlists::Bitrate;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::super::{
    Origin, arms::ArmReport, explain::Explained, journal::Journal, shown::ViewerReport,
};
use crate::store::{Consumer, Intake, StreamName};

#[derive(Serialize, ToSchema)]
#[schema(as = NodeReady)]
pub(super) struct Ready {
    pub(super) ready: bool,
    /// Viewers are sent elsewhere.
    pub(super) draining: bool,
    pub(super) streams: usize,
    /// Streams of which there is nothing to watch yet.
    pub(super) without_media: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Stream)]
pub(super) struct StreamReport {
    stream: String,
    viewers: u32,
    // Its fields are there or not, all of them.
    #[serde(flatten)]
    #[schema(value_type = Published)]
    published: Option<Published>,
    source: Intake,
}

/// Absent until there is media.
#[derive(Serialize, ToSchema)]
struct Published {
    #[schema(required = false)]
    ended: bool,
    /// Media sequence number of the first segment that is listed.
    #[schema(required = false)]
    first: Option<u64>,
    /// Of the last one that is complete.
    #[schema(required = false)]
    last: Option<u64>,
    #[schema(required = false)]
    segment_s: f64,
    /// Cheapest first.
    #[schema(required = false)]
    rungs: Vec<RungReport>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Rung)]
struct RungReport {
    rung: String,
    width: u32,
    height: u32,
    /// On average, as the encoder is set; in kbit/s.
    declared_kbps: u64,
    /// What it takes, over the segments that are listed.
    measured_kbps: u64,
    /// How good it looks, if that was said.
    score: Option<f32>,
}

impl StreamReport {
    pub(super) fn of(name: &StreamName, stream: &Consumer, viewers: u32) -> Self {
        let published = stream.now().map(|window| {
            let rates = window.rates();
            let rungs = window.format().ladder.rungs().iter().zip(rates);
            Published {
                ended: window.has_ended(),
                first: window.listed().next().map(|segment| segment.number()),
                last: window.last_complete().map(|segment| segment.number()),
                segment_s: window.format().segment.seconds(),
                rungs: rungs
                    .map(|(rung, rate)| RungReport {
                        rung: rung.name.to_string(),
                        width: rung.width,
                        height: rung.height,
                        declared_kbps: rung.average.kbps(),
                        measured_kbps: rate.kbps(),
                        score: rung.score,
                    })
                    .collect(),
            }
        });
        Self {
            stream: name.to_string(),
            viewers: published.as_ref().map_or(0, |_| viewers),
            published,
            source: (*stream.intake()).clone(),
        }
    }
}

/// A page of the viewers, and sums over all of them.
#[derive(Serialize, ToSchema)]
#[schema(as = Viewers)]
pub(super) struct ViewersPage {
    node: String,
    /// What viewers acknowledge, over the last seconds.
    egress_kbps: u64,
    /// `null` is unlimited.
    budget_kbps: Option<u64>,
    /// It is found out, rather than given.
    budget_learnt: bool,
    /// Utility per Mbit/s that one more bit would buy.
    price: f64,
    watching: u32,
    /// Sent elsewhere, and still asking here.
    moved: u32,
    decisions: Decisions,
    joins: Joins,
    viewers: Vec<ViewerReport>,
    /// For `after`; `null` on the last page.
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Decisions {
    /// Of so many viewers the last decisions are kept.
    explained_viewers: usize,
    /// To the log of decisions, if there is one.
    written: Option<u64>,
    /// From it, for want of time.
    left_out: Option<u64>,
}

/// Since the node was started.
#[derive(Serialize, ToSchema)]
struct Joins {
    let_in: u64,
    refused: u64,
    sent_on: u64,
}

impl ViewersPage {
    pub(super) fn of(origin: &Origin, viewers: Vec<ViewerReport>, next: Option<String>) -> Self {
        let (census, share) = (origin.viewers.census(), origin.share.load());
        let (refused, sent_on) = origin.viewers.turned();
        let journal = origin.viewers.rules.journal.as_ref();
        let (written, left_out) = journal.map(Journal::counts).unzip();
        let budget = share.budget.or(origin.terms.budget);
        Self {
            node: origin.node.clone(),
            egress_kbps: share.egress.kbps(),
            budget_kbps: budget.map(Bitrate::kbps),
            budget_learnt: origin.terms.budget_learnt,
            price: share.price(),
            watching: census.streams.values().sum(),
            moved: census.moved,
            decisions: Decisions {
                explained_viewers: origin.viewers.rules.explained,
                written,
                left_out,
            },
            joins: Joins {
                let_in: origin.viewers.joins(),
                refused,
                sent_on,
            },
            viewers,
            next,
        }
    }
}

/// One viewer's decisions for one stream.
#[derive(Serialize, ToSchema)]
#[schema(as = StreamDecisions)]
pub(super) struct Explanation {
    pub(super) stream: String,
    /// Oldest first.
    pub(super) decisions: Vec<Explained>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Arms)]
pub(super) struct ArmsReport {
    pub(super) node: String,
    pub(super) arms: Vec<ArmReport>,
}

/// Which viewers to tell of.
#[derive(Debug, serde::Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Of this stream only.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    pub(super) stream: Option<StreamName>,
    /// Viewers on the page; 1000 if it is not said.
    #[param(minimum = 1, maximum = 10000)]
    pub(super) limit: Option<usize>,
    /// The `next` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]{1,64}\\.[0-9]{1,9}$")]
    pub(super) after: Option<String>,
}

/// How decisions are to be written.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Written {
    #[default]
    Json,
    /// A line for each, of which it can be made again.
    Jsonl,
}

#[derive(Debug, serde::Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Format {
    #[serde(default)]
    #[param(inline)]
    pub(super) format: Written,
}
