//! `client`: joins a stream through the traffic manager and plays it without a screen, telling
//! what a viewer would see; or hands it to a player that has one.
//!
//! How it plays is the library's `player`; this file has the options and the printing.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use clap::{CommandFactory as _, Parser, ValueEnum, error::ErrorKind};
use reqwest::Url;
use spillway::{
    net::Fetcher,
    player::{Config, Event, Player, PlayerError, event, lookup},
    shutdown,
    store::StreamName,
    telemetry::{self, LogFormat},
};

/// Plays a stream: without a screen and with a line for each segment, or in a player of yours.
///
/// Ends with 0 when it was told to stop or the stream has ended, with 1 when there was nothing to
/// play, with 2 when the arguments are wrong.
#[derive(Debug, Parser)]
#[command(version, name = "client")]
struct Options {
    /// Address or base URL of the traffic manager
    #[arg(
        env = "SPILLWAY_MANAGER",
        required_unless_present = "url",
        value_name = "TM-IP"
    )]
    manager: Option<String>,
    /// Port of the traffic manager [default: 9000]
    #[arg(value_name = "TM-PORT")]
    port: Option<u16>,
    /// The stream to watch
    #[arg(
        long,
        env = "SPILLWAY_STREAM",
        value_name = "NAME",
        default_value = "live"
    )]
    stream: StreamName,
    /// The region to watch from [default: the traffic manager finds out]
    #[arg(long, env = "SPILLWAY_REGION")]
    region: Option<String>,
    /// Name of this viewing: who joins under it again comes back to the relay that it was on; of letters, digits, -, _
    /// and ., up to 64 [default: one of its own for each run]
    #[arg(long, env = "SPILLWAY_SESSION", value_parser = session, value_name = "NAME")]
    session: Option<String>,
    /// A playback token, where nodes ask for one
    #[arg(long, env = "SPILLWAY_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Stop after so many seconds [default: when told to, or with the stream]
    #[arg(long, env = "SPILLWAY_SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Play this playlist instead of joining through a traffic manager
    #[arg(long, env = "SPILLWAY_URL")]
    url: Option<Url>,
    /// Print JSON, an object on each line
    #[arg(long, env = "SPILLWAY_JSON")]
    json: bool,
    /// Say with each segment what the node chose its rung from: rule, buffer, ceiling, price, estimate
    #[arg(long, env = "SPILLWAY_EXPLAIN", conflicts_with = "player")]
    explain: bool,
    /// Authorities (PEM) to trust beside those of the system, for https [default: none]
    #[arg(long, env = "SPILLWAY_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How log lines are written, to stderr [default: text]
    #[arg(long, env = "SPILLWAY_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Watch in this player instead
    #[arg(long, env = "SPILLWAY_PLAYER", value_enum, conflicts_with_all = ["json", "seconds"])]
    player: Option<External>,
    /// More arguments for that player, after `--`
    #[arg(last = true, requires = "player", value_name = "PLAYER-ARGUMENTS")]
    more: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum External {
    Vlc,
    Mpv,
    Ffplay,
}

/// Where a viewing begins.
struct Start {
    url: Url,
    /// The stream's name, if a traffic manager is asked for it.
    stream: Option<StreamName>,
}

fn main() -> ExitCode {
    let options = manual::parse::<Options>();
    let start = match options.start() {
        Ok(start) => start,
        Err(why) => Options::command()
            .error(ErrorKind::ValueValidation, why)
            .exit(),
    };
    run(options, start)
}

