//! A list of files (`.m3u`), one after the other on one timeline. What the first is like is what the programme is like:
//! pictures of other sizes are fitted into its own, sound that a later one lacks is silence. One that cannot be played
//! is left out.

use std::{path::Path, sync::Arc};

use super::{About, Event, demux::Demuxed};
use crate::{config::Config, error::Error, gauge::Gauge};

pub(crate) struct Listed {
    config: Config,
    items: Vec<String>,
    /// The one that plays.
    at: usize,
    current: Demuxed,
    /// Items that gave nothing, in a row.
    failed: usize,
    gauge: Arc<Gauge>,
}

impl Listed {
    pub(crate) fn open(
        config: &Config,
        path: &str,
        gauge: &Arc<Gauge>,
    ) -> Result<(Self, About), Error> {
        let refused = |why: String| Error::Open {
            input: path.to_owned(),
            why,
            fatal: true,
        };
        let text = std::fs::read_to_string(path).map_err(|why| refused(why.to_string()))?;
        let items = items(&text, Path::new(path).parent().unwrap_or(Path::new("")));
        let mut last = refused("there is no file in the list".into());
        for at in 0..items.len() {
            match Demuxed::open(&item(config, &items[at]), gauge) {
                Ok((demuxed, about)) => {
                    let listed = Self {
                        config: config.clone(),
                        items,
                        at,
                        current: demuxed,
                        failed: 0,
                        gauge: Arc::clone(gauge),
                    };
                    let description = format!("{path}: {}", about.description);
                    let about = About {
                        description,
                        unpaced: true,
                        has_end: true,
                        ..about
                    };
                    return Ok((listed, about));
                }
                Err(why) => {
                    tracing::warn!(list = path, %why, "left out");
                    last = why;
                }
            }
        }
        Err(last)
    }

    pub(crate) fn next(&mut self) -> Result<Event, Error> {
        match self.current.next() {
            Ok(Event::End) => {}
            Ok(event) => {
                if matches!(event, Event::Picture(..)) {
                    self.failed = 0;
                }
                return Ok(event);
            }
            Err(why) if self.failed < self.items.len() => {
                self.failed += 1;
                tracing::warn!(%why, "the rest of it is left out");
            }
            Err(why) => return Err(why),
        }
        let follows = self.follow()?;
        Ok(if follows { Event::Restart } else { Event::End })
    }

    /// Goes on to the next item that can be opened; `false` if there is none.
    fn follow(&mut self) -> Result<bool, Error> {
        loop {
            self.at += 1;
            if self.at == self.items.len() {
                if !self.config.looped {
                    return Ok(false);
                }
                self.at = 0;
            }
            match Demuxed::open(&item(&self.config, &self.items[self.at]), &self.gauge) {
                Ok((demuxed, about)) => {
                    tracing::info!(input = %about.description, "next in the list");
                    self.current = demuxed;
                    return Ok(true);
                }
                Err(why) if self.failed < self.items.len() => {
                    self.failed += 1;
                    tracing::warn!(%why, "left out");
                }
                Err(why) => return Err(why),
            }
        }
    }
}

/// One item, once.
fn item(config: &Config, input: &str) -> Config {
    Config {
        input: input.to_owned(),
        looped: false,
        ..config.clone()
    }
}

/// The lines that are no comments; files are where the list is.
fn items(text: &str, folder: &Path) -> Vec<String> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let place = |line: &str| match line.contains("://") {
        true => line.to_owned(),
        false => folder.join(line).to_string_lossy().into_owned(),
    };
    lines.map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_the_list_is() {
        let text =
            "\u{feff}#EXTM3U\r\n#EXTINF:3,one\r\na.mp4\r\n\r\n/b.mkv\nhttp://example.org/c.ts\n";
        let items = items(text, Path::new("/media"));
        assert_eq!(items, ["/media/a.mp4", "/b.mkv", "http://example.org/c.ts"]);
    }
}
