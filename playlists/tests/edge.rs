//! What may be asked of the live edge, and what is said of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use playlists::{
    Bitrate, Epoch, Format, Head, Init, Ladder, MediaTime, Part, Renditions, Rung, RungName, Spot,
    WallTime, Window,
};

/// Segments 1000 to 1002 are complete, of three parts of 0.5 s each, and of 1003 `parts` are there.
fn window(parts: usize) -> Window {
    let mut window = Window::new(Format {
        ladder: Ladder::new(vec![rung("low", 100), rung("top", 400)]).unwrap(),
        renditions: Renditions::default(),
        segment: MediaTime::from_seconds(1.5),
        part: MediaTime::from_seconds(0.5),
        listed: 4,
    });
    for number in 1000..1003 {
        grow(&mut window, number, 3);
        window.close();
    }
    grow(&mut window, 1003, parts);
    window
}

fn grow(window: &mut Window, number: u64, parts: usize) {
    for index in 0..parts {
        if index == 0 {
            window.open(head(number)).unwrap();
        }
        // The first part holds the key frame, and is twice as large as the others.
        let size = if index == 0 { 2000 } else { 1000 };
        window.push(part(index, size)).unwrap();
    }
}

fn head(number: u64) -> Head {
    Head {
        number,
        epoch: Epoch(1),
        init: Arc::new(Init {
            epoch: Epoch(1),
            media: Bytes::new(),
            renditions: Vec::new(),
        }),
        discontinuity: false,
        timeline: 0,
        date_time: WallTime::from_millis(0),
    }
}

fn part(index: usize, size: usize) -> Part {
    Part {
        duration: MediaTime::from_seconds(0.5),
        open: if index == 0 { 2 } else { 0 },
        media: vec![vec![0; size].into(), vec![0; size * 4].into()],
        renditions: Vec::new(),
    }
}

fn rung(name: &str, kbps: u64) -> Rung {
    Rung {
        name: RungName::try_from(name.to_owned()).unwrap(),
        width: 16,
        height: 9,
        bandwidth: Bitrate::from_kbps(kbps),
        average: Bitrate::from_kbps(kbps),
        codecs: String::new(),
        frame_rate: 30.0,
        score: None,
    }
}

fn spot(number: u64, part: usize) -> Option<Spot> {
    Some(Spot { number, part })
}

#[test]
fn the_edge_is_the_last_part_and_the_one_after_it() {
    let between = window(0);
    assert_eq!(
        (between.last_part(), between.next_part()),
        (spot(1002, 2), spot(1003, 0))
    );
    let mut within = window(2);
    assert_eq!(
        (within.last_part(), within.next_part()),
        (spot(1003, 1), spot(1003, 2))
    );
    within.end();
    assert_eq!(within.next_part(), None);
}

#[test]
fn an_answer_never_lacks_what_was_asked_for() {
    let window = window(2);
    for (number, part, there) in [
        (999, None, true),
        (1002, None, true),
        (1003, None, false),
        (1001, Some(0), true),
        (1003, Some(1), true),
        (1003, Some(2), false),
        // 1002 turned out to have three parts: its fourth is the first of 1003.
        (1002, Some(3), true),
        (1004, Some(0), false),
    ] {
        assert_eq!(window.reaches(number, part), there, "{number} {part:?}");
    }
}

#[test]
fn a_part_that_a_segment_did_not_get_is_the_first_of_the_next() {
    let mut window = window(0);
    assert!(!window.reaches(1002, Some(3)), "1003 has not begun");
    window.open(head(1003)).unwrap();
    assert!(!window.reaches(1002, Some(3)));
    window.push(part(0, 1000)).unwrap();
    assert!(window.reaches(1002, Some(3)) && window.reaches(1002, Some(9)));
}

#[test]
fn what_is_too_far_ahead_is_a_mistake() {
    let mut window = window(2);
    for (number, part, mistake) in [
        (1003, None, false),
        (1004, None, false),
        (1005, None, true),
        (u64::MAX, None, true),
        (1003, Some(2), false),
        // Three seconds of parts beyond the two that are there.
        (1003, Some(8), false),
        (1003, Some(9), true),
        (1004, Some(6), false),
        (1004, Some(7), true),
        (1000, Some(50), false),
    ] {
        assert_eq!(
            window.is_too_far(number, part),
            mistake,
            "{number} {part:?}"
        );
    }
    window.end();
    assert!(!window.is_too_far(5000, None), "nothing is waited for");
}

#[test]
fn the_size_of_a_segment_is_expected_from_its_predecessors() {
    let window = window(1);
    assert_eq!(window.expected_sizes(None), [4000, 16_000]);
    let open = window.open_segment().map(|open| &**open);
    assert_eq!(window.expected_sizes(open), [4000, 16_000]);

    let mut dear = window.clone();
    dear.push(part(1, 5000)).unwrap();
    let open = dear.open_segment().map(|open| &**open);
    assert_eq!(dear.expected_sizes(open), [8000, 32_000]);
}

#[test]
fn without_predecessors_the_declared_rate_is_expected() {
    let mut young = Window::new(Format::clone(window(0).format()));
    assert_eq!(young.expected_sizes(None), [18_750, 75_000]);
    grow(&mut young, 7, 1);
    let open = young.open_segment().map(|open| &**open);
    assert_eq!(young.expected_sizes(open), [2000 + 12_500, 8000 + 50_000]);
}
