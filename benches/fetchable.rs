//! How long it takes from a picture that a publisher sends to the part that can be fetched: RTMP in, nothing transcoded, short
//! parts over HTTP out, both programs as they run.
//!
//! A part begins with its first picture and is whole with its last, so what counts is from the sending of its first picture to the
//! last octet of the part, for every part of the run: a player that asks for each as it is hinted at cannot have it earlier.
//!
//!     cargo build --release -p segmenter && cargo bench --bench fetchable [-- --seconds 60] [--part 0.2]

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/ingest/rtmp.rs"]
mod rtmp;

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use playlists::{MediaTime, parse};
use rtmp::Publisher;
use tokio::process::Command;
use tools::program::{Program, sibling};

#[tokio::main]
async fn main() {
    let seconds: u32 = argument("--seconds").map_or(30, |text| text.parse().unwrap());
    let part = argument("--part").unwrap_or_else(|| "0.2".to_owned());
    let tags = tags(&clip(seconds).await);

    let key = "a-key-for-a-bench";
    let mut command = Command::new(env!("CARGO_BIN_EXE_primary"));
    command.args([
        "127.0.0.1",
        "publish",
        "--listen",
        "127.0.0.1:0",
        "--private-listen",
        "127.0.0.1:0",
    ]);
    command.args([
        "--rtmp-listen",
        "127.0.0.1:0",
        "--stream",
        "live",
        "--publish-key-file",
    ]);
    let key_file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fetchable.key");
    std::fs::write(&key_file, format!("{key}\n")).unwrap();
    command.arg(key_file).arg("--segmenter");
    command.arg(sibling(env!("CARGO_BIN_EXE_primary"), "segmenter").unwrap());
    command.args(["--passthrough", "only", "--part-seconds", &part]);
    command.env("RUST_LOG", "warn");
    let mut primary = Program::start("primary", command).unwrap();
    let ready = primary.says(PATIENCE, |line| {
        let ready = line.strip_prefix("ready ")?;
        let after = |name| Some(ready.split_once(name)?.1.split(' ').next()?.to_owned());
        Some((ready.split(' ').next()?.to_owned(), after(" rtmp ")?))
    });
    let (http, rtmp) = ready.await.unwrap();

    let fetching = tokio::spawn(fetch(http, Duration::from_secs(u64::from(seconds))));
    let sent = publish(rtmp.parse().unwrap(), key, &tags).await;
    let fetched = fetching.await.unwrap();
    primary.stop().await.unwrap();
    report(&sent, &fetched);
}

/// What a publisher sends: kind, milliseconds, octets (Adobe Flash Video File Format, annex E.4.1).
struct Tag {
    kind: u8,
    millis: u32,
    body: Vec<u8>,
}

const VIDEO: u8 = 9;
const AUDIO: u8 = 8;

fn tags(flv: &[u8]) -> Vec<Tag> {
    let number = |octets: &[u8]| {
        octets
            .iter()
            .fold(0u32, |sum, octet| sum << 8 | u32::from(*octet))
    };
    let (mut rest, mut tags) = (&flv[9 + 4..], Vec::new());
    while rest.len() > 15 {
        let length = number(&rest[1..4]) as usize;
        tags.push(Tag {
            kind: rest[0],
            millis: number(&rest[4..7]) | u32::from(rest[7]) << 24,
            body: rest[11..11 + length].to_vec(),
        });
        rest = &rest[11 + length + 4..];
    }
    tags
}

/// 720p30 with a key frame each two seconds, as an encoder in a studio sends it.
async fn clip(seconds: u32) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fetchable-{seconds}.flv"));
    if !path.exists() {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i"]);
        ffmpeg.arg(format!("testsrc2=size=1280x720:rate=30:duration={seconds}"));
        ffmpeg.args([
            "-f",
            "lavfi",
            "-i",
            &format!("sine=sample_rate=48000:duration={seconds}"),
        ]);
        ffmpeg.args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
            "-g",
            "60",
        ]);
        ffmpeg.args([
            "-pix_fmt", "yuv420p", "-b:v", "4M", "-c:a", "aac", "-ac", "2",
        ]);
        assert!(ffmpeg.arg(&path).status().await.unwrap().success());
    }
    std::fs::read(path).unwrap()
}

