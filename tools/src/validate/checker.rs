//! A whole stream: what was fetched goes in with its times, findings come out. It fetches nothing and reads no
//! clock; whoever does is `session`.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use media::Init;

use super::{
    across::{self, Edge, Seen},
    content::{self, Unread},
    exchange::{self, Exchange, Sort},
    finding::{Findings, Place},
    follow::{Asked, Follow},
    listing::{Entry, Listing, Map, Report},
    rates::Rates,
    rule, snapshot,
    tracks::{Said, Tracks},
    variants::Multivariant,
};

/// What was fetched, and what for. Playlists are counted from 0, in the order of `Checker::watch`.
#[derive(Debug)]
pub enum Event {
    Playlist {
        playlist: usize,
        asked: Asked,
        text: String,
    },
    Init {
        playlist: usize,
        map: Map,
        body: Vec<u8>,
    },
    Segment {
        playlist: usize,
        entry: Box<Entry>,
        body: Vec<u8>,
    },
    Part {
        playlist: usize,
        entry: Box<Entry>,
        part: usize,
        body: Vec<u8>,
    },
    /// A reload that should be refused; what it asked.
    Probe { playlist: usize, probe: Probe },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    TooFar,
    PartAlone,
}

/// A stream under observation.
#[derive(Debug, Default)]
pub struct Checker {
    pub findings: Findings,
    multivariant: Option<Multivariant>,
    watched: Vec<Watched>,
    /// Reports on playlists that have not been seen since.
    pending: VecDeque<Pending>,
}

/// A media playlist, and its place in the multivariant one.
#[derive(Debug, Default)]
struct Watched {
    url: String,
    variant: Option<usize>,
    follow: Follow,
    seen: VecDeque<Seen>,
    inits: BTreeMap<String, Result<Init, Unread>>,
    tracks: Tracks,
    rates: Rates,
    reloads: u64,
    failures: u64,
}

#[derive(Debug)]
struct Pending {
    listing: Listing,
    report: Report,
    seen: Seen,
    about: usize,
}

/// What a playlist was like, for the report.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Summary {
    pub url: String,
    pub reloads: u64,
    pub first: Option<u64>,
    pub last: Option<u64>,
    pub segments_fetched: u64,
    /// Bits per second.
    pub peak: Option<u64>,
    pub average: Option<u64>,
    pub declared_peak: Option<u64>,
    pub declared_average: Option<u64>,
}

impl Checker {
    /// The multivariant playlist, if the stream has one.
    pub fn multivariant(&mut self, exchange: &Exchange, text: &str) -> Option<&Multivariant> {
        self.findings.at(exchange.came);
        let place = Place::of(&exchange.url);
        exchange::check(exchange, Sort::Playlist, place, None, &mut self.findings);
        self.multivariant = Multivariant::read(&exchange.url, text, &mut self.findings);
        self.multivariant.as_ref()
    }

    /// Another media playlist is followed; `variant` is its place in the multivariant playlist.
    pub fn watch(&mut self, url: &str, variant: Option<usize>) -> usize {
        self.watched.push(Watched {
            url: url.to_owned(),
            variant,
            ..Watched::default()
        });
        self.watched.len() - 1
    }

    /// What the last reload of `playlist` listed.
    pub fn listing(&self, playlist: usize) -> Option<&Listing> {
        self.watched.get(playlist)?.follow.last()
    }

    pub fn handle(&mut self, exchange: &Exchange, event: Event) {
        self.findings.at(exchange.came);
        match event {
            Event::Playlist {
                playlist,
                asked,
                text,
            } => self.reload(playlist, exchange, asked, &text),
            Event::Init {
                playlist,
                map,
                body,
            } => {
                let Some(watched) = self.watched.get_mut(playlist) else {
                    return;
                };
                let place = Place::of(&watched.url);
                exchange::check(
                    exchange,
                    Sort::Init,
                    place.clone(),
                    None,
                    &mut self.findings,
                );
                let init = if exchange.is_well() {
                    content::read_init(&body)
                } else {
                    Err(Unread::NoMap)
                };
                if let Err(Unread::Broken(found)) = &init {
                    let place = place.media(&exchange.url);
                    let expected = "an init section that can be read";
                    self.findings
                        .say(&rule::MEDIA, place, found.clone(), expected);
                }
                // Few are in use at a time.
                if watched.inits.len() >= INITS {
                    watched.inits.clear();
                }
                watched.inits.insert(name_of(&map), init);
            }
            Event::Segment {
                playlist,
                entry,
                body,
            } => self.media(playlist, exchange, &entry, None, &body),
            Event::Part {
                playlist,
                entry,
                part,
                body,
            } => self.media(playlist, exchange, &entry, Some(part), &body),
            Event::Probe { playlist, probe } => self.probe(playlist, exchange, probe),
        }
    }

