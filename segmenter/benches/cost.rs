//! What a ladder costs beside `ffmpeg`: the same clip, the same rungs, the same x264, in one run.
//!
//! - `ffmpeg`: one command line with split, scale and HLS output.
//! - `bare`: decoding once, and each rung's encoder on pictures that are of its size already. What it takes to read
//!   those pictures is measured too, and taken off. Nothing can be made with less.
//!
//! And what it costs to pass the clip's own H.264 on, made with key frames two seconds apart:
//!
//! - alone, ten minutes of it, beside `ffmpeg -c copy` with HLS output;
//! - as the top rung, beside the same ladder with that rung encoded (1080p, 720p, 480p and 360p, x264 veryfast).
//!
//! The figure is CPU time, kernel included. Rounds alternate, so what the machine does meanwhile hits all alike; a ratio is
//! the median of the rounds'. Quality is SSIM against the clip, both enlarged to its size.
//!
//!     cargo bench -p segmenter --bench cost [-- [passed-on] --rounds 5] [--clip FILE]

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]
#![allow(dead_code, reason = "each bench uses a part of its support")]

#[path = "support/clip.rs"]
mod clip;
#[path = "support/spent.rs"]
mod spent;

use std::{fs, path::PathBuf, process::Command};

use bytes::BytesMut;
use clip::{FPS, RUNGS, argument, ffmpeg, scratch};
use segmenter::wire::Frame;
use spent::{Spent, median, run};

const PRESET: &str = "superfast";
const AUDIO: &str = "96k";
/// As our grid has it: 2.1333 s at 30 pictures per second.
const GOP: usize = 64;

fn main() {
    let rounds = argument("--rounds").map_or(5, |text| text.parse().unwrap());
    let clip = clip::made();
    if std::env::args().any(|argument| argument == "passed-on") {
        return passed_on(&clip, rounds);
    }
    let raw = clip::raw(&clip);
    println!("clip {clip}, {} rungs, x264 {PRESET}", RUNGS.len());

    let (mut to_ffmpeg, mut to_bare, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let ours = ours(&clip);
        let theirs = theirs(&clip);
        let bare = bare(&clip, &raw);
        println!(
            "round {round}: ours {:.2} s, {} MB; ffmpeg {:.2} s, {} MB; bare {bare:.2} s",
            ours.cpu,
            ours.peak >> 10,
            theirs.cpu,
            theirs.peak >> 10
        );
        to_ffmpeg.push(ours.cpu / theirs.cpu);
        to_bare.push(ours.cpu / bare);
        memory.push(ours.peak as f64 / theirs.peak as f64);
    }
    println!("CPU, ours to ffmpeg: {:.3}", median(&mut to_ffmpeg));
    println!("CPU, ours to bare:   {:.3}", median(&mut to_bare));
    println!("peak memory, ours to ffmpeg: {:.3}", median(&mut memory));
    quality(&clip);
    passed_on(&clip, rounds);
}

fn passed_on(clip: &str, rounds: usize) {
    let (short, long) = (keyed(clip), scratch("long.mp4"));
    let repeated = ["-stream_loop", "29", "-i", &short, "-c", "copy"];
    assert!(
        ffmpeg()
            .args(repeated)
            .arg(&long)
            .status()
            .unwrap()
            .success()
    );
    let long = long.into_os_string().into_string().unwrap();
    let (mut alone, mut memory, mut top) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let only = run(segmenter(&long).args(["--passthrough", "only"]));
        let copy = run(ffmpeg()
            .args(["-i", &long, "-c", "copy"])
            .args(HLS)
            .arg(scratch("copy.m3u8")));
        let encoded = run(&mut ladder(&short, &LARGE));
        let below = &LARGE[..LARGE.len() - 1];
        let passed = run(ladder(&short, below).args(["--passthrough", "top"]));
        println!(
            "round {round}: passed on {:.2} s, {} MB; ffmpeg -c copy {:.2} s, {} MB; top rung encoded {:.2} s, passed on {:.2} s",
            only.cpu,
            only.peak >> 10,
            copy.cpu,
            copy.peak >> 10,
            encoded.cpu,
            passed.cpu
        );
        alone.push(only.cpu / copy.cpu);
        memory.push(only.peak as f64 / copy.peak as f64);
        top.push(passed.cpu / encoded.cpu);
    }
    println!(
        "CPU, passed on to ffmpeg -c copy: {:.3}",
        median(&mut alone)
    );
    println!(
        "peak memory, passed on to ffmpeg -c copy: {:.3}",
        median(&mut memory)
    );
    println!(
        "CPU, with the top rung passed on to all encoded: {:.3}",
        median(&mut top)
    );
}

/// A ladder up to the size of the clip that is passed on.
const LARGE: [(u32, u32, u64); 4] = [
    (640, 360, 700),
    (854, 480, 1300),
    (1280, 720, 2200),
    (1920, 1080, 4500),
];