/// Sends each tag when its time has come. Says when each picture was sent.
async fn publish(server: SocketAddr, key: &str, tags: &[Tag]) -> Vec<Instant> {
    let mut publisher = Publisher::publish(server, "live", key).await.unwrap();
    publisher.metadata().await;
    publisher.socket.set_nodelay(true).unwrap();
    let (start, mut sent) = (Instant::now(), Vec::new());
    for tag in tags {
        let due = start + Duration::from_millis(tag.millis.into());
        tokio::time::sleep_until(due.into()).await;
        publisher.at(tag.millis);
        match tag.kind {
            VIDEO => {
                // The configuration is no picture.
                if tag.body.get(1) == Some(&1) {
                    sent.push(Instant::now());
                }
                publisher.video(&tag.body).await.unwrap();
            }
            AUDIO => publisher.audio(&tag.body).await,
            _ => {}
        }
    }
    publisher.finish().await;
    sent
}

/// Fetches every part as soon as it can be had: how long before it the programme began, and when its last octet was there.
async fn fetch(http: String, long: Duration) -> Vec<(MediaTime, Instant)> {
    let client = reqwest::Client::new();
    let base = format!("{}/live/live/", http.trim_end_matches('/'));
    let text = async |url: &str| {
        let answer = client.get(url).send().await.unwrap();
        (answer.status().is_success(), answer.text().await.unwrap())
    };
    let (deadline, mut seen, mut fetched) =
        (Instant::now() + long + PATIENCE, HashSet::new(), Vec::new());
    let (mut began, mut query) = (MediaTime::ZERO, String::new());
    while Instant::now() < deadline {
        let (there, list) = text(&format!("{base}source.m3u8{query}")).await;
        if !there {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let list = parse::media(&list).unwrap();
        let mut last = (0, 0);
        for segment in &list.segments {
            for (index, part) in segment.parts.iter().enumerate() {
                last = (segment.number, index);
                if !seen.insert(part.uri.clone()) {
                    continue;
                }
                let media = client
                    .get(format!("{base}{}", part.uri))
                    .send()
                    .await
                    .unwrap();
                media.bytes().await.unwrap();
                fetched.push((began, Instant::now()));
                began += part.duration;
            }
        }
        if list.ended {
            break;
        }
        query = format!("?_HLS_msn={}&_HLS_part={}", last.0, last.1 + 1);
        if began.seconds() + 1.0 > long.as_secs_f64() {
            break;
        }
    }
    fetched
}

fn report(sent: &[Instant], fetched: &[(MediaTime, Instant)]) {
    let mut late: Vec<f64> = Vec::new();
    for (began, there) in fetched {
        let first = (began.seconds() * 30.0).round() as usize;
        // What waited for the beginning to be understood says nothing.
        if began.seconds() < 6.0 || first >= sent.len() {
            continue;
        }
        late.push(there.saturating_duration_since(sent[first]).as_secs_f64());
    }
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() - 1) as f64 * share).round() as usize];
    for from in (0..500).step_by(20) {
        let bucket = f64::from(from) / 1000.0..f64::from(from + 20) / 1000.0;
        let count = late.iter().filter(|late| bucket.contains(*late)).count();
        if count > 0 {
            println!(
                "{from:>4} to {:>3} ms  {count:>4}  {}",
                from + 20,
                "#".repeat(count.min(80))
            );
        }
    }
    println!(
        "{} parts; from sending the first picture to fetching the part: median {:.3} s, 95th percentile {:.3} s, most {:.3} s",
        late.len(),
        at(0.5),
        at(0.95),
        at(1.0)
    );
}

fn argument(name: &str) -> Option<String> {
    std::env::args()
        .skip_while(|argument| argument != name)
        .nth(1)
}

const PATIENCE: Duration = Duration::from_secs(20);
