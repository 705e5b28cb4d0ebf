//! Each breach in media, over HTTP and in rates is found, and nothing is found where all is well. The media is that
//! of the crate `media`, a segment of two rungs with one init section; MPEG-TS is made of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, time::Duration};

use tools::validate::{
    Checker, Event, Listing,
    checker::Probe,
    content,
    exchange::Exchange,
    follow::Asked,
    listing::{Entry, Range},
    tracks::covers,
};

const INIT: &[u8] = include_bytes!("../../media/tests/data/init.mp4");
const HIGH: &[u8] = include_bytes!("../../media/tests/data/high.m4s");

const MASTER: &str = "#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=9000000,AVERAGE-BANDWIDTH=8000000,CODECS=\"CODECS\",RESOLUTION=1920x1080,FRAME-RATE=30
live.m3u8
";

/// One segment of a stream, as it is listed and as it comes.
struct Scene {
    exact: f64,
    extinf: f64,
    codecs: String,
    resolution: String,
    map: bool,
    init: Vec<u8>,
    /// What comes as segments 10, 11 and so on.
    segments: Vec<Vec<u8>>,
    headers: BTreeMap<String, String>,
    status: u16,
    range: Option<Range>,
    took: Duration,
    independent: bool,
    key: bool,
}

fn scene() -> Scene {
    let init = content::read_init(INIT).unwrap();
    let content = content::read(HIGH, Some(&init)).unwrap();
    let video = content
        .tracks
        .iter()
        .find(|track| track.sort == content::Sort::Video)
        .unwrap();
    let headers = [
        ("content-type", "video/mp4"),
        ("access-control-allow-origin", "*"),
        ("cache-control", "no-cache"),
    ];
    Scene {
        exact: video.duration(),
        extinf: video.duration(),
        codecs: format!("{},mp4a.40.2", video.codec),
        resolution: "1920x1080".into(),
        map: true,
        init: INIT.to_vec(),
        segments: vec![HIGH.to_vec()],
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        status: 200,
        range: None,
        took: Duration::from_millis(10),
        independent: true,
        key: false,
    }
}

impl Scene {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn exchange(&self, octets: usize) -> Exchange {
        Exchange {
            url: "http://host/10.m4s".into(),
            final_url: "http://host/10.m4s".into(),
            status: self.status,
            headers: self.headers.clone(),
            octets: octets as u64,
            range: self.range,
            asked: Duration::from_secs(1),
            came: Duration::from_secs(1) + self.took,
            ..Exchange::default()
        }
    }

    fn text(&self) -> String {
        let map = if self.map {
            "#EXT-X-MAP:URI=\"init.mp4\"\n"
        } else {
            ""
        };
        let independent = if self.independent {
            "#EXT-X-INDEPENDENT-SEGMENTS\n"
        } else {
            ""
        };
        let key = if self.key {
            "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n"
        } else {
            ""
        };
        let segments = (0..self.segments.len())
            .map(|place| format!("#EXTINF:{:.5},\n{}.m4s\n", self.extinf, place + 10));
        let segments: String = segments.collect();
        format!(
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:10\n{independent}{key}{map}{segments}"
        )
    }

    fn rules(&self) -> Vec<&'static str> {
        let mut checker = Checker::default();
        let mut playlist = self.exchange(0);
        playlist.url = "http://host/master.m3u8".into();
        playlist.final_url.clone_from(&playlist.url);
        (playlist.status, playlist.range) = (200, None);
        playlist.headers = scene_headers("application/vnd.apple.mpegurl");
        let master = MASTER.replace("CODECS=\"CODECS\"", &format!("CODECS=\"{}\"", self.codecs));
        checker.multivariant(&playlist, &master.replace("1920x1080", &self.resolution));
        let index = checker.watch("http://host/live.m3u8", Some(0));
        let text = self.text();
        checker.handle(
            &playlist,
            Event::Playlist {
                playlist: index,
                asked: Asked::default(),
                text: text.clone(),
            },
        );
        let entries = Listing::read("u", &text, &mut checker.findings.clone())
            .unwrap()
            .segments;
        if let Some(map) = entries[0].map.clone() {
            let mut exchange = self.exchange(self.init.len());
            (exchange.status, exchange.range) = (200, None);
            exchange.headers = scene_headers("video/mp4");
            checker.handle(
                &exchange,
                Event::Init {
                    playlist: index,
                    map,
                    body: self.init.clone(),
                },
            );
        }
        for (entry, body) in entries.into_iter().zip(&self.segments) {
            let entry: Box<Entry> = Box::new(entry);
            checker.handle(
                &self.exchange(body.len()),
                Event::Segment {
                    playlist: index,
                    entry,
                    body: body.clone(),
                },
            );
        }
        checker.finish();
        checker.findings.rules()
    }

    #[track_caller]
    fn finds(self, rules: &[&str]) {
        assert_eq!(self.rules(), rules);
    }
}