/// The clip enlarged to 1920x1080, with a key frame each two seconds.
fn keyed(clip: &str) -> String {
    let path = scratch("keyed.mp4");
    let coding = [
        "-vf",
        "scale=1920:1080",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-b:v",
        "6M",
        "-g",
        "60",
        "-c:a",
        "copy",
    ];
    assert!(
        ffmpeg()
            .args(["-i", clip])
            .args(coding)
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path.into_os_string().into_string().unwrap()
}

fn segmenter(clip: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segmenter"));
    command.args([clip, "--pace", "off"]).env("RUST_LOG", "off");
    command.stdout(fs::File::create(scratch("passed.frames")).unwrap());
    command
}

fn ladder(clip: &str, rungs: &[(u32, u32, u64)]) -> Command {
    let mut command = segmenter(clip);
    command.args(["--preset", "veryfast", "--stills", "off"]);
    for (width, height, kbps) in rungs {
        command.args(["--rung", &format!("{width}x{height}@{kbps}")]);
    }
    command
}

const HLS: [&str; 10] = [
    "-f",
    "hls",
    "-hls_time",
    "2",
    "-hls_list_size",
    "0",
    "-hls_flags",
    "single_file",
    "-hls_segment_type",
    "fmp4",
];

fn ours(clip: &str) -> Spent {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segmenter"));
    command.args([clip, "--pace", "off", "--preset", PRESET]);
    for (width, height, kbps) in RUNGS {
        command.args(["--rung", &format!("{width}x{height}@{kbps}")]);
    }
    // Key frames where the others have theirs, and nowhere else.
    // The same work: what ffmpeg does not make here is not made.
    command
        .args(["--open-rungs", "0", "--stills", "off"])
        .env("RUST_LOG", "off");
    run(command.stdout(fs::File::create(scratch("ours.frames")).unwrap()))
}

/// x264 as our own encoder sets it up.
fn x264(command: &mut Command, index: usize, kbps: u64) {
    for (option, value) in [
        ("c", "libx264".to_owned()),
        ("preset", PRESET.to_owned()),
        ("profile", "high".to_owned()),
        ("b", format!("{kbps}k")),
        ("maxrate", format!("{kbps}k")),
        ("bufsize", format!("{}k", kbps * 3 / 4)),
        ("g", GOP.to_string()),
        ("bf", "0".to_owned()),
        ("threads", "1".to_owned()),
        (
            "x264-params",
            format!(
                "keyint={GOP}:min-keyint=1:scenecut=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:repeat-headers=1:force-cfr=1"
            ),
        ),
    ] {
        command.arg(format!("-{option}:v:{index}")).arg(value);
    }
}

fn theirs(clip: &str) -> Spent {
    let split: String = (0..RUNGS.len())
        .map(|index| format!("[s{index}]"))
        .collect();
    let scaled = RUNGS
        .iter()
        .enumerate()
        .map(|(index, (width, height, _))| format!(";[s{index}]scale={width}:{height}[v{index}]"));
    let graph = format!(
        "[0:v]split={}{split}{}",
        RUNGS.len(),
        scaled.collect::<String>()
    );
    let mut command = ffmpeg();
    command.args(["-i", clip, "-filter_complex", &graph]);
    let mut variants = Vec::new();
    for (index, (_, _, kbps)) in RUNGS.iter().enumerate() {
        command.args(["-map", &format!("[v{index}]")]);
        variants.push(format!("v:{index},agroup:sound"));
        x264(&mut command, index, *kbps);
    }
    variants.push("a:0,agroup:sound".to_owned());
    command.args([
        "-map", "0:a", "-c:a", "aac", "-b:a", AUDIO, "-ar", "48000", "-ac", "2",
    ]);
    command.args(HLS);
    command.args(["-var_stream_map", &variants.join(" ")]);
    run(command.arg(scratch("theirs-%v.m3u8")))
}

/// Seconds.
fn bare(clip: &str, raw: &[PathBuf]) -> f64 {
    let null = ["-f", "null", "-"];
    let decoding = run(ffmpeg().args(["-i", clip]).args(null)).cpu;
    let sound = run(ffmpeg()
        .args([
            "-i", clip, "-vn", "-c:a", "aac", "-b:a", AUDIO, "-ar", "48000", "-ac", "2",
        ])
        .args(null))
    .cpu - run(ffmpeg().args(["-i", clip, "-vn"]).args(null)).cpu;
    let encoding = RUNGS.iter().zip(raw).map(|((width, height, kbps), raw)| {
        let input = |command: &mut Command| {
            command
                .args([
                    "-f",
                    "rawvideo",
                    "-pix_fmt",
                    "yuv420p",
                    "-r",
                    FPS,
                    "-s",
                    &format!("{width}x{height}"),
                    "-i",
                ])
                .arg(raw);
        };
        let (mut encoder, mut reader) = (ffmpeg(), ffmpeg());
        input(&mut encoder);
        input(&mut reader);
        x264(&mut encoder, 0, *kbps);
        run(encoder.args(null)).cpu - run(reader.args(null)).cpu
    });
    decoding + sound + encoding.sum::<f64>()
}

/// Both against the clip, rung by rung, and what each rung took.
fn quality(clip: &str) {
    let mut pipe = BytesMut::from(&fs::read(scratch("ours.frames")).unwrap()[..]);
    let mut ours: Vec<Vec<u8>> = vec![Vec::new(); RUNGS.len()];
    while let Some(frame) = Frame::decode(&mut pipe).unwrap() {
        match frame {
            Frame::Init(init) => ours
                .iter_mut()
                .for_each(|media| media.extend_from_slice(&init)),
            Frame::Part(part) => ours[usize::from(part.rung)].extend_from_slice(&part.media),
            _ => {}
        }
    }
    println!("rung        SSIM: ours  ffmpeg    octets, ours to ffmpeg");
    for (index, ((width, height, _), media)) in RUNGS.iter().zip(ours).enumerate() {
        let path = scratch(&format!("ours-{index}.mp4"));
        fs::write(&path, &media).unwrap();
        let theirs = scratch(&format!("theirs-{index}.m3u8"));
        let pictures = |path: &PathBuf| clip::octets_of_pictures(path) as f64;
        println!(
            "{:<10}      {:.4}  {:.4}    {:.3}",
            format!("{width}x{height}"),
            clip::ssim(&path, clip),
            clip::ssim(&theirs, clip),
            pictures(&path) / pictures(&theirs)
        );
    }
}
