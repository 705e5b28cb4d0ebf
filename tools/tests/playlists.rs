//! Each breach of a playlist is found, and nothing is found in a clean one. Playlists are literal texts; what is
//! found in media is told in `media.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tools::validate::{
    Findings, Listing,
    across::{self, Edge, Seen},
    follow::{self, Asked, Follow},
    snapshot,
    variants::Multivariant,
};

/// A playlist of three segments of 2 s, the first of which is 10.
const PLAIN: &str = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z
#EXTINF:2.00000,
10.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z
#EXTINF:2.00000,
11.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04.000Z
#EXTINF:2.00000,
12.m4s
";

/// The same, a segment later.
const LATER: &str = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:11
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z
#EXTINF:2.00000,
11.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04.000Z
#EXTINF:2.00000,
12.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:06.000Z
#EXTINF:2.00000,
13.m4s
";

/// Low latency: parts of half a second, the third segment open.
const PARTS: &str = "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=3.0
#EXT-X-PART-INF:PART-TARGET=1.0
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"init.mp4\"
#EXTINF:2.0,
10.m4s
#EXT-X-PART:DURATION=1.0,URI=\"11.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.0,URI=\"11.1.m4s\"
#EXTINF:2.0,
11.m4s
#EXT-X-PART:DURATION=1.0,URI=\"12.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"12.1.m4s\"
";

const PARTS_LATER: &str = "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=3.0
#EXT-X-PART-INF:PART-TARGET=1.0
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"init.mp4\"
#EXTINF:2.0,
10.m4s
#EXT-X-PART:DURATION=1.0,URI=\"11.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.0,URI=\"11.1.m4s\"
#EXTINF:2.0,
11.m4s
#EXT-X-PART:DURATION=1.0,URI=\"12.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.0,URI=\"12.1.m4s\"
#EXTINF:2.0,
12.m4s
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"13.0.m4s\"
";

const LADDER: &str = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound\",NAME=\"English\",DEFAULT=YES,URI=\"en.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=800000,CODECS=\"avc1.64001F,mp4a.40.2\",RESOLUTION=854x480,FRAME-RATE=30.000,AUDIO=\"sound\"
480p.m3u8
";

/// A playlist over time: what was there after how many seconds.
struct Story {
    follow: Follow,
    findings: Findings,
    asked: Asked,
}

fn story() -> Story {
    Story {
        follow: Follow::default(),
        findings: Findings::default(),
        asked: Asked::default(),
    }
}

impl Story {
    fn at(mut self, seconds: f64, text: &str) -> Self {
        self.findings.at(Duration::from_secs_f64(seconds));
        let url = "http://host/live.m3u8";
        if let Some(listing) = Listing::read(url, text, &mut self.findings) {
            let asked = std::mem::take(&mut self.asked);
            let whole = self
                .follow
                .reload(listing, asked, &mut self.findings)
                .clone();
            snapshot::check(&whole, &mut self.findings);
        }
        self
    }

    fn asking(mut self, number: u64, part: Option<u64>, took: f64) -> Self {
        self.asked = Asked {
            number: Some(number),
            part,
            skip: false,
            took: Duration::from_secs_f64(took),
        };
        self
    }

    #[track_caller]
    fn finds(self, rules: &[&str]) {
        let found = self.findings.rules();
        assert_eq!(found, rules, "{}", told(&self.findings));
    }
}

/// Why, for the reader of a test that fails.
fn told(findings: &Findings) -> String {
    let all = findings.all().flat_map(|broken| &broken.examples);
    all.map(|finding| {
        format!(
            "{}: {}, expected {}\n",
            finding.place, finding.found, finding.expected
        )
    })
    .collect()
}

/// What is found in one look at PLAIN, changed.
#[track_caller]
fn plain(from: &str, to: &str, rules: &[&str]) {
    assert!(PLAIN.contains(from), "{from}");
    story().at(0.0, &PLAIN.replacen(from, to, 1)).finds(rules);
}

