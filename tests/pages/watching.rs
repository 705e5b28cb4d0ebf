//! The player page, as its viewers meet it.

use std::{path::PathBuf, process::Command};

use tools::link::Link;

use crate::{
    begin, captioned,
    common::{Primary, SMALL, free, skip},
    end, no_browser, says, tell,
};

/// On a page and in a frame, on a desk and on a phone, live and in the past.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_plays_wherever_it_is_watched() {
    let name = "a_stream_plays_wherever_it_is_watched";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let dvr = Folder::new("pages-dvr");
    let dvr = ["--dvr", "2m", "--dvr-dir", dvr.0.to_str().unwrap()];
    let primary = Primary::start("127.0.0.1", "test", &[&SMALL[..], &dvr].concat()).await;
    tell("plays.mjs", &[&primary.url]).await;
    tell("plays.mjs", &[&primary.url, "dark"]).await;
    tell("phone.mjs", &[&primary.url]).await;
    tell("embedded.mjs", &[&primary.url]).await;
    tell("going-back.mjs", &[&primary.url]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_falls_is_seen_and_explained() {
    let name = "a_link_that_falls_is_seen_and_explained";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    if let Some(obstacle) = Link::obstacle().await {
        return skip(name, &obstacle);
    }
    let link = Link::new(6000).await.unwrap();
    let primary = Primary::start(&link.host(), "test", &SMALL).await;
    let arguments = [&*primary.url, "180p"];
    let mut story = begin(link.command("node"), "throttled.mjs", &arguments);
    says(&mut story, "at the top").await;
    // The middle rung with its sound is about what fits.
    link.set(320).await.unwrap();
    end(story, "throttled.mjs", &arguments).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_subtitles_and_sounds_are_there_to_choose() {
    let name = "captions_subtitles_and_sounds_are_there_to_choose";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let folder = Folder::new("pages-texts");
    let ladder = "rung = [\"320x180@200\"]\npreset = \"ultrafast\"";
    let (captioned, bilingual) = (folder.captioned(), folder.bilingual());
    let config = folder.0.join("streams.toml");
    let text = format!(
        "[streams.captioned]\nsource = {captioned:?}\n{ladder}\n[streams.bilingual]\nsource = {bilingual:?}\n{ladder}\n"
    );
    std::fs::write(&config, text).unwrap();
    let primary = Primary::of_file("127.0.0.1", &config).await;
    tell("texts.mjs", &[&primary.url]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_watch_is_told_why_in_words() {
    let name = "who_cannot_watch_is_told_why_in_words";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let folder = Folder::new("pages-words");
    let keys = folder.0.join("keys");
    std::fs::write(&keys, said(&["token", "--new-key", "k1"])).unwrap();
    let keys = keys.to_str().unwrap();
    let token = said(&["token", "--token-keys", keys, "--stream", "*"]);
    let terms = ["--token-keys", keys, "--max-viewers", "1"];
    let primary = Primary::launch("127.0.0.1", "test", &[&SMALL[..], &terms].concat()).await;
    tell("words.mjs", &[&primary.url, token.trim()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_waits_for_its_stream_and_starts_by_itself() {
    let name = "a_page_waits_for_its_stream_and_starts_by_itself";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let (folder, listen) = (Folder::new("pages-waits"), free());
    let key = folder.0.join("key");
    std::fs::write(&key, "s3cr3t").unwrap();
    let key = key.to_str().unwrap();
    let desk = ["--rtmp-listen", &listen, "--publish-key-file", key];
    let grace = ["--grace-seconds", "1"];
    let options = [&SMALL[..], &desk, &grace].concat();
    let primary = Primary::launch("127.0.0.1", "publish", &options).await;
    let rtmp = format!("rtmp://{listen}/live/s3cr3t");
    tell("waits.mjs", &[&primary.url, &rtmp]).await;
}

/// What `primary` answers on the command line.
fn said(arguments: &[&str]) -> String {
    let primary = Command::new(env!("CARGO_BIN_EXE_primary"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(primary.status.success(), "{primary:?}");
    String::from_utf8(primary.stdout).unwrap()
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn ffmpeg(&self, arguments: &[&str]) {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y"]).args(arguments);
        let made = ffmpeg.current_dir(&self.0).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    /// Four seconds, each picture of which has its share of a caption.
    fn captioned(&self) -> PathBuf {
        let (plain, coded) = (self.0.join("plain.h264"), "threads=1:slices=1");
        self.ffmpeg(
            &[
                &PICTURE[..],
                &["-t", "4", "-x264-params", coded, "plain.h264"],
            ]
            .concat(),
        );
        let captioned = captioned::insert(&std::fs::read(plain).unwrap());
        std::fs::write(self.0.join("captioned.h264"), captioned).unwrap();
        let copy = ["-r", "30", "-i", "captioned.h264", "-c", "copy"];
        self.ffmpeg(&[&copy[..], &["captioned.mp4"]].concat());
        self.0.join("captioned.mp4")
    }

    /// Six seconds with sound in two languages, and two subtitles in one.
    fn bilingual(&self) -> PathBuf {
        let text = "1\n00:00:01,000 --> 00:00:03,000\n<i>Over</i> the edge & on\n\n2\n00:00:04,000 --> 00:00:05,000\nSecond\n";
        std::fs::write(self.0.join("french.srt"), text).unwrap();
        let [low, high] = ["sine=frequency=440", "sine=frequency=880"];
        let inputs = ["-f", "lavfi", "-i", low, "-f", "lavfi", "-i", high];
        let more = ["-i", "french.srt", "-map", "0", "-map", "1", "-map", "2"];
        let coded = ["-map", "3", "-c:a", "aac", "-c:s", "srt", "-t", "6.4"];
        let named = ["-metadata:s:a:0", "language=eng"];
        let titled = ["-metadata:s:a:1", "language=ger", "-metadata:s:a:1"];
        let last = ["title=Kommentar", "-metadata:s:s:0", "language=fre"];
        let (input, encoder) = PICTURE.split_at(4);
        let all = [
            input,
            &inputs,
            &more,
            encoder,
            &coded,
            &named,
            &titled,
            &last,
            &["bilingual.mkv"],
        ];
        self.ffmpeg(&all.concat());
        self.0.join("bilingual.mkv")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const PICTURE: [&str; 10] = [
    "-f",
    "lavfi",
    "-i",
    "testsrc2=size=320x180:rate=30",
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-bf",
    "0",
];
