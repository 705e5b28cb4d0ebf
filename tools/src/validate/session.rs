//! Follows a stream as a player would, all of its playlists at once, and hands what it gets to the `Checker`.
//! What is right or wrong is not decided here.

mod media;

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use url::Url;

use self::media::{Job, fetch_media};
use super::{
    checker::{Checker, Event, Probe},
    exchange::Exchange,
    fetch::{Bound, Fetcher},
    finding::Findings,
    follow::{Asked, Follow},
    listing::Listing,
    report, rule,
    variants::{self, Multivariant},
};

/// What to follow, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    pub url: Url,
    /// A stream that ends, ends it sooner.
    pub span: Duration,
    /// Segments and parts too, not playlists only.
    pub media: bool,
    /// Sent with each request, as `Name: value`.
    pub headers: Vec<String>,
}

/// Follows the stream and says what is wrong with it; an error if there was nothing to follow.
pub async fn run(options: &Options) -> anyhow::Result<report::Report> {
    let fetcher = Fetcher::new(&options.headers)?;
    let end = Instant::now() + options.span;
    let mut checker = Checker::default();
    let playlists = playlists(options, &fetcher, &mut checker).await?;
    let (sender, mut events) = mpsc::channel(EVENTS);
    let mut tasks = JoinSet::new();
    for (index, url) in playlists.into_iter().enumerate() {
        let (jobs, queue) = mpsc::channel(JOBS);
        let task = Task {
            index,
            url,
            fetcher: fetcher.clone(),
            events: sender.clone(),
            jobs: options.media.then_some(jobs),
            follow: Follow::default(),
            planned: media::Planned::default(),
        };
        tasks.spawn(fetch_media(index, fetcher.clone(), queue, sender.clone()));
        tasks.spawn(task.run());
    }
    drop(sender);
    // At the deadline, whatever is under way is given up; what came is judged.
    while let Ok(Some((exchange, event))) = tokio::time::timeout_at(end, events.recv()).await {
        checker.handle(&exchange, event);
    }
    tasks.shutdown().await;
    while let Ok((exchange, event)) = events.try_recv() {
        checker.handle(&exchange, event);
    }
    checker.finish();
    let report = report::Report::new(options.url.as_str(), fetcher.now(), &checker);
    if report
        .playlists
        .iter()
        .all(|playlist| playlist.reloads == 0)
        && report.breaches == 0
    {
        bail!(
            "{}: no media playlist came within {:?}",
            options.url,
            options.span
        );
    }
    Ok(report)
}

/// The media playlists of what is at the URL, which may be one itself.
async fn playlists(
    options: &Options,
    fetcher: &Fetcher,
    checker: &mut Checker,
) -> anyhow::Result<Vec<Url>> {
    let (exchange, body) = fetcher.get(&options.url, None, PLAYLIST).await;
    if let Some(error) = &exchange.error {
        bail!("{}: {error}", options.url);
    }
    if !exchange.is_well() {
        let said: String = String::from_utf8_lossy(&body)
            .trim()
            .chars()
            .take(200)
            .collect();
        bail!("{}: status {} {said}", options.url, exchange.status);
    }
    let text = text(body, &exchange, &mut checker.findings);
    if !text.starts_with("#EXTM3U") && !text.starts_with("\u{feff}#EXTM3U") {
        bail!(
            "{}: what is there is no playlist; it begins with {:?}",
            options.url,
            text.chars().take(40).collect::<String>()
        );
    }
    if !variants::is_multivariant(&text) {
        checker.watch(options.url.as_str(), None);
        return Ok(vec![options.url.clone()]);
    }
    let base: Url = exchange
        .final_url
        .parse()
        .context("the URL after redirects")?;
    let Some(multivariant) = checker.multivariant(&exchange, &text).cloned() else {
        bail!("{}: no playlist", options.url);
    };
    let mut urls: Vec<Url> = Vec::new();
    for (uri, variant) in named(&multivariant) {
        let Ok(url) = base.join(uri) else { continue };
        if urls.contains(&url) {
            continue;
        }
        if urls.len() == MOST {
            let found = format!("more than {MOST} playlists");
            let place = super::Place::of(options.url.as_str());
            checker
                .findings
                .say(&rule::UNCHECKED, place, found, "fewer");
            break;
        }
        checker.watch(url.as_str(), variant);
        urls.push(url);
    }
    if urls.is_empty() {
        bail!("{}: it names no media playlist", options.url);
    }
    Ok(urls)
}

/// The playlists that are named, variants with their place.
fn named(multivariant: &Multivariant) -> impl Iterator<Item = (&str, Option<usize>)> {
    let variants = multivariant.variants.iter().enumerate();
    let variants = variants.map(|(index, variant)| (variant.uri.as_str(), Some(index)));
    let renditions = multivariant.renditions.iter();
    let renditions = renditions.filter_map(|rendition| Some((rendition.uri.as_deref()?, None)));
    variants
        .chain(renditions)
        .filter(|(uri, _)| !uri.is_empty())
}

/// What is sent to the one that judges. Who sends waits when it is full, as a slow player would.
type Events = mpsc::Sender<(Exchange, Event)>;

/// One playlist, reloaded until its end.
struct Task {
    index: usize,
    url: Url,
    fetcher: Fetcher,
    events: Events,
    /// None if media is not wanted.
    jobs: Option<mpsc::Sender<Job>>,
    follow: Follow,
    planned: media::Planned,
}

