//! How long a picture takes from coming in to being in a part that the origin has.
//!
//! A publisher's feed (FLV, as RTMP carries it) is sent picture by picture, each at its time. A part cannot be there before its
//! last picture came, so what counts is what it takes beyond its own length, from its first picture on: a histogram over
//! all parts of a run. The clock stops when the part's last octet has been read from the pipe; that the store has it is a
//! matter of microseconds then.
//!
//!     cargo bench -p segmenter --bench latency [-- --seconds 60] [--part 0.5]

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]
#![allow(dead_code, reason = "each bench uses a part of its support")]

#[path = "support/clip.rs"]
mod clip;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use clip::{RUNGS, argument, ffmpeg, scratch};
use playlists::MediaTime;
use segmenter::wire::{Frame, Part};

fn main() {
    let seconds: f64 = argument("--seconds").map_or(60.0, |text| text.parse().unwrap());
    let part = argument("--part").unwrap_or_else(|| "0.5".to_owned());
    let feed = feed(seconds);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/live.flv", listener.local_addr().unwrap());
    let sender = thread::spawn(move || send(&listener, &feed));

    let mut command = Command::new(env!("CARGO_BIN_EXE_segmenter"));
    command.args([&address, "--part-seconds", &part]);
    for (width, height, kbps) in RUNGS {
        command.args(["--rung", &format!("{width}x{height}@{kbps}")]);
    }
    let mut segmenter = command
        .env("RUST_LOG", "off")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let parts = receive(segmenter.stdout.take().unwrap());
    let start = sender.join().unwrap();
    // A feed without a length cannot end well; what came before is what counts.
    segmenter.wait().unwrap();
    report(&parts, start);
}

/// The clip, over and over, as a publisher sends it: no B-frames, the encoder holds nothing back.
fn feed(seconds: f64) -> Vec<u8> {
    let path = scratch("feed.flv");
    let mut command = ffmpeg();
    command.args([
        "-stream_loop",
        "-1",
        "-i",
        &clip::made(),
        "-t",
        &seconds.to_string(),
    ]);
    command.args([
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-g",
        "60",
        "-b:v",
        "6M",
        "-c:a",
        "copy",
        // As of a live feed: nobody knows when it ends.
        "-flvflags",
        "no_duration_filesize",
    ]);
    assert!(command.arg(&path).status().unwrap().success());
    fs::read(path).unwrap()
}

/// Sends each tag when its time has come (Adobe Flash Video File Format, annex E.4.1). Says when time zero was.
fn send(listener: &TcpListener, feed: &[u8]) -> Instant {
    let (mut taker, _) = listener.accept().unwrap();
    taker.set_nodelay(true).unwrap();
    // What is left unread would end the connection with a reset.
    let (mut request, mut some) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        let octets = taker.read(&mut some).unwrap();
        request.extend_from_slice(&some[..octets]);
    }
    taker
        .write_all(b"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: video/x-flv\r\n\r\n")
        .unwrap();
    let (header, mut rest) = feed.split_at(9 + 4);
    taker.write_all(header).unwrap();
    let start = Instant::now();
    while !rest.is_empty() {
        let number = |octets: &[u8]| {
            octets
                .iter()
                .fold(0, |sum, octet| sum << 8 | u64::from(*octet))
        };
        let (length, time) = (
            number(&rest[1..4]) as usize,
            number(&rest[4..7]) | u64::from(rest[7]) << 24,
        );
        let (tag, next) = rest.split_at(11 + length + 4);
        thread::sleep(
            (start + Duration::from_millis(time)).saturating_duration_since(Instant::now()),
        );
        if taker.write_all(tag).is_err() {
            break;
        }
        rest = next;
    }
    start
}

/// Each part, and when it was there in all rungs.
fn receive(mut output: impl Read) -> Vec<(Part, Instant)> {
    let (mut parts, mut input, mut some, mut shares) =
        (Vec::new(), BytesMut::new(), vec![0; 1 << 16], 1);
    loop {
        let octets = output.read(&mut some).unwrap();
        if octets == 0 {
            return parts;
        }
        input.extend_from_slice(&some[..octets]);
        while let Some(frame) = Frame::decode(&mut input).unwrap() {
            match frame {
                Frame::Hello(hello) => shares = hello.shares(),
                Frame::Part(part) if usize::from(part.rung) + 1 == shares => {
                    parts.push((part, Instant::now()))
                }
                _ => {}
            }
        }
    }
}

fn report(parts: &[(Part, Instant)], start: Instant) {
    let first = parts[0].0.start;
    let settled = MediaTime::from_seconds(10.0);
    let mut beyond: Vec<f64> = parts
        .iter()
        // The beginning is looked at before it is played, and caught up with.
        .filter(|(part, _)| part.start - first > settled && !is_end(parts, part))
        .map(|(part, there)| {
            let came = start + (part.start - first).duration();
            (there.saturating_duration_since(came).as_secs_f64() - part.duration.seconds()) * 1000.0
        })
        .collect();
    beyond.sort_by(f64::total_cmp);
    println!(
        "{} parts of {} s; beyond its own length a part takes:",
        beyond.len(),
        parts[0].0.duration
    );
    for from in (0..200).step_by(10) {
        let count = beyond
            .iter()
            .filter(|ms| (f64::from(from)..f64::from(from + 10)).contains(*ms))
            .count();
        if count > 0 {
            println!(
                "{from:>4} to {:>3} ms  {count:>4}  {}",
                from + 10,
                "#".repeat(count.min(100))
            );
        }
    }
    let at = |share: f64| beyond[((beyond.len() - 1) as f64 * share).round() as usize];
    println!(
        "median {:.0} ms, 99th percentile {:.0} ms, most {:.0} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// The last part comes when the feed ends, which is no matter of delay.
fn is_end(parts: &[(Part, Instant)], part: &Part) -> bool {
    parts
        .last()
        .is_some_and(|(last, _)| last.start == part.start)
}
