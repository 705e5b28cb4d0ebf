//! HTTP as it should be: over TLS and without, in both versions, through proxies, within bounds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;
#[path = "common/site.rs"]
mod site;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use node::FIRST;
use reqwest::{Method, StatusCode, Version, header};
use site::{Ca, Site, presented};
use spillway::net::{FrontConfig, PerAddress};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

const ALICE: &str = "live/demo/v/00000000000a11ce.paris";
const PATIENCE: Duration = Duration::from_secs(10);

// --- TLS -----------------------------------------------------------------------------------------

#[tokio::test]
async fn with_a_certificate_both_versions_are_spoken() {
    let ca = Ca::new("versions");
    ca.issue();
    let site = Site::open(&ca.config()).await;
    for (client, version) in [
        (ca.client(), Version::HTTP_2),
        (ca.client().http1_only(), Version::HTTP_11),
    ] {
        let client = client.build().unwrap();
        for path in [
            "/live/demo/index.m3u8",
            &format!("{ALICE}/index.m3u8"),
            &format!("{ALICE}/1001.m4s"),
            "/live/demo/7/init.mp4",
            "/",
        ] {
            let answer = client.get(site.at(path)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(answer.version(), version, "{path}");
            assert!(!answer.bytes().await.unwrap().is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn what_was_delivered_is_counted_to_the_octet_whatever_is_around_it() {
    let ca = Ca::new("counted");
    ca.issue();
    let site = Site::open(&ca.config()).await;
    let mut sent = 0;
    for client in [ca.client(), ca.client().http1_only()] {
        let client = client.build().unwrap();
        for number in FIRST..FIRST + 4 {
            let url = site.at(&format!("{ALICE}/{number}.m4s"));
            let media = client.get(url).send().await.unwrap().bytes().await.unwrap();
            sent += media.len() as u64;
        }
    }
    delivered(&site, sent).await;
    let report = &site.origin.viewers.look(0xa11ce, std::time::Instant::now())[0];
    assert!(report.estimate_kbps.is_some(), "and its path was measured");
}

#[tokio::test]
async fn several_segments_at_a_time_over_one_connection_are_all_counted() {
    let ca = Ca::new("multiplexed");
    ca.issue();
    let site = Site::open(&ca.config()).await;
    let client = ca.client().build().unwrap();
    // The connection is there, so that all of them share it.
    client.get(site.at("/")).send().await.unwrap();
    let fetches = (FIRST..FIRST + 4).map(|number| {
        let request = client.get(site.at(&format!("{ALICE}/{number}.m4s")));
        tokio::spawn(async move { request.send().await.unwrap().bytes().await.unwrap().len() })
    });
    let mut sent = 0;
    for fetch in fetches.collect::<Vec<_>>() {
        sent += fetch.await.unwrap() as u64;
    }
    delivered(&site, sent).await;
}

/// Waits until so many octets of media are known to have arrived, and no more.
async fn delivered(site: &Site, sent: u64) {
    let viewers = &site.origin.viewers;
    let over = async {
        while viewers.look(0xa11ce, std::time::Instant::now())[0].octets != sent {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let over = timeout(PATIENCE, over).await;
    let report = viewers.look(0xa11ce, std::time::Instant::now());
    assert!(over.is_ok(), "{sent} octets, and {report:?}");
    assert_eq!(viewers.egress.load(Relaxed), sent);
}

#[tokio::test]
async fn a_new_certificate_is_presented_to_who_comes_and_nobody_is_hung_up_on() {
    let ca = Ca::new("reload");
    ca.issue();
    let site = Site::open(&ca.config()).await;
    let mut before = ca.shake(site.address, b"http/1.1").await;
    let first = presented(&before);
    ca.issue();
    let second = timeout(PATIENCE, async {
        loop {
            let now = presented(&ca.shake(site.address, b"http/1.1").await);
            if now != first {
                return now;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let second = second.await.expect("the new one is presented");
    // One that is no good is not taken up: it has to be there for longer than it takes to look.
    std::fs::write(ca.path("cert.pem"), "-----BEGIN CERTIFICATE-----\nno\n").unwrap();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(
        presented(&ca.shake(site.address, b"http/1.1").await),
        second
    );
    // A good certificate with the key of another.
    let key = std::fs::read(ca.path("key.pem")).unwrap();
    ca.issue();
    std::fs::write(ca.path("key.pem"), key).unwrap();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(
        presented(&ca.shake(site.address, b"http/1.1").await),
        second
    );
    let answer = exchange(
        &mut before,
        "GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(
        answer.await.starts_with("HTTP/1.1 200"),
        "the old connection lives"
    );
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused_in_one_line() {
    let ca = Ca::new("refused");
    ca.issue();
    let good = std::fs::read(ca.path("cert.pem")).unwrap();
    ca.issue();
    std::fs::write(ca.path("other.pem"), good).unwrap();
    std::fs::write(ca.path("empty.pem"), "").unwrap();
    let file = |name: &str| Some(ca.path(name));
    for (config, told) in [
        (
            FrontConfig {
                tls_cert: file("nowhere.pem"),
                ..FrontConfig::default()
            },
            "cannot read",
        ),
        (
            FrontConfig {
                tls_cert: file("empty.pem"),
                ..FrontConfig::default()
            },
            "there is no certificate in it",
        ),
        (
            FrontConfig {
                tls_cert: file("cert.pem"),
                ..FrontConfig::default()
            },
            "no unencrypted private key",
        ),
        (
            FrontConfig {
                tls_cert: file("other.pem"),
                ..ca.config()
            },
            "is not that of the certificate",
        ),
        (
            FrontConfig {
                tls_cert: None,
                ..ca.config()
            },
            "tls-key without tls-cert",
        ),
        (
            FrontConfig {
                http_listen: Some("127.0.0.1:0".parse().unwrap()),
                ..FrontConfig::default()
            },
            "there is no certificate",
        ),
        (
            FrontConfig {
                proxy_protocol: Some(true),
                ..FrontConfig::default()
            },
            "say which with trusted-proxy",
        ),
        (
            FrontConfig {
                acme_domain: vec!["127.0.0.1".into()],
                ..FrontConfig::default()
            },
            "is not a host name",
        ),
    ] {
        let error = format!("{:#}", config.open().await.unwrap_err());
        assert!(
            error.contains(told) && error.lines().count() == 1,
            "{error}"
        );
    }
}

#[tokio::test]
async fn who_does_not_finish_a_handshake_is_hung_up_on() {
    let ca = Ca::new("handshake");
    ca.issue();
    let mut front = ca.config().open().await.unwrap();
    front.server.limits.handshake = Duration::from_millis(200);
    let site = Site::start(front, "127.0.0.1:0").await;
    for start in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut slow = TcpStream::connect(site.address).await.unwrap();
        slow.write_all(start).await.unwrap();
        hung_up(&mut slow).await;
    }
    let plain = exchange(
        TcpStream::connect(site.address).await.unwrap(),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert!(!plain.await.contains("HTTP/1.1"), "an alert, and no page");
}

#[tokio::test]
async fn the_plain_listener_sends_everybody_on() {
    let ca = Ca::new("plain");
    ca.issue();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = free.local_addr().unwrap();
    drop(free);
    let config = FrontConfig {
        http_listen: Some(plain),
        ..ca.config()
    };
    let site = Site::open(&config).await;
    let client = ca.client().build().unwrap();
    let path = "/live/demo/index.m3u8?region=paris";
    let answer = client
        .get(format!("http://{plain}{path}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(answer.headers()["location"], site.at(path).as_str());
    let posted = client
        .post(format!("http://{plain}/v1/x"))
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), StatusCode::PERMANENT_REDIRECT);
    let token = format!("http://{plain}/.well-known/acme-challenge/x");
    let token = client.get(token).send().await.unwrap();
    assert_eq!(token.status(), StatusCode::NOT_FOUND);
}

// --- HTTP/2 --------------------------------------------------------------------------------------

/// What a client of HTTP/2 begins with; its window takes nothing if `shut`.
fn preface(shut: bool) -> Vec<u8> {
    let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let window: &[u8] = if shut { &[0, 4, 0, 0, 0, 0] } else { &[] };
    preface.extend([0, 0, window.len() as u8, 4, 0, 0, 0, 0, 0]);
    preface.extend(window);
    preface
}

/// Headers of a GET, without Huffman's code and without a table.
fn headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, path.len() as u8];
    block.extend(path.as_bytes());
    block.extend([0x41, 1, b'x']);
    let mut frame = vec![0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1];
    frame.extend(block);
    frame
}

#[tokio::test]
async fn who_keeps_its_window_shut_is_hung_up_on() {
    let ca = Ca::new("shut");
    ca.issue();
    let mut front = ca.config().open().await.unwrap();
    front.server.limits.stalled_write = Duration::from_millis(300);
    let site = Site::start(front, "127.0.0.1:0").await;
    let mut shut = ca.shake(site.address, b"h2").await;
    shut.write_all(&preface(true)).await.unwrap();
    let segment = headers(&format!("/{ALICE}/1001.m4s"));
    shut.write_all(&segment).await.unwrap();
    let answer = hung_up(&mut shut).await;
    assert!(answer.len() < 2000, "heads and no media: {}", answer.len());
}

#[tokio::test]
async fn who_asks_for_nothing_is_told_to_go() {
    let ca = Ca::new("idle");
    ca.issue();
    let mut front = ca.config().open().await.unwrap();
    front.server.limits.head = Duration::from_millis(300);
    // This one does not even answer to being told so.
    front.server.limits.handshake = Duration::from_millis(300);
    let site = Site::start(front, "127.0.0.1:0").await;
    let mut idle = ca.shake(site.address, b"h2").await;
    idle.write_all(&preface(false)).await.unwrap();
    hung_up(&mut idle).await;
}

#[tokio::test]
async fn a_stop_lets_open_requests_end_and_then_cuts() {
    let ca = Ca::new("stop");
    ca.issue();
    let site = Site::open(&ca.config()).await;
    let client = ca.client().build().unwrap();
    let next = site.at(&format!("{ALICE}/index.m3u8?_HLS_msn={}", FIRST + 4));
    let waiting = tokio::spawn(client.get(next).send());
    client.get(site.at("/who")).send().await.unwrap();
    let mut quiet = ca.shake(site.address, b"http/1.1").await;
    let mut silent = TcpStream::connect(site.address).await.unwrap();
    site.stop.cancel();
    timeout(PATIENCE, site.serving)
        .await
        .expect("it stops")
        .unwrap();
    hung_up(&mut quiet).await;
    hung_up(&mut silent).await;
    // Answered with what there is, or cut off after its time; but not left alone.
    let _ = timeout(PATIENCE, waiting)
        .await
        .expect("whoever waited knows");
}

// --- proxies and bounds --------------------------------------------------------------------------

fn behind(networks: &[&str]) -> FrontConfig {
    FrontConfig {
        trusted_proxy: networks.iter().map(|text| text.parse().unwrap()).collect(),
        ..FrontConfig::default()
    }
}

#[tokio::test]
async fn the_proxy_protocol_is_believed_from_trusted_networks() {
    let config = FrontConfig {
        proxy_protocol: Some(true),
        ..behind(&["127.0.0.0/8"])
    };
    let site = Site::open(&config).await;
    let ask = "GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let asked = async |header: &[u8]| {
        let request = [header, ask.as_bytes()].concat();
        exchange(TcpStream::connect(site.address).await.unwrap(), request).await
    };
    let first = asked(b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n").await;
    assert!(first.ends_with("192.0.2.7 192.0.2.7 false"), "{first}");
    let second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x12\x67\x01\xbb";
    let second = asked(second).await;
    assert!(second.ends_with("192.0.2.7 192.0.2.7 false"), "{second}");
    let health = asked(b"PROXY UNKNOWN\r\n").await;
    assert!(health.ends_with("127.0.0.1 127.0.0.1 false"), "{health}");
    assert_eq!(
        asked(b"").await,
        "",
        "a trusted proxy has to say whom it is for"
    );
}

#[tokio::test]
async fn the_proxy_protocol_of_a_stranger_is_garbage() {
    let config = FrontConfig {
        proxy_protocol: Some(true),
        ..behind(&["10.0.0.0/8"])
    };
    let site = Site::open(&config).await;
    let request = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\nGET /who HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = exchange(TcpStream::connect(site.address).await.unwrap(), request);
    assert!(answer.await.starts_with("HTTP/1.1 400"));
    let direct = "GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = exchange(TcpStream::connect(site.address).await.unwrap(), direct);
    assert!(answer.await.ends_with("127.0.0.1 127.0.0.1 true"));
}

#[tokio::test]
async fn a_forwarding_header_is_believed_from_trusted_networks() {
    let client = reqwest::Client::new();
    for (networks, told) in [
        (&["127.0.0.1"][..], "192.0.2.7 127.0.0.1 false"),
        (&["10.0.0.0/8"], "127.0.0.1 127.0.0.1 true"),
        (&[], "127.0.0.1 127.0.0.1 true"),
    ] {
        let networks: Vec<_> = networks.iter().map(|text| cidr(text)).collect();
        let networks: Vec<_> = networks.iter().map(String::as_str).collect();
        let site = Site::open(&behind(&networks)).await;
        let request = client
            .get(site.at("/who"))
            .header("x-forwarded-for", "6.6.6.6, 192.0.2.7")
            .header("forwarded", "for=9.9.9.9");
        let said = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(said, told, "{networks:?}");
    }
}

fn cidr(text: &str) -> String {
    match text.contains('/') {
        true => text.to_owned(),
        false => format!("{text}/32"),
    }
}

#[tokio::test]
async fn behind_a_proxy_octets_count_all_the_same() {
    let site = Site::open(&behind(&["127.0.0.0/8"])).await;
    let client = reqwest::Client::new();
    let mut sent = 0;
    for number in FIRST..FIRST + 4 {
        let url = site.at(&format!("{ALICE}/{number}.m4s"));
        sent += client
            .get(url)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .len() as u64;
    }
    delivered(&site, sent).await;
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let mut front = FrontConfig::default().open().await.unwrap();
    let limits = &mut front.server.limits;
    assert!(limits.per_address.is_some_and(|limit| limit.spare_loopback));
    limits.per_address = Some(PerAddress {
        most: 2,
        spare_loopback: false,
    });
    let site = Site::start(front, "127.0.0.1:0").await;
    let ask = "GET /who HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        stream.read_u8().await.unwrap();
        open.push(stream);
    }
    let third = exchange(TcpStream::connect(site.address).await.unwrap(), ask);
    assert_eq!(third.await, "");
    let elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut elsewhere = elsewhere.connect(site.address).await.unwrap();
    elsewhere.write_all(ask.as_bytes()).await.unwrap();
    elsewhere.read_u8().await.unwrap();
    // Whoever leaves makes room.
    open.pop();
    let room = async {
        loop {
            let mut stream = TcpStream::connect(site.address).await.unwrap();
            let _ = stream.write_all(ask.as_bytes()).await;
            if stream.read_u8().await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, room).await.expect("there is room again");
}

#[tokio::test]
async fn both_families_of_addresses_are_listened_on() {
    if tokio::net::TcpListener::bind("[::1]:0").await.is_err() {
        eprintln!("SKIPPED both_families_of_addresses_are_listened_on: no ::1 here");
        return;
    }
    let front = FrontConfig::default().open().await.unwrap();
    let url = front.url("[::1]:8080".parse().unwrap(), "::1".parse().unwrap());
    assert_eq!(url.unwrap().as_str(), "http://[::1]:8080/");
    let site = Site::start(front, "[::]:0").await;
    for (host, told) in [
        ("127.0.0.1", "127.0.0.1 127.0.0.1 true"),
        ("[::1]", "::1 ::1 true"),
    ] {
        let url = format!("http://{host}:{}/who", site.address.port());
        let said = reqwest::get(url).await.unwrap().text().await.unwrap();
        assert_eq!(said, told);
    }
}

// --- answers -------------------------------------------------------------------------------------

#[tokio::test]
async fn long_texts_are_compressed_for_who_takes_it_and_media_is_not() {
    let site = Site::open(&FrontConfig::default()).await;
    let client = reqwest::Client::builder().no_gzip().build().unwrap();
    let unpacking = reqwest::Client::builder().gzip(true).build().unwrap();
    let page = client
        .get(site.at("/"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let script = page
        .split('"')
        .find(|text| text.ends_with(".js"))
        .unwrap()
        .to_owned();
    for (path, long) in [
        (script.as_str(), true),
        ("/live/demo/top.m3u8", false),
        ("/live/demo/7/low/1000.m4s", false),
    ] {
        let get = |method| {
            let request = client.request(method, site.at(path));
            request.header(header::ACCEPT_ENCODING, "gzip").send()
        };
        let plain = client.get(site.at(path)).send().await.unwrap();
        assert!(
            !plain.headers().contains_key(header::CONTENT_ENCODING),
            "{path}"
        );
        let (packed, head) = (
            get(Method::GET).await.unwrap(),
            get(Method::HEAD).await.unwrap(),
        );
        for header in [
            header::CONTENT_ENCODING,
            header::CONTENT_LENGTH,
            header::VARY,
        ] {
            assert_eq!(
                packed.headers().get(&header),
                head.headers().get(&header),
                "{path}"
            );
        }
        let is_packed = packed.headers().contains_key(header::CONTENT_ENCODING);
        assert_eq!(is_packed, long, "{path}");
        if long {
            let vary = plain.headers().get_all(header::VARY).iter();
            assert!(
                vary.into_iter().any(|value| value == "accept-encoding"),
                "{path}"
            );
        }
        let plain = plain.bytes().await.unwrap();
        assert_eq!(
            packed.bytes().await.unwrap().len() < plain.len(),
            long,
            "{path}"
        );
        let unpacked = unpacking.get(site.at(path)).send().await.unwrap();
        assert_eq!(unpacked.bytes().await.unwrap(), plain, "{path}");
    }
}

#[tokio::test]
async fn who_has_a_page_is_told_so_and_not_sent_it() {
    let site = Site::open(&FrontConfig::default()).await;
    let client = reqwest::Client::new();
    for path in [
        "/",
        "/embed/demo",
        "/live/demo/7/init.mp4",
        "/live/demo/7/low/1000.m4s",
    ] {
        let first = client.get(site.at(path)).send().await.unwrap();
        let (tag, cache) = (&first.headers()["etag"], &first.headers()["cache-control"]);
        for known in [
            tag.to_str().unwrap(),
            "*",
            &format!("\"x\", {}", tag.to_str().unwrap()),
        ] {
            let again = client
                .get(site.at(path))
                .header(header::IF_NONE_MATCH, known);
            let again = again.send().await.unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path} {known}");
            assert_eq!(
                (&again.headers()["etag"], &again.headers()["cache-control"]),
                (tag, cache)
            );
            assert!(again.bytes().await.unwrap().is_empty());
        }
        let other = client
            .get(site.at(path))
            .header(header::IF_NONE_MATCH, "\"x\"");
        assert_eq!(
            other.send().await.unwrap().status(),
            StatusCode::OK,
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_player_alone_may_be_framed_by_anybody_and_the_page_by_nobody_else() {
    let site = Site::open(&FrontConfig::default()).await;
    for (path, framed_by) in [("/", "'self'"), ("/embed/demo", "*"), ("/embed/nope", "*")] {
        let answer = reqwest::get(site.at(path)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(
            policy.ends_with(&format!(" frame-ancestors {framed_by}")),
            "{path}: {policy}"
        );
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!answer.headers().contains_key("x-frame-options"), "{path}");
    }
}

#[tokio::test]
async fn the_list_says_of_each_stream_what_there_is_of_it() {
    let site = Site::open(&FrontConfig::default()).await;
    let listing: serde_json::Value = reqwest::get(site.at("/live"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let demo = serde_json::json!({
        "name": "demo", "url": "/live/demo/index.m3u8", "state": "live", "past": 0.0, "poster": false,
    });
    assert_eq!(
        listing,
        serde_json::json!({ "node": "site", "streams": [demo] })
    );
}

#[tokio::test]
async fn head_says_of_everything_what_get_would() {
    let site = Site::open(&FrontConfig::default()).await;
    let client = reqwest::Client::builder().no_gzip().build().unwrap();
    for (path, kind, cache) in [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/embed/demo", "text/html; charset=utf-8", "no-cache"),
        ("/live", "application/json", "private, no-store"),
        (
            "/live/demo/low.m3u8",
            "application/vnd.apple.mpegurl",
            "no-cache",
        ),
        (
            &format!("{ALICE}/index.m3u8"),
            "application/vnd.apple.mpegurl",
            "no-cache",
        ),
        (
            &format!("{ALICE}/1001.m4s"),
            "video/mp4",
            "private, no-store",
        ),
        (
            "/live/demo/7/init.mp4",
            "video/mp4",
            "public, max-age=31536000, immutable",
        ),
        (
            "/live/demo/7/low/1000.m4s",
            "video/mp4",
            "public, max-age=31536000, immutable",
        ),
        (
            "/live/demo/7/low/1000.0.m4s",
            "video/mp4",
            "public, max-age=31536000, immutable",
        ),
        (
            "/live/nope/index.m3u8",
            "text/plain; charset=utf-8",
            "private, no-store",
        ),
    ] {
        let head = client.head(site.at(path)).send().await.unwrap();
        let get = client.get(site.at(path)).send().await.unwrap();
        assert_eq!(head.status(), get.status(), "{path}");
        for (header, told) in [("content-type", kind), ("cache-control", cache)] {
            assert_eq!(get.headers()[header], told, "{path}");
            assert_eq!(head.headers()[header], told, "{path}");
        }
        assert_eq!(
            head.headers()["content-length"],
            get.headers()["content-length"],
            "{path}"
        );
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn pages_of_others_may_play_and_are_asked_once_a_day() {
    let site = Site::open(&FrontConfig::default()).await;
    let client = reqwest::Client::new();
    let preflight = client
        .request(Method::OPTIONS, site.at(&format!("{ALICE}/1001.m4s")))
        .header("origin", "https://player.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "range");
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.status(), StatusCode::OK);
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "*"),
        ("access-control-allow-headers", "*"),
        ("access-control-max-age", "86400"),
    ] {
        assert_eq!(preflight.headers()[name], value);
    }
    // A refusal that a page cannot read would be a riddle.
    for path in [
        "/live/demo/index.m3u8",
        "/live/nope/index.m3u8",
        &format!("{ALICE}/9.m4s"),
    ] {
        let answer = client
            .get(site.at(path))
            .header("origin", "https://player.example");
        let answer = answer.send().await.unwrap();
        assert_eq!(
            answer.headers()["access-control-allow-origin"],
            "*",
            "{path}"
        );
        let exposed = answer.headers()["access-control-expose-headers"]
            .to_str()
            .unwrap();
        assert!(exposed.contains("spillway-rung"), "{path}: {exposed}");
    }
}

/// Sends `request`, and hears until the other end hangs up.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: impl AsRef<[u8]>,
) -> String {
    // Who is refused may be so before it has said all.
    let _ = stream.write_all(request.as_ref()).await;
    String::from_utf8_lossy(&hung_up(&mut stream).await).into_owned()
}

/// Waits until the other end hangs up, and returns what it said before.
async fn hung_up<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut said = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    // However abruptly.
    let _ = end.expect("it hangs up");
    said
}
