//! Whatever happens to a stream, its playlists are right: judged by the validator that looks at anybody's streams,
//! over all reloads, and read back alike by two parsers that are not ours.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use playlists::{
    Bitrate, DateRange, Epoch, Format, Head, Init, Ladder, MediaTime, Part, Renditions, Rung,
    RungName, WallTime, Window,
    parse::{self, MediaPlaylist},
    render::{self, Skip, Style, Taken, View},
    timeline::Timeline,
};
use proptest::prelude::*;
use tools::validate::{
    Findings, Listing, Severity,
    follow::{Asked, Follow},
    snapshot,
};

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Another part, of a new segment if none is open.
    Part,
    /// The open segment ends as it is.
    Close,
    /// The encoder starts again; it makes the same init section, or another.
    Restart { same: bool },
    /// Something is told of a span of so many seconds; or, without, of one that is open until another word.
    Mark { id: u8, seconds: Option<u8> },
    /// The viewer is told of what is new, in this rung.
    Tell { rung: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => Just(Step::Part),
        1 => Just(Step::Close),
        1 => any::<bool>().prop_map(|same| Step::Restart { same }),
        3 => (0..4u8, proptest::option::of(0..30u8)).prop_map(|(id, seconds)| Step::Mark { id, seconds }),
        4 => (0..2usize).prop_map(|rung| Step::Tell { rung }),
    ];
    proptest::collection::vec(step, 1..120)
}

/// A stream, its viewer, and all who reload its playlists.
struct Town {
    window: Window,
    timeline: Timeline,
    init: Arc<Init>,
    epoch: u64,
    fresh: bool,
    time: MediaTime,
    readers: Vec<Reader>,
    updater: Reader,
    /// Who asks for updates without old spans, and what it knows of spans.
    ranger: Option<BTreeSet<String>>,
    updates: usize,
}

/// Who reloads one playlist after every step.
#[derive(Default)]
struct Reader {
    name: &'static str,
    follow: Follow,
    findings: Findings,
    last: Option<MediaPlaylist>,
}

impl Town {
    fn new() -> Self {
        let format = Format {
            ladder: ladder(),
            renditions: Renditions::default(),
            segment: PART * 4,
            part: PART,
            listed: 10,
        };
        Self {
            window: Window::new(format),
            timeline: Timeline::default(),
            init: init(7, b"init"),
            epoch: 7,
            fresh: false,
            time: MediaTime::ZERO,
            readers: Vec::new(),
            updater: Reader::default(),
            ranger: None,
            updates: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Part => self.part(),
            Step::Close => self.window.close(),
            Step::Restart { same } => {
                self.window.close();
                self.epoch += 1;
                self.fresh = self.window.segments().next().is_some();
                if !same {
                    self.init = init(self.epoch, &self.epoch.to_be_bytes());
                }
            }
            Step::Mark { id, seconds } => self.mark(id, seconds),
            Step::Tell { rung } => self.tell(rung),
        }
    }

    fn part(&mut self) {
        if self.window.open_segment().is_none() {
            let last = self.window.segments().next_back();
            let (number, timeline) = last.map_or((1000, 41), |last| {
                (
                    last.number() + 1,
                    last.head.timeline + u64::from(self.fresh),
                )
            });
            let head = Head {
                number,
                epoch: Epoch(self.epoch),
                init: self.init.clone(),
                discontinuity: std::mem::take(&mut self.fresh),
                timeline,
                date_time: WallTime::from_millis(1_790_000_000_000).later(self.time),
            };
            self.window.open(head).unwrap();
        }
        let open = self.window.segments().next_back().unwrap();
        let (index, share) = (open.parts.len(), Bytes::from_static(b"media"));
        let part = Part {
            duration: PART,
            open: if index == 0 { 2 } else { 0 },
            media: vec![share.clone(), share],
            renditions: Vec::new(),
        };
        self.window.push(part).unwrap();
        self.time += PART;
        if index == 3 {
            self.window.close();
        }
    }

    fn mark(&mut self, id: u8, seconds: Option<u8>) {
        if self.window.open_segment().is_none() {
            return;
        }
        let length = seconds.map(|seconds| MediaTime::from_seconds(seconds.into()));
        let range = DateRange {
            id: format!("mark-{id}"),
            class: None,
            start: WallTime::from_millis(1_790_000_000_000).later(self.time),
            end: None,
            duration: length,
            planned: None,
            others: Vec::new(),
        };
        self.window.mark(range).unwrap();
    }

    fn tell(&mut self, rung: usize) {
        let listed: Vec<_> = self.window.listed().cloned().collect();
        let newest = listed.last().map_or(0, |last| last.number());
        for segment in &listed {
            if self.timeline.is_new(segment.number(), newest) {
                self.timeline
                    .append(segment.number(), rung, segment.head.discontinuity);
            }
        }
        if let Some(first) = listed.first() {
            self.timeline.forget_before(first.number());
        }
    }