    /// What can be said only at the end.
    pub fn finish(&mut self) {
        let variants = self
            .multivariant
            .as_ref()
            .map(|multivariant| &multivariant.variants);
        for watched in &self.watched {
            let variant = watched.variant.and_then(|index| variants?.get(index));
            let live = watched.follow.last().is_none_or(|last| !last.ended);
            let alone = variants.is_none_or(|variants| variants.len() < 2);
            if let Some(variant) = variant.filter(|variant| !variant.i_frames) {
                watched.rates.check(
                    variant,
                    &Place::of(&watched.url),
                    live,
                    alone,
                    &mut self.findings,
                );
            }
        }
    }

    pub fn summaries(&self) -> Vec<Summary> {
        let variants = self
            .multivariant
            .as_ref()
            .map(|multivariant| &multivariant.variants);
        let all = self.watched.iter().map(|watched| {
            let variant = watched.variant.and_then(|index| variants?.get(index));
            let last = watched.follow.last();
            let whole = |rate: f64| rate.round() as u64;
            Summary {
                url: watched.url.clone(),
                reloads: watched.reloads,
                first: last.and_then(|last| Some(last.segments.first()?.number)),
                last: last.and_then(|last| Some(last.segments.last()?.number)),
                segments_fetched: watched.rates.segments(),
                peak: watched.rates.peak().map(whole),
                average: watched.rates.average().map(whole),
                declared_peak: variant.and_then(|variant| variant.bandwidth),
                declared_average: variant.and_then(|variant| variant.average),
            }
        });
        all.collect()
    }

    fn reload(&mut self, playlist: usize, exchange: &Exchange, asked: Asked, text: &str) {
        let Some(watched) = self.watched.get_mut(playlist) else {
            return;
        };
        let findings = &mut self.findings;
        let live = watched.follow.last().filter(|last| !last.ended);
        let target = live.and_then(|last| last.target);
        exchange::check(
            exchange,
            Sort::Playlist,
            Place::of(&watched.url),
            target,
            findings,
        );
        if !exchange.is_well() {
            watched.failures += 1;
            return;
        }
        let Some(listing) = Listing::read(&watched.url, text, findings) else {
            return;
        };
        watched.reloads += 1;
        let listing = watched.follow.reload(listing, asked, findings).clone();
        snapshot::check(&listing, findings);
        let seen = Seen {
            asked: exchange.asked,
            came: exchange.came,
            edge: Edge::of(&listing),
        };
        watched.seen.push_back(seen);
        if watched.seen.len() > SEEN {
            watched.seen.pop_front();
        }
        self.agree(playlist, &listing, seen);
        self.reports(playlist, listing, seen);
    }

    /// With the other variants, as they were lately.
    fn agree(&mut self, playlist: usize, listing: &Listing, seen: Seen) {
        if self.watched[playlist].variant.is_none() {
            return;
        }
        let lately = Duration::from_secs(listing.target.unwrap_or(1)) * 2;
        for (index, other) in self.watched.iter().enumerate() {
            let fresh = other
                .seen
                .back()
                .is_some_and(|last| last.came + lately >= seen.came);
            let Some(theirs) = other.follow.last().filter(|_| index != playlist && fresh) else {
                continue;
            };
            if other.variant.is_some() && !theirs.i_frames_only && !listing.i_frames_only {
                across::agree(listing, theirs, &mut self.findings);
            }
        }
    }

    fn reports(&mut self, playlist: usize, listing: Listing, seen: Seen) {
        // What was said of this one can be judged now.
        let (judged, still) =
            std::mem::take(&mut self.pending)
                .into_iter()
                .partition(|pending: &Pending| {
                    pending.about == playlist && pending.seen.came <= seen.asked
                });
        self.pending = still;
        for pending in Vec::from(judged) {
            let seen = self.watched[playlist].seen.make_contiguous();
            let about = (&listing, &*seen);
            across::report(
                &pending.listing,
                pending.seen,
                &pending.report,
                about,
                &mut self.findings,
            );
        }
        for report in &listing.reports {
            let about = self
                .watched
                .iter()
                .position(|other| same_resource(&listing.url, &report.uri, &other.url));
            match about {
                Some(about) => self.pending.push_back(Pending {
                    listing: Listing {
                        segments: Vec::new(),
                        ..listing.clone()
                    },
                    report: report.clone(),
                    seen,
                    about,
                }),
                None => {
                    let place = listing.place().line(report.line);
                    let expected = "a playlist of the multivariant playlist";
                    self.findings
                        .say(&rule::REPORT, place, report.uri.clone(), expected);
                }
            }
        }
        self.pending
            .drain(..self.pending.len().saturating_sub(PENDING));
        let variants = self
            .watched
            .iter()
            .filter(|other| other.variant.is_some())
            .count();
        let mine = self.watched[playlist].variant.is_some();
        if listing.has_parts()
            && mine
            && !listing.ended
            && listing.reports.is_empty()
            && variants > 1
        {
            let found = format!(
                "no EXT-X-RENDITION-REPORT, beside {} other variants",
                variants - 1
            );
            let expected = "one for each other rendition";
            self.findings
                .say(&rule::LOW_LATENCY_PROFILE, listing.place(), found, expected);
        }
    }

