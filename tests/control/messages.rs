//! Messages of every kind that there is.

use playlists::Bitrate;
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};
use spillway::control::{
    Answer, Directive, Heartbeat, HeartbeatReply, Load, NodeKind, NodeState, Question, RegionLoad,
    VERSION,
};

pub(crate) fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    let kind = prop_oneof![Just(NodeKind::Primary), Just(NodeKind::Relay)];
    let state = prop_oneof![
        Just(NodeState::Standby),
        Just(NodeState::Filling),
        Just(NodeState::Active),
        Just(NodeState::Draining)
    ];
    let who = (".{0,20}", any::<u64>(), kind, state, ".{0,40}");
    let what = (option::of(".{0,10}"), any::<bool>(), ".{0,10}", load());
    (who, what).prop_map(
        |((node, instance, kind, state, url), (region, launched, software, load))| Heartbeat {
            version: VERSION,
            node,
            instance,
            kind,
            state,
            url,
            region,
            launched,
            software,
            load,
        },
    )
}

fn load() -> impl Strategy<Value = Load> {
    let region =
        any::<(u32, u64)>().prop_map(|(viewers, arrivals)| RegionLoad { viewers, arrivals });
    (
        btree_map(".{0,10}", region, 0..5),
        btree_map(".{0,10}", any::<u32>(), 0..5),
        any::<u32>(),
        any::<u64>(),
        option::of(any::<u64>()),
        // What JSON has no word for is not reckoned either.
        prop::num::f64::NORMAL | prop::num::f64::ZERO,
        (
            option::of(any::<u32>()),
            option::of(".{0,20}"),
            btree_map(".{0,10}", vec(".{0,10}", 0..3), 0..3),
        ),
    )
        .prop_map(
            |(regions, streams, moved, egress, budget, price, (seats, trouble, alerts))| Load {
                regions,
                streams,
                moved,
                egress: Bitrate::from_bps(egress),
                budget: budget.map(Bitrate::from_bps),
                price,
                seats,
                trouble,
                alerts,
            },
        )
}

pub(crate) fn reply() -> impl Strategy<Value = HeartbeatReply> {
    let activate = (
        ".{0,20}",
        ".{0,10}",
        option::of(".{0,20}"),
        option::of(any::<u32>()),
    );
    let directive = prop_oneof![
        Just(Directive::Continue),
        activate.prop_map(|(upstream, region, home, keep)| Directive::Activate {
            upstream,
            region,
            home,
            keep,
        }),
        ".{0,20}".prop_map(|to| Directive::Drain { to }),
        Just(Directive::Retire),
    ];
    let question = (any::<u64>(), option::of(".{0,20}"));
    let question = question.prop_map(|(number, viewer)| Question { number, viewer });
    let flags = (any::<bool>(), any::<bool>());
    let elsewhere = btree_map(".{0,10}", ".{0,20}", 0..3);
    (
        directive,
        any::<u64>(),
        any::<u64>(),
        flags,
        elsewhere,
        vec(question, 0..3),
    )
        .prop_map(
            |(directive, interval_ms, epoch, (standby, visits), elsewhere, questions)| {
                HeartbeatReply {
                    version: VERSION,
                    directive,
                    interval_ms,
                    epoch,
                    standby,
                    visits,
                    elsewhere,
                    questions,
                }
            },
        )
}

pub(crate) fn told() -> impl Strategy<Value = Answer> {
    (".{0,20}", any::<u64>(), option::of(".{0,50}")).prop_map(|(node, number, found)| Answer {
        version: VERSION,
        node,
        number,
        found,
    })
}