#[track_caller]
fn parts(from: &str, to: &str, rules: &[&str]) {
    assert!(PARTS.contains(from), "{from}");
    story().at(0.0, &PARTS.replacen(from, to, 1)).finds(rules);
}

/// What is found if LATER, changed, follows PLAIN.
#[track_caller]
fn later(from: &str, to: &str, rules: &[&str]) {
    assert!(LATER.contains(from), "{from}");
    story()
        .at(0.0, PLAIN)
        .at(2.0, &LATER.replacen(from, to, 1))
        .finds(rules);
}

#[track_caller]
fn parts_later(from: &str, to: &str, rules: &[&str]) {
    assert!(PARTS_LATER.contains(from), "{from}");
    story()
        .at(0.0, PARTS)
        .at(1.0, &PARTS_LATER.replacen(from, to, 1))
        .finds(rules);
}

#[track_caller]
fn ladder(from: &str, to: &str, rules: &[&str]) {
    assert!(LADDER.contains(from), "{from}");
    let mut findings = Findings::default();
    Multivariant::read(
        "http://host/index.m3u8",
        &LADDER.replacen(from, to, 1),
        &mut findings,
    );
    let all: Vec<_> = findings.all().flat_map(|broken| &broken.examples).collect();
    assert_eq!(findings.rules(), rules, "{all:#?}");
}

#[test]
fn nothing_is_found_in_clean_streams() {
    story()
        .at(0.0, PLAIN)
        .at(1.0, PLAIN)
        .at(2.0, LATER)
        .finds(&[]);
    story().at(0.0, PARTS).at(1.0, PARTS_LATER).finds(&[]);
    ladder("480p", "480p", &[]);
}

#[test]
fn the_text_is_looked_at() {
    plain("#EXTM3U", "EXTM3U", &["not-a-playlist"]);
    plain("#EXTM3U", "\u{feff}#EXTM3U", &["encoding"]);
    plain(
        "#EXT-X-TARGETDURATION:2\n",
        "",
        &["target-duration-missing"],
    );
    plain(
        "DURATION:2",
        "DURATION:2.5",
        &["tag-value", "target-duration-missing"],
    );
    plain("VERSION:6", "VERSION:5", &["version"]);
    plain("VERSION:6", "VERSION:6\n#EXT-X-VERSION:6", &["tag-twice"]);
    plain(
        "#EXTINF:2.00000,\n11",
        "11",
        &["extinf-missing", "date-time-drift"],
    );
    plain("11.m4s\n", "", &["uri-missing", "date-time-drift"]);
    plain(
        "#EXTINF:2.00000,\n11",
        "#EXTINF:2.00000\n11",
        &["tag-value"],
    );
    plain(
        "URI=\"init.mp4\"",
        "URI=\"init.mp4\",URI=\"b\"",
        &["attribute-list"],
    );
    plain("URI=\"init.mp4\"", "URI=init.mp4", &["tag-value"]);
    plain(
        "12.m4s\n",
        "12.m4s\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n",
        &["header-after-media", "tag-twice"],
    );
    plain(
        "#EXT-X-MAP",
        "#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-MAP",
        &["mixed-tags"],
    );
    plain("11.m4s", "#EXT-X-BYTERANGE:100\n11.m4s", &["byte-range"]);
}

#[test]
fn ranges_go_on_in_the_same_resource() {
    let text = PLAIN
        .replace("10.m4s", "#EXT-X-BYTERANGE:100@0\nall.mp4")
        .replace("11.m4s", "#EXT-X-BYTERANGE:50\nall.mp4");
    let mut findings = Findings::default();
    let listing = Listing::read("u", &text, &mut findings).unwrap();
    assert_eq!(listing.segments[1].range.unwrap().offset, 100);
    assert!(findings.rules().is_empty());
}

#[test]
fn lengths_are_within_the_target_duration() {
    plain(
        "#EXTINF:2.00000,\n12",
        "#EXTINF:2.60000,\n12",
        &["target-duration"],
    );
    // 2.49 rounds to 2.
    plain("#EXTINF:2.00000,\n12", "#EXTINF:2.49000,\n12", &[]);
}