    fn media(
        &mut self,
        playlist: usize,
        exchange: &Exchange,
        entry: &Entry,
        part: Option<usize>,
        body: &[u8],
    ) {
        let variants = self
            .multivariant
            .as_ref()
            .map(|multivariant| &multivariant.variants);
        let Some(watched) = self.watched.get_mut(playlist) else {
            return;
        };
        let findings = &mut self.findings;
        let listed = part.and_then(|part| entry.parts.get(part));
        let mut place = Place::of(&watched.url).segment(entry.number);
        place.part = part;
        let sort = if part.is_some() {
            Sort::Part
        } else {
            Sort::Segment
        };
        exchange::check(exchange, sort, place.clone(), None, findings);
        if !exchange.is_well() {
            return;
        }
        let last = watched.follow.last();
        let duration = listed.map_or(entry.duration, |part| part.duration);
        let target = last.and_then(|last| last.target).unwrap_or(1) as f64;
        let took = exchange.took().as_secs_f64();
        if took > duration.max(0.1) && part.is_none() {
            let expected = format!("less than the {duration:.3} s that it plays");
            findings.say(
                &rule::SLOW,
                Place::of(&watched.url),
                format!("a segment took {took:.1} s"),
                expected,
            );
        }
        if part.is_none() {
            watched
                .rates
                .segment(entry.number, exchange.octets, duration, target);
        }
        if exchange.truncated {
            let found = format!("only the first {} octets of a segment", exchange.octets);
            return findings.say(
                &rule::UNCHECKED,
                Place::of(&watched.url),
                found,
                "a segment that is smaller",
            );
        }
        if let Some(method) = &entry.key {
            let found = format!("METHOD={method}");
            return findings.say(
                &rule::ENCRYPTED,
                Place::of(&watched.url),
                found,
                "media in the clear",
            );
        }
        let variant = watched.variant.and_then(|index| variants?.get(index));
        let independent = last.is_some_and(|last| last.independent);
        let i_frames = last.is_some_and(|last| last.i_frames_only);
        let said = Said {
            place: place.media(&exchange.url),
            number: entry.number,
            part: part.is_some(),
            duration,
            discontinuity: entry.discontinuity,
            independent: listed.map_or(independent, |part| part.independent),
            codecs: variant.and_then(|variant| variant.codecs.clone()),
            resolution: variant.and_then(|variant| variant.resolution),
        };
        if i_frames {
            return;
        }
        let init = entry
            .map
            .as_ref()
            .and_then(|map| watched.inits.get(&name_of(map)));
        let content = match init {
            // What is wrong with the init section was said with it.
            Some(Err(unread)) if content::container(body) == Some(content::Container::Mp4) => {
                Err(match unread {
                    Unread::Broken(why) => {
                        Unread::Unknown(format!("media of an init section that is broken: {why}"))
                    }
                    other => other.clone(),
                })
            }
            Some(Ok(init)) => content::read(body, Some(init)),
            _ => content::read(body, None),
        };
        watched.tracks.check(&said, content, findings);
    }

    fn probe(&mut self, playlist: usize, exchange: &Exchange, probe: Probe) {
        let Some(watched) = self.watched.get(playlist) else {
            return;
        };
        if exchange.status == 400 {
            return;
        }
        let (rule, what) = match probe {
            Probe::TooFar => (&rule::TOO_FAR, "a segment far ahead"),
            Probe::PartAlone => (&rule::PART_ALONE, "_HLS_part without _HLS_msn"),
        };
        let answer = match (&exchange.error, exchange.status) {
            (Some(error), 0) => error.clone(),
            (_, status) => format!("status {status}"),
        };
        let found = format!("{answer} for {what}");
        self.findings
            .say(rule, Place::of(&watched.url), found, "status 400, at once");
    }
}

fn name_of(map: &Map) -> String {
    match map.range {
        Some(range) => format!("{} {}@{}", map.uri, range.length, range.offset),
        None => map.uri.clone(),
    }
}

/// Whether `uri`, as it stands in the playlist `of`, is what is followed as `other`; queries do not count.
fn same_resource(of: &str, uri: &str, other: &str) -> bool {
    let base = url::Url::parse(of).ok();
    let there = base.and_then(|base| base.join(uri).ok());
    let other = url::Url::parse(other).ok();
    there
        .zip(other)
        .is_some_and(|(there, other)| there.path() == other.path() && there.host() == other.host())
}

/// Init sections of a playlist that are remembered.
const INITS: usize = 64;
const SEEN: usize = 64;
const PENDING: usize = 256;
