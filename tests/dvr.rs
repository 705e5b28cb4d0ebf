//! Going back in a stream: from the beginning, from a moment, after its end, over a restart of
//! the node, and on a disk that is full.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use node::{TestNode, patient};
use playlists::{
    Bitrate, Epoch, Format, Head, Init, Ladder, MediaTime, Part, Renditions, Rung, RungName,
    WallTime, Window, parse,
};
use reqwest::{Client, Response, StatusCode};
use spillway::{
    archive::{Archives, Options},
    store::Producer,
};

const ALICE: &str = "00000000000a11ce.paris";

#[tokio::test]
async fn a_viewer_can_begin_at_the_beginning_and_the_others_have_what_is_live() {
    let station = Station::new(None);
    let run = station.run().await;
    let mut source = run.source().await;
    source.segments(100).await;
    let long = run.list("start=begin").await;
    assert_eq!(long.numbers(), (1000..1100).collect::<Vec<_>>());
    assert_eq!(long.start.as_deref(), Some("0"));
    let live = run.list("").await;
    assert_eq!(live.numbers(), (1094..1100).collect::<Vec<_>>());
    assert_eq!(live.start, None);
    // Every segment that is listed is there, whether from memory or from disk.
    for number in long.numbers() {
        let media = run.ok(&long.uri(number)).await.bytes().await.unwrap();
        assert_eq!(&media[..8], number.to_be_bytes(), "{number}");
        assert_eq!(media.len(), 2 * OCTETS);
    }
    let canonical = run.ok("7/low/1003.1.m4s").await.bytes().await.unwrap();
    assert_eq!(canonical.len(), OCTETS);
}