    fn texts(&self) -> Vec<(&'static str, String)> {
        let window = &self.window;
        let mut texts = vec![
            (
                "viewer",
                render::media(window, View::Viewer { parts: true }),
            ),
            (
                "plain",
                render::media(window, View::Viewer { parts: false }),
            ),
            (
                "canonical",
                render::media(window, View::Canonical { rung: 1 }),
            ),
        ];
        // A viewer is told of all that is listed before it is answered.
        let told = window
            .listed()
            .all(|segment| self.timeline.rung(segment.number()).is_some());
        if told && !self.timeline.is_empty() {
            for (name, tagged, transport) in [
                ("told", false, false),
                ("tagged", true, false),
                ("ts", true, true),
            ] {
                let style = Style {
                    tagged,
                    transport,
                    parts: false,
                    canonical: false,
                };
                texts.push((
                    name,
                    render::told(window, Taken::Told(&self.timeline), style),
                ));
            }
        }
        texts
    }

    /// Everybody reloads.
    fn reload(&mut self) -> Result<(), TestCaseError> {
        for (name, text) in self.texts() {
            let place = self.readers.iter().position(|reader| reader.name == name);
            let place = place.unwrap_or_else(|| {
                self.readers.push(Reader {
                    name,
                    ..Reader::default()
                });
                self.readers.len() - 1
            });
            self.readers[place].reload(&text, self.time.duration())?;
        }
        self.update()
    }

    /// Somebody reloads by delta updates, and every third time in full, to compare.
    fn update(&mut self) -> Result<(), TestCaseError> {
        let (view, now) = (View::Viewer { parts: true }, self.time.duration());
        self.updates += 1;
        let delta = render::delta(&self.window, view, Skip::Segments)
            .filter(|_| !self.updates.is_multiple_of(3) && self.updates > 1);
        let text = delta.unwrap_or_else(|| render::media(&self.window, view));
        self.spans(view)?;
        self.updater.name = "delta";
        self.updater.look(&text, now)?;
        Ok(())
    }
}

impl Town {
    /// Whoever follows by updates knows of the same spans as who reloads in full.
    fn spans(&mut self, view: View) -> Result<(), TestCaseError> {
        let told = |text: &str| -> BTreeSet<String> {
            let tags = text
                .lines()
                .filter_map(|line| line.strip_prefix("#EXT-X-DATERANGE:"));
            tags.map(str::to_owned).collect()
        };
        let full = told(&render::media(&self.window, view));
        if let Some(update) = render::delta(&self.window, view, Skip::Segments) {
            prop_assert_eq!(
                &told(&update),
                &full,
                "old ones are told in an update of segments"
            );
        }
        let update = render::delta(&self.window, view, Skip::Ranges);
        let known = match (self.ranger.take(), update) {
            (Some(mut known), Some(update)) => {
                let removed = update.split_once("RECENTLY-REMOVED-DATERANGES=\"");
                let removed = removed.and_then(|(_, rest)| rest.split('"').next());
                for id in removed
                    .unwrap_or_default()
                    .split('\t')
                    .filter(|id| !id.is_empty())
                {
                    known.retain(|tag| !tag.starts_with(&format!("ID=\"{id}\"")));
                }
                let new = told(&update);
                prop_assert!(removed.is_some() || full.is_empty(), "{update}");
                known.extend(new);
                known
            }
            _ => full.clone(),
        };
        // Of one that came back it may know more than is told now.
        let ids = |tags: &BTreeSet<String>| -> BTreeSet<String> {
            tags.iter()
                .filter_map(|tag| tag.split(',').next())
                .map(str::to_owned)
                .collect()
        };
        prop_assert!(known.is_superset(&full), "{known:?}, and not {full:?}");
        prop_assert_eq!(ids(&known), ids(&full));
        self.ranger = Some(known);
        Ok(())
    }
}

impl Reader {
    /// What the validator says, and what three parsers read.
    fn reload(&mut self, text: &str, now: Duration) -> Result<(), TestCaseError> {
        let whole = self.look(text, now)?;
        let now = parse::media(text).unwrap();
        agree(&now, &whole, text)?;
        if let Some(before) = &self.last {
            appends(before, &now)?;
        }
        self.last = Some(now);
        Ok(())
    }

