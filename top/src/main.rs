//! `spillway-top`: what a traffic manager sees and decides, in a terminal. Options in, a screen or lines out; what is
//! shown is `state`'s, how it looks `screen`'s, how it comes `feed`'s.

mod feed;
mod screen;
mod state;
mod words;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use feed::{Feed, News};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use spillway::{manager::address, net::Fetcher};
use state::{State, Turn};
use tokio::sync::mpsc;
use url::Url;

/// Shows what a traffic manager sees and decides: regions, nodes, alerts, and each decision with its reason.
///
/// Keys: q ends, Tab goes from list to list, arrows and PageUp/PageDown move in it, p holds the picture still.
/// Ends with 0, or with 1 if the manager did not answer `--once`.
#[derive(Debug, Parser)]
#[command(version, name = "spillway-top")]
struct Options {
    /// Base URL of the traffic manager; http:// may be left out
    #[arg(env = "SPILLWAY_MANAGER", default_value = "127.0.0.1:9000")]
    manager: String,
    /// Print what there is now, and end
    #[arg(long)]
    once: bool,
    /// Print JSON: the overview, an object on each line; with --once, one
    #[arg(long)]
    json: bool,
    /// Authorities (PEM) to trust beside those of the system, for https [default: none]
    #[arg(long, env = "SPILLWAY_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let manager = address::typed_url(&options.manager).and_then(|url| {
        // So that a path before it stays.
        format!("{url}/")
            .parse::<Url>()
            .map_err(|error| format!("{url}: {error}"))
    });
    match manager {
        Ok(manager) => run(&options, manager),
        Err(why) => {
            eprintln!("spillway-top: {why}");
            ExitCode::from(2)
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options, manager: Url) -> ExitCode {
    let shown = manager.as_str().trim_end_matches('/').to_owned();
    let fetcher = match Fetcher::trusting(options.ca_file.as_deref()) {
        Ok(fetcher) => fetcher,
        Err(error) => return failed(&format!("{error:#}")),
    };
    let feed = Feed::new(fetcher, &manager);
    if options.once {
        return once(&feed, &shown, options.json).await;
    }
    if options.json {
        return lines(feed).await;
    }
    if !io::stdout().is_terminal() {
        return failed("this is no terminal; --once and --json print");
    }
    let mut terminal = ratatui::init();
    let ended = watch(&mut terminal, feed, shown).await;
    ratatui::restore();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("spillway-top: {why}");
    ExitCode::FAILURE
}

async fn once(feed: &Feed, manager: &str, json: bool) -> ExitCode {
    let overview = match feed.overview().await {
        Ok(overview) => overview,
        Err(why) => return failed(&why),
    };
    let text = if json {
        serde_json::to_string(&overview).unwrap_or_default() + "\n"
    } else {
        let mut state = State::new(manager.to_owned());
        state.hear(News::Overview(Box::new(overview)), Instant::now());
        screen::text(&state, Instant::now())
    };
    // Whoever reads may have read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Each overview on a line, until nobody reads them.
async fn lines(feed: Feed) -> ExitCode {
    let (sender, mut news) = mpsc::channel(QUEUE);
    let following = tokio::spawn(feed.follow(sender));
    while let Some(said) = news.recv().await {
        let News::Overview(overview) = said else {
            continue;
        };
        let line = serde_json::to_string(&overview).unwrap_or_default();
        if writeln!(io::stdout(), "{line}").is_err() {
            break;
        }
    }
    following.abort();
    ExitCode::SUCCESS
}

async fn watch(terminal: &mut DefaultTerminal, feed: Feed, manager: String) -> io::Result<()> {
    let (sender, mut news) = mpsc::channel(QUEUE);
    let following = tokio::spawn(feed.follow(sender));
    let mut keys = keys();
    let mut state = State::new(manager);
    // So that ages go on where nothing is heard.
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        terminal.draw(|frame| screen::draw(frame, &state, Instant::now()))?;
        tokio::select! {
            Some(said) = news.recv() => state.hear(said, Instant::now()),
            pressed = keys.recv() => match pressed {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    if state.press(key) == Turn::End {
                        break;
                    }
                }
                // Another size is drawn anew.
                Some(_) => {}
                None => break,
            },
            _ = seconds.tick() => {}
        }
    }
    following.abort();
    Ok(())
}

/// The terminal is read by a thread of its own, which ends with the program.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, keys) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        while let Ok(pressed) = event::read() {
            if sender.blocking_send(pressed).is_err() {
                return;
            }
        }
    });
    keys
}

/// What is behind waits with whoever brings it.
const QUEUE: usize = 64;
