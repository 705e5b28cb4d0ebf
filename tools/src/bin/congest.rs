//! `congest`: plays one stream to real players over links that are narrowed as traces say, and reports what their
//! viewers would see. Reads options, runs the rounds, and writes what came of them; all else is the library's.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tools::{
    congest::{
        picture,
        player::Player,
        report::{About, Report},
        round,
        stage::{Programme, Stage},
        trace::Trace,
    },
    link::Link,
};

/// Plays one stream to real players over links that are narrowed, side by side, and measures stalls, bitrate and switches.
///
/// Needs root, for network namespaces. Ends with 0 if all was measured, with 1 if some player failed or the machine was
/// the limit in every round, with 2 if nothing could be measured.
#[derive(Debug, Parser)]
#[command(name = "congest", version)]
struct Arguments {
    /// Who plays: ours (hls.js, the server adapts), own (hls.js adapts by itself), ours-low and own-low (the same with
    /// parts), vlc, ffmpeg; with @RUNG for one rung, such as ffmpeg@480p.
    /// The same may be given more than once
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "ours,own"
    )]
    players: Vec<Player>,
    /// What the links carry, made up: step (6, 1 and 6 Mbit/s, 20 s each), sine (1 to 7 Mbit/s in a minute), markov (good and bad, by the seed),
    /// or a rate in kbit/s [default: step,sine,markov, if there is no --trace]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    traces: Vec<String>,
    /// What the links carry, from a file with a trace a line, as JSON: {"name": ..., "points": [[duration_ms, kbps], ...]}; without a
    /// name one of them, by the seed and the run. A path, or a name in the folder `traces` of SPILLWAY_DATA. May be given more than once
    #[arg(long = "trace", value_name = "FILE[:NAME]")]
    files: Vec<String>,
    /// How long a round lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    seconds: f64,
    /// Rounds with each trace
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    runs: u32,
    /// Of what is by chance
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How the primary chooses rungs, as its --rule [default: its own]
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// What the primary shares out, as its --egress-mbps: a rate, or `auto` [default: nothing is held back]
    #[arg(long, value_name = "MBPS")]
    egress_mbps: Option<String>,
    /// What is played: `lavfi:GRAPH`, a file, or `test` [default: a pattern with noise, which fills its rungs]
    #[arg(long, value_name = "INPUT", default_value = NOISE, hide_default_value = true)]
    source: String,
    /// A rung of the ladder, video only; repeat it for each [default: 300, 700, 1200, 2000, 3300 and 5000 kbit/s]
    #[arg(long = "rung", value_name = "WxH@KBPS")]
    rungs: Vec<String>,
    /// All players behind one link, which they share
    #[arg(long)]
    shared: bool,
    /// Encode while it is played, instead of once before; takes a machine with many cores
    #[arg(long)]
    live: bool,
    /// Length of a stream that is encoded once; it is played over and over
    #[arg(long, value_name = "SECONDS", default_value_t = 64.0)]
    loop_seconds: f64,
    /// Where primary, segmenter and replay are [default: beside this program]
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Keep all that was measured there; - is stdout, where nothing else is printed then
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw it: what the links carried, and each player's rungs and stalls
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error.into()),
    };
    // The runtime is dropped with all that still plays, and with that the links: nothing is left of them.
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = match (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(error), _) | (_, Err(error)) => return refuse(&error.into()),
        };
        tokio::select! {
            biased;
            _ = interrupt.recv() => stopped(130),
            _ = terminate.recv() => stopped(143),
            done = measure(&arguments) => done.unwrap_or_else(|error| refuse(&error)),
        }
    })
}

fn stopped(code: u8) -> ExitCode {
    eprintln!("congest: stopping");
    ExitCode::from(code)
}

fn refuse(error: &anyhow::Error) -> ExitCode {
    eprintln!("congest: {error:#}");
    ExitCode::from(2)
}

