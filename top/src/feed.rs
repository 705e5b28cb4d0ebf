//! The manager's overview and its decisions, as they come: server-sent events, and again after each loss.

use std::time::Duration;

use spillway::{
    manager::view::{Decision, Overview},
    net::Fetcher,
};
use tokio::sync::mpsc;
use url::Url;

/// What there is to know.
#[derive(Debug)]
pub(crate) enum News {
    Overview(Box<Overview>),
    Decision(Decision),
    /// The manager does not answer, and why.
    Lost(String),
}

#[derive(Debug)]
pub(crate) struct Feed {
    fetcher: Fetcher,
    overview: Url,
    events: Url,
}

impl Feed {
    pub(crate) fn new(fetcher: Fetcher, manager: &Url) -> Self {
        let at = |path: &str| {
            let mut url = manager.clone();
            url.set_path(&format!("{}{path}", manager.path()));
            url
        };
        Self {
            fetcher,
            overview: at("v1/overview"),
            events: at("v1/events"),
        }
    }

    pub(crate) async fn overview(&self) -> Result<Overview, String> {
        let answer = self.fetcher.text(self.overview.clone(), PATIENCE).await;
        let (url, text) = answer.map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| format!("{url}: this is no overview: {error}"))
    }

    /// Until nobody listens.
    pub(crate) async fn follow(self, news: mpsc::Sender<News>) {
        loop {
            let why = tokio::select! {
                why = self.listen(&news) => why,
                () = news.closed() => return,
            };
            if news.send(News::Lost(why)).await.is_err() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Passes on what comes; why nothing comes any more.
    async fn listen(&self, news: &mpsc::Sender<News>) -> String {
        let silent = |_| format!("{}: nothing for {} s", self.events, PATIENCE.as_secs());
        let opened = tokio::time::timeout(PATIENCE, self.fetcher.open(self.events.clone()));
        let mut answer = match opened.await.map_err(silent) {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return error.to_string(),
            Err(why) => return why,
        };
        let mut lines = Lines::default();
        loop {
            let chunk = tokio::time::timeout(PATIENCE, answer.chunk());
            let chunk = match chunk.await.map_err(silent) {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return format!("{}: the manager ended it", self.events),
                Ok(Err(error)) => return error.to_string(),
                Err(why) => return why,
            };
            for said in lines.take(&chunk) {
                if news.send(said).await.is_err() {
                    return String::new();
                }
            }
            if lines.rest.len() > LONGEST {
                return format!("{}: an event of more than {LONGEST} octets", self.events);
            }
        }
    }
}

/// What has come of an event that is not whole yet.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The events that are whole with `chunk`. What is none of ours, a comment that keeps the connection for one, is nothing.
    fn take(&mut self, chunk: &[u8]) -> Vec<News> {
        self.rest.extend_from_slice(chunk);
        let mut found = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..end + 2).collect();
            found.extend(read(&String::from_utf8_lossy(&event)));
        }
        found
    }
}

fn read(event: &str) -> Option<News> {
    let field = |name: &str| {
        let mut lines = event.lines();
        lines
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim_start)
    };
    let data = field("data:")?;
    match field("event:")? {
        "overview" => Some(News::Overview(serde_json::from_str(data).ok()?)),
        "decision" => Some(News::Decision(serde_json::from_str(data).ok()?)),
        _ => None,
    }
}

/// Overviews come each second.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = ": hello\n\nevent: overview\ndata: {\"uptime_s\":7,\"nodes\":[]}\n\nevent: decision\ndata: {\"action\":\"launch\"}\n\nevent: x\ndata: {}\n\nevent: overview\ndata: nonsense\n\n";
        for size in [1, 3, 1000] {
            let mut lines = Lines::default();
            let found: Vec<_> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| lines.take(chunk))
                .collect();
            let [News::Overview(overview), News::Decision(decision)] = &found[..] else {
                panic!("{found:?}");
            };
            assert_eq!((overview.uptime_s, &*decision.action), (7, "launch"));
        }
    }
}
