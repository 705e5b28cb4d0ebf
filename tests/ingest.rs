//! The server for publishers, in this process and without a segmenter: who gets on the air, what a segmenter would
//! be given, and what becomes of those who talk nonsense.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "ingest/rtmp.rs"]
mod rtmp;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rtmp::Publisher;
use spillway::ingest::{
    Folder, Ingest, IngestConfig,
    desk::{Channel, Desk, Second},
    keys::Key,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A server with one stream, `talk`, whose key is `s3cr3t`.
struct Server {
    address: SocketAddr,
    channel: Arc<Channel>,
    _folder: Folder,
    _stop: DropGuard,
}

impl Server {
    async fn start(second: Second) -> Self {
        let folder = Folder::new().unwrap();
        let socket = folder.socket(0, "talk");
        let key = Key::new("s3cr3t").unwrap();
        let mut channel = Channel::new("talk".parse().unwrap(), "live".into(), key, socket);
        channel.second = second;
        let channel = Arc::new(channel);
        let config = IngestConfig {
            rtmp_listen: Some(([127, 0, 0, 1], 0).into()),
            srt_listen: None,
        };
        let ingest = Ingest::bind(&config, Desk::new([channel.clone()]))
            .await
            .unwrap();
        let (address, stop) = (ingest.rtmp().unwrap(), CancellationToken::new());
        tokio::spawn(ingest.serve(stop.clone()));
        Self {
            address,
            channel,
            _folder: folder,
            _stop: stop.drop_guard(),
        }
    }

    async fn publisher(&self) -> Publisher {
        Publisher::publish(self.address, "live", "s3cr3t")
            .await
            .unwrap()
    }

    fn is_on_air(&self) -> bool {
        self.channel.on_air().borrow().is_some()
    }

    /// Connects as a segmenter does, once there is something to connect to.
    async fn segmenter(&self) -> UnixStream {
        let mut on_air = self.channel.on_air();
        let waiting = on_air.wait_for(Option::is_some);
        timeout(PATIENCE, waiting)
            .await
            .expect("on the air")
            .unwrap();
        UnixStream::connect(&self.channel.socket).await.unwrap()
    }

    async fn off_air(&self) {
        let mut on_air = self.channel.on_air();
        let waiting = on_air.wait_for(Option::is_none);
        timeout(PATIENCE, waiting)
            .await
            .expect("off the air")
            .unwrap();
    }
}

/// The kinds of the tags, and their first two octets, in what FLV a segmenter has read.
fn tags(flv: &[u8]) -> Vec<(u8, [u8; 2])> {
    assert!(
        flv.starts_with(b"FLV\x01"),
        "{:?}",
        &flv[..flv.len().min(16)]
    );
    let (mut rest, mut tags) = (&flv[13..], Vec::new());
    while rest.len() >= 15 {
        let length = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        tags.push((rest[0], [rest[11], rest[12]]));
        rest = &rest[15 + length..];
    }
    assert!(rest.is_empty(), "a tag is cut off");
    tags
}

async fn read_all(mut segmenter: UnixStream) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = segmenter.read_to_end(&mut read);
    timeout(PATIENCE, reading)
        .await
        .expect("the end of the stream")
        .unwrap();
    read
}

#[tokio::test]
async fn a_segmenter_that_comes_late_begins_with_what_it_needs() {
    let server = Server::start(Second::Refuse).await;
    let mut publisher = server.publisher().await;
    publisher.metadata().await;
    publisher.video(CONFIGURATION).await.unwrap();
    publisher.audio(SOUND_CONFIGURATION).await;
    publisher.video(PICTURE).await.unwrap();
    assert!(!server.is_on_air(), "nobody can begin with that");
    publisher.video(KEY_PICTURE).await.unwrap();
    publisher.audio(SOUND).await;
    let first = server.segmenter().await;
    publisher.video(PICTURE).await.unwrap();
    publisher.finish().await;
    let seen = tags(&read_all(first).await);
    let prologue = [(18, [2, 0]), (9, [0x17, 0]), (8, [0xaf, 0])];
    let media = [(9, [0x17, 1]), (8, [0xaf, 1]), (9, [0x27, 1])];
    assert_eq!(seen, [&prologue[..], &media].concat());
    server.off_air().await;
    assert!(UnixStream::connect(&server.channel.socket).await.is_err());
}

#[tokio::test]
async fn a_segmenter_that_is_started_again_goes_on_with_the_next_key_picture() {
    let server = Server::start(Second::Refuse).await;
    let mut publisher = server.publisher().await;
    publisher.video(CONFIGURATION).await.unwrap();
    publisher.video(KEY_PICTURE).await.unwrap();
    let mut first = server.segmenter().await;
    publisher.video(PICTURE).await.unwrap();
    first.read_exact(&mut [0; 13]).await.unwrap();
    drop(first);
    publisher.video(PICTURE).await.unwrap();
    let second = server.segmenter().await;
    publisher.video(PICTURE).await.unwrap();
    publisher.video(KEY_PICTURE).await.unwrap();
    publisher.video(PICTURE).await.unwrap();
    publisher.finish().await;
    let seen = tags(&read_all(second).await);
    assert_eq!(seen, [(9, [0x17, 0]), (9, [0x17, 1]), (9, [0x27, 1])]);
}

