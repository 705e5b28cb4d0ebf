//! The messages as Protobuf has them, and the way there and back.
//!
//! By derive and without a schema in a file: what follows is the schema. Numbers of fields are never
//! used twice, and the version is field 1 of every message. Messages are taken apart by all of their fields here, so that
//! one that is added cannot be forgotten.

use std::collections::BTreeMap;

use playlists::Bitrate;

use super::{
    Answer, Directive, Heartbeat, HeartbeatReply, Load, Message, NodeKind, NodeState, Noted,
    Question, RegionLoad,
};

impl Message for Heartbeat {
    const NAME: &'static str = "the heartbeat";
    type Wire = WireHeartbeat;
}

impl Message for HeartbeatReply {
    const NAME: &'static str = "the answer to a heartbeat";
    type Wire = WireReply;
}

impl Message for Answer {
    const NAME: &'static str = "the answer to a question";
    type Wire = WireAnswer;
}

impl Message for Noted {
    const NAME: &'static str = "what an answer is answered with";
    type Wire = WireNoted;
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WireHeartbeat {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    node: String,
    #[prost(uint64, tag = "3")]
    instance: u64,
    #[prost(enumeration = "WireKind", tag = "4")]
    kind: i32,
    #[prost(enumeration = "WireState", tag = "5")]
    state: i32,
    #[prost(string, tag = "6")]
    url: String,
    #[prost(string, optional, tag = "7")]
    region: Option<String>,
    #[prost(bool, tag = "8")]
    launched: bool,
    #[prost(string, tag = "9")]
    software: String,
    #[prost(message, optional, tag = "10")]
    load: Option<WireLoad>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WireLoad {
    #[prost(btree_map = "string, message", tag = "1")]
    regions: BTreeMap<String, WireRegionLoad>,
    #[prost(btree_map = "string, uint32", tag = "2")]
    streams: BTreeMap<String, u32>,
    #[prost(uint32, tag = "3")]
    moved: u32,
    #[prost(uint64, tag = "4")]
    egress_bps: u64,
    #[prost(uint64, optional, tag = "5")]
    budget_bps: Option<u64>,
    #[prost(double, tag = "6")]
    price: f64,
    #[prost(uint32, optional, tag = "7")]
    seats: Option<u32>,
    #[prost(string, optional, tag = "8")]
    trouble: Option<String>,
    #[prost(btree_map = "string, message", tag = "9")]
    alerts: BTreeMap<String, WireAlerts>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireAlerts {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct WireRegionLoad {
    #[prost(uint32, tag = "1")]
    viewers: u32,
    #[prost(uint64, tag = "2")]
    arrivals: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WireReply {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    interval_ms: u64,
    #[prost(oneof = "WireDirective", tags = "3, 4, 5, 6")]
    directive: Option<WireDirective>,
    #[prost(uint64, tag = "7")]
    epoch: u64,
    #[prost(bool, tag = "8")]
    standby: bool,
    #[prost(bool, tag = "9")]
    visits: bool,
    #[prost(message, repeated, tag = "10")]
    questions: Vec<WireQuestion>,
    #[prost(btree_map = "string, string", tag = "11")]
    elsewhere: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireQuestion {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(string, optional, tag = "2")]
    viewer: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WireAnswer {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    node: String,
    #[prost(uint64, tag = "3")]
    number: u64,
    #[prost(string, optional, tag = "4")]
    found: Option<String>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct WireNoted {
    #[prost(uint32, tag = "1")]
    version: u32,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum WireDirective {
    #[prost(message, tag = "3")]
    Continue(WireNothing),
    #[prost(message, tag = "4")]
    Activate(WireActivate),
    #[prost(message, tag = "5")]
    Drain(WireDrain),
    #[prost(message, tag = "6")]
    Retire(WireNothing),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct WireNothing {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireActivate {
    #[prost(string, tag = "1")]
    upstream: String,
    #[prost(string, tag = "2")]
    region: String,
    #[prost(string, optional, tag = "3")]
    home: Option<String>,
    #[prost(uint32, optional, tag = "4")]
    keep: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireDrain {
    #[prost(string, tag = "1")]
    to: String,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, prost::Enumeration)]
#[repr(i32)]
pub enum WireKind {
    Unsaid = 0,
    Primary = 1,
    Relay = 2,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, prost::Enumeration)]
#[repr(i32)]
pub enum WireState {
    Unsaid = 0,
    Standby = 1,
    Filling = 2,
    Active = 3,
    Draining = 4,
}

impl From<Heartbeat> for WireHeartbeat {
    fn from(heartbeat: Heartbeat) -> Self {
        let Heartbeat {
            version,
            node,
            instance,
            kind,
            state,
            url,
            region,
            launched,
            software,
            load,
        } = heartbeat;
        let kind = match kind {
            NodeKind::Primary => WireKind::Primary,
            NodeKind::Relay => WireKind::Relay,
        };
        let state = match state {
            NodeState::Standby => WireState::Standby,
            NodeState::Filling => WireState::Filling,
            NodeState::Active => WireState::Active,
            NodeState::Draining => WireState::Draining,
        };
        Self {
            version: version.into(),
            node,
            instance,
            kind: kind.into(),
            state: state.into(),
            url,
            region,
            launched,
            software,
            load: Some(load.into()),
        }
    }
}

impl TryFrom<WireHeartbeat> for Heartbeat {
    type Error = String;

    fn try_from(wire: WireHeartbeat) -> Result<Self, String> {
        let kind = match wire.kind() {
            WireKind::Primary => NodeKind::Primary,
            WireKind::Relay => NodeKind::Relay,
            WireKind::Unsaid => return Err(format!("{} is no kind of node", wire.kind)),
        };
        let state = match wire.state() {
            WireState::Standby => NodeState::Standby,
            WireState::Filling => NodeState::Filling,
            WireState::Active => NodeState::Active,
            WireState::Draining => NodeState::Draining,
            WireState::Unsaid => return Err(format!("{} is no state of a node", wire.state)),
        };
        Ok(Self {
            version: version(wire.version)?,
            node: wire.node,
            instance: wire.instance,
            kind,
            state,
            url: wire.url,
            region: wire.region,
            launched: wire.launched,
            software: wire.software,
            load: wire.load.ok_or("it has no load")?.into(),
        })
    }
}

impl From<Load> for WireLoad {
    fn from(load: Load) -> Self {
        let Load {
            regions,
            streams,
            moved,
            egress,
            budget,
            price,
            seats,
            trouble,
            alerts,
        } = load;
        let regions = regions.into_iter().map(|(name, region)| {
            let RegionLoad { viewers, arrivals } = region;
            (name, WireRegionLoad { viewers, arrivals })
        });
        Self {
            regions: regions.collect(),
            streams,
            moved,
            egress_bps: egress.bps(),
            budget_bps: budget.map(Bitrate::bps),
            price,
            seats,
            trouble,
            alerts: alerts
                .into_iter()
                .map(|(stream, names)| (stream, WireAlerts { names }))
                .collect(),
        }
    }
}

impl From<WireLoad> for Load {
    fn from(wire: WireLoad) -> Self {
        let regions = wire.regions.into_iter().map(|(name, region)| {
            let WireRegionLoad { viewers, arrivals } = region;
            (name, RegionLoad { viewers, arrivals })
        });
        Self {
            regions: regions.collect(),
            streams: wire.streams,
            moved: wire.moved,
            egress: Bitrate::from_bps(wire.egress_bps),
            budget: wire.budget_bps.map(Bitrate::from_bps),
            price: wire.price,
            seats: wire.seats,
            trouble: wire.trouble,
            alerts: wire
                .alerts
                .into_iter()
                .map(|(stream, WireAlerts { names })| (stream, names))
                .collect(),
        }
    }
}

impl From<HeartbeatReply> for WireReply {
    fn from(reply: HeartbeatReply) -> Self {
        let HeartbeatReply {
            version,
            directive,
            interval_ms,
            epoch,
            standby,
            visits,
            elsewhere,
            questions,
        } = reply;
        let questions = questions.into_iter().map(|question| {
            let Question { number, viewer } = question;
            WireQuestion { number, viewer }
        });
        let directive = match directive {
            Directive::Continue => WireDirective::Continue(WireNothing {}),
            Directive::Activate {
                upstream,
                region,
                home,
                keep,
            } => WireDirective::Activate(WireActivate {
                upstream,
                region,
                home,
                keep,
            }),
            Directive::Drain { to } => WireDirective::Drain(WireDrain { to }),
            Directive::Retire => WireDirective::Retire(WireNothing {}),
        };
        Self {
            version: version.into(),
            interval_ms,
            directive: Some(directive),
            epoch,
            standby,
            visits,
            elsewhere,
            questions: questions.collect(),
        }
    }
}

impl TryFrom<WireReply> for HeartbeatReply {
    type Error = String;

    fn try_from(wire: WireReply) -> Result<Self, String> {
        let directive = match wire
            .directive
            .ok_or("it has no directive that is known here")?
        {
            WireDirective::Continue(WireNothing {}) => Directive::Continue,
            WireDirective::Activate(WireActivate {
                upstream,
                region,
                home,
                keep,
            }) => Directive::Activate {
                upstream,
                region,
                home,
                keep,
            },
            WireDirective::Drain(WireDrain { to }) => Directive::Drain { to },
            WireDirective::Retire(WireNothing {}) => Directive::Retire,
        };
        Ok(Self {
            version: version(wire.version)?,
            directive,
            interval_ms: wire.interval_ms,
            epoch: wire.epoch,
            standby: wire.standby,
            visits: wire.visits,
            elsewhere: wire.elsewhere,
            questions: wire
                .questions
                .into_iter()
                .map(|WireQuestion { number, viewer }| Question { number, viewer })
                .collect(),
        })
    }
}

impl From<Answer> for WireAnswer {
    fn from(answer: Answer) -> Self {
        let Answer {
            version,
            node,
            number,
            found,
        } = answer;
        Self {
            version: version.into(),
            node,
            number,
            found,
        }
    }
}

impl TryFrom<WireAnswer> for Answer {
    type Error = String;

    fn try_from(wire: WireAnswer) -> Result<Self, String> {
        Ok(Self {
            version: version(wire.version)?,
            node: wire.node,
            number: wire.number,
            found: wire.found,
        })
    }
}

impl From<Noted> for WireNoted {
    fn from(noted: Noted) -> Self {
        let Noted { version } = noted;
        Self {
            version: version.into(),
        }
    }
}

impl TryFrom<WireNoted> for Noted {
    type Error = String;

    fn try_from(wire: WireNoted) -> Result<Self, String> {
        Ok(Self {
            version: version(wire.version)?,
        })
    }
}

fn version(wire: u32) -> Result<u16, String> {
    u16::try_from(wire).map_err(|_| format!("{wire} is no version"))
}
