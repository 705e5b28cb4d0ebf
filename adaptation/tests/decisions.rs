//! A decision that was written down is made again to the same rung, by every rule, from what the line says.

use std::time::{Duration, Instant};

use adaptation::{Decision, Delivery, Flight, Limits, Offer, Part, Sizes, Viewer, rule};
use playlists::{Bitrate, MediaTime};
use proptest::prelude::*;

const RULES: [&str; 6] = ["mpc", "rate", "bba", "bola", "robust-mpc", "cycle"];
const RUNGS: usize = 4;

proptest! {
    #[test]
    fn what_is_written_down_is_decided_again(
        segments in prop::collection::vec((prop::array::uniform4(1_000..900_000_u64), 10..6_000_u64, 0..3_000_u64, any::<bool>()), 1..30),
        parts: bool,
        ceiling in 0..RUNGS + 1,
        price in 0.0..4.0_f32,
    ) {
        for name in RULES {
            let rule = rule::named(name).expect("it is a rule");
            let mut now = Instant::now();
            let mut viewer = Viewer::new(None, now);
            let table: Vec<u64> = segments.iter().flat_map(|segment| segment.0).collect();
            for (number, (_, elapsed, wait, in_flight)) in segments.iter().enumerate() {
                let sizes = Sizes::of(&table[number * RUNGS..], RUNGS, RUNGS);
                // Two parts of each segment, one after the other.
                let (segment, index) = if parts { (number / 2, (number % 2) as u8) } else { (number, 0) };
                let part = Part { index, of: 2, there: 1, open: if index == 0 { RUNGS as u8 } else { 1 }, later: 1 };
                let offer = Offer {
                    part: parts.then_some(part),
                    sizes,
                    expected: &[90_000, 180_000, 320_000, 550_000],
                    ahead: MediaTime::from_seconds(2.0) * (number % 3) as i64,
                    pictures: &[0, 1, 1, 2],
                    lost: Duration::from_millis(900),
                    ..Offer::new(segment as u64, sizes.this(), MediaTime::from_seconds(2.0))
                };
                let flight = in_flight.then_some(Flight { pace: Some(Bitrate::from_kbps(*elapsed)), left: *wait });
                let decided = viewer.decide(&offer, Limits { ceiling, price, absent: 0b10 << (ceiling % 3), wait: Duration::from_millis(400) }, flight, &*rule, now);
                let situation = decided.because.expect("it is new");
                let choice = adaptation::Choice { rung: decided.pin.rung, reason: decided.pin.reason };
                let begins = !parts || index == 0;
                prop_assert!(choice.rung <= ceiling.min(RUNGS - 1) || !begins && situation.viewer.previous == Some(choice.rung));
                prop_assert!(begins || choice.rung == 0 || situation.viewer.previous == Some(choice.rung));

                let decision = Decision::of(rule.name(), &situation, choice);
                let line = serde_json::to_string(&decision).expect("it is JSON");
                let read: Decision = serde_json::from_str(&line).expect("it was written");
                prop_assert_eq!(&read, &decision);
                prop_assert_eq!(read.again(), Some(choice), "{}", line);

                now += Duration::from_millis(*elapsed);
                viewer.delivered(&Delivery {
                    number: segment as u64,
                    octets: sizes.this()[choice.rung],
                    begins: MediaTime::ZERO,
                    media: offer.duration,
                    elapsed: Duration::from_millis(*elapsed),
                    min_rtt: Duration::from_millis(30),
                    capacity: None,
                    receiver_limited: 0.0,
                    complete: true,
                }, now);
                now += Duration::from_millis(*wait);
            }
        }
    }
}

/// As operators' files have it: the names and their order are part of what is promised.
#[test]
fn a_line_of_a_file_reads_as_it_was_written() {
    let line = concat!(
        r#"{"rule":"rate","rung":1,"reason":"steady","number":7,"sizes":[[1000,2000],[1100,2100]],"#,
        r#""expected":[1050,2050],"duration":1411200000,"ahead":1411200000,"pictures":[0,1],"#,
        r#""lost":{"secs":0,"nanos":900000000},"start":1,"estimate":{"rate":900000,"deviation":0.25},"#,
        r#""recent":{"rates":[900000.0,0.0,0.0,0.0,0.0],"errors":[0.5,0.0,0.0,0.0,0.0]},"#,
        r#""rtt":{"secs":0,"nanos":40000000},"in_flight":{"pace":800000,"left":1200},"#,
        r#""buffer":{"media":{"secs":3,"nanos":500000000},"playing":true},"previous":1,"since_switch":4,"#,
        r#""since_stall":null,"ceiling":1,"price":0.5}"#,
    );
    let decision: Decision = serde_json::from_str(line).expect("it is a decision");
    assert_eq!(serde_json::to_string(&decision).expect("it is JSON"), line);
}