#[test]
fn dates_go_on() {
    plain("00:00:02.000Z", "00:00:02.100Z", &["date-time-drift"]);
    plain(
        "00:00:02.000Z",
        "00:00:00.000Z",
        &["date-time", "date-time-drift"],
    );
    plain("00:00:02.000Z", "yesterday", &["date-time"]);
    plain("00:00:04.000Z", "00:00:04.000", &["date-time-zone"]);
    // With another zone it is the same moment; after a discontinuity it may be any.
    plain(
        "2026-01-01T00:00:02.000Z",
        "2026-01-01T01:00:02.000+0100",
        &[],
    );
    plain(
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04",
        "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:10:04",
        &[],
    );
}

#[test]
fn low_latency_says_what_it_has_to() {
    parts(
        "PART-HOLD-BACK=3.0",
        "PART-HOLD-BACK=1.5",
        &["server-control"],
    );
    parts(
        "PART-HOLD-BACK=3.0",
        "PART-HOLD-BACK=2.5",
        &["part-hold-back"],
    );
    parts(
        "CAN-SKIP-UNTIL=12.0",
        "CAN-SKIP-UNTIL=6.0",
        &["server-control"],
    );
    parts("CAN-SKIP-UNTIL=12.0", "HOLD-BACK=5", &["server-control"]);
    parts(",PART-HOLD-BACK=3.0", "", &["part-inf"]);
    parts("#EXT-X-PART-INF:PART-TARGET=1.0\n", "", &["part-inf"]);
    parts("CAN-BLOCK-RELOAD=YES,", "", &["low-latency-profile"]);
    parts(
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"12.1.m4s\"\n",
        "",
        &["low-latency-profile"],
    );
    parts("SEQUENCE:10", "SEQUENCE:0", &["starts-at-zero"]);
}

#[test]
fn parts_are_what_they_say() {
    parts(
        "DURATION=1.0,URI=\"12.0",
        "DURATION=1.1,URI=\"12.0",
        &["part-target"],
    );
    parts(
        "DURATION=1.0,URI=\"11.0",
        "DURATION=0.5,URI=\"11.0",
        &["part-sum", "part-target"],
    );
    parts(
        "DURATION=1.0,URI=\"11.1",
        "DURATION=0.9,URI=\"11.1",
        &["part-sum"],
    );
    parts(
        "\"11.0.m4s\",INDEPENDENT=YES",
        "\"11.0.m4s\"",
        &["part-independent"],
    );
}

#[test]
fn parts_are_taken_out_when_they_are_old() {
    let more: String = (13..18)
        .map(|number| format!("#EXTINF:2.0,\n{number}.m4s\n"))
        .collect();
    let text = PARTS.replace(
        "#EXT-X-PRELOAD",
        &format!(
            "#EXT-X-PART:DURATION=1.0,URI=\"12.1.m4s\"\n#EXTINF:2.0,\n12.m4s\n{more}#EXT-X-PRELOAD"
        ),
    );
    story().at(0.0, &text).finds(&["part-old"]);
}

#[test]
fn what_is_listed_stays_what_it_is() {
    later(
        "#EXTINF:2.00000,\n12",
        "#EXTINF:1.90000,\n12",
        &["segment-changed", "window-too-short", "date-time-drift"],
    );
    later("12.m4s", "other.m4s", &["segment-changed"]);
    later("12.m4s", "12.m4s?token=b", &["segment-renamed"]);
    later("00:00:04.000Z", "00:00:04.010Z", &["segment-changed"]);
    later("init.mp4", "other.mp4", &["segment-changed"]);
    later(
        "#EXT-X-MAP",
        "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-MAP",
        &["segment-changed"],
    );
    later(
        "12.m4s",
        "#EXT-X-BYTERANGE:10@0\n12.m4s",
        &["segment-changed"],
    );
    // Out of the middle: what follows has other names under the same numbers.
    let gone = LATER.replace(
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04.000Z\n#EXTINF:2.00000,\n12.m4s\n",
        "",
    );
    story().at(0.0, PLAIN).at(2.0, &gone).finds(&[
        "segment-changed",
        "window-too-short",
        "date-time-drift",
    ]);
}

