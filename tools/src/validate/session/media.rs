//! Fetching what a playlist lists: each init section, segment and part once, in their order.

use std::{collections::BTreeSet, time::Duration};

use tokio::sync::mpsc;
use url::Url;

use super::{
    super::{
        checker::Event,
        fetch::{Bound, Fetcher},
        listing::{Entry, Listing, Map, Range},
    },
    Events,
};

/// One thing to fetch.
#[derive(Debug)]
pub(super) struct Job {
    url: Url,
    range: Option<Range>,
    what: What,
}

#[derive(Debug)]
enum What {
    Init(Map),
    Segment(Box<Entry>),
    Part(Box<Entry>, usize),
}

/// What was handed out to be fetched.
#[derive(Debug, Default)]
pub(super) struct Planned {
    map: Option<Map>,
    /// Numbers of segments, and of parts within them; bounded by what is listed.
    done: BTreeSet<(u64, Option<usize>)>,
    begun: bool,
    missed: u64,
}

impl Planned {
    /// What is new in `listing`.
    pub(super) fn next(&mut self, listing: &Listing, base: &Url) -> Vec<Job> {
        let first = !std::mem::replace(&mut self.begun, true);
        let count = listing.segments.len();
        // Of a long live window the end, and its oldest segment, which is the first to be lacking.
        let skip = if first && !listing.ended {
            count.saturating_sub(TAIL)
        } else {
            0
        };
        let mut jobs = Vec::new();
        for (place, entry) in listing.entries().enumerate() {
            let complete = place < count;
            if first && place > 0 && place < skip {
                self.done.insert((entry.number, None));
                continue;
            }
            if entry.gap {
                continue;
            }
            for (index, part) in entry.parts.iter().enumerate() {
                // What is there at the start is fetched as segments.
                if self.done.insert((entry.number, Some(index)))
                    && !(first && complete)
                    && !part.gap
                {
                    self.map(entry, base, &mut jobs);
                    let what = What::Part(Box::new(entry.clone()), index);
                    jobs.extend(job(base, &part.uri, part.range, what));
                }
            }
            if complete && self.done.insert((entry.number, None)) {
                self.map(entry, base, &mut jobs);
                let what = What::Segment(Box::new(entry.clone()));
                jobs.extend(job(base, &entry.uri, entry.range, what));
            }
        }
        self.done = self
            .done
            .split_off(&(listing.first.saturating_sub(1), None));
        jobs
    }

    fn map(&mut self, entry: &Entry, base: &Url, jobs: &mut Vec<Job>) {
        if entry.map == self.map {
            return;
        }
        self.map.clone_from(&entry.map);
        if let Some(map) = &entry.map {
            jobs.extend(job(base, &map.uri, map.range, What::Init(map.clone())));
        }
    }

    /// Something could not be fetched in time; an init section is then asked for again with the next segment.
    pub(super) fn missed(&mut self) {
        self.missed += 1;
        self.map = None;
    }
}

fn job(base: &Url, uri: &str, range: Option<Range>, what: What) -> Option<Job> {
    let url = base.join(uri).ok()?;
    Some(Job { url, range, what })
}

/// Fetches what comes through `queue`, one after the other, until nothing will.
pub(super) async fn fetch_media(
    playlist: usize,
    fetcher: Fetcher,
    mut queue: mpsc::Receiver<Job>,
    events: Events,
) {
    while let Some(job) = queue.recv().await {
        let (exchange, body) = fetcher.get(&job.url, job.range, MEDIA).await;
        let event = match job.what {
            What::Init(map) => Event::Init {
                playlist,
                map,
                body,
            },
            What::Segment(entry) => Event::Segment {
                playlist,
                entry,
                body,
            },
            What::Part(entry, part) => Event::Part {
                playlist,
                entry,
                part,
                body,
            },
        };
        if events.send((exchange, event)).await.is_err() {
            return;
        }
    }
}

const MEDIA: Bound = Bound {
    octets: 64 << 20,
    time: Duration::from_secs(30),
};

/// Segments that are fetched of what is listed at the start.
const TAIL: usize = 8;
