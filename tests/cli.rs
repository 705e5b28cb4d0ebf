//! Bad input at the command line: one clear line each, and an exit code that says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use common::{Primary, SMALL, free};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};
use tools::program::{Program, is_installed, sibling, signal};

/// A start that must fail: the program, its arguments, its exit code, and what its last word must hold.
async fn refused(program: &str, arguments: &[&str], code: i32, words: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).env("RUST_LOG", "error");
    if program == PRIMARY {
        command.args([
            "--segmenter".as_ref(),
            sibling(PRIMARY, "segmenter").unwrap().as_os_str(),
        ]);
    }
    let mut started = Program::start("it", command).unwrap();
    let status = started.ended(Duration::from_secs(30)).await.unwrap();
    let said = started.said_in_full().await;
    let line = said
        .iter()
        .find(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        line.is_some(),
        "{arguments:?} said {said:#?}, nothing with {words:?}"
    );
    assert_eq!(status.code(), Some(code), "{arguments:?} said {said:#?}");
    assert!(
        !said.iter().any(|line| line.contains("panicked")),
        "{said:#?}"
    );
}

const PRIMARY: &str = env!("CARGO_BIN_EXE_primary");
const RELAY: &str = env!("CARGO_BIN_EXE_local-server");
const MANAGER: &str = env!("CARGO_BIN_EXE_traffic-manager");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");

/// Ports that nobody else has.
const ANY: [&str; 4] = ["--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"];

#[tokio::test]
async fn media_that_cannot_be_is_named() {
    let folder = Folder::new("media");
    let garbage = folder.file("garbage.mp4", &b"this is no film".repeat(1000));
    for (source, words) in [
        ("/nowhere/film.mp4", ["/nowhere/film.mp4", "no such file"]),
        (garbage.to_str().unwrap(), ["garbage.mp4", "damaged"]),
    ] {
        refused(
            PRIMARY,
            &[&["127.0.0.1", source], &ANY[..]].concat(),
            1,
            &words.map(|word| word),
        )
        .await;
    }
    refused(
        PRIMARY,
        &[
            &["127.0.0.1", "test", "--slate", "/nowhere/sorry.png"],
            &ANY[..],
        ]
        .concat(),
        1,
        &["--slate", "/nowhere/sorry.png", "no such file"],
    )
    .await;
}

#[tokio::test]
async fn sound_without_a_picture_is_refused_and_a_picture_without_sound_plays() {
    if !is_installed("ffmpeg") {
        return common::skip(
            "sound_without_a_picture_is_refused",
            "ffmpeg is not installed",
        );
    }
    let folder = Folder::new("halves");
    let sound = folder
        .made(
            "sound.m4a",
            &["-f", "lavfi", "-i", "sine=duration=3", "-c:a", "aac"],
        )
        .await;
    refused(
        PRIMARY,
        &[&["127.0.0.1", &sound], &ANY[..]].concat(),
        1,
        &["sound.m4a", "no video"],
    )
    .await;

    let picture = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x180:rate=25:duration=6",
        "-c:v",
        "libx264",
        "-g",
        "50",
    ];
    let picture = folder.made("picture.mp4", &picture).await;
    let mut primary = Primary::start("127.0.0.1", &picture, &SMALL).await;
    let list = reqwest::get(format!("{}/live/live/index.m3u8", primary.url))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        list.contains("mp4a.40.2"),
        "it has silence for sound: {list}"
    );
    let list = format!("{}/live/live/v/0000000000000001.x/index.m3u8", primary.url);
    let list = reqwest::get(list).await.unwrap().text().await.unwrap();
    // hls.js counts up to this number with every segment; a large one freezes the page.
    assert!(list.contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n"), "{list}");
    assert!(primary.program.stop().await.unwrap().success());
}

