//! Whole programs and real publishers: ffmpeg publishes to a primary, goes, comes back, is refused. Needs an
//! encoder's worth of CPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Primary, SMALL, skip};
use playlists::parse::{self, MediaPlaylist};
use tokio::{process::Command, time::Instant};
use tools::program::{Program, is_installed};

/// A primary with the stream `live`, published by RTMP with the key [`KEY`].
struct Studio {
    primary: Primary,
    rtmp: String,
    srt: String,
    _folder: Folder,
}

/// Of the key file; gone when dropped.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Studio {
    /// `None` where it cannot be.
    async fn start(test: &str, arguments: &[&str]) -> Option<Self> {
        if !is_installed("ffmpeg") {
            skip(test, "ffmpeg is not installed");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (folder, key) = (Folder(folder.clone()), folder.join("key"));
        std::fs::write(&key, "s3cr3t-s3cr3t\n").unwrap();
        let own = [
            "--publish-key-file",
            key.to_str().unwrap(),
            "--rtmp-listen",
            "127.0.0.1:0",
            "--srt-listen",
            "127.0.0.1:0",
        ];
        let arguments = [&own, &SMALL[..], arguments].concat();
        let mut primary = Primary::launch("127.0.0.1", "publish", &arguments).await;
        let ready = primary.program.says(PATIENCE, |line| {
            let ready = line.strip_prefix("ready ")?;
            let after = |name| Some(ready.split_once(name)?.1.split(' ').next()?.to_owned());
            Some((after(" rtmp ")?, after(" srt ")?))
        });
        let (rtmp, srt) = ready.await.unwrap();
        Some(Self {
            primary,
            rtmp,
            srt,
            _folder: folder,
        })
    }

    /// ffmpeg, publishing `key` in `app`.
    fn publisher(&self, app: &str, key: &str) -> Program {
        Self::ffmpeg("flv", &format!("rtmp://{}/{app}/{key}", self.rtmp))
    }

    /// ffmpeg, calling by SRT with these options.
    fn caller(&self, options: &str) -> Program {
        Self::ffmpeg("mpegts", &format!("srt://{}?{options}", self.srt))
    }

    fn ffmpeg(format: &str, url: &str) -> Program {
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-loglevel", "info", "-re"]);
        command.args(["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25"]);
        command.args(["-f", "lavfi", "-i", "sine=f=440:r=48000"]);
        command.args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "25"]);
        command.args(["-b:v", "300k", "-c:a", "aac", "-b:a", "64k"]);
        command.args(["-f", format, url]);
        Program::start("ffmpeg", command).unwrap()
    }

    /// The playlist of the top rung, once it is as `wanted`.
    async fn playlist(&self, what: &str, wanted: impl Fn(&MediaPlaylist) -> bool) -> MediaPlaylist {
        let (url, since) = (
            format!("{}/live/live/180p.m3u8", self.primary.url),
            Instant::now(),
        );
        loop {
            let answer = reqwest::get(&url).await.unwrap();
            let text = answer.text().await.unwrap();
            if let Ok(list) = parse::media(&text)
                && wanted(&list)
            {
                return list;
            }
            let said = self.primary.program.said();
            assert!(
                since.elapsed() < PATIENCE,
                "never {what}: {text}\n{}",
                said.join("\n")
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn said(&self, what: &str) -> Option<String> {
        self.primary
            .program
            .said()
            .into_iter()
            .find(|line| line.contains(what))
    }
}

fn complete(list: &MediaPlaylist) -> usize {
    list.segments
        .iter()
        .filter(|segment| segment.uri.is_some())
        .count()
}

fn numbers(list: &MediaPlaylist) -> Vec<u64> {
    list.segments.iter().map(|segment| segment.number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_starts_a_programme_and_its_end_ends_it_after_a_grace() {
    let name = "publishing_starts_a_programme";
    let Some(studio) = Studio::start(name, &["--grace-seconds", "2"]).await else {
        return;
    };
    let mut publisher = studio.publisher("live", &format!("live?key={KEY}"));
    let first = studio
        .playlist("three segments", |list| complete(list) >= 3)
        .await;
    let line = studio.said("publisher is on the air").unwrap();
    for fact in ["H.264", "320x180", "25 fps", "AAC", "48000 Hz", "Lavf"] {
        assert!(line.contains(fact), "{fact}: {line}");
    }
    publisher.stop().await.unwrap();
    let ended = studio.playlist("the end", |list| list.ended).await;
    assert!(ended.segments.iter().all(|segment| !segment.discontinuity));

    // Whoever publishes then begins another programme, which has nothing of the first.
    let mut publisher = studio.publisher("live", KEY);
    let again = studio
        .playlist("a new programme", |list| !list.ended && complete(list) >= 1)
        .await;
    let (last, next) = (numbers(&ended).pop().unwrap(), numbers(&again)[0]);
    assert!(next > last, "{next} does not follow {last}");
    assert!(again.segments.iter().all(|segment| !segment.discontinuity));
    assert!(numbers(&first)[0] <= last);
    publisher.stop().await.unwrap();
    let key = studio
        .primary
        .program
        .said()
        .into_iter()
        .find(|line| line.contains(KEY));
    assert_eq!(key, None, "the key is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_comes_back_goes_on_with_the_same_programme() {
    let name = "a_publisher_that_comes_back";
    let Some(studio) = Studio::start(name, &["--grace-seconds", "30"]).await else {
        return;
    };
    let mut publisher = studio.publisher("live", KEY);
    let before = studio
        .playlist("two segments", |list| complete(list) >= 2)
        .await;
    publisher.kill().await.unwrap();
    let mut publisher = studio.publisher("live", KEY);
    let wanted = |list: &MediaPlaylist| {
        let broken = list
            .segments
            .iter()
            .position(|segment| segment.discontinuity);
        broken.is_some_and(|place| complete(list) > place + 1)
    };
    let after = studio.playlist("goes on", wanted).await;
    assert!(!after.ended);
    let (first, all) = (numbers(&after)[0], numbers(&after));
    assert_eq!(all, (first..first + all.len() as u64).collect::<Vec<_>>());
    assert!(first <= *numbers(&before).last().unwrap() + 1);
    let breaks = after
        .segments
        .iter()
        .filter(|segment| segment.discontinuity)
        .count();
    assert_eq!(breaks, 1);
    let times: Vec<_> = after
        .segments
        .iter()
        .filter_map(|segment| segment.date_time)
        .collect();
    assert!(times.is_sorted(), "time steps back: {times:?}");
    publisher.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_applications_are_refused_and_no_segmenter_starts() {
    let name = "wrong_keys_and_applications";
    let Some(studio) = Studio::start(name, &[]).await else {
        return;
    };
    for (app, key, told) in [
        ("live", "wr0ng", "wrong stream key"),
        ("live", "live?key=wr0ng", "wrong stream key"),
        ("vod", KEY, "no such application"),
    ] {
        let mut publisher = studio.publisher(app, key);
        let status = publisher.ended(PATIENCE).await.unwrap();
        assert!(!status.success());
        let said = publisher.said_in_full().await.join("\n");
        assert!(said.contains(told), "{app}/{key}: {said}");
    }
    assert!(studio.said("publisher refused").is_some());
    assert!(studio.said("segmenter started").is_none());
    assert!(studio.said("wr0ng").is_none() && studio.said(KEY).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let name = "a_second_publisher_is_refused";
    let Some(studio) = Studio::start(name, &[]).await else {
        return;
    };
    let mut first = studio.publisher("live", KEY);
    let before = studio
        .playlist("a segment", |list| complete(list) >= 1)
        .await;
    let mut second = studio.publisher("live", KEY);
    assert!(!second.ended(PATIENCE).await.unwrap().success());
    let said = second.said_in_full().await.join("\n");
    assert!(said.contains("publishing this stream already"), "{said}");
    let wanted = complete(&before) + 1;
    let after = studio
        .playlist("goes on", |list| complete(list) >= wanted)
        .await;
    assert!(after.segments.iter().all(|segment| !segment.discontinuity));
    first.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_publisher_takes_over_where_that_is_wanted() {
    let name = "a_second_publisher_takes_over";
    let Some(studio) = Studio::start(name, &["--second-publisher", "take-over"]).await else {
        return;
    };
    let mut first = studio.publisher("live", KEY);
    studio
        .playlist("a segment", |list| complete(list) >= 1)
        .await;
    let mut second = studio.publisher("live", KEY);
    first.ended(PATIENCE).await.unwrap();
    let wanted = |list: &MediaPlaylist| {
        let broken = list
            .segments
            .iter()
            .position(|segment| segment.discontinuity);
        broken.is_some_and(|place| complete(list) > place)
    };
    let after = studio.playlist("goes on", wanted).await;
    assert!(!after.ended);
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn by_srt_the_passphrase_opens_and_datagrams_of_nobody_do_no_harm() {
    let name = "by_srt_the_passphrase_opens";
    let Some(studio) = Studio::start(name, &["--grace-seconds", "1"]).await else {
        return;
    };
    // What is like the beginning of a handshake, from many and from one, with all that may stand in it.
    for caller in 0..40_u32 {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for round in 0..20_u32 {
            let mut datagram: Vec<u8> = (0..48 + round * 7)
                .map(|place| ((place * 7919 + caller * 131 + round * 17) >> 3) as u8)
                .collect();
            let start = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            datagram.splice(..16, start);
            let version = 4 + u8::from(round % 2 == 0);
            datagram.splice(16..20, [0, 0, 0, version]);
            socket.send_to(&datagram, &studio.srt).await.unwrap();
        }
    }
    for (options, why) in [
        ("streamid=live", "has to be encrypted"),
        ("streamid=live&passphrase=wr0ng-wr0ng", "wrong passphrase"),
        ("streamid=wr0ng-wr0ng", "the key is no stream's"),
    ] {
        let mut caller = studio.caller(options);
        assert!(
            !caller.ended(PATIENCE).await.unwrap().success(),
            "{options}"
        );
        let said = studio.said(why);
        assert!(
            said.is_some(),
            "{options}: {:#?}",
            studio.primary.program.said()
        );
    }
    assert!(studio.said("segmenter started").is_none());

    let mut caller = studio.caller(&format!("streamid=live&passphrase={KEY}"));
    studio
        .playlist("two segments", |list| complete(list) >= 2)
        .await;
    let line = studio.said("publisher is on the air").unwrap();
    for fact in ["srt", "encrypted=true", "H.264", "AAC"] {
        assert!(line.contains(fact), "{fact}: {line}");
    }
    caller.stop().await.unwrap();
    studio.playlist("the end", |list| list.ended).await;
    assert_eq!(studio.said(KEY), None, "the key is in the log");
}

/// Long enough for SRT.
const KEY: &str = "s3cr3t-s3cr3t";

const PATIENCE: Duration = Duration::from_secs(45);