#[tokio::test]
async fn wrong_applications_and_keys_are_told_so_and_nothing_is_on_the_air() {
    let server = Server::start(Second::Refuse).await;
    let refused = async |app, key| {
        let publisher = Publisher::publish(server.address, app, key).await;
        publisher.err().expect("refused")
    };
    let told = refused("vod", "s3cr3t").await;
    assert!(told.contains("no such application"), "{told}");
    for key in [
        "",
        "talk",
        "s3cr3",
        "talk?key=",
        "talk?key=S3CR3T",
        "other?key=s3cr3t",
    ] {
        let told = refused("live", key).await;
        assert!(told.contains("NetStream.Publish.Denied"), "{key}: {told}");
    }
    assert!(!server.is_on_air());
    let named = Publisher::publish(server.address, "live", "talk?key=s3cr3t").await;
    assert!(named.is_ok());
}

#[tokio::test]
async fn a_second_publisher_is_refused() {
    let server = Server::start(Second::Refuse).await;
    let mut first = server.publisher().await;
    let second = Publisher::publish(server.address, "live", "s3cr3t").await;
    let told = second.err().expect("refused");
    assert!(told.contains("NetStream.Publish.BadName"), "{told}");
    first.video(KEY_PICTURE).await.unwrap();
    server.segmenter().await;
    // One that has just closed its connection has made room.
    drop(first);
    server.off_air().await;
    server.publisher().await;
}

#[tokio::test]
async fn a_second_publisher_takes_over_and_the_first_is_told() {
    let server = Server::start(Second::TakeOver).await;
    let mut first = server.publisher().await;
    first.video(KEY_PICTURE).await.unwrap();
    let segmenter = server.segmenter().await;
    let mut second = server.publisher().await;
    let told = first.closed().await;
    assert!(told.contains("NetStream.Publish.Rejected"), "{told}");
    read_all(segmenter).await;
    second.video(KEY_PICTURE).await.unwrap();
    let mut segmenter = server.segmenter().await;
    segmenter.read_exact(&mut [0; 13 + 15]).await.unwrap();
    second.finish().await;
    assert_eq!(read_all(segmenter).await.len(), KEY_PICTURE.len());
}

#[tokio::test]
async fn a_publisher_whose_media_is_of_no_use_is_cut_off() {
    let server = Server::start(Second::Refuse).await;
    let mut publisher = server.publisher().await;
    publisher.video(KEY_PICTURE).await.unwrap();
    let _segmenter = server.segmenter().await;
    server.channel.on_air().borrow().as_ref().unwrap().cancel();
    let told = publisher.closed().await;
    assert!(told.contains("NetStream.Publish.Rejected"), "{told}");
    server.off_air().await;
}

#[tokio::test]
async fn a_codec_that_flv_does_not_know_is_named() {
    let server = Server::start(Second::Refuse).await;
    let mut publisher = server.publisher().await;
    publisher.video(b"\x90hvc1\0\0\0\0").await.unwrap();
    let told = publisher.closed().await;
    assert!(told.contains("NetStream.Publish.Rejected"), "{told}");
    assert!(!server.is_on_air());
}

#[tokio::test]
async fn whoever_talks_nonsense_is_closed_and_the_rest_goes_on() {
    let server = Server::start(Second::Refuse).await;
    let mut good = server.publisher().await;
    good.video(KEY_PICTURE).await.unwrap();
    let segmenter = server.segmenter().await;
    let garbage: Vec<u8> = (0..20_000_u32)
        .map(|place| ((place * 7919) >> 3) as u8)
        .collect();
    // Another protocol; a handshake and garbage; half a handshake and the end.
    let hello = [&[3][..], &[0; 1536 * 2]].concat();
    let nonsense = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        [&hello[..], &garbage].concat(),
        hello[..700].to_vec(),
    ];
    for octets in nonsense {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let _ = socket.write_all(&octets).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        // Closed by an end or by a reset, but closed.
        let _ = timeout(PATIENCE, socket.read_to_end(&mut answer))
            .await
            .expect("an end");
    }
    // Nonsense of one who has the key harms nobody but that stream.
    good.video(PICTURE).await.unwrap();
    good.socket.write_all(&garbage).await.unwrap();
    let _ = good.closed().await;
    assert_eq!(tags(&read_all(segmenter).await).len(), 2);
    server.off_air().await;
    server.publisher().await;
}

#[tokio::test]
async fn a_segmenter_that_takes_nothing_ends_the_connection() {
    let server = Server::start(Second::Refuse).await;
    let mut publisher = server.publisher().await;
    publisher.video(KEY_PICTURE).await.unwrap();
    let mut segmenter = server.segmenter().await;
    segmenter.read_exact(&mut [0; 13]).await.unwrap();
    let large = [PICTURE, &[0; 1_000_000]].concat();
    // Until all buffers between here and there are full; then time passes, and the server gives up.
    let mut sent = 0;
    while sent < 1000 && publisher.video(&large).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 1000, "nobody holds it back");
    server.off_air().await;
}

const CONFIGURATION: &[u8] = &[0x17, 0, 0, 0, 0, 1, 100, 0, 31, 0xff];
const KEY_PICTURE: &[u8] = &[0x17, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 0x88];
const PICTURE: &[u8] = &[0x27, 1, 0, 0, 0, 0, 0, 0, 2, 0x41, 0x9a];
const SOUND_CONFIGURATION: &[u8] = &[0xaf, 0, 0x11, 0x90];
const SOUND: &[u8] = &[0xaf, 1, 0x21, 0x10];

const PATIENCE: Duration = Duration::from_secs(20);
