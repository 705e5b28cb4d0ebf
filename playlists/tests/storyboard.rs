//! A storyboard: times that are those of a player's clock, sprites whose names are their contents, and a tile for
//! every moment, whatever was missed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use playlists::{
    Bitrate, Epoch, Format, Head, History, Init, Ladder, MediaTime, Part, Renditions, Rung,
    RungName, WallTime, Window, render,
    still::{Coding, Sprite, Still},
};

const LENGTH: MediaTime = MediaTime::from_flicks(2 * MediaTime::PER_SECOND);

fn window(listed: usize, history: Option<History>) -> Window {
    let rung = Rung {
        name: RungName::try_from("low".to_owned()).unwrap(),
        width: 640,
        height: 360,
        bandwidth: Bitrate::from_kbps(700),
        average: Bitrate::from_kbps(500),
        codecs: "avc1.64001F,mp4a.40.2".into(),
        frame_rate: 30.0,
        score: None,
    };
    let format = Format {
        ladder: Ladder::new(vec![rung]).unwrap(),
        renditions: Renditions::default(),
        segment: LENGTH,
        part: LENGTH,
        listed,
    };
    match history {
        Some(history) => Window::remembering(format, history),
        None => Window::new(format),
    }
}

fn still(tile: bool, coding: Coding, width: u16) -> Still {
    Still {
        tile,
        coding,
        width,
        height: width * 9 / 16,
        media: Bytes::from_static(b"still"),
    }
}

fn tile() -> Still {
    still(true, Coding::Jpeg, 160)
}

fn push(window: &mut Window, number: u64, epoch: u64, stills: Vec<Still>) {
    let timeline = epoch - 7;
    let before = window.segments().last().map(|last| last.head.timeline);
    window
        .open(Head {
            number,
            epoch: Epoch(epoch),
            init: Arc::new(Init {
                epoch: Epoch(7),
                media: Bytes::from_static(b"init"),
                renditions: Vec::new(),
            }),
            discontinuity: before.is_some_and(|before| before != timeline),
            timeline,
            date_time: WallTime::from_millis(number as i64 * 2000),
        })
        .unwrap();
    window.illustrate(stills).unwrap();
    window
        .push(Part {
            duration: LENGTH,
            open: 1,
            media: vec![Bytes::from_static(b"media")],
            renditions: Vec::new(),
        })
        .unwrap();
    window.close();
}

#[test]
fn each_segment_has_its_place_in_a_sprite() {
    let mut window = window(8, None);
    for number in 1008..1011 {
        push(&mut window, number, 7, vec![tile()]);
    }
    let wanted = "WEBVTT\n\
        \n00:00:00.000 --> 00:00:02.000\n7/storyboard/1008-1009.jpg#xywh=0,0,160,90\n\
        \n00:00:02.000 --> 00:00:04.000\n7/storyboard/1008-1009.jpg#xywh=0,96,160,90\n\
        \n00:00:04.000 --> 00:00:06.000\n7/storyboard/1010-1010.jpg#xywh=0,0,160,90\n";
    assert_eq!(render::storyboard(&window, None), wanted);
}

#[test]
fn what_was_missed_shows_what_was_before_and_keeps_its_line() {
    let mut window = window(8, None);
    push(&mut window, 1000, 7, Vec::new());
    push(&mut window, 1001, 7, vec![tile()]);
    push(&mut window, 1002, 7, Vec::new());
    push(&mut window, 1003, 7, vec![tile()]);
    let wanted = "WEBVTT\n\
        \n00:00:02.000 --> 00:00:06.000\n7/storyboard/1001-1003.jpg#xywh=0,0,160,90\n\
        \n00:00:06.000 --> 00:00:08.000\n7/storyboard/1001-1003.jpg#xywh=0,192,160,90\n";
    assert_eq!(render::storyboard(&window, None), wanted);
}

#[test]
fn another_run_and_another_shape_begin_another_sprite() {
    let mut window = window(8, None);
    push(&mut window, 1000, 7, vec![tile()]);
    push(&mut window, 1001, 8, vec![tile()]);
    push(&mut window, 1002, 8, vec![still(true, Coding::Jpeg, 128)]);
    let text = render::storyboard(&window, None);
    for name in [
        "7/storyboard/1000-1000",
        "8/storyboard/1001-1001",
        "8/storyboard/1002-1002",
    ] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_player_that_came_later_or_earlier_has_its_own_zero() {
    let mut window = window(3, None);
    for number in 1000..1020 {
        push(&mut window, number, 7, vec![tile()]);
    }
    // Seven are kept: 1013 to 1019.
    let first = |from| {
        let text = render::storyboard(&window, from);
        text.lines().nth(2).map(str::to_owned)
    };
    let says = |text: &str| Some(text.to_owned());
    assert_eq!(first(None), says("00:00:00.000 --> 00:00:02.000"));
    assert_eq!(first(Some(1013)), first(None));
    assert_eq!(first(Some(1015)), says("00:00:00.000 --> 00:00:02.000"));
    assert!(
        !render::storyboard(&window, Some(1015))
            .contains("0,0,160,90\n\n00:00:02.000 --> 00:00:04.000\n7/storyboard/1010")
    );
    // It joined when 1000 was the first; an hour is no matter either.
    assert_eq!(first(Some(1000)), says("00:00:26.000 --> 00:00:28.000"));
    assert_eq!(first(Some(13)), says("00:33:20.000 --> 00:33:22.000"));
    assert_eq!(first(Some(5000)), None);
}

#[test]
fn with_a_history_it_goes_as_far_back_as_the_long_list() {
    let span = History::new(Some(LENGTH * 30), LENGTH * 3);
    let mut window = window(3, Some(span));
    for number in 1000..1100 {
        push(&mut window, number, 7, vec![tile()]);
    }
    let cues = render::storyboard(&window, None).matches("-->").count();
    assert_eq!(cues, window.listed_in_full().count());
    assert!(cues > 30, "{cues}");
}

#[test]
fn a_poster_is_as_wide_as_asked_and_outlives_its_segment() {
    let mut window = window(3, None);
    let posters = [320, 640, 1280].map(|width| still(false, Coding::Jpeg, width));
    push(&mut window, 1000, 7, [&[tile()][..], &posters].concat());
    for number in 1001..1050 {
        push(&mut window, number, 7, vec![tile()]);
    }
    assert!(window.segment(1000).is_none());
    let posters = window.posters().unwrap();
    assert_eq!((posters.number, posters.stills.len()), (1000, 3));
    let width = |at_least| posters.at_least(at_least, Coding::Jpeg).unwrap().width;
    assert_eq!(
        [1, 320, 321, 1280, 4000].map(width),
        [320, 320, 640, 1280, 1280]
    );
    assert_eq!(posters.at_least(320, Coding::Webp), None);
}

#[test]
fn a_sprite_has_one_name() {
    assert_eq!(Sprite::numbers("1000-1009.jpg"), Some((1000, 1009)));
    for wrong in [
        "1000.jpg",
        "1009-1010.jpg",
        "1009-1000.jpg",
        "01000-1009.jpg",
        "+1000-1009.jpg",
        "1000-1009.png",
        "-.jpg",
    ] {
        assert_eq!(Sprite::numbers(wrong), None, "{wrong}");
    }
}