async fn measure(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        (5.0..=3600.0).contains(&arguments.seconds),
        "seconds is {}; it has to be 5 to 3600",
        arguments.seconds
    );
    // What cannot work is said before anything is encoded.
    let rounds = rounds(arguments)?;
    if let Some(obstacle) = Link::obstacle().await {
        anyhow::bail!("no network namespace can be made here, which takes root: {obstacle}");
    }
    let players = told_apart(&arguments.players);
    for player in &players {
        if let Some(obstacle) = player.obstacle() {
            anyhow::bail!("{}: {obstacle}", player.name);
        }
    }
    let stage = Stage::start(&programme(arguments)?).await?;
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        when: chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).to_rfc3339(),
        seconds: arguments.seconds,
        seed: arguments.seed,
        rule: arguments.rule.clone(),
        egress_mbps: arguments.egress_mbps.clone(),
        encoded: if arguments.live { "live" } else { "once" },
        segment_s: stage.segment_s,
        shared: arguments.shared,
        rungs: stage.rungs.clone(),
    };
    let (mut done, all) = (Vec::new(), rounds.len());
    for (number, (trace, run)) in rounds.iter().enumerate() {
        eprintln!(
            "congest: round {} of {all}: {}, run {run}, {:.0} s",
            number + 1,
            trace.name,
            arguments.seconds
        );
        let round = round::play(&stage, &about, &players, (trace, *run)).await?;
        for limit in &round.machine.limits {
            eprintln!("congest: the machine was the limit: {limit}");
        }
        done.push(round);
        // A session is long, and what was measured is not to be lost with its end.
        keep(arguments, &Report::new(about.clone(), done.clone()))?;
    }
    stage.stop().await?;
    let report = Report::new(about, done);
    match &arguments.json {
        Some(path) if is_stdout(path) => println!("{}", serde_json::to_string(&report)?),
        _ => println!("{report}"),
    }
    let whole = report
        .totals
        .iter()
        .all(|total| total.rounds > 0 && total.failed == 0);
    Ok(ExitCode::from(u8::from(!whole)))
}

/// Who plays more than once has a number from the second time on.
fn told_apart(players: &[Player]) -> Vec<Player> {
    let numbered = players.iter().enumerate().map(|(index, player)| {
        let before = players[..index]
            .iter()
            .filter(|other| other.name == player.name);
        let mut player = player.clone();
        match before.count() {
            0 => {}
            before => player.name = format!("{}#{}", player.name, before + 1),
        }
        player
    });
    numbered.collect()
}

/// All traces and runs, in order.
fn rounds(arguments: &Arguments) -> anyhow::Result<Vec<(Trace, u32)>> {
    let usual = ["step", "sine", "markov"].map(str::to_owned).to_vec();
    let made = if arguments.traces.is_empty() && arguments.files.is_empty() {
        &usual
    } else {
        &arguments.traces
    };
    let mut rounds = Vec::new();
    for run in 0..arguments.runs {
        let seed = arguments.seed + u64::from(run);
        for name in made {
            rounds.push((Trace::named(name, seed)?, run));
        }
        for file in &arguments.files {
            rounds.push((Trace::load(file, seed)?, run));
        }
    }
    anyhow::ensure!(!rounds.is_empty(), "there is nothing to run");
    Ok(rounds)
}

fn programme(arguments: &Arguments) -> anyhow::Result<Programme> {
    let here = std::env::current_exe().context("where this program is")?;
    let beside = here.parent().map(std::path::Path::to_owned);
    let rungs = match arguments.rungs.as_slice() {
        [] => LADDER.map(str::to_owned).to_vec(),
        rungs => rungs.to_vec(),
    };
    Ok(Programme {
        programs: arguments
            .programs
            .clone()
            .or(beside)
            .context("a program is in a folder")?,
        source: arguments.source.clone(),
        rungs,
        live: arguments.live,
        rule: arguments.rule.clone(),
        egress_mbps: arguments.egress_mbps.clone(),
        length: Duration::try_from_secs_f64(arguments.loop_seconds).context("loop-seconds")?,
    })
}

fn keep(arguments: &Arguments, report: &Report) -> anyhow::Result<()> {
    if let Some(path) = arguments.json.as_ref().filter(|path| !is_stdout(path)) {
        std::fs::write(path, serde_json::to_vec(report)?)
            .with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, picture::draw(report)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// What is printed is printed once, at the end.
fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Small pictures, so that players are easy on the machine; what is wide is their rates.
const LADDER: [&str; 6] = [
    "256x144@300",
    "320x180@700",
    "426x240@1200",
    "512x288@2000",
    "640x360@3300",
    "640x360@5000",
];

/// A picture that cannot be had for less than a rung's rate.
const NOISE: &str = "lavfi:testsrc2=size=640x360:rate=30,noise=alls=40:allf=t[out0];sine=frequency=330:sample_rate=48000[out1]";
