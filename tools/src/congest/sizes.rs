//! The true sizes of a stream's segments in every rung, and when each was complete: off the canonical playlist of the
//! lowest rung, and the lengths of the canonical objects that it names.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use chrono::DateTime;
use reqwest::{Client, Url, header::CONTENT_LENGTH};
use serde::Serialize;
use tokio::task::JoinHandle;

/// The sizes of one round's segments.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sizes {
    /// In which order sizes are told.
    pub rungs: Vec<String>,
    pub segments: Vec<Sized>,
}

/// One segment.
#[derive(Clone, Debug, Serialize)]
pub struct Sized {
    pub number: u64,
    pub duration_s: f64,
    /// When the origin had all of it.
    pub complete_s: f64,
    /// In each rung.
    pub octets: Vec<u64>,
}

impl Sizes {
    pub fn octets(&self, segment: u64, rung: &str) -> Option<u64> {
        let place = self.rungs.iter().position(|name| name == rung)?;
        let segment = self.segments.iter().find(|sized| sized.number == segment)?;
        segment.octets.get(place).copied()
    }
}

/// Follows a stream, and knows its segments since then.
#[derive(Debug)]
pub struct Follower {
    rungs: Vec<String>,
    /// By their numbers; `complete_s` by the wall clock.
    known: Arc<Mutex<BTreeMap<u64, Sized>>>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Follows the stream at `base` (`.../live/NAME/`), whose rungs are these.
    pub fn start(client: Client, base: Url, rungs: Vec<String>) -> Self {
        let known = Arc::<Mutex<BTreeMap<u64, Sized>>>::default();
        let (to, names) = (known.clone(), rungs.clone());
        let task = tokio::spawn(async move {
            loop {
                // What fails once is there the next time: each segment is listed for long.
                if let Err(error) = look(&client, &base, &names, &to).await {
                    eprintln!("congest: sizes of segments: {error:#}");
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { rungs, known, task }
    }

    /// What was complete at a round that began at `began_ms` and lasted `span`, and some time before.
    pub fn sizes(&self, began_ms: i64, span: Duration) -> Sizes {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let segments = known.values().cloned().map(|sized| Sized {
            complete_s: (sized.complete_s * 1000.0 - began_ms as f64).round() / 1000.0,
            ..sized
        });
        let near = -BEFORE..span.as_secs_f64();
        Sizes {
            rungs: self.rungs.clone(),
            segments: segments
                .filter(|sized| near.contains(&sized.complete_s))
                .collect(),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(
    client: &Client,
    base: &Url,
    rungs: &[String],
    known: &Mutex<BTreeMap<u64, Sized>>,
) -> anyhow::Result<()> {
    let lowest = rungs.first().context("the stream has no rungs")?;
    let url = base.join(&format!("{lowest}.m3u8"))?;
    let text = client
        .get(url.clone())
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?;
    for listed in listed(&text) {
        let is_known = || {
            known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(&listed.number)
        };
        if is_known() {
            continue;
        }
        let mut octets = Vec::new();
        for rung in rungs {
            let name = listed
                .uri
                .replace(&format!("/{lowest}/"), &format!("/{rung}/"));
            let answer = client
                .head(url.join(&name)?)
                .send()
                .await?
                .error_for_status()?;
            let length = answer
                .headers()
                .get(CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok());
            octets.push(length.with_context(|| format!("{name} has no length"))?);
        }
        let sized = Sized {
            number: listed.number,
            duration_s: listed.duration,
            complete_s: listed.end,
            octets,
        };
        known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(listed.number, sized);
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
struct Listed<'a> {
    number: u64,
    duration: f64,
    /// By the wall clock, in seconds.
    end: f64,
    uri: &'a str,
}

/// The whole segments of a playlist that dates each of them, as ours does.
fn listed(text: &str) -> Vec<Listed<'_>> {
    let (mut number, mut date, mut duration, mut all) = (0, None, None, Vec::new());
    for line in text.lines() {
        if let Some(first) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            number = first.parse().unwrap_or(0);
        } else if let Some(moment) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
            date = DateTime::parse_from_rfc3339(moment).ok();
        } else if let Some(length) = line.strip_prefix("#EXTINF:") {
            duration = length
                .split(',')
                .next()
                .and_then(|length| length.parse::<f64>().ok());
        } else if !line.starts_with('#') && !line.is_empty() {
            if let (Some(date), Some(duration)) = (date.take(), duration.take()) {
                let end = date.timestamp_millis() as f64 / 1000.0 + duration;
                all.push(Listed {
                    number,
                    duration,
                    end,
                    uri: line,
                });
            }
            number += 1;
        }
    }
    all
}

const EVERY: Duration = Duration::from_secs(1);
/// Seconds of media before a round that its players may still be given.
const BEFORE: f64 = 25.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read_with_their_numbers_and_moments() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:41\n#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:01.000Z\n\
            #EXTINF:2.13333,\n5/low/41.m4s\n#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:03.133Z\n\
            #EXT-X-PART:DURATION=0.5,URI=\"5/low/42.0.m4s\"\n#EXTINF:2.0,\n5/low/42.m4s\n";
        let all = listed(text);
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].number, all[1].uri), (42, "5/low/42.m4s"));
        assert!((all[1].end - 5.133).abs() < 1e-9);
    }
}
