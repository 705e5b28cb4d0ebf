//! Publisher and segmenter killed at random, for as often as it is told: numbering never steps back, what was listed stays as
//! it was, and memory is flat. Left out by default:
//!
//!     KILLS=1000 cargo test --test kills -- --ignored --nocapture
//!
//! `KILLS_OF=publisher` spares the segmenter, whose memory is looked at then as well. A segmenter that is killed again and again
//! is started again after up to 10 s, and is not there to be killed meanwhile: a thousand kills of both take 50 minutes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a soak is for")]

mod common;

use std::{
    collections::BTreeMap,
    process::Stdio,
    time::{Duration, Instant},
};

use common::{Primary, SMALL, free};
use playlists::parse;
use tokio::process::{Child, Command};
use tools::program::{children, signal};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as it is told"]
async fn whoever_is_killed_however_often_numbers_go_on_and_memory_is_flat() {
    let kills = env("KILLS").and_then(|kills| kills.parse().ok());
    let kills: u64 = kills.unwrap_or(50);
    let both = env("KILLS_OF").is_none_or(|whom| whom != "publisher");
    let address = free();
    let clip = clip();
    let mut publisher = publish(&clip, &address);
    let url = format!("tcp://{address}");
    let options = ["--slate", "black", "--stall-seconds", "1"];
    let primary = Primary::start("127.0.0.1", &url, &[&SMALL[..], &options].concat()).await;
    let node = primary.program.pid().unwrap();

    let (mut watch, mut dice) = (Watch::default(), Dice(0x5b11_10ad));
    let (mut of_publisher, mut of_segmenter) = (0, 0);
    let mut memory = [Vec::new(), Vec::new()];
    let start = Instant::now();
    while of_publisher + of_segmenter < kills {
        // Often while it comes up, sometimes when all is well.
        let pause = Duration::from_millis(dice.below(3000));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            watch.look(&primary).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // It serves one, and ends with whom it served.
        if publisher.try_wait().unwrap().is_some() {
            publisher = publish(&clip, &address);
        }
        let segmenters: Vec<_> = children(node).into_iter().map(|(pid, _)| pid).collect();
        memory[0].push(resident(node));
        if let ([segmenter], false) = (&segmenters[..], both) {
            memory[1].push(resident(*segmenter));
        }
        if both && dice.below(4) == 0 {
            for segmenter in segmenters {
                signal(segmenter, "KILL");
                of_segmenter += 1;
            }
        } else {
            publisher.kill().await.unwrap();
            of_publisher += 1;
            tokio::time::sleep(Duration::from_millis(dice.below(2500))).await;
            publisher = publish(&clip, &address);
        }
    }
    let took = start.elapsed();
    // In the end all is as it was.
    let back = async {
        while !watch.on_main(&primary).await {
            watch.look(&primary).await;
            if publisher.try_wait().unwrap().is_some() {
                publisher = publish(&clip, &address);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let back = tokio::time::timeout(Duration::from_secs(60), back).await;
    publisher.kill().await.unwrap();
    println!(
        "{of_publisher} kills of the publisher and {of_segmenter} of the segmenter in {:.0?}: {} segments from {} to {}, {} looks, \
         the longest without a new segment {:.1?}",
        took, watch.seen, watch.first, watch.last, watch.looks, watch.longest,
    );
    for (who, memory) in ["primary", "segmenter"].into_iter().zip(&memory) {
        if memory.len() >= 20 {
            let tenths = memory.chunks(memory.len().div_ceil(10)).map(median);
            let tenths: Vec<_> = tenths.collect();
            let grows = growth(&memory[memory.len() / 2..]);
            println!(
                "{who}: {tenths:?} kB, and in its second half {grows:.2} kB more with each kill"
            );
            assert!(took < WARM || grows < LEAK, "{who} grows: {memory:?}");
        }
    }
    assert!(back.is_ok(), "{:#?}", primary.program.said());
}

/// A shorter run says nothing of memory: tables and the allocator are still finding their size.
const WARM: Duration = Duration::from_secs(600);
/// In kB with each kill. Whatever is forgotten of a run or of a connection is more: a stack alone, or a buffer of a pipe.
const LEAK: f64 = 2.0;

/// One viewer of one rung, who remembers.
#[derive(Default)]
struct Watch {
    /// What the last playlist listed, by number.
    listed: BTreeMap<u64, String>,
    sequence: u64,
    first: u64,
    last: u64,
    seen: u64,
    looks: u64,
    newest: Option<Instant>,
    longest: Duration,
}

impl Watch {
    async fn look(&mut self, primary: &Primary) {
        let url = format!("{}/live/live/180p.m3u8", primary.url);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let playlist = parse::media(&text).unwrap();
        self.looks += 1;
        let sequence = playlist
            .segments
            .first()
            .map_or(0, |segment| segment.number);
        assert!(
            sequence >= self.sequence,
            "from {} to {sequence}:\n{text}",
            self.sequence
        );
        let listed: BTreeMap<u64, String> = playlist
            .segments
            .iter()
            .filter_map(|segment| Some((segment.number, segment.uri.clone()?)))
            .collect();
        for (number, name) in &listed {
            let before = self.listed.get(number);
            assert!(
                before.is_none_or(|before| before == name),
                "{number} was {before:?}:\n{text}"
            );
        }
        let last = listed.last_key_value().map_or(0, |(number, _)| *number);
        assert!(last >= self.last, "from {} to {last}:\n{text}", self.last);
        if self.first == 0 {
            self.first = last;
        }
        if last > self.last {
            self.seen += last - self.last.max(self.first);
            let now = Instant::now();
            let since = self.newest.replace(now).map(|before| now - before);
            self.longest = self.longest.max(since.unwrap_or_default());
        }
        (self.listed, self.sequence, self.last) = (listed, sequence, last);
    }

    async fn on_main(&self, primary: &Primary) -> bool {
        let streams = common::json(&format!("{}/v1/streams", primary.private)).await;
        streams[0]["source"]["health"]["on_air"] == "main"
    }
}

/// Real time, for whoever connects; and for nobody until then.
fn publish(clip: &str, address: &str) -> Child {
    Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "quiet",
            "-re",
            "-stream_loop",
            "-1",
            "-i",
            clip,
        ])
        .args([
            "-c",
            "copy",
            "-f",
            "mpegts",
            &format!("tcp://{address}?listen=1"),
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn clip() -> String {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("kills.ts");
    let made = std::process::Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=25:duration=20",
        ])
        .args([
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000:duration=20",
        ])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            "25",
            "-c:a",
            "aac",
        ])
        .arg(&path)
        .stdin(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    path.into_os_string().into_string().unwrap()
}

/// What it has allocated, in kB. Pages of its program come in as they are run, and media is as much as the window has: neither
/// is forgotten by anybody (benches/soak.rs looks at both).
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kilobytes.unwrap_or(0)
}

/// By how much a value rises from one to the next: the median of the slopes between all pairs (Theil 1950, Sen 1968), which
/// neither a peak nor a dip can move.
fn growth(values: &[u64]) -> f64 {
    let pairs = values.iter().enumerate().flat_map(|(at, from)| {
        let later = values[at + 1..].iter().zip(1_u32..);
        later.map(move |(to, apart)| (*to as f64 - *from as f64) / f64::from(apart))
    });
    let mut slopes: Vec<_> = pairs.collect();
    slopes.sort_unstable_by(f64::total_cmp);
    slopes[slopes.len() / 2]
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Xorshift (Marsaglia 2003): the same kills each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
