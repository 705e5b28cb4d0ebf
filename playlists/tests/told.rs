//! Playlists that say how each segment is coded, compared as whole texts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use playlists::{
    Bitrate, Epoch, Format, Head, Init, Ladder, MediaTime, Part, Renditions, Rung, RungName,
    Timeline, WallTime, Window,
    render::{self, Style, Taken},
};

const TAGGED: Style = Style {
    tagged: true,
    transport: false,
    parts: false,
    canonical: false,
};

#[test]
fn a_switch_is_a_discontinuity_and_a_map_and_counts_when_it_has_left() {
    let (window, timeline) = watched(&[1, 0, 0, 1, 1, 0]);
    let text = render::told(&window, Taken::Told(&timeline), TAGGED);
    assert_eq!(text, include_str!("../golden/tagged.m3u8"));
}

#[test]
fn a_rung_that_is_listed_is_in_the_query_or_behind_a_cache_in_the_path() {
    let (window, timeline) = watched(&[1, 0, 0, 1, 1, 0]);
    let names = |style| {
        let text = render::told(&window, Taken::Told(&timeline), style);
        assert_eq!(text.matches("DISCONTINUITY\n").count(), 0, "{text}");
        assert_eq!(
            text.matches("#EXT-X-MAP:URI=\"../../7/init.mp4\"").count(),
            1,
            "{text}"
        );
        let names = text.lines().filter(|line| !line.starts_with('#'));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let own = [
        "1002.m4s?r=0",
        "1003.m4s?r=1",
        "1004.m4s?r=1",
        "1005.m4s?r=0",
    ];
    assert_eq!(names(Style::default()), own);
    let canonical = Style {
        canonical: true,
        ..Style::default()
    };
    let shared = ["240p/1002", "480p/1003", "480p/1004", "240p/1005"];
    assert_eq!(
        names(canonical),
        shared.map(|name| format!("../../7/{name}.m4s"))
    );
}

#[test]
fn mpeg_ts_has_no_map() {
    let (window, timeline) = watched(&[1, 0, 0, 1, 1, 0]);
    for (taken, tagged, name) in [
        (Taken::Later, false, "\n1005.ts\n"),
        (Taken::Told(&timeline), false, "\n1005.ts?r=0\n"),
        (
            Taken::Told(&timeline),
            true,
            "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-09-21T14:49:03.665Z\n#EXTINF:2.13333,\n1005.ts?r=0\n",
        ),
        (Taken::Always(1), false, "\n7/480p/1005.ts\n"),
    ] {
        let style = Style {
            tagged,
            transport: true,
            parts: false,
            canonical: false,
        };
        let text = render::told(&window, taken, style);
        assert!(text.contains(name) && !text.contains("EXT-X-MAP"), "{text}");
    }
}

#[test]
fn who_was_told_of_a_longer_ladder_is_told_of_the_dearest_there_is() {
    let (window, timeline) = watched(&[7, 7, 7, 7, 7, 7]);
    let text = render::told(&window, Taken::Told(&timeline), TAGGED);
    assert!(text.contains("\"../../7/480p/init.mp4\""), "{text}");
}

/// A window of four listed segments, the last of as many as there are rungs that were told, one after another.
fn watched(rungs: &[usize]) -> (Window, Timeline) {
    let mut window = Window::new(Format {
        ladder: ladder(),
        renditions: Renditions::default(),
        segment: MediaTime::from_ticks(64, 30),
        part: MediaTime::from_ticks(64, 30),
        listed: 4,
    });
    let init = Arc::new(Init {
        epoch: Epoch(7),
        media: Bytes::from_static(b"init"),
        renditions: Vec::new(),
    });
    let mut timeline = Timeline::default();
    for (number, rung) in (1000..).zip(rungs) {
        let head = Head {
            number,
            epoch: Epoch(7),
            init: init.clone(),
            discontinuity: false,
            timeline: 41,
            date_time: WallTime::from_millis(1_790_000_000_000 + number as i64 * 2133),
        };
        window.open(head).unwrap();
        let part = Part {
            duration: MediaTime::from_ticks(64, 30),
            open: 2,
            media: vec![Bytes::from_static(b"cheap"), Bytes::from_static(b"dear")],
            renditions: Vec::new(),
        };
        window.push(part).unwrap();
        window.close();
        timeline.append(number, *rung, false);
        timeline.forget_before(window.listed().next().unwrap().number());
    }
    (window, timeline)
}

fn ladder() -> Ladder {
    let rung = |height: u32, kbps| Rung {
        name: RungName::try_from(format!("{height}p")).unwrap(),
        width: height * 2,
        height,
        bandwidth: Bitrate::from_kbps(kbps),
        average: Bitrate::from_kbps(kbps),
        codecs: "avc1.4D401F,mp4a.40.2".into(),
        frame_rate: 30.0,
        score: None,
    };
    Ladder::new(vec![rung(240, 450), rung(480, 1400)]).unwrap()
}
