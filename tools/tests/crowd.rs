//! Stories of many viewers behind one node's egress, in virtual time: rule, viewers and allocator in one loop,
//! on a link that carries no more than the budget.

use tools::simulate::{
    contender::Contender,
    many::{Crowd, Told},
    stream::Stream,
    viewer::Habits,
};

const LADDER: [f64; 4] = [0.35, 0.7, 1.3, 2.2];

fn crowd(viewers: usize, kbps_each: f64) -> Crowd {
    Crowd {
        viewers,
        streams: 10.min(viewers),
        seconds: 240.0,
        load: LADDER[3] * 1e3 / kbps_each,
        halved: false,
        allocated: true,
        headroom: 1.0,
        paths: (20e6, 20e6),
        habits: Habits {
            hold_back: 6.0,
            goal: 30.0,
            asks_again: Habits::HLS_JS_ASKS_AGAIN,
        },
        rtt: 0.02,
        seed: 1,
    }
}

fn watch(crowd: Crowd, rule: &str) -> Told {
    let stream = Stream::synthetic(&LADDER.map(|mbps| mbps * 1e6), 2.0, 0.1, 1);
    let contender = Contender::named(rule).expect("is there");
    crowd
        .watch(&stream, &contender)
        .expect("the link carries something")
}

#[test]
fn a_full_node_is_used_shared_and_stalls_nobody() {
    for rule in ["rate", "mpc"] {
        for count in [2, 3, 7, 30, 100] {
            let told = watch(crowd(count, 1500.0), rule);
            assert_eq!(told.stalls, 0, "{rule}, {count}: {told:?}");
            assert!(told.jain >= 0.95, "{rule}, {count}: {told:?}");
            assert!(told.switches_a_minute <= 0.5, "{rule}, {count}: {told:?}");
            // Of two, each goes without the step that only one could have; but not of thirty.
            let least = if count < 10 { 0.8 } else { 0.94 };
            assert!(told.utilization >= least, "{rule}, {count}: {told:?}");
        }
    }
}

#[test]
fn half_the_egress_is_lost_without_a_stall() {
    for rule in ["rate", "mpc"] {
        for count in [3, 30, 100] {
            let halved = Crowd {
                halved: true,
                seconds: 60.0,
                ..crowd(count, 2300.0)
            };
            let told = watch(halved, rule);
            assert_eq!(told.stalls, 0, "{rule}, {count}: {told:?}");
            assert!(told.utilization >= 0.85, "{rule}, {count}: {told:?}");
            assert!(told.switches_a_minute <= 2.0, "{rule}, {count}: {told:?}");
        }
    }
}

#[test]
fn what_slow_paths_leave_goes_to_the_others() {
    let slow = Crowd {
        paths: (0.9e6, 20e6),
        ..crowd(30, 1200.0)
    };
    for rule in ["rate", "mpc"] {
        let told = watch(slow, rule);
        assert_eq!(told.stalls, 0, "{rule}: {told:?}");
        assert!(told.utilization >= 0.9, "{rule}: {told:?}");
    }
}

#[test]
fn whom_the_allocator_holds_down_changes_less_often_than_who_competes() {
    let shared = watch(crowd(30, 1800.0), "mpc");
    let alone = Crowd {
        allocated: false,
        ..crowd(30, 1800.0)
    };
    let (alone, hls) = (watch(alone, "mpc"), watch(alone, "hls"));
    assert!(
        shared.switches_a_minute < alone.switches_a_minute,
        "{shared:?} {alone:?}"
    );
    assert!(
        shared.switches_a_minute < hls.switches_a_minute,
        "{shared:?} {hls:?}"
    );
    assert!(shared.jain >= 0.98, "{shared:?}");
}