#[tokio::test]
async fn what_is_configured_wrongly_is_named_with_its_line() {
    let folder = Folder::new("config");
    let file = folder.file("primary.toml", b"listen = '127.0.0.1:0'\negress-mpbs = 3\n");
    refused(
        PRIMARY,
        &["--config", file.to_str().unwrap()],
        2,
        &["primary.toml:2", "egress-mpbs"],
    )
    .await;
    let file = folder.file("relay.toml", b"listen = 'here'\n");
    refused(
        RELAY,
        &["--config", file.to_str().unwrap()],
        2,
        &["relay.toml:1", "here"],
    )
    .await;
    refused(
        PRIMARY,
        &["--config", "/nowhere/x.toml"],
        2,
        &["/nowhere/x.toml", "No such file"],
    )
    .await;
    refused(PRIMARY, &["127.0.0.1"], 2, &["nothing to stream"]).await;
    refused(
        PRIMARY,
        &["127.0.0.1", "test", "--egress-mbps", "0"],
        2,
        &["egress-mbps is 0"],
    )
    .await;
    refused(
        PRIMARY,
        &["127.0.0.1", "test", "--stream", "a/b"],
        2,
        &["a/b", "letters, digits"],
    )
    .await;
    refused(
        PRIMARY,
        &["127.0.0.1", "test", "--grace-seconds", "5"],
        2,
        &["stream live", "--slate"],
    )
    .await;
    refused(RELAY, &["127.0.0.1"], 2, &["traffic manager"]).await;
    refused(MANAGER, &["not a url", "3"], 2, &["not a url"]).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let words = [address.as_str(), "in use", "another port"];
    let private = ["--private-listen", "127.0.0.1:0"];
    refused(
        PRIMARY,
        &[&["127.0.0.1", "test", "--listen", &address], &private[..]].concat(),
        2,
        &words,
    )
    .await;
    refused(
        MANAGER,
        &["http://127.0.0.1:1", "3", "--listen", &address],
        2,
        &words,
    )
    .await;
}

#[tokio::test]
async fn a_client_says_what_it_could_not_reach() {
    let nobody = free();
    let (ip, port) = nobody.split_once(':').unwrap();
    refused(CLIENT, &[ip, port], 1, &[&nobody, "refused"]).await;
    refused(
        CLIENT,
        &["--url", &format!("http://{nobody}/live/x/index.m3u8")],
        1,
        &[&nobody, "refused"],
    )
    .await;
}

#[tokio::test]
async fn a_program_whose_log_nobody_reads_still_stops_when_told() {
    let mut command = Command::new(RELAY);
    command.args([
        "127.0.0.1",
        "127.0.0.1",
        "1",
        "--listen",
        "127.0.0.1:0",
        "--private-listen",
        "127.0.0.1:0",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut relay = command.spawn().unwrap();
    let mut output = BufReader::new(relay.stdout.take().unwrap()).lines();
    assert!(
        output
            .next_line()
            .await
            .unwrap()
            .unwrap()
            .starts_with("ready ")
    );
    // As when the manager that started it, and read its log, has been killed.
    drop((output, relay.stderr.take()));
    signal(relay.id().unwrap(), "TERM");
    let ended = tokio::time::timeout(Duration::from_secs(15), relay.wait()).await;
    assert!(ended.expect("it stops").unwrap().success());
}

/// Units of systemd send it at `reload`, be there a certificate, a key or a log or not.
#[tokio::test]
async fn servers_that_have_nothing_to_read_anew_outlive_the_word_to_do_so() {
    let relay = [&["127.0.0.1", "127.0.0.1", "1"], &ANY[..]].concat();
    let manager = ["http://127.0.0.1:1", "1", "--listen", "127.0.0.1:0"];
    let publish = ["127.0.0.1", "publish", "--rtmp-listen", "127.0.0.1:0"];
    let primary = [&publish, &ANY[..]].concat();
    for (name, arguments) in [
        (RELAY, &relay[..]),
        (MANAGER, &manager[..]),
        (PRIMARY, &primary[..]),
    ] {
        let mut command = Command::new(name);
        command
            .args(arguments)
            .env("SPILLWAY_PUBLISH_KEY", "a-key-of-some-length");
        let mut server = Program::start(name, command).unwrap();
        server.ready().await.unwrap();
        signal(server.pid().unwrap(), "HUP");
        // It comes after the other, which would have ended it.
        let ended = server.stop().await.unwrap();
        assert!(ended.success(), "{name}: {ended}");
    }
}

#[tokio::test]
async fn a_check_misses_the_files_that_a_start_would_miss() {
    let key = ["127.0.0.1", "publish", "--publish-key-file", "/nowhere/key"];
    let key = [&key[..], &["--check"]].concat();
    refused(PRIMARY, &key, 2, &["stream live", "/nowhere/key"]).await;
    let secret = ["--control-secret-file", "/nowhere/secret", "--check"];
    let relay = [&["127.0.0.1", "127.0.0.1", "1"], &secret[..]].concat();
    refused(RELAY, &relay, 2, &["/nowhere/secret"]).await;
    let manager = [&["http://127.0.0.1:1", "1"], &secret[..]].concat();
    refused(MANAGER, &manager, 2, &["/nowhere/secret"]).await;
}

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A file that ffmpeg makes.
    async fn made(&self, name: &str, arguments: &[&str]) -> String {
        let path = self.0.join(name);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg
            .args(["-nostdin", "-v", "error", "-y"])
            .args(arguments)
            .arg(&path);
        assert!(ffmpeg.status().await.unwrap().success());
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it lies in the build's own folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
