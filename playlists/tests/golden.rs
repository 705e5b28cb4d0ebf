//! Playlists compared as whole texts, and read back by the parser that relays use.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use playlists::{
    Bitrate, Closed, Epoch, Format, Head, Init, Ladder, MediaTime, Part, Renditions, Rung,
    RungName, WallTime, Window, WindowError,
    parse::{self, MediaPlaylist},
    render::{self, Skip, View},
    rendition::{Kind, Rendition, Track},
};
use proptest::prelude::*;

#[test]
fn a_viewers_playlist_names_no_rung_and_no_part() {
    let window = stream().segments(4).parts(2).window;
    assert_eq!(
        render::media(&window, View::Viewer { parts: false }),
        include_str!("../golden/viewer.m3u8")
    );
}

#[test]
fn a_viewer_at_the_edge_is_told_of_parts_and_of_the_next() {
    let window = stream().segments(5).parts(2).window;
    assert_eq!(
        render::media(&window, View::Viewer { parts: true }),
        include_str!("../golden/viewer_parts.m3u8")
    );
}

#[test]
fn a_delta_leaves_out_what_is_six_target_durations_old_and_says_the_map_again() {
    let window = long(10).segments(9).parts(1).window;
    let view = View::Viewer { parts: true };
    let text = render::delta(&window, view, Skip::Segments).unwrap();
    assert_eq!(text, include_str!("../golden/viewer_delta.m3u8"));
    let (whole, delta) = (
        parse::media(&render::media(&window, view)).unwrap(),
        parse::media(&text).unwrap(),
    );
    assert_eq!(
        whole.segments[delta.skipped as usize..]
            .iter()
            .map(|segment| (segment.number, &segment.uri, &segment.map, &segment.parts))
            .collect::<Vec<_>>(),
        delta
            .segments
            .iter()
            .map(|segment| (segment.number, &segment.uri, &segment.map, &segment.parts))
            .collect::<Vec<_>>()
    );
    let short = stream().segments(4).parts(2).window;
    assert_eq!(render::delta(&short, view, Skip::Segments), None);
}

#[test]
fn what_comes_next_is_a_part_of_the_open_segment_or_the_first_of_the_next() {
    let mut stream = stream().segments(3);
    let hint = |stream: &Stream| {
        let text = render::media(&stream.window, View::Viewer { parts: true });
        parse::media(&text).unwrap().hint
    };
    assert_eq!(hint(&stream).as_deref(), Some("1003.0.m4s"));
    stream = stream.parts(3);
    assert_eq!(hint(&stream).as_deref(), Some("1003.3.m4s"));
    stream.window.end();
    assert_eq!(hint(&stream), None);
}

#[test]
fn a_canonical_playlist_lists_the_parts_of_the_last_three_target_durations() {
    let window = stream().segments(5).parts(2).window;
    assert_eq!(
        render::media(&window, View::Canonical { rung: 1 }),
        include_str!("../golden/canonical.m3u8")
    );
}

#[test]
fn a_restart_breaks_the_timeline_but_keeps_the_map() {
    let window = stream().segments(2).restart(b"init").segments(2).window;
    assert_eq!(
        render::media(&window, View::Viewer { parts: false }),
        include_str!("../golden/restart.m3u8")
    );
}

#[test]
fn a_restart_with_other_parameters_brings_its_own_map() {
    let window = stream().segments(1).restart(b"other").segments(1).window;
    let text = render::media(&window, View::Viewer { parts: false });
    assert_eq!(text.matches("#EXT-X-MAP").count(), 2, "{text}");
}

#[test]
fn an_ended_stream_says_so() {
    let mut window = stream().segments(1).window;
    window.end();
    assert!(
        render::media(&window, View::Viewer { parts: false })
            .ends_with("1000.m4s\n#EXT-X-ENDLIST\n")
    );
    assert_eq!(window.push(part(0)), Err(WindowError::Ended));
}

#[test]
fn the_multivariant_playlist_tells_of_the_dearest_rung() {
    let text = render::one_variant(ladder().rungs(), &Renditions::default(), "v/abc/");
    assert_eq!(text, include_str!("../golden/one_variant.m3u8"));
    let all = parse::multivariant(&render::all_variants(
        ladder().rungs(),
        &Renditions::default(),
        "v/abc/",
        "",
    ))
    .unwrap();
    assert_eq!(
        all.iter()
            .map(|variant| variant.uri.as_str())
            .collect::<Vec<_>>(),
        ["v/abc/480p.m3u8", "v/abc/240p.m3u8"]
    );
    assert_eq!(all[0].resolution, Some((854, 480)));
}