#[test]
fn numbers_rise_by_one_for_each_that_leaves() {
    later("SEQUENCE:11", "SEQUENCE:9", &["sequence-backwards"]);
    later("SEQUENCE:11", "SEQUENCE:1011", &["sequence-jump"]);
    let tail = LATER
        .split("#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:06")
        .next()
        .unwrap();
    story()
        .at(0.0, PLAIN)
        .at(2.0, tail)
        .finds(&["window-too-short"]);
    let short = tail
        .replace("SEQUENCE:11", "SEQUENCE:10")
        .replace("12.m4s", "11.m4s")
        .replace("11.m4s", "10.m4s");
    let story = story().at(0.0, PLAIN).at(2.0, &short);
    assert!(story.findings.rules().contains(&"segment-removed"));
    // A reload that came late has missed some; that is no fault of numbering.
    later("SEQUENCE:11", "SEQUENCE:14", &["segments-missed"]);
}

#[test]
fn the_target_duration_does_not_change() {
    later(
        "TARGETDURATION:2",
        "TARGETDURATION:3",
        &["target-duration-changed", "window-too-short"],
    );
}

#[test]
fn discontinuities_are_counted_as_they_leave() {
    let before = PLAIN.replace(
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00",
        "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00",
    );
    let counted = LATER.replace("DISCONTINUITY-SEQUENCE:3", "DISCONTINUITY-SEQUENCE:4");
    story().at(0.0, &before).at(2.0, &counted).finds(&[]);
    story()
        .at(0.0, &before)
        .at(2.0, LATER)
        .finds(&["discontinuity-sequence"]);
    later(
        "DISCONTINUITY-SEQUENCE:3",
        "DISCONTINUITY-SEQUENCE:2",
        &["discontinuity-sequence"],
    );
    // The tag may leave the first segment if the number counts it.
    let second = PLAIN.replace(
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02",
        "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02",
    );
    story().at(0.0, &second).at(2.0, &counted).finds(&[]);
}

#[test]
fn a_live_playlist_has_news() {
    story().at(0.0, PLAIN).at(3.4, PLAIN).finds(&[]);
    story()
        .at(0.0, PLAIN)
        .at(2.0, LATER)
        .at(5.6, LATER)
        .finds(&["late-update"]);
    let ended = format!("{PLAIN}#EXT-X-ENDLIST\n");
    story().at(0.0, &ended).at(60.0, &ended).finds(&[]);
}

#[test]
fn nothing_follows_the_end() {
    let ended = format!("{PLAIN}#EXT-X-ENDLIST\n");
    story()
        .at(0.0, &ended)
        .at(2.0, LATER)
        .finds(&["changed-after-end"]);
}