#[tokio::test]
async fn a_moment_becomes_a_way_back_from_the_edge() {
    let station = Station::new(None);
    let run = station.run().await;
    let mut source = run.source().await;
    source.segments(100).await;
    assert_eq!(run.list("start=-30").await.start.as_deref(), Some("-30"));
    // Segment 1090 is ten segments of one second before the edge.
    let time = WallTime::from_millis(ZERO + 90_000);
    let query = format!("start={time}");
    assert_eq!(run.list(&query).await.start.as_deref(), Some("-10"));
    let long_ago = run.list("start=1000000000").await;
    assert_eq!(long_ago.start.as_deref(), Some("-100"));
    assert_eq!(run.list("start=edge").await.start, None);
    assert_eq!(run.list("start=edge").await.numbers().len(), 100);
    let wrong = run.get("index.m3u8?start=soon").await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_range_of_what_is_on_disk_is_what_lies_there() {
    let station = Station::new(None);
    let run = station.run().await;
    let mut source = run.source().await;
    source.segments(60).await;
    let url = format!("{}/live/demo/v/{ALICE}.o/1002.m4s", run.node.url);
    let ranged = Client::new().get(&url).header("range", "bytes=-10").send();
    let ranged = ranged.await.unwrap();
    assert_eq!(ranged.status(), StatusCode::PARTIAL_CONTENT);
    let whole = run.ok(&format!("v/{ALICE}.o/1002.m4s")).await;
    assert_eq!(ranged.headers()["etag"], whole.headers()["etag"]);
    let (ranged, whole) = (ranged.bytes().await.unwrap(), whole.bytes().await.unwrap());
    assert_eq!(ranged, whole[whole.len() - 10..]);
}

#[tokio::test]
async fn a_reload_is_told_what_is_new_and_not_the_hours_before() {
    let station = Station::new(None);
    let run = station.run().await;
    let mut source = run.source().await;
    source.segments(150).await;
    let whole = run.text(&format!("v/{ALICE}.o/index.m3u8")).await;
    let delta = run
        .text(&format!("v/{ALICE}.o/index.m3u8?_HLS_skip=YES"))
        .await;
    assert!(delta.len() * 5 < whole.len(), "{}", delta.len());
    let skipped: usize = delta
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS="))
        .unwrap()
        .parse()
        .unwrap();
    let rest = delta.matches("#EXTINF").count();
    assert_eq!(skipped + rest, 150);
    let from = format!("{}.m4s", 1000 + skipped);
    assert_eq!(
        delta[delta.find(&from).unwrap()..],
        whole[whole.find(&from).unwrap()..]
    );
}

#[tokio::test]
async fn what_has_ended_is_watched_from_its_beginning_and_after_a_restart_too() {
    let station = Station::new(None);
    let run = station.run().await;
    let mut source = run.source().await;
    source.segments(50).await;
    let watching = format!("v/{ALICE}/index.m3u8");
    let before = List::read(&run.text(&watching).await);
    source.producer.end();
    let after = List::read(&run.text(&watching).await);
    assert!(after.text.contains("#EXT-X-ENDLIST") && !after.text.contains("VOD"));
    assert_eq!(
        after.numbers(),
        before.numbers(),
        "who was watching sees its end"
    );
    let list = run.list("").await;
    assert_eq!(list.numbers(), (1000..1050).collect::<Vec<_>>());
    assert!(list.text.contains("#EXT-X-PLAYLIST-TYPE:VOD\n"));
    assert!(list.text.ends_with("#EXT-X-ENDLIST\n"));
    run.stop(source);

    let run = station.run().await;
    let producer = run.producer().await;
    assert!(producer.window().unwrap().has_ended());
    let again = run.list("").await;
    assert_eq!(again.text, list.text);
    for number in again.numbers() {
        run.ok(&again.uri(number)).await;
    }
    let files = station.files();
    assert_eq!(files, 50);
    producer.forget();
    assert!(run.archives.close(Duration::from_secs(20)));
    assert_eq!(station.files(), 0);
}

#[tokio::test]
async fn after_a_restart_the_numbers_go_on_and_what_is_missing_is_a_gap() {
    let station = Station::new(None);
    let run = station.run().await;
    let mut source = run.source().await;
    source.segments(40).await;
    // A segment that nobody will complete: its first part was published, so that its number is taken.
    source.open(1040);
    source.part(1040, false);
    // As if the node were gone without a word.
    drop(source);
    assert!(run.archives.close(Duration::from_secs(20)));
    drop(run);
    std::fs::remove_file(station.folder.join("demo/00000000000000001010.dvr")).unwrap();

    let run = station.run().await;
    let producer = run.producer().await;
    let at_once = run.list("start=begin").await;
    assert_eq!(at_once.numbers(), (1000..1041).collect::<Vec<_>>());
    let mut source = Source::new(producer, run.folder.clone());
    assert_eq!(source.next, 1041);
    source.segments(60).await;
    let list = run.list("start=begin").await;
    assert_eq!(list.numbers(), (1000..1101).collect::<Vec<_>>());
    assert_eq!(list.gaps(), [1010, 1040]);
    let breaks: Vec<_> = list
        .parsed
        .segments
        .iter()
        .filter(|segment| segment.discontinuity)
        .map(|segment| segment.number)
        .collect();
    assert_eq!(breaks, [1041]);
    assert_eq!(
        list.text.matches("#EXT-X-MAP").count(),
        1,
        "the same init section"
    );
    assert!(list.text.contains("#EXT-X-VERSION:8\n"));
    // There are players that ask all the same.
    let gap = run.ok(&list.uri(1010)).await;
    assert_eq!(&gap.bytes().await.unwrap()[4..8], b"styp");
    let lost = run.get("7/low/1010.m4s").await;
    assert_eq!(
        lost.status(),
        StatusCode::NOT_FOUND,
        "a name never changes what it is of"
    );
}

#[tokio::test]
async fn a_list_only_appends_and_a_full_disk_takes_the_oldest() {
    let station = Station::new(Some(30 * (2 * 2 * OCTETS as u64 + 4096)));
    let run = station.run().await;
    let mut source = run.source().await;
    let mut before: Vec<u64> = Vec::new();
    for _ in 0..12 {
        source.segments(10).await;
        let list = run.list("start=begin").await;
        let numbers = list.numbers();
        let common = before.iter().filter(|number| **number >= numbers[0]);
        assert!(
            common.eq(numbers
                .iter()
                .take_while(|number| before.last() >= Some(number)))
        );
        assert_eq!(list.gaps(), [0; 0]);
        run.ok(&list.uri(numbers[0])).await;
        before = numbers;
    }
    assert_eq!(before.last(), Some(&1119), "live went on");
    assert!((20..60).contains(&before.len()), "{}", before.len());
}

#[tokio::test]
async fn octets_that_cannot_be_read_are_a_gap_and_no_end_of_the_node() {
    let station = Station::new(None);
    let run = station.run().await;
    let mut source = run.source().await;
    source.segments(60).await;
    let path = station.folder.join("demo/00000000000000001005.dvr");
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(100).unwrap();
    let gap = run.ok(&format!("v/{ALICE}.o/1005.m4s")).await;
    assert_eq!(&gap.bytes().await.unwrap()[4..8], b"styp");
    run.ok(&format!("v/{ALICE}.o/1006.m4s")).await;
}

#[tokio::test]
async fn a_node_without_a_past_sends_who_wants_it_to_the_one_that_has() {
    let relay = TestNode::start("relay", None, patient()).await;
    let mut source = Source::new(
        relay.origin.store.create(&"demo".parse().unwrap()).unwrap(),
        PathBuf::new(),
    );
    for _ in 0..30 {
        source.segment();
    }
    let keeper = "http://primary.example:8080/";
    relay.origin.keeper.store(Some(Arc::new(keeper.to_owned())));
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    for (path, moved) in [
        ("index.m3u8?start=-600", true),
        ("index.m3u8", false),
        ("v/00000000000a11ce.paris.o/index.m3u8", true),
        ("v/00000000000a11ce.paris/index.m3u8", false),
        ("v/00000000000a11ce.paris.o/1001.m4s", true),
        ("v/00000000000a11ce.paris.o/1028.m4s", false),
    ] {
        let url = format!("{}/live/demo/{path}", relay.url);
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status() == 307, moved, "{path}: {answer:?}");
        if moved {
            let to = answer.headers()["location"].to_str().unwrap();
            assert_eq!(to, format!("http://primary.example:8080/live/demo/{path}"));
        }
    }
}