#[tokio::main]
async fn run(options: Options, start: Start) -> ExitCode {
    telemetry::init(options.log_format.unwrap_or_default());
    let fetcher = match Fetcher::trusting(options.ca_file.as_deref()) {
        Ok(fetcher) if options.explain => fetcher.saying("spillway-explain", "1"),
        Ok(fetcher) => fetcher,
        Err(error) => return failed(&format!("{error:#}")),
    };
    let ended = match options.player {
        Some(player) => hand_over(player, &options.more, &fetcher, &start).await,
        None => play(&options, fetcher, &start).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("client: {why}");
    ExitCode::FAILURE
}

impl Options {
    fn start(&self) -> Result<Start, String> {
        if let Some(url) = &self.url {
            if !matches!(url.scheme(), "http" | "https") {
                return Err(format!("--url {url}: neither http:// nor https://"));
            }
            return Ok(Start {
                url: self.with_token(url.clone()),
                stream: None,
            });
        }
        let manager = self.manager.as_deref().unwrap_or_default();
        let mut url = base(manager, self.port)?;
        url.set_path(&format!("/watch/{}.m3u8", self.stream));
        if let Some(region) = &self.region {
            url.query_pairs_mut().append_pair("region", region);
        }
        let session = self.session.clone().map_or_else(own_session, Ok)?;
        url.query_pairs_mut().append_pair("session", &session);
        Ok(Start {
            url: self.with_token(url),
            stream: Some(self.stream.clone()),
        })
    }

    fn with_token(&self, mut url: Url) -> Url {
        if let Some(token) = &self.token {
            url.query_pairs_mut().append_pair("token", token);
        }
        url
    }
}

/// A name that the traffic manager believes.
fn session(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match name.chars().all(plain) && (1..=LONGEST_SESSION).contains(&name.len()) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "a session is named by letters, digits, '-', '_' and '.', at most {LONGEST_SESSION} of them"
        )),
    }
}

/// One that nobody else has: whoever joins again in this run comes back.
fn own_session() -> Result<String, String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(format!("client-{:032x}", u128::from_be_bytes(random)))
}

/// The base URL of a traffic manager that is called by its address or by its URL.
fn base(manager: &str, port: Option<u16>) -> Result<Url, String> {
    let wrong = || {
        format!("{manager:?} is neither an address nor a URL (http, https) of a traffic manager")
    };
    if manager.contains("://") {
        let mut url: Url = manager.parse().map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https")
            || (port.is_some() && url.set_port(port).is_err())
        {
            return Err(wrong());
        }
        return Ok(url);
    }
    let port = port.unwrap_or(MANAGER_PORT);
    let host = if manager.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("[{manager}]")
    } else {
        manager.to_owned()
    };
    format!("http://{host}:{port}/")
        .parse()
        .map_err(|_| wrong())
}