impl Task {
    async fn run(mut self) {
        let mut asked = Asked::default();
        for reload in 0_u64.. {
            let started = Instant::now();
            let before = self
                .follow
                .last()
                .map(|last| (last.next(), last.open.parts.len()));
            let Some(listing) = self.reload(asked).await else {
                // A playlist that cannot be had now may be had later; what was wrong is said.
                tokio::time::sleep(Duration::from_secs(1)).await;
                asked = Asked::default();
                continue;
            };
            if listing.ended {
                return;
            }
            let target = Duration::from_secs(listing.target.unwrap_or(1).max(1));
            let now = Some((listing.next(), listing.open.parts.len()));
            if listing.blocks() {
                if reload == PROBE_AT {
                    self.probe(&listing).await;
                }
                asked = next(&listing, reload);
                // Two answers alike to blocking reloads would make this a loop without rest.
                if before == now {
                    tokio::time::sleep(target / 4).await;
                }
            } else {
                // Section 6.3.4: a target duration after a change, half of one where there was none.
                let pause = if before == now { target / 2 } else { target };
                asked = Asked {
                    skip: skips(&listing, reload),
                    ..Asked::default()
                };
                tokio::time::sleep_until(started + pause).await;
            }
        }
    }

    /// Fetches it, reports it, and has its media fetched.
    async fn reload(&mut self, mut asked: Asked) -> Option<Listing> {
        let patience = self.follow.last().and_then(|last| last.target).unwrap_or(0) * 3;
        let bound = Bound {
            time: PLAYLIST.time + Duration::from_secs(patience),
            ..PLAYLIST
        };
        let url = with_query(&self.url, asked);
        let (exchange, body) = self.fetcher.get(&url, None, bound).await;
        asked.took = exchange.took();
        let mut aside = Findings::default();
        let text = text(body, &exchange, &mut aside);
        let event = Event::Playlist {
            playlist: self.index,
            asked,
            text: text.clone(),
        };
        let well = exchange.is_well();
        let base = exchange.final_url.parse().ok();
        self.events.send((exchange, event)).await.ok()?;
        if !well {
            return None;
        }
        let listing = Listing::read(self.url.as_str(), &text, &mut aside)?;
        let listing = self.follow.reload(listing, asked, &mut aside).clone();
        if let Some(jobs) = &self.jobs {
            for job in self
                .planned
                .next(&listing, &base.unwrap_or_else(|| self.url.clone()))
            {
                // Where nothing more will be listed, there is time; else what is late would only be later.
                if listing.ended {
                    jobs.send(job).await.ok()?;
                } else if jobs.try_send(job).is_err() {
                    self.planned.missed();
                }
            }
        }
        Some(listing)
    }

    /// Two requests that a server that blocks should refuse.
    async fn probe(&self, listing: &Listing) {
        let far = Asked {
            number: Some(listing.next().saturating_add(100)),
            ..Asked::default()
        };
        let alone = Asked {
            part: Some(0),
            ..Asked::default()
        };
        for (asked, probe) in [(far, Probe::TooFar), (alone, Probe::PartAlone)] {
            let bound = Bound {
                time: Duration::from_secs(4),
                ..PLAYLIST
            };
            let (exchange, _) = self
                .fetcher
                .get(&with_query(&self.url, asked), None, bound)
                .await;
            let event = Event::Probe {
                playlist: self.index,
                probe,
            };
            // Nobody listens any more when it is over.
            let _ = self.events.send((exchange, event)).await;
        }
    }
}

/// What comes after `listing`: its next part, or its next segment.
fn next(listing: &Listing, reload: u64) -> Asked {
    let parts = listing.open.parts.len() as u64;
    Asked {
        number: Some(listing.next()),
        part: listing.part_target.is_some().then_some(parts),
        skip: skips(listing, reload),
        took: Duration::ZERO,
    }
}

/// Every other time, so that updates are compared with full playlists.
fn skips(listing: &Listing, reload: u64) -> bool {
    let control = listing.control.as_ref();
    reload % 2 == 1 && control.is_some_and(|control| control.skip_until.is_some())
}

/// `url` with the delivery directives of a reload (section 6.2.5), in the order of their names.
fn with_query(url: &Url, asked: Asked) -> Url {
    let mut url = url.clone();
    if asked.number.is_none() && asked.part.is_none() && !asked.skip {
        return url;
    }
    let mut query = url.query_pairs_mut();
    if let Some(number) = asked.number {
        query.append_pair("_HLS_msn", &number.to_string());
    }
    if let Some(part) = asked.part {
        query.append_pair("_HLS_part", &part.to_string());
    }
    if asked.skip {
        query.append_pair("_HLS_skip", "YES");
    }
    drop(query);
    url
}

fn text(body: Vec<u8>, exchange: &Exchange, findings: &mut Findings) -> String {
    String::from_utf8(body).unwrap_or_else(|error| {
        let place = super::Place::of(&exchange.url);
        findings.say(
            &rule::ENCODING,
            place,
            error.utf8_error().to_string(),
            "UTF-8",
        );
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    })
}

const PLAYLIST: Bound = Bound {
    octets: 8 << 20,
    time: Duration::from_secs(10),
};

/// Playlists of one stream that are followed.
const MOST: usize = 32;
/// A segment each at most, so this is memory too.
const EVENTS: usize = 8;
const JOBS: usize = 64;
/// The reload after which it is tried what is refused.
const PROBE_AT: u64 = 2;
