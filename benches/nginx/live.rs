//! Viewers of a stream that goes on: each reloads its playlist, takes the segment that is new, waits until the
//! next is due, each at a time of its own. And the mirror, which writes what the node publishes to files as it
//! comes, so that nginx has the same octets at the same time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use mio::{Events, Token};

use super::{
    ask,
    load::{Load, Round},
    servers::Server,
};

/// What viewers did.
#[derive(Default)]
pub(crate) struct Played {
    pub(crate) reloads: usize,
    pub(crate) segments: usize,
    pub(crate) octets: u64,
}

/// What a viewer has, and what it waits for.
#[derive(Clone, Default)]
struct Viewer {
    newest: String,
    asked: Asked,
    since: Option<Instant>,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Asked {
    #[default]
    Nothing,
    Playlist,
    Segment,
}

/// Each connection is a viewer, for this long; `folder` is where a viewer's playlist and segments are.
pub(crate) fn play(
    load: &mut Load,
    length: Duration,
    segment: Duration,
    folder: &dyn Fn(usize) -> String,
) -> Played {
    let (start, count) = (Instant::now(), load.len());
    let mut due: BinaryHeap<_> = (0..count)
        .map(|index| Reverse((start + segment * index as u32 / count as u32, index)))
        .collect();
    let mut viewers = vec![Viewer::default(); count];
    let (mut played, mut round) = (Played::default(), Round::default());
    let (mut buffer, mut request) = (vec![0; 512 * 1024], Vec::new());
    let mut events = Events::with_capacity(1024);
    // Who has asked is answered before the end.
    while start.elapsed() < length || viewers.iter().any(|viewer| viewer.asked != Asked::Nothing) {
        let now = Instant::now();
        while let Some(Reverse((at, index))) = due.peek().copied()
            && at <= now
        {
            due.pop();
            if start.elapsed() < length {
                let viewer = &mut viewers[index];
                (viewer.asked, viewer.since) = (Asked::Playlist, Some(at));
                load.connections[index].text = Some(Vec::new());
                request.clear();
                ask(&format!("{}/index.m3u8", folder(index)), &mut request);
                load.connections[index].ask(&request);
            }
        }
        let wait = due
            .peek()
            .map(|Reverse((at, _))| at.saturating_duration_since(now));
        let wait = wait.unwrap_or(LOOK).min(LOOK);
        load.poll.poll(&mut events, Some(wait)).unwrap();
        assert!(start.elapsed() < length + PATIENCE, "answers are missing");
        for event in &events {
            let Token(index) = event.token();
            if !load.connections[index].read(&mut buffer, &mut round) {
                continue;
            }
            let viewer = &mut viewers[index];
            let since = viewer.since.unwrap_or(now);
            if viewer.asked == Asked::Segment {
                played.segments += 1;
                viewer.asked = Asked::Nothing;
                due.push(Reverse((since + segment, index)));
                continue;
            }
            played.reloads += 1;
            let text = load.connections[index].text.take().unwrap_or_default();
            let text = String::from_utf8(text).unwrap();
            let newest = newest(&text);
            if viewer.newest == newest {
                // As RFC 8216 section 6.3.4 has it, where nothing is new.
                viewer.asked = Asked::Nothing;
                due.push(Reverse((since + segment / 2, index)));
            } else {
                viewer.newest = newest.to_owned();
                viewer.asked = Asked::Segment;
                request.clear();
                ask(&format!("{}/{newest}", folder(index)), &mut request);
                load.connections[index].ask(&request);
            }
        }
    }
    played.octets = round.octets;
    played
}

fn newest(playlist: &str) -> &str {
    let is_name = |line: &&str| !line.is_empty() && !line.starts_with('#');
    playlist.lines().rfind(is_name).unwrap()
}

/// Writes to `folder` what the viewer with this `path` is told, until `over`.
pub(crate) fn mirror(server: &Server, path: &str, folder: &Path, over: &dyn Fn() -> bool) {
    let mut last = String::new();
    while !over() {
        let text = server.get(&format!("{path}/index.m3u8"));
        let text = String::from_utf8(text).unwrap();
        let names = text
            .lines()
            .filter(|line| line.ends_with(".m4s") && !line.starts_with('#'));
        for name in names.filter(|name| !folder.join(name).exists()) {
            fs::write(folder.join(name), server.get(&format!("{path}/{name}"))).unwrap();
        }
        if text != last {
            // As whoever makes HLS for nginx does it: it must never be seen in part.
            fs::write(folder.join("new"), &text).unwrap();
            fs::rename(folder.join("new"), folder.join("index.m3u8")).unwrap();
            last = text;
        }
        std::thread::sleep(LOOK);
    }
}

const LOOK: Duration = Duration::from_millis(50);

const PATIENCE: Duration = Duration::from_secs(20);