/// What stays over the restarts of its node.
struct Station {
    folder: PathBuf,
    most: Option<u64>,
}

/// A node from its start to its end.
struct Run {
    node: TestNode,
    archives: Archives,
    folder: PathBuf,
}

impl Station {
    fn new(most: Option<u64>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "spillway-dvr-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        Self { folder, most }
    }

    async fn run(&self) -> Run {
        Run {
            node: TestNode::start("node", None, patient()).await,
            folder: self.folder.clone(),
            archives: Archives::new(Options {
                folder: self.folder.clone(),
                span: Some(MediaTime::from_seconds(1000.0)),
                most: self.most,
            }),
        }
    }

    fn files(&self) -> usize {
        let entries = std::fs::read_dir(self.folder.join("demo")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_str().unwrap().ends_with(".dvr"))
            .count()
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Run {
    async fn producer(&self) -> Producer {
        let store = &self.node.origin.store;
        let mut producer = store.create(&"demo".parse().unwrap()).unwrap();
        producer.keep_in(self.archives.open("demo", None).unwrap(), 6);
        producer
    }

    async fn source(&self) -> Source {
        Source::new(self.producer().await, self.folder.clone())
    }

    fn stop(self, source: Source) {
        drop(source);
        assert!(self.archives.close(Duration::from_secs(20)));
    }

    async fn get(&self, path: &str) -> Response {
        let url = format!("{}/live/demo/{path}", self.node.url);
        Client::new().get(url).send().await.unwrap()
    }

    async fn ok(&self, path: &str) -> Response {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer
    }

    async fn text(&self, path: &str) -> String {
        self.ok(path).await.text().await.unwrap()
    }

    /// Joins with `query`, and reads the playlist that this leads to.
    async fn list(&self, query: &str) -> List {
        let index = self.text(&format!("index.m3u8?{query}")).await;
        let variants = parse::multivariant(&index).unwrap();
        let path = &variants[0].uri;
        let folder = path.strip_suffix("index.m3u8").unwrap().to_owned();
        List {
            folder,
            ..List::read(&self.text(path).await)
        }
    }
}

struct List {
    text: String,
    parsed: parse::MediaPlaylist,
    start: Option<String>,
    folder: String,
}

impl List {
    fn read(text: &str) -> Self {
        let start = text
            .lines()
            .find_map(|line| line.strip_prefix("#EXT-X-START:TIME-OFFSET="))
            .and_then(|rest| rest.strip_suffix(",PRECISE=YES"));
        Self {
            text: text.to_owned(),
            parsed: parse::media(text).unwrap(),
            start: start.map(str::to_owned),
            folder: String::new(),
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let segments = self.parsed.segments.iter();
        let numbers: Vec<_> = segments.map(|segment| segment.number).collect();
        // What players count is what the names say.
        for segment in &self.parsed.segments {
            assert_eq!(
                segment.uri.as_deref(),
                Some(&*format!("{}.m4s", segment.number))
            );
        }
        numbers
    }

    fn gaps(&self) -> Vec<u64> {
        let lines: Vec<_> = self.text.lines().collect();
        let gaps = lines
            .windows(3)
            .filter(|lines| lines[0] == "#EXT-X-GAP")
            .map(|lines| lines[2].strip_suffix(".m4s").unwrap().parse().unwrap());
        gaps.collect()
    }

    fn uri(&self, number: u64) -> String {
        format!("{}{number}.m4s", self.folder)
    }
}

/// Segments of a second in two parts, each of which begins with its number.
struct Source {
    producer: Producer,
    next: u64,
    timeline: u64,
    breaks: bool,
    folder: PathBuf,
}

const OCTETS: usize = 10_000;

/// When the first segment was live.
const ZERO: i64 = 1_790_000_000_000;

impl Source {
    fn new(mut producer: Producer, folder: PathBuf) -> Self {
        let last = producer.window().and_then(Window::last_complete).cloned();
        producer.begin(format());
        Self {
            next: last.as_ref().map_or(1000, |last| last.number() + 1),
            timeline: last.as_ref().map_or(0, |last| last.head.timeline + 1),
            breaks: last.is_some(),
            folder,
            producer,
        }
    }

    fn open(&mut self, number: u64) {
        let head = Head {
            number,
            epoch: Epoch(7),
            init: Arc::new(Init {
                epoch: Epoch(7),
                media: Bytes::from_static(b"init"),
                renditions: Vec::new(),
            }),
            discontinuity: std::mem::take(&mut self.breaks),
            timeline: self.timeline,
            date_time: WallTime::from_millis(ZERO + (number as i64 - 1000) * 1000),
        };
        self.producer.open(head).unwrap();
    }

    fn part(&mut self, number: u64, last: bool) {
        let mut media = vec![last.into(); OCTETS];
        media[..8].copy_from_slice(&number.to_be_bytes());
        let part = Part {
            duration: MediaTime::from_ticks(1, 2),
            open: if last { 0 } else { 2 },
            media: vec![media.clone().into(), media.into()],
            renditions: Vec::new(),
        };
        self.producer.push(part, last).unwrap();
    }

    fn segment(&mut self) {
        let number = self.next;
        self.next += 1;
        self.open(number);
        self.part(number, false);
        self.part(number, true);
    }

    /// As many as that, no faster than the disk takes them.
    async fn segments(&mut self, count: usize) {
        for place in 0..count {
            self.segment();
            if place % 8 == 7 || place + 1 == count {
                let last = format!("demo/{:020}.dvr", self.next - 1);
                while !self.folder.join(&last).exists() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
    }
}

fn format() -> Format {
    let rung = |name: &str, kbps| Rung {
        name: RungName::try_from(name.to_owned()).unwrap(),
        width: 2,
        height: 2,
        bandwidth: Bitrate::from_kbps(kbps),
        average: Bitrate::from_kbps(kbps),
        codecs: "avc1.4D401F,mp4a.40.2".into(),
        frame_rate: 30.0,
        score: None,
    };
    Format {
        ladder: Ladder::new(vec![rung("low", 1), rung("top", 2)]).unwrap(),
        renditions: Renditions::default(),
        segment: MediaTime::from_ticks(1, 1),
        part: MediaTime::from_ticks(1, 2),
        listed: 6,
    }
}
