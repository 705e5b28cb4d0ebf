//! Real players on loopback: they play for a minute, through changes of the rung, and never stall.
//! `SPILLWAY_PLAY_SECONDS` makes it shorter or longer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::print_stdout,
    reason = "what was seen is for the reader of the log"
)]

mod common;
#[path = "../segmenter/tests/support/noted.rs"]
mod noted;

use std::time::Duration;

use common::{Primary, SMALL, skip};
use serde_json::Value;
use tokio::process::Command;
use tools::{
    player::{Ffmpeg, Ffplay, Mpv, Vlc, Watched},
    program::{Program, is_installed, sibling, signal},
    validate::session::{self, Options},
};

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_plays_without_a_stall() {
    let name = "ffmpeg_plays_without_a_stall";
    let Some(primary) = on_air(name, "ffmpeg").await else {
        return;
    };
    decodes_without_a_stall(name, &primary, span()).await;
    switched(&primary).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vlc_plays_without_a_stall() {
    let name = "vlc_plays_without_a_stall";
    let Some(primary) = on_air(name, "cvlc").await else {
        return;
    };
    let player = Vlc::play(&watch(&primary)).await.unwrap();
    let (watched, seen) = player.watch(span()).await.unwrap();
    println!("{name}: {watched:?} {seen:?}");
    assert!(watched.behind < Duration::from_millis(1300), "{watched:?}");
    // The last 0.9 s of picture are thrown away at a change of resolution, by VLC, whatever is signalled.
    assert!(seen.lost_pictures <= 60, "{seen:?}");
    assert!(seen.shown_pictures >= span().as_secs() * 29, "{seen:?}");
    // A buffer or two of 21 ms while its sound output starts.
    assert!(seen.lost_buffers <= 2, "{seen:?}");
    switched(&primary).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mpv_plays_without_a_stall() {
    keeps_up("mpv_plays_without_a_stall", "mpv", async |url| {
        Mpv::play(url).await?.watch(span()).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffplay_plays_without_a_stall() {
    keeps_up("ffplay_plays_without_a_stall", "ffplay", async |url| {
        Ffplay::play(url).await?.watch(span()).await
    })
    .await;
}

/// The harness by which `docs/players.md` is made, over the players that are quick to try; it judges by itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_picture_and_no_sound_is_lost_where_the_rung_changes() {
    let name = "no_picture_and_no_sound_is_lost_where_the_rung_changes";
    let missing = ["node", "ffmpeg", "mpv"]
        .into_iter()
        .find(|program| !is_installed(program));
    if let Some(obstacle) = missing.map(|program| format!("{program} is not installed")) {
        return skip(name, &obstacle);
    }
    let primary = env!("CARGO_BIN_EXE_primary");
    sibling(primary, "segmenter").unwrap();
    let programs = std::path::Path::new(primary).parent().unwrap();
    let mut node = Command::new("node");
    node.args(["tests/players/matrix.mjs", "--programs"])
        .arg(programs)
        .args(["--players", "hls.js in Chromium,ffmpeg,mpv"])
        .args(["--seconds", "30"]);
    let mut harness = Program::start("matrix.mjs", node).unwrap();
    let ended = harness.ended(Duration::from_secs(180)).await.unwrap();
    let said = harness.said_in_full().await.join("\n");
    println!("{name}:\n{said}");
    assert!(ended.success(), "{said}");
}

/// Real clips, each far shorter than the test: the end of the file is heard of by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn real_clips_play_over_and_over() {
    let name = "real_clips_play_over_and_over";
    let Some(data) = std::env::var_os("SPILLWAY_DATA") else {
        eprintln!("{name}: ran without clips, as SPILLWAY_DATA names no folder");
        return;
    };
    for clip in ["bunny-720p-5s.mp4", "street-car.mp4"] {
        let path = std::path::Path::new(&data).join("media").join(clip);
        let ladder = [
            "--rung",
            "640x360@700",
            "--rung",
            "426x240@350",
            "--rung",
            "320x180@200",
        ];
        let primary = Primary::start("127.0.0.1", path.to_str().unwrap(), &ladder).await;
        decodes_without_a_stall(&format!("{name}: {clip}"), &primary, span() / 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_js_plays_without_a_stall() {
    let name = "hls_js_plays_without_a_stall";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let primary = primary().await;
    let seconds = span().as_secs().to_string();
    let page = format!("{}/?stream=live", primary.url);
    let seen = browse(&[&page, "--seconds", &seconds]).await;
    println!("{name}: {seen}");
    assert_eq!(
        (&seen["stalls"], &seen["errors"]),
        (&0.into(), &Value::Array(vec![])),
        "{seen}"
    );
    spotless(&seen);
    switched(&primary).await;
}

/// Sound alone to who asks for nothing else; beside pictures it disturbs nobody, and a validator finds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_plays_and_disturbs_nobody() {
    let name = "sound_alone_plays_and_disturbs_nobody";
    let options = [
        "--rung",
        "320x180@200",
        "--rung",
        "640x360@600",
        "--audio-rung",
    ];
    let primary = Primary::start("127.0.0.1", "test", &options).await;
    let join = watch(&primary);
    // Who is given MPEG-TS for its own good still is.
    let vlc = reqwest::Client::new()
        .get(&join)
        .header("user-agent", "VLC/3.0.24");
    let given = vlc.send().await.unwrap().text().await.unwrap();
    assert!(given.contains(".n.x."), "{given}");
    for query in ["rung=audio", "abr=client"] {
        let options = Options {
            url: format!("{join}?{query}").parse().unwrap(),
            span: Duration::from_secs(12),
            media: true,
            headers: Vec::new(),
        };
        let report = session::run(&options).await.unwrap();
        println!("{name}: {report}");
        assert_eq!(report.breaches, 0, "{report}");
    }
    if is_installed("ffmpeg") {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-i"]);
        ffmpeg.arg(format!("{join}?rung=audio"));
        ffmpeg.args(["-t", "8", "-f", "s16le", "-ac", "1", "-ar", "48000", "-"]);
        let heard = ffmpeg.output().await.unwrap();
        let said = String::from_utf8_lossy(&heard.stderr).into_owned();
        assert_eq!(
            said.lines().map(str::to_owned).find(|line| broken(&line)),
            None
        );
        assert!(heard.stdout.len() >= 8 * 48_000 * 2 - 4096);
        assert!(heard.stdout.iter().any(|octet| *octet != 0));
    }
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    for query in ["abr=client", "rung=audio"] {
        let page = format!("{}/?stream=live&{query}", primary.url);
        let seen = browse(&[&page, "--seconds", "12"]).await;
        println!("{name}: {query}: {seen}");
        let none = Value::Array(vec![]);
        assert_eq!(
            (&seen["stalls"], &seen["errors"]),
            (&0.into(), &none),
            "{seen}"
        );
        spotless(&seen);
    }
}

/// A break of an MPEG-TS (SCTE 35) and a tag (ID3) are what a page finds among the metadata.
#[tokio::test(flavor = "multi_thread")]
async fn breaks_and_tags_become_metadata() {
    let name = "breaks_and_tags_become_metadata";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let clip = noted_clip();
    let ladder = ["--rung", "320x180@200", "--preset", "ultrafast"];
    let primary = Primary::start("127.0.0.1", &clip, &ladder).await;
    let page = format!("{}/?stream=live", primary.url);
    let seen = browse(&[&page, "--seconds", "10"]).await;
    let texts = seen["texts"].as_array().unwrap().iter();
    let metadata = texts.filter(|one| one["kind"] == "metadata");
    let keys: Vec<_> = metadata
        .flat_map(|one| one["cues"].as_array().unwrap())
        .filter_map(|cue| cue["key"].as_str())
        .collect();
    println!("{name}: {keys:?}");
    for key in ["SCTE35-OUT", "X-ID3"] {
        assert!(keys.contains(&key), "{seen}");
    }
    spotless(&seen);
}

/// Eight seconds, of which a break is told over and over, and a tag.
fn noted_clip() -> String {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [plain, clip] = ["plain.ts", "noted.ts"].map(|name| {
        let path = folder.join(format!("players-{name}"));
        path.into_os_string().into_string().unwrap()
    });
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    let picture = "testsrc2=size=320x180:rate=30:duration=8";
    ffmpeg.args([
        "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-c:v", "libx264",
    ]);
    ffmpeg.args(["-preset", "ultrafast", "-bf", "0", &plain]);
    assert!(ffmpeg.status().unwrap().success());
    let splice = noted::splice(7, None, Some(3 * 90_000));
    let tag = b"ID3\x04\x00\x00\x00\x00\x00\x00";
    let notes = [
        noted::Note::Splice(1.0, &splice),
        noted::Note::Id3(2.0, tag),
        noted::Note::Id3(4.0, tag),
        noted::Note::Id3(6.0, tag),
    ];
    std::fs::write(
        &clip,
        noted::insert(&std::fs::read(&plain).unwrap(), &notes),
    )
    .unwrap();
    clip
}

/// With parts of a third of a second, what is on screen is less than two seconds old.
#[tokio::test(flavor = "multi_thread")]
async fn hls_js_stays_close_to_live() {
    let name = "hls_js_stays_close_to_live";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let short = ["--part-seconds", "0.33", "--preset", "ultrafast"];
    let arguments = [
        &["--rung", "640x360@700", "--rung", "426x240@350"][..],
        &short,
    ];
    let primary = Primary::start("127.0.0.1", "test", &arguments.concat()).await;
    let seconds = span().as_secs().to_string();
    let page = format!("{}/?stream=live", primary.url);
    let seen = browse(&[&page, "--seconds", &seconds]).await;
    // The first seconds are those in which it finds its place.
    let timeline = seen["timeline"].as_array().unwrap().iter().skip(10);
    let mut ages: Vec<f64> = timeline.filter_map(|now| now["age"].as_f64()).collect();
    ages.sort_by(f64::total_cmp);
    let (median, most) = (ages[ages.len() / 2], ages[ages.len() - 1]);
    println!("{name}: behind live by {median:.2} s in the middle, {most:.2} s at most; {seen}");
    assert!(median < 2.0, "{median}");
    assert_eq!(seen["stalls"], 0, "{seen}");
    spotless(&seen);
}

/// The page asks for content steering; until that is asked again it is redirected.
#[tokio::test(flavor = "multi_thread")]
async fn hls_js_on_a_relay_that_is_told_to_stop_plays_on_from_the_primary() {
    let name = "hls_js_on_a_relay_that_is_told_to_stop_plays_on_from_the_primary";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let primary = Primary::start("127.0.0.1", "test", &SMALL).await;
    let mut relay = Command::new(env!("CARGO_BIN_EXE_local-server"));
    relay.args(["--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"]);
    relay.args(["--upstream", &primary.url, "--drain-seconds", "60"]);
    let mut relay = Program::start("local-server", relay).unwrap();
    let urls = relay.ready().await.unwrap();
    let page = format!("{}/?stream=live", urls[0]);
    let browsing = tokio::spawn(async move { browse(&[&page, "--seconds", "7"]).await });
    let there = async {
        let viewers = format!("{}/v1/viewers", urls[1]);
        while common::json(&viewers).await["viewers"][0]["segments"].as_u64() < Some(2) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), there)
        .await
        .expect("it plays from the relay");
    signal(relay.pid().unwrap(), "TERM");
    let seen = browsing.await.unwrap();
    println!("{name}: {seen}");
    assert_eq!(seen["node"], "primary", "{seen}");
    assert_eq!(
        (&seen["stalls"], &seen["errors"]),
        (&0.into(), &Value::Array(vec![])),
        "{seen}"
    );
    spotless(&seen);
}

/// ffmpeg decodes all that `primary` has for `span`, and complains of nothing.
async fn decodes_without_a_stall(what: &str, primary: &Primary, span: Duration) {
    let mut player = Ffmpeg::play(Command::new("ffmpeg"), &watch(primary)).unwrap();
    let playback = player.watch(span).await.unwrap();
    player.stop().await.unwrap();
    println!(
        "{what}: played {:.1?}, stalls {:?}, {:?}",
        playback.media, playback.stalls, playback.complaints
    );
    assert_eq!(playback.stalls, [], "{what}");
    assert!(playback.media >= span, "{what}: {:?}", playback.media);
    assert_eq!(playback.complaints.iter().find(broken), None, "{what}");
}

/// A player with a clock stays with it.
async fn keeps_up(
    name: &str,
    program: &str,
    play: impl AsyncFnOnce(&str) -> anyhow::Result<Watched>,
) {
    let Some(primary) = on_air(name, program).await else {
        return;
    };
    let watched = play(&watch(&primary)).await.unwrap();
    println!("{name}: {watched:?}");
    assert!(watched.behind < Duration::from_millis(500), "{watched:?}");
    switched(&primary).await;
}

/// It reads the init section anew with each reload, and warns that it skips it; that is all it may say.
fn broken(line: &&String) -> bool {
    !line.contains("duplicated MOOV") && !line.contains("repeated")
}

/// A primary for a player that is installed here.
async fn on_air(name: &str, program: &str) -> Option<Primary> {
    if is_installed(program) {
        return Some(primary().await);
    }
    skip(name, &format!("{program} is not installed"));
    None
}

/// A primary whose encoder leaves room for a player on the same machine.
async fn primary() -> Primary {
    let ladder = [
        "--rung",
        "854x480@1200",
        "--rung",
        "640x360@700",
        "--rung",
        "426x240@350",
    ];
    Primary::start("127.0.0.1", "test", &ladder).await
}

fn watch(primary: &Primary) -> String {
    format!("{}/live/live/index.m3u8", primary.url)
}

fn span() -> Duration {
    let seconds = std::env::var("SPILLWAY_PLAY_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// The player had to get over a change of the rung at least, from the start rung to the top.
async fn switched(primary: &Primary) {
    let viewers = primary.viewers().await;
    assert!(
        viewers
            .iter()
            .any(|viewer| viewer["switches"].as_u64() >= Some(1)),
        "{viewers:?}"
    );
}

fn no_browser() -> Option<String> {
    let there = ["/usr/bin/chromium", "web/node_modules/playwright-core"];
    let missing = there
        .into_iter()
        .find(|path| !std::path::Path::new(path).exists());
    missing.map(|missing| format!("there is no {missing}"))
}

/// What the harness in a browser has seen.
async fn browse(arguments: &[&str]) -> Value {
    let mut node = Command::new("node");
    node.arg("tests/players/browser.mjs").args(arguments);
    let mut harness = Program::start("browser.mjs", node).unwrap();
    let seen = harness.says(span() + Duration::from_secs(90), |line| {
        serde_json::from_str(line).ok()
    });
    seen.await.unwrap()
}

/// No complaint of the page, and nothing asked of anybody else.
fn spotless(seen: &Value) {
    let none = Value::Array(vec![]);
    assert_eq!(
        (&seen["consoleErrors"], &seen["externalRequests"]),
        (&none, &none),
        "{seen}"
    );
}