fn scene_headers(kind: &str) -> BTreeMap<String, String> {
    let headers = [
        ("content-type", kind),
        ("access-control-allow-origin", "*"),
        ("cache-control", "no-cache"),
    ];
    headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn ts() -> Vec<u8> {
    media::transmux(&media::Init::parse(INIT).unwrap(), &[HIGH]).unwrap()
}

#[test]
fn nothing_is_found_in_clean_media() {
    scene().finds(&[]);
    scene()
        .with(|scene| (scene.map, scene.segments) = (false, vec![ts()]))
        .finds(&[]);
}

#[test]
fn lengths_are_true() {
    scene()
        .with(|scene| scene.extinf = scene.exact + 0.5)
        .finds(&["duration-untrue"]);
    scene()
        .with(|scene| scene.extinf = scene.exact - 0.01)
        .finds(&["duration-inexact"]);
    scene()
        .with(|scene| scene.extinf = scene.exact - 0.0005)
        .finds(&[]);
}

#[test]
fn time_goes_on() {
    // The same media again begins where it began, not where it ended.
    scene()
        .with(|scene| scene.segments.push(HIGH.to_vec()))
        .finds(&["media-time"]);
}

#[test]
fn what_cannot_be_read_is_found() {
    scene()
        .with(|scene| scene.map = false)
        .finds(&["map-missing"]);
    scene()
        .with(|scene| scene.segments = vec![b"<html>not found</html>".to_vec()])
        .finds(&["media-unreadable"]);
    scene()
        .with(|scene| scene.segments[0].truncate(HIGH.len() / 2))
        .finds(&["media-unreadable"]);
    scene()
        .with(|scene| scene.init.truncate(100))
        .finds(&["media-unreadable", "unchecked"]);
    scene().with(|scene| scene.key = true).finds(&["encrypted"]);
}

#[test]
fn formats_are_what_is_declared() {
    scene()
        .with(|scene| scene.codecs = "hvc1.1.6.L93.B0,mp4a.40.2".into())
        .finds(&["codecs"]);
    scene()
        .with(|scene| scene.codecs = "avc1.64002A".into())
        .finds(&["codecs"]);
    scene()
        .with(|scene| scene.resolution = "64x36".into())
        .finds(&["resolution"]);
}

#[test]
fn a_decoder_for_more_is_one_for_less() {
    assert!(covers("avc1.64001F", "avc1.4D401E"));
    assert!(covers("avc3.42C01E", "avc1.42001E"));
    assert!(!covers("avc1.42C01E", "avc1.64001E"));
    assert!(!covers("avc1.64001E", "avc1.64001F"));
    assert!(covers("mp4a.40.5", "mp4a.40.2"));
    assert!(!covers("ac-3", "mp4a.40.2"));
}

#[test]
fn a_segment_begins_with_a_key_frame() {
    // The first NAL unit that is an IDR picture is made a usual slice.
    let init = media::Init::parse(INIT).unwrap();
    let (track, config) = init.video().unwrap();
    let fragments = media::fragments(HIGH, &init).unwrap();
    let runs = fragments[0]
        .runs
        .iter()
        .find(|run| run.track == track.id)
        .unwrap();
    let sample = runs.samples[0].data.clone();
    let mut without = HIGH.to_vec();
    for unit in config.units(&HIGH[sample]) {
        let unit = unit.unwrap();
        if media::avc::kind(unit) == media::avc::unit::IDR {
            let at = unit.as_ptr() as usize - HIGH.as_ptr() as usize;
            without[at] = without[at] & 0xe0 | media::avc::unit::SLICE;
        }
    }
    scene()
        .with(|scene| scene.segments = vec![without.clone()])
        .finds(&["first-sample"]);
    scene()
        .with(|scene| (scene.segments, scene.independent) = (vec![without], false))
        .finds(&["first-sample-advice"]);
}

#[test]
fn packets_are_counted_and_tables_come_first() {
    let stream = |change: fn(&mut Vec<u8>)| {
        let mut media = ts();
        change(&mut media);
        scene().with(|scene| (scene.map, scene.segments) = (false, vec![media]))
    };
    // A packet in the middle is lost; what it held is lost too, which may be more than a counter.
    let lost = stream(|media| drop(media.drain(188 * 40..188 * 41))).rules();
    assert!(lost.contains(&"continuity-counter"), "{lost:?}");
    stream(|media| media[188] = 0).finds(&["media-unreadable"]);
    let headless = stream(|media| drop(media.drain(..188 * 2))).rules();
    assert!(headless.contains(&"ts-without-tables"), "{headless:?}");
}

#[test]
fn answers_are_looked_at() {
    let header = |name: &str, value: Option<&str>| {
        scene().with(|scene| match value {
            Some(value) => drop(scene.headers.insert(name.into(), value.into())),
            None => drop(scene.headers.remove(name)),
        })
    };
    header("access-control-allow-origin", None).finds(&["cors"]);
    header("content-type", Some("text/html")).finds(&["mime-type-advice"]);
    header("content-length", Some("9")).finds(&["cut-short"]);
    scene()
        .with(|scene| scene.status = 404)
        .finds(&["unreachable"]);
    let range = Range {
        offset: 0,
        length: 9,
    };
    scene()
        .with(|scene| scene.range = Some(range))
        .rules()
        .contains(&"range-ignored")
        .then_some(())
        .unwrap();
    scene()
        .with(|scene| scene.took = Duration::from_secs(60))
        .finds(&["slow"]);
}

#[test]
fn rates_are_what_is_declared() {
    let mut checker = Checker::default();
    let scene = scene();
    let exchange = scene.exchange(0);
    checker.multivariant(
        &exchange,
        &MASTER
            .replace("BANDWIDTH=9000000", "BANDWIDTH=90000")
            .replace("AVERAGE-BANDWIDTH=8000000", "AVERAGE-BANDWIDTH=80000"),
    );
    let index = checker.watch("http://host/live.m3u8", Some(0));
    let (asked, text) = (Asked::default(), scene.text());
    let event = Event::Playlist {
        playlist: index,
        asked,
        text,
    };
    checker.handle(&exchange, event);
    for number in 0..12 {
        // Without a format that is looked into, only its octets count.
        let entry = Box::new(Entry {
            number,
            duration: 4.0,
            uri: "a".into(),
            key: Some("AES-128".into()),
            ..Entry::default()
        });
        let exchange = scene.exchange(100_000);
        checker.handle(
            &exchange,
            Event::Segment {
                playlist: index,
                entry,
                body: Vec::new(),
            },
        );
    }
    checker.finish();
    let rules = checker.findings.rules();
    for rule in ["bandwidth", "average-bandwidth"] {
        assert!(rules.contains(&rule), "no {rule} in {rules:?}");
    }
}

#[test]
fn what_should_be_refused_is_tried() {
    let mut checker = Checker::default();
    let index = checker.watch("http://host/live.m3u8", None);
    for (status, probe) in [
        (200, Probe::TooFar),
        (200, Probe::PartAlone),
        (400, Probe::TooFar),
    ] {
        let exchange = Exchange {
            status,
            ..Exchange::default()
        };
        checker.handle(
            &exchange,
            Event::Probe {
                playlist: index,
                probe,
            },
        );
    }
    assert_eq!(
        checker.findings.rules(),
        ["blocking-too-far", "part-without-number"]
    );
}