#[test]
fn numbers_never_jump_and_segments_never_outgrow_the_target_duration() {
    let mut stream = stream().segments(1);
    let mut head = stream.head(1005, false);
    assert_eq!(
        stream.window.open(head.clone()),
        Err(WindowError::Number {
            last: 1000,
            found: 1005
        })
    );
    head.number = 1001;
    stream.window.open(head).unwrap();
    for _ in 0..4 {
        stream.window.push(part(0)).unwrap();
    }
    assert!(matches!(
        stream.window.push(part(0)),
        Err(WindowError::Length {
            number: 1001,
            target: 2,
            ..
        })
    ));
}

#[test]
fn what_leads_a_reader_astray_is_refused() {
    for (text, why) in [
        ("hello", "does not start"),
        ("#EXTM3U\n#EXTINF:2,\na.m4s\n", "TARGETDURATION"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:2\na.m4s\n", "no EXTINF"),
        (
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n",
            "multivariant",
        ),
    ] {
        let error = parse::media(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
    }
    assert!(parse::multivariant("#EXTM3U\n#EXT-X-TARGETDURATION:2\n").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any order of parts, segments and restarts: what is listed only ever grows at the end and
    /// shrinks at the start, and it reads back as what was published.
    #[test]
    fn playlists_only_append(steps in proptest::collection::vec(0..4u8, 1..120)) {
        let mut stream = stream().segments(1);
        let mut before: Option<MediaPlaylist> = None;
        for step in steps {
            stream = match step {
                0 => stream.restart(b"init").parts(1),
                1 => stream.segments(1),
                _ => stream.parts(1),
            };
            let text = render::media(&stream.window, View::Canonical { rung: 0 });
            let now = parse::media(&text).unwrap();
            let listed = stream.window.listed().count() + usize::from(stream.window.open_segment().is_some());
            prop_assert_eq!(now.segments.len(), listed);
            for segment in &now.segments {
                prop_assert!(segment.duration.seconds().round() as u64 <= now.target_duration);
                let Some(old) = before.iter().flat_map(|list| &list.segments).find(|old| old.number == segment.number)
                else { continue };
                prop_assert_eq!(old.timeline, segment.timeline);
                prop_assert_eq!(&old.map, &segment.map);
                prop_assert!(old.uri.is_none() || old.uri == segment.uri);
                prop_assert!(segment.parts.is_empty() || segment.parts.starts_with(&old.parts));
            }
            let first = |list: &MediaPlaylist| list.segments.first().map(|segment| segment.number);
            prop_assert!(before.as_ref().and_then(first) <= first(&now));
            before = Some(now);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(#EXTM3U\n)?(#EXT[A-Z-]{0,20}:?[^\n]{0,30}\n|[a-z.]{0,9}\n){0,20}") {
        let _ = parse::media(&text);
        let _ = parse::multivariant(&text);
    }
}

#[test]
fn renditions_are_listed_under_names_of_their_own() {
    let text = render::one_variant(ladder().rungs(), &renditions(), "v/abc/");
    assert_eq!(text, include_str!("../golden/renditions.m3u8"));
    let variants = parse::multivariant(&text).unwrap();
    let alternatives = parse::alternatives(&text).unwrap();
    assert_eq!(variants[0].uri, "v/abc/index.m3u8");
    let uris: Vec<_> = alternatives
        .iter()
        .map(|one| (one.kind, one.uri.as_deref()))
        .collect();
    assert_eq!(
        uris,
        [
            (Kind::Audio, None),
            (Kind::Audio, Some("v/abc/audio-2-de.m3u8")),
            (Kind::Subtitles, Some("v/abc/subtitles-1-fr.m3u8")),
        ]
    );
}

#[test]
fn captions_in_the_pictures_are_declared_or_denied_or_not_spoken_of() {
    let text = |closed| {
        let renditions = Renditions {
            closed,
            ..Renditions::default()
        };
        render::all_variants(ladder().rungs(), &renditions, "", "")
    };
    let unknown = text(None);
    assert!(!unknown.contains("CAPTIONS"), "{unknown}");
    assert_eq!(parse::closed(&unknown), Ok(None));
    let none = text(Some(Vec::new()));
    assert_eq!(
        none.matches(",CLOSED-CAPTIONS=NONE").count(),
        ladder().rungs().len()
    );
    assert_eq!(parse::closed(&none), Ok(Some(Vec::new())));
    let said = [
        Closed::new("CC1", Some("en")),
        Closed::new("SERVICE2", None),
    ];
    let said: Vec<_> = said.into_iter().map(Result::unwrap).collect();
    let some = text(Some(said.clone()));
    for line in [
        "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"captions\",LANGUAGE=\"en\",NAME=\"en\",AUTOSELECT=YES,INSTREAM-ID=\"CC1\"\n",
        "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"captions\",NAME=\"SERVICE2\",AUTOSELECT=YES,INSTREAM-ID=\"SERVICE2\"\n",
        ",CLOSED-CAPTIONS=\"captions\"\n",
    ] {
        assert!(some.contains(line), "{some}");
    }
    assert_eq!(parse::closed(&some), Ok(Some(said)));
    assert_eq!(
        parse::alternatives(&some),
        Ok(Vec::new()),
        "nothing to fetch"
    );
}

/// The main sound is called as the other is.
fn renditions() -> Renditions {
    let track = |language: &str| Track {
        label: "Original".into(),
        language: Some(language.into()),
    };
    let rendition = |kind: Kind, index, language| Rendition {
        kind,
        name: kind.name(index, Some(language)).unwrap(),
        track: track(language),
        default: false,
        codecs: "mp4a.40.2".into(),
        bandwidth: Bitrate::from_kbps(64),
        alone: None,
    };
    Renditions {
        main: track("en"),
        others: vec![
            rendition(Kind::Audio, 1, "de"),
            rendition(Kind::Subtitles, 0, "fr"),
        ],
        closed: None,
    }
}

/// Builds a window step by step.
struct Stream {
    window: Window,
    epoch: u64,
    init: Arc<Init>,
}

fn stream() -> Stream {
    long(4)
}

fn long(listed: usize) -> Stream {
    let format = Format {
        ladder: ladder(),
        renditions: Renditions::default(),
        segment: ticks(64),
        part: ticks(16),
        listed,
    };
    let init = Arc::new(Init {
        epoch: Epoch(7),
        media: Bytes::from_static(b"init"),
        renditions: Vec::new(),
    });
    Stream {
        window: Window::new(format),
        epoch: 7,
        init,
    }
}

impl Stream {
    fn segments(mut self, count: usize) -> Self {
        for _ in 0..count {
            self.window.close();
            self = self.parts(4);
            self.window.close();
        }
        self
    }

    fn parts(mut self, count: usize) -> Self {
        for _ in 0..count {
            let open = self
                .window
                .open_segment()
                .filter(|open| open.parts.len() < 4);
            if open.is_none() {
                let next = self
                    .window
                    .segments()
                    .next_back()
                    .map_or(1000, |last| last.number() + 1);
                let fresh = self
                    .window
                    .segments()
                    .next_back()
                    .is_some_and(|last| last.head.epoch.0 != self.epoch);
                let head = self.head(next, fresh);
                self.window.open(head).unwrap();
            }
            let index = self
                .window
                .segments()
                .next_back()
                .map_or(0, |last| last.parts.len());
            self.window.push(part(index)).unwrap();
        }
        self
    }

    fn restart(mut self, init: &'static [u8]) -> Self {
        self.window.close();
        self.epoch += 1;
        if self.init.media != init {
            self.init = Arc::new(Init {
                epoch: Epoch(self.epoch),
                media: Bytes::from_static(init),
                renditions: Vec::new(),
            });
        }
        self
    }

    fn head(&self, number: u64, discontinuity: bool) -> Head {
        let last = self
            .window
            .segments()
            .next_back()
            .map_or(41, |last| last.head.timeline);
        Head {
            number,
            epoch: Epoch(self.epoch),
            init: self.init.clone(),
            discontinuity,
            timeline: last + u64::from(discontinuity),
            date_time: WallTime::from_millis(1_790_000_000_000 + number as i64 * 2133),
        }
    }
}

fn part(index: usize) -> Part {
    Part {
        duration: ticks(16),
        open: if index == 0 { 2 } else { 1 },
        media: vec![
            Bytes::from_static(b"cheap"),
            Bytes::from_static(b"expensive"),
        ],
        renditions: Vec::new(),
    }
}

fn ticks(frames: i64) -> MediaTime {
    MediaTime::from_ticks(frames, 30)
}

fn ladder() -> Ladder {
    let rung = |height, kbps| Rung {
        name: RungName::try_from(format!("{height}p")).unwrap(),
        width: height * 16 / 9 / 2 * 2 + if height == 480 { 2 } else { 0 },
        height,
        bandwidth: Bitrate::from_kbps(kbps * 12 / 10),
        average: Bitrate::from_kbps(kbps),
        codecs: "avc1.4D401F,mp4a.40.2".into(),
        frame_rate: 30.0,
        score: None,
    };
    Ladder::new(vec![rung(480, 1400), rung(240, 450)]).unwrap()
}