#[test]
fn a_playlist_of_a_type_keeps_to_it() {
    let event = |text: &str| text.replace("#EXT-X-MAP", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MAP");
    story()
        .at(0.0, &event(PLAIN))
        .at(2.0, &event(LATER))
        .finds(&["playlist-type"]);
    plain(
        "#EXT-X-MAP",
        "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP",
        &["playlist-type"],
    );
    plain(
        "#EXT-X-MAP",
        "#EXT-X-PLAYLIST-TYPE:LIVE\n#EXT-X-MAP",
        &["tag-value"],
    );
}

#[test]
fn parts_stay_what_they_are() {
    parts_later(
        "DURATION=1.0,URI=\"12.0.m4s\"",
        "DURATION=1.0,URI=\"12.x.m4s\"",
        &["part-changed"],
    );
    parts_later(
        "\"11.1.m4s\"",
        "\"11.1.m4s\",INDEPENDENT=YES",
        &["part-changed"],
    );
}

#[test]
fn a_hint_is_kept() {
    parts_later("\"12.1.m4s\"", "\"12.one.m4s\"", &["hint-not-kept"]);
    // The segment ended with the part it had, and what was hinted became the next one's first.
    let cut = PARTS_LATER
        .replace(
            "#EXT-X-PART:DURATION=1.0,URI=\"12.1.m4s\"\n#EXTINF:2.0,",
            "#EXTINF:1.0,",
        )
        .replace(
            "#EXT-X-PRELOAD",
            "#EXT-X-PART:DURATION=1.0,URI=\"12.1.m4s\",INDEPENDENT=YES\n#EXT-X-PRELOAD",
        );
    story().at(0.0, PARTS).at(1.0, &cut).finds(&[]);
}

#[test]
fn a_blocking_reload_waits_for_what_it_asks() {
    story()
        .at(0.0, PARTS)
        .asking(12, Some(1), 0.9)
        .at(1.0, PARTS_LATER)
        .finds(&[]);
    story()
        .at(0.0, PARTS)
        .asking(12, Some(1), 0.1)
        .at(0.2, PARTS)
        .finds(&["blocking-early"]);
    story()
        .at(0.0, PARTS)
        .asking(13, None, 0.1)
        .at(0.2, PARTS_LATER)
        .finds(&["blocking-early"]);
    let story = story()
        .at(0.0, PARTS)
        .asking(13, None, 6.0)
        .at(6.1, PARTS_LATER);
    story.finds(&["blocking-late"]);
}

/// Seven segments, and a delta update of which the first is skipped.
fn delta(seven: &str, left: &str) -> (String, String) {
    let head = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=12.0\n#EXT-X-MEDIA-SEQUENCE:10\n";
    let segments = |from: u64| {
        (from..18)
            .map(|number| format!("#EXTINF:2.0,\n{number}.m4s\n"))
            .collect::<String>()
    };
    let skip = "#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n";
    (
        format!("{head}{seven}{}", segments(10)),
        format!("{head}{skip}{left}{}", segments(12)),
    )
}

#[test]
fn a_delta_update_is_the_playlist() {
    let (full, update) = delta("#EXT-X-MAP:URI=\"init.mp4\"\n", "");
    let story = story().at(0.0, &full).at(1.0, &update);
    assert_eq!(story.follow.last().unwrap().segments.len(), 8);
    let mut findings = Findings::default();
    let whole = story.follow.last().unwrap();
    let full = Listing::read("http://host/live.m3u8", &full, &mut findings).unwrap();
    follow::same(whole, &full, &mut findings);
    assert!(findings.rules().is_empty());
    story.finds(&[]);
}

#[test]
fn a_delta_update_that_is_not_the_playlist_is_found() {
    let (full, update) = delta("", "");
    story().at(0.0, &update).finds(&["delta-update"]);
    story()
        .at(0.0, &full)
        .at(1.0, &update.replace("SEGMENTS=2", "SEGMENTS=9"))
        .finds(&["delta-update"]);
    let near = update
        .replace("#EXTINF:2.0,\n12.m4s\n", "")
        .replace("SEGMENTS=2", "SEGMENTS=3");
    story()
        .at(0.0, &full)
        .at(1.0, &near)
        .finds(&["skip-boundary"]);
    let mut findings = Findings::default();
    let story = story().at(0.0, &full);
    let other = full.replace("#EXTINF:2.0,\n11", "#EXTINF:1.5,\n11");
    let other = Listing::read("http://host/live.m3u8", &other, &mut findings).unwrap();
    follow::same(story.follow.last().unwrap(), &other, &mut findings);
    assert_eq!(findings.rules(), ["delta-update"]);
}

#[test]
fn variants_say_what_they_have_to() {
    ladder("BANDWIDTH=900000,", "", &["variant"]);
    ladder(
        "AVERAGE-BANDWIDTH=800000",
        "AVERAGE-BANDWIDTH=1000000",
        &["variant"],
    );
    ladder("480p.m3u8\n", "", &["no-variant", "variant"]);
    ladder("CODECS=\"avc1.64001F,mp4a.40.2\",", "", &["variant-advice"]);
    ladder("AUDIO=\"sound\"", "AUDIO=\"none\"", &["group"]);
    ladder(
        "#EXT-X-MEDIA:TYPE=AUDIO",
        "#EXT-X-MEDIA:TYPE=SOUND",
        &["group", "variant"],
    );
    ladder("NAME=\"English\",", "", &["variant"]);
    ladder(
        "#EXT-X-STREAM",
        "#EXT-X-TARGETDURATION:2\n#EXT-X-STREAM",
        &["mixed-tags"],
    );
    let twice = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound\",NAME=\"English\",DEFAULT=YES,URI=\"b.m3u8\"\n#EXT-X-STREAM";
    ladder("#EXT-X-STREAM", twice, &["group"]);
}

fn listing(text: &str) -> Listing {
    Listing::read("http://host/other.m3u8", text, &mut Findings::default()).unwrap()
}

#[test]
fn variants_agree() {
    let found = |other: &str| {
        let mut findings = Findings::default();
        across::agree(&listing(PLAIN), &listing(other), &mut findings);
        findings.rules()
    };
    assert!(found(LATER).is_empty());
    assert_eq!(
        found(&LATER.replace("TARGETDURATION:2", "TARGETDURATION:3")),
        ["targets-differ"]
    );
    assert_eq!(
        found(&LATER.replace("MEDIA-SEQUENCE:11", "MEDIA-SEQUENCE:12")),
        ["variants-out-of-step"]
    );
    assert_eq!(
        found(&LATER.replace("DISCONTINUITY-SEQUENCE:3", "DISCONTINUITY-SEQUENCE:4")),
        ["discontinuities-differ"]
    );
}

#[test]
fn a_report_is_true() {
    // The other playlist was at part 0 of 12 before and after.
    let other = listing(PARTS);
    let seen = |asked: u64, edge: Edge| Seen {
        asked: Duration::from_secs(asked),
        came: Duration::from_millis(asked * 1000 + 100),
        edge,
    };
    let found = |report: &str, edge: Edge| {
        let text = format!("{PARTS}#EXT-X-RENDITION-REPORT:URI=\"other.m3u8\"{report}\n");
        let one = listing(&text);
        let mut findings = Findings::default();
        let known = [seen(1, edge), seen(3, edge)];
        across::report(
            &one,
            seen(2, Edge::of(&one)),
            &one.reports[0],
            (&other, &known),
            &mut findings,
        );
        findings.rules()
    };
    let now = Edge { next: 12, parts: 1 };
    assert!(found(",LAST-MSN=12,LAST-PART=0", now).is_empty());
    assert!(found(",LAST-MSN=11,LAST-PART=1", now).is_empty());
    assert_eq!(found("", now), ["rendition-report"]);
    assert_eq!(found(",LAST-MSN=13,LAST-PART=0", now), ["rendition-report"]);
    assert_eq!(found(",LAST-MSN=12,LAST-PART=3", now), ["rendition-report"]);
    assert_eq!(
        found(",LAST-MSN=9,LAST-PART=1", now),
        ["rendition-report-stale"]
    );
}

#[test]
fn what_is_said_twice_counts_once() {
    let wrong = PLAIN.replace("#EXTINF:2.00000,\n11", "#EXTINF:2.60000,\n11");
    let story = story().at(0.0, &wrong).at(1.0, &wrong);
    let broken: Vec<_> = story
        .findings
        .all()
        .filter(|broken| broken.rule.id == "target-duration")
        .collect();
    assert_eq!((broken[0].count, broken[0].seen), (1, 2));
    assert_eq!(broken[0].examples[0].place.line, Some(13));
    assert_eq!(broken[0].examples[0].place.number, Some(11));
}