/// Plays until it is told to stop, the time is over or the stream has ended.
async fn play(options: &Options, fetcher: Fetcher, start: &Start) -> Result<(), String> {
    let stop = shutdown::on_signal().map_err(|error| format!("waiting for signals: {error}"))?;
    let mut player = Player::new(fetcher.clone(), start.url.clone(), Config::default());
    let mut screen = Screen {
        json: options.json,
        header_due: 0,
    };
    let over = async {
        match options.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let ended = loop {
        let event = tokio::select! {
            event = player.step() => event,
            () = &mut over => break Ok(()),
            () = stop.cancelled() => break Ok(()),
        };
        match event {
            // Nobody reads on: there is nothing left to do.
            Ok(event) if screen.show(&event).is_err() => return Ok(()),
            Ok(Event::Finished) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    let summary = player.summary();
    if summary.joins > 0 {
        let text = if options.json {
            summary.json().to_string()
        } else {
            format!("\n{summary}")
        };
        // As above.
        let _ = writeln!(io::stdout(), "{text}");
    }
    match ended {
        Ok(()) if summary.segments == 0 => {
            Err(format!("{}: nothing was played in this time", start.url))
        }
        Ok(()) => Ok(()),
        Err(error) => Err(explained(&fetcher, start, error).await),
    }
}

struct Screen {
    json: bool,
    /// Segments until the columns are named again.
    header_due: u32,
}

impl Screen {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            return writeln!(out, "{}", event.json());
        }
        if matches!(event, Event::Segment(_)) {
            if self.header_due == 0 {
                writeln!(out, "{}", event::HEADER)?;
                self.header_due = HEADER_EVERY;
            }
            self.header_due -= 1;
        }
        writeln!(out, "{event}")
    }
}

/// An error with what the user can do about it.
async fn explained(fetcher: &Fetcher, start: &Start, error: PlayerError) -> String {
    match (&error, &start.stream) {
        (PlayerError::NotFound { .. }, Some(stream)) => {
            match lookup::streams_of_manager(fetcher, &start.url).await {
                Ok(streams) => no_stream(stream, start, &streams),
                Err(_) => error.to_string(),
            }
        }
        (PlayerError::NotFound { .. }, None) => {
            match lookup::streams_of_node(fetcher, &start.url).await {
                Ok(streams) => format!("{error}; {}", offered(&streams, "/live/NAME/index.m3u8")),
                Err(_) => error.to_string(),
            }
        }
        (PlayerError::Unreachable { why, .. }, Some(_)) => {
            match lookup::streams_of_manager(fetcher, &start.url).await {
                Ok(_) => {
                    let manager = start.url.origin().ascii_serialization();
                    format!(
                        "the traffic manager at {manager} answers, but the node to which it sends does not: {why}"
                    )
                }
                Err(_) => unreachable_manager(start, why),
            }
        }
        _ => error.to_string(),
    }
}

fn unreachable_manager(start: &Start, why: &str) -> String {
    let manager = start.url.origin().ascii_serialization();
    format!("cannot reach the traffic manager at {manager}: {why}")
}

fn no_stream(stream: &StreamName, start: &Start, streams: &BTreeSet<String>) -> String {
    let manager = start.url.origin().ascii_serialization();
    format!(
        "no stream {stream:?} at {manager}; {}",
        offered(streams, "--stream NAME"),
        stream = stream.as_str()
    )
}

/// Which streams there are, and `how` to name one.
fn offered(streams: &BTreeSet<String>, how: &str) -> String {
    let names: Vec<_> = streams.iter().map(|name| format!("{name:?}")).collect();
    match names.len() {
        0 => "there is none at all yet".into(),
        1 => format!("there is {} ({how})", names[0]),
        _ => format!("there are {} ({how})", names.join(", ")),
    }
}

/// Becomes the player.
async fn hand_over(
    player: External,
    more: &[String],
    fetcher: &Fetcher,
    start: &Start,
) -> Result<(), String> {
    // Players say little of what a server said, so that is found out before; without a join,
    // which would count as a viewer.
    if let Some(stream) = &start.stream {
        match lookup::streams_of_manager(fetcher, &start.url).await {
            Ok(streams) if streams.contains(stream.as_str()) => {}
            Ok(streams) => return Err(no_stream(stream, start, &streams)),
            Err(spillway::net::FetchError::Transport { why, .. }) => {
                return Err(unreachable_manager(start, &why));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let (program, arguments, package) = player.command();
    // A process's own directory belongs to its effective user.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if matches!(player, External::Vlc) && is_root {
        return Err(
            "vlc refuses to run as root; run client as another user, or take --player mpv".into(),
        );
    }
    let error = Command::new(program)
        .args(arguments)
        .args(more)
        .arg(start.url.as_str())
        .exec();
    Err(match error.kind() {
        io::ErrorKind::NotFound => format!("{program} is not installed; apt install {package}"),
        _ => format!("cannot start {program}: {error}"),
    })
}

impl External {
    /// The program, what makes it play a live stream well, and the package that has it.
    fn command(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            // VLC keeps the last picture on screen while it waits, and names the URL over it.
            Self::Vlc => ("vlc", &["--no-video-title-show"], "vlc"),
            // A window at once shows that something is happening; a live stream cannot be kept.
            Self::Mpv => ("mpv", &["--force-window=immediate"], "mpv"),
            // Its chatter is for debugging, and without -autoexit it outlives the stream.
            Self::Ffplay => (
                "ffplay",
                &["-hide_banner", "-loglevel", "warning", "-autoexit"],
                "ffmpeg",
            ),
        }
    }
}

const MANAGER_PORT: u16 = 9000;

/// As the traffic manager has it.
const LONGEST_SESSION: usize = 64;

const HEADER_EVERY: u32 = 30;