    fn look(&mut self, text: &str, now: Duration) -> Result<Listing, TestCaseError> {
        self.findings.at(now);
        let listing = Listing::read(self.name, text, &mut self.findings).unwrap();
        let asked = Asked::default();
        let whole = self
            .follow
            .reload(listing, asked, &mut self.findings)
            .clone();
        snapshot::check(&whole, &mut self.findings);
        let breaches = self
            .findings
            .all()
            .filter(|broken| broken.rule.severity == Severity::Breach);
        let breaches: Vec<_> = breaches.flat_map(|broken| &broken.examples).collect();
        prop_assert!(breaches.is_empty(), "{}: {breaches:#?}\n{text}", self.name);
        Ok(whole)
    }
}

/// What relays read, what the validator reads, and what `m3u8_rs` reads are the same.
fn agree(ours: &MediaPlaylist, listing: &Listing, text: &str) -> Result<(), TestCaseError> {
    let other = m3u8_rs::parse_media_playlist_res(text.as_bytes());
    let other = other.map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
    let complete: Vec<_> = ours
        .segments
        .iter()
        .filter(|segment| segment.uri.is_some())
        .collect();
    prop_assert_eq!(complete.len(), other.segments.len());
    prop_assert_eq!(complete.len(), listing.segments.len());
    prop_assert_eq!(ours.target_duration, other.target_duration);
    prop_assert_eq!(ours.ended, other.end_list);
    for ((mine, theirs), entry) in complete.iter().zip(&other.segments).zip(&listing.segments) {
        prop_assert_eq!(mine.uri.as_deref(), Some(theirs.uri.as_str()));
        prop_assert_eq!(mine.uri.as_deref(), Some(entry.uri.as_str()));
        prop_assert!((mine.duration.seconds() - f64::from(theirs.duration)).abs() < 1e-3);
        prop_assert_eq!(mine.discontinuity, theirs.discontinuity);
        prop_assert_eq!((mine.number, mine.timeline), (entry.number, entry.timeline));
        prop_assert_eq!(mine.parts.len(), entry.parts.len());
        let date = theirs.program_date_time.map(|date| date.timestamp_millis());
        prop_assert_eq!(mine.date_time.map(WallTime::millis), date);
    }
    if let Some(first) = complete.first() {
        prop_assert_eq!(first.number, other.media_sequence);
    }
    Ok(())
}

/// What was listed and still is, is what it was.
fn appends(before: &MediaPlaylist, now: &MediaPlaylist) -> Result<(), TestCaseError> {
    for segment in &now.segments {
        let old = before
            .segments
            .iter()
            .find(|old| old.number == segment.number);
        let Some(old) = old else { continue };
        prop_assert_eq!(old.timeline, segment.timeline);
        prop_assert_eq!(&old.map, &segment.map);
        prop_assert!(old.uri.is_none() || old.uri == segment.uri);
        prop_assert!(segment.parts.is_empty() || segment.parts.starts_with(&old.parts));
    }
    let last = |list: &MediaPlaylist| list.segments.last().map(|segment| segment.number);
    prop_assert!(last(before) <= last(now), "something was taken back");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn playlists_are_right_whatever_happens(steps in steps(), ends in any::<bool>()) {
        let mut town = Town::new();
        for step in steps {
            town.step(step);
            town.reload()?;
        }
        if ends {
            town.window.end();
            town.reload()?;
        }
    }
}

#[test]
fn short_segments_stay_until_three_target_durations_follow() {
    let mut town = Town::new();
    for _ in 0..40 {
        town.step(Step::Part);
        town.step(Step::Close);
        town.reload().unwrap();
    }
    // Twelve of 0.533 s, where ten are what the format says.
    assert_eq!(town.window.listed().count(), 12);
}

#[test]
fn what_counts_segments_stands_before_them() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:9\n#EXTINF:2,\na\n";
    assert_eq!(parse::media(text).unwrap().segments[0].number, 9);
    for tag in ["EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE"] {
        let late = format!("{text}#{tag}:1\n#EXTINF:2,\nb\n");
        assert_eq!(parse::media(&late), Err(parse::ParseError::Late { tag }));
    }
}

fn init(epoch: u64, media: &[u8]) -> Arc<Init> {
    Arc::new(Init {
        epoch: Epoch(epoch),
        media: Bytes::copy_from_slice(media),
        renditions: Vec::new(),
    })
}

fn ladder() -> Ladder {
    let rung = |height, kbps| Rung {
        name: RungName::try_from(format!("{height}p")).unwrap(),
        width: height * 16 / 9,
        height,
        bandwidth: Bitrate::from_kbps(kbps),
        average: Bitrate::from_kbps(kbps),
        codecs: "avc1.4D401F,mp4a.40.2".into(),
        frame_rate: 30.0,
        score: None,
    };
    Ladder::new(vec![rung(480, 1400), rung(240, 450)]).unwrap()
}

/// 16 frames of 30 in a second.
const PART: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND * 16 / 30);
