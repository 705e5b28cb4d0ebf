//! Playback tokens, from the command line that makes one to the segment that it opens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use node::{FIRST, Feed, TestNode, patient, short};
use playlists::parse;
use reqwest::{Client, Method, Response, StatusCode, Url, redirect::Policy};
use spillway::{
    net::Fetcher,
    origin::{Stance, Terms},
    source::upstream::{self, Upstream},
    store::Store,
    token::{
        Ring, Token,
        keys::{self, Keys},
    },
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const OTHER: &str = "0000000000000b0b.paris";

/// A file of keys that goes with the test.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(name: &str) -> Self {
        let file = format!("spillway-{name}-{}.keys", std::process::id());
        let file = Self(std::env::temp_dir().join(file));
        file.write(&[keys::new_key("k1").unwrap()]);
        file
    }

    fn write(&self, lines: &[String]) {
        // Replaced, not rewritten: nobody reads half of it.
        let next = self.0.with_extension("next");
        std::fs::write(&next, lines.join("\n")).unwrap();
        std::fs::rename(next, &self.0).unwrap();
    }

    fn ring(&self) -> Ring {
        keys::read(&self.0).unwrap()
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::new(Keys::load(&self.0, Duration::from_secs(3600)).unwrap())
    }

    fn token(&self, scope: &str) -> String {
        self.ring().sign(scope, keys::now() + 60)
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A node that asks for tokens, with something to watch.
async fn node(keys: Arc<Keys>) -> (TestNode, Feed) {
    let terms = Terms {
        keys: Some(keys),
        ..Terms::default()
    };
    let node = TestNode::on("node", terms, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    (node, feed)
}

async fn get(url: impl AsRef<str>) -> Response {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    client.get(url.as_ref()).send().await.unwrap()
}

async fn text(url: impl AsRef<str>) -> String {
    let answer = get(url.as_ref()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{}", url.as_ref());
    answer.text().await.unwrap()
}

/// Where a join at `url` leads.
async fn joined(url: &str) -> Url {
    let variants = parse::multivariant(&text(url).await).unwrap();
    let [variant] = &variants[..] else {
        panic!("{variants:?}")
    };
    url.parse::<Url>().unwrap().join(&variant.uri).unwrap()
}

#[tokio::test]
async fn without_a_token_nothing_is_to_be_had_and_a_page_may_read_why() {
    let file = KeyFile::new("nothing");
    let (node, _feed) = node(file.keys()).await;
    let strange = KeyFile::new("strange").token("*");
    for path in [
        "live",
        "live/demo/index.m3u8",
        "live/demo/low.m3u8",
        "live/demo/7/init.mp4",
        "live/demo/7/low/1000.m4s",
        "live/demo/v/0000000000000b0b.paris/index.m3u8",
        "live/demo/v/0000000000000b0b.paris/1000.m4s",
        "live/none/index.m3u8",
    ] {
        for url in [
            format!("{}/{path}", node.url),
            format!("{}/~{strange}/{path}", node.url),
        ] {
            let answer = get(&url).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{url}");
            assert_eq!(answer.headers()["access-control-allow-origin"], "*");
            assert_eq!(answer.headers()["cache-control"], "private, no-store");
            assert!(answer.headers().contains_key("www-authenticate"));
            let why = answer.text().await.unwrap();
            assert_eq!(why.lines().count(), 1, "{why}");
            assert!(!why.contains(&strange), "{why}");
        }
    }
    let url = format!("{}/~{strange}/live/demo/index.m3u8", node.url);
    let asked = Client::new()
        .request(Method::OPTIONS, url)
        .header("origin", "http://page.test")
        .header("access-control-request-method", "GET");
    let answer = asked.send().await.unwrap();
    assert!(answer.status().is_success());
    assert_eq!(answer.headers()["access-control-allow-methods"], "*");
    assert_eq!(node.origin.viewers.count(), 0);
}

#[tokio::test]
async fn a_token_opens_its_stream_and_every_name_inherits_it() {
    let file = KeyFile::new("opens");
    let (node, _feed) = node(file.keys()).await;
    let token = file.token("demo");
    let mut texts = Vec::new();
    for join in [
        format!(
            "{}/live/demo/index.m3u8?region=paris&token={token}",
            node.url
        ),
        format!("{}/~{token}/live/demo/index.m3u8?region=paris", node.url),
    ] {
        let list = joined(&join).await;
        assert!(
            list.path().starts_with("/~k1.") && list.path().contains("/live/demo/v/"),
            "{list}"
        );
        let playlist = text(&list).await;
        let parsed = parse::media(&playlist).unwrap();
        let map = parsed.segments[0].map.clone().unwrap();
        for name in [map, parsed.segments[1].uri.clone().unwrap()] {
            assert_eq!(
                get(list.join(&name).unwrap()).await.status(),
                StatusCode::OK,
                "{name}"
            );
        }
        texts.push(playlist);
    }
    assert_eq!(texts[0], texts[1], "the text knows of no token");
    assert_eq!(node.origin.viewers.count(), 2);
    let streams = text(format!("{}/live?token={token}", node.url)).await;
    assert!(streams.contains("demo"));
    let elsewhere = file.token("other");
    let streams = text(format!("{}/live?token={elsewhere}", node.url)).await;
    assert!(!streams.contains("demo"), "{streams}");
    let answer = get(format!(
        "{}/live/demo/index.m3u8?token={elsewhere}",
        node.url
    ))
    .await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        answer.text().await.unwrap(),
        "the token is for other, not for this\n"
    );
}

#[tokio::test]
async fn whoever_joined_plays_on_when_the_token_of_the_join_has_expired() {
    let file = KeyFile::new("expired");
    let (node, _feed) = node(file.keys()).await;
    let join = |expires| {
        let token = file.ring().sign("demo", expires);
        format!("{}/live/demo/index.m3u8?token={token}", node.url)
    };
    let answer = get(join(keys::now() - 40)).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    // Or a few seconds more, on a busy machine.
    assert!(answer.text().await.unwrap().contains("expired 4"));
    // Just now, and clocks differ by more.
    let list = joined(&join(keys::now() - 1)).await;
    let session = list
        .path()
        .split('/')
        .nth(1)
        .unwrap()
        .trim_start_matches('~')
        .to_owned();
    let ring = file.ring();
    let token = ring.verify(&session, keys::now() + 3500).unwrap();
    assert!(token.expires <= keys::now() + 3600, "but not for ever");
    text(&list).await;
    // It is for this viewer: for no other, for no further join, for no single rung.
    let base = format!("{}/~{session}/live", node.url);
    for path in [
        format!("demo/v/{OTHER}/index.m3u8"),
        format!("demo/v/{OTHER}/1000.m4s"),
        "demo/index.m3u8".into(),
        "demo/low.m3u8".into(),
        "demo/low%2Em3u8".into(),
        "other/index.m3u8".into(),
    ] {
        let answer = get(format!("{base}/{path}")).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn a_player_that_adapts_by_itself_has_the_whole_ladder() {
    let file = KeyFile::new("ladder");
    let (node, _feed) = node(file.keys()).await;
    let join: Url = format!(
        "{}/live/demo/index.m3u8?abr=client&token={}",
        node.url,
        file.token("d*")
    )
    .parse()
    .unwrap();
    let variants = parse::multivariant(&text(&join).await).unwrap();
    assert_eq!(variants.len(), 3);
    for variant in variants {
        let list = join.join(&variant.uri).unwrap();
        let parsed = parse::media(&text(&list).await).unwrap();
        let segment = parsed.segments[0].uri.clone().unwrap();
        assert_eq!(
            get(list.join(&segment).unwrap()).await.status(),
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn keys_are_changed_under_those_who_watch() {
    let file = KeyFile::new("rotated");
    let keys = file.keys();
    let stop = CancellationToken::new();
    let follow = tokio::spawn(keys.clone().follow(stop.clone()));
    let (node, _feed) = node(keys.clone()).await;
    let old = std::fs::read_to_string(&file.0).unwrap();
    let list = joined(&format!(
        "{}/live/demo/index.m3u8?token={}",
        node.url,
        file.token("demo")
    ))
    .await;
    let signs = async |id: &str| {
        let signed = async {
            while !keys.ring().sign("*", 0).starts_with(id) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), signed).await.unwrap();
    };
    let new = keys::new_key("k2").unwrap();
    file.write(&[new.clone(), old]);
    signs("k2").await;
    text(&list).await;
    // What is no file of keys changes nothing.
    file.write(&["k3".into()]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    text(&list).await;
    file.write(&[new]);
    let answer = async {
        loop {
            let answer = get(&list).await;
            if answer.status() != StatusCode::OK {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = timeout(Duration::from_secs(20), answer).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("key \"k1\" is none of this node's")
    );
    stop.cancel();
    follow.await.unwrap();
}

#[tokio::test]
async fn a_viewer_that_is_sent_to_another_node_takes_its_token_along() {
    let file = KeyFile::new("moved");
    let (node, _feed) = node(file.keys()).await;
    let (other, _other_feed) = self::node(file.keys()).await;
    let premium = file.ring().sign_all(&Token {
        scope: "demo",
        class: Some("premium"),
        expires: keys::now() + 60,
    });
    let join = format!("{}/live/demo/index.m3u8?token={premium}", node.url);
    let list = joined(&join).await;
    let session = list.path().split('/').nth(1).unwrap();
    let session = session.strip_prefix('~').unwrap();
    let class = file.ring().verify(session, keys::now()).unwrap().class;
    assert_eq!(class, Some("premium"), "{session}");
    text(&list).await;
    node.origin.stance.store(Arc::new(Stance::Draining {
        to: other.url.clone(),
    }));
    for url in [list.clone(), list.join("1001.m4s").unwrap()] {
        let answer = get(&url).await;
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        let to = answer.headers()["location"].to_str().unwrap().to_owned();
        assert!(
            to.starts_with(&format!("{}{}", other.url, url.path())),
            "{to}"
        );
        assert_eq!(get(to).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_relay_with_the_same_keys_follows_a_node_that_asks_for_tokens() {
    let file = KeyFile::new("relay");
    let (primary, _feed) = node(file.keys()).await;
    let keys = file.keys();
    let bearing = Fetcher::new()
        .unwrap()
        .bearing(Arc::new(move || keys.errand()));
    let (store, stop) = (Store::default(), CancellationToken::new());
    let upstream = Upstream::node(primary.url.parse().unwrap(), bearing, 6);
    let following = tokio::spawn(upstream::run(upstream, store.clone(), stop.clone()));
    let arrived = async {
        loop {
            if let Some(mut stream) = store.stream("demo") {
                let there = |window: &playlists::Window| window.segment(FIRST + 3).is_some();
                return stream.wait(there).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), arrived).await.unwrap();
    stop.cancel();
    following.await.unwrap();
}

fn primary(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_primary"));
    let output = command
        .args(arguments)
        .env_remove("SPILLWAY_TOKEN_KEYS")
        .output()
        .unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn keys_and_tokens_are_made_on_the_command_line() {
    let file = KeyFile::new("made");
    let (code, key, _) = primary(&["token", "--new-key", "k7"]);
    assert_eq!(code, Some(0));
    file.write(&[key.trim().to_owned()]);
    let path = file.0.to_str().unwrap();
    let (code, token, _) = primary(&[
        "token",
        "--token-keys",
        path,
        "--stream",
        "demo",
        "--class",
        "premium",
        "--ttl",
        "10m",
    ]);
    assert_eq!(code, Some(0));
    let (ring, now) = (file.ring(), keys::now());
    let token = ring.verify(token.trim(), now).unwrap();
    assert_eq!((token.scope, token.class), ("demo", Some("premium")));
    assert!((now + 590..=now + 600).contains(&token.expires));
    for (arguments, why) in [
        (
            &["token", "--token-keys", path, "--stream", "a/b"][..],
            "is not 1 to 64 letters",
        ),
        (
            &["token", "--token-keys", "/nowhere", "--stream", "demo"],
            "cannot read the token keys /nowhere",
        ),
        (
            &[
                "token",
                "--token-keys",
                path,
                "--stream",
                "demo",
                "--ttl",
                "soon",
            ],
            "is not a number and s, m, h or d",
        ),
        (
            &[
                "token",
                "--token-keys",
                path,
                "--stream",
                "demo",
                "--class",
                "a.b",
            ],
            "class \"a.b\" is not 1 to 32 letters",
        ),
        (&["token", "--new-key", "a b"], "is not 1 to 32 letters"),
    ] {
        let (code, said, error) = primary(arguments);
        assert_eq!((code, said.as_str()), (Some(2), ""), "{error}");
        assert!(error.contains(why), "{error}");
    }
    assert!(Path::new(path).exists());
}
