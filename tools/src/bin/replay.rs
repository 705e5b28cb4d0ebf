//! `replay FILE`: stands in for a segmenter, with what one wrote before. It takes no encoder, so that a machine has its
//! time for players; and what they play has the same sizes each time.

use std::{
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::BytesMut;
use clap::Parser;
use playlists::MediaTime;
use segmenter::wire::{Frame, Health};
use tools::congest::reel::Reel;

/// Plays what `segmenter ... >FILE` has written, over and over, in real time, as frames to stdout.
///
/// It is run by `primary`, with --segmenter.
#[derive(Debug, Parser)]
#[command(name = "replay", version)]
struct Arguments {
    /// What a segmenter wrote
    file: PathBuf,
    /// Media time of the first picture, in flicks
    #[arg(long, value_name = "FLICKS", default_value_t = 10 * MediaTime::PER_SECOND)]
    origin_time: i64,
    /// As a segmenter is told; it is so here in any case
    #[arg(long = "loop")]
    looped: bool,
    /// As a segmenter is told; what it wrote is of one kind in any case
    #[arg(long, value_name = "LIKENESS", hide = true)]
    like: Option<String>,
}

fn main() -> ExitCode {
    match play(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments) -> anyhow::Result<()> {
    let file = &arguments.file;
    let octets = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let reel = Reel::read(&octets).with_context(|| file.display().to_string())?;
    drop(octets);
    // A tick of both tracks, as a segmenter rounds it.
    let step = MediaTime::PER_SECOND / 6000;
    let origin = MediaTime::from_flicks((arguments.origin_time + step - 1) / step * step);

    write(&Frame::Hello(reel.hello.clone()))?;
    write(&Frame::Init(reel.init.clone()))?;
    let (begun, mut told, mut behind) = (Instant::now(), Duration::ZERO, false);
    for part in reel.from(origin) {
        let part = part?;
        // It is there when its last picture has been taken, as with a camera.
        let due = (part.start + part.duration - origin).duration();
        let now = begun.elapsed();
        std::thread::sleep(due.saturating_sub(now));
        if write(&Frame::Part(part)).is_err() {
            // Nobody is left to play for.
            return Ok(());
        }
        let late = begun.elapsed().saturating_sub(due);
        let lead_ms = -(late.as_millis() as i64);
        if (late > LATE) != behind {
            behind = !behind;
            match behind {
                true => eprintln!(" WARN cannot keep up with real time lead_ms={lead_ms}"),
                false => eprintln!(" INFO keeping up with real time again lead_ms={lead_ms}"),
            }
        }
        if due > told + HEALTH {
            told = due;
            let health = Health {
                speed: 1.0,
                lead_ms,
                ..Health::default()
            };
            if write(&Frame::Health(health)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn write(frame: &Frame) -> anyhow::Result<()> {
    let mut octets = BytesMut::new();
    frame.encode(&mut octets)?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&octets)?;
    Ok(stdout.flush()?)
}

/// A part that comes so late is one that the machine could not send in time.
const LATE: Duration = Duration::from_millis(400);
const HEALTH: Duration = Duration::from_secs(1);
