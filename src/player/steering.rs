//! Content steering as hls.js follows it (RFC 8216bis section 7): when its server is asked, and on which pathway the
//! viewing goes on. Asking and switching is the session's.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use playlists::parse;
use reqwest::Url;
use serde::Deserialize;

/// A steered viewing.
#[derive(Debug)]
pub(super) struct Steering {
    server: Url,
    /// Where it is.
    pathway: String,
    /// Each pathway's media playlist.
    ways: Vec<(String, Url)>,
    /// Those that have failed: nothing leads back to them.
    lost: Vec<String>,
    /// When the server is asked again; `None` if it wants that no more.
    due: Option<Instant>,
    ttl: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Manifest {
    version: u64,
    ttl: Option<u64>,
    reload_uri: Option<String>,
    pathway_priority: Vec<String>,
    #[serde(default)]
    pathway_clones: Vec<Variation>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Variation {
    base_id: String,
    id: String,
    uri_replacement: Replacement,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Replacement {
    host: Option<String>,
    #[serde(default)]
    params: BTreeMap<String, String>,
}

impl Steering {
    /// Of a multivariant playlist that came from `base`; `None` without a pathway that can be played. The server is asked at
    /// once.
    pub(super) fn new(said: parse::Steering, base: &Url, now: Instant) -> Option<Self> {
        let ways = said.pathways.into_iter();
        let ways: Vec<_> = ways
            .filter_map(|(id, uri)| Some((id, base.join(&uri).ok()?)))
            .collect();
        Some(Self {
            server: base.join(&said.server).ok()?,
            pathway: ways.first()?.0.clone(),
            ways,
            lost: Vec::new(),
            due: Some(now),
            ttl: TTL,
        })
    }

    /// The playlist of the pathway that it is on.
    pub(super) fn playlist(&self) -> &Url {
        let here = self.ways.iter().find(|(id, _)| *id == self.pathway);
        // It is one of them.
        here.map_or(&self.server, |(_, url)| url)
    }

    /// What to ask, if it is time.
    pub(super) fn due(&self, now: Instant) -> Option<Url> {
        self.due.filter(|due| *due <= now)?;
        let mut url = self.server.clone();
        url.query_pairs_mut()
            .append_pair("_HLS_pathway", &self.pathway);
        Some(url)
    }

    /// When it is time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due
    }

    /// Takes a manifest that came from `from`; the playlist to go on with, if it is another.
    pub(super) fn take(&mut self, text: &[u8], from: &Url, now: Instant) -> Option<Url> {
        let manifest = serde_json::from_slice::<Manifest>(text).ok();
        let Some(manifest) = manifest.filter(|manifest| manifest.version == 1) else {
            self.later(now);
            return None;
        };
        self.ttl = manifest.ttl.map_or(TTL, Duration::from_secs).max(LEAST);
        self.later(now);
        if let Some(reload) = manifest.reload_uri.and_then(|uri| from.join(&uri).ok()) {
            self.server = reload;
        }
        for clone in manifest.pathway_clones.into_iter().take(WAYS) {
            self.add(clone);
        }
        let listed = manifest.pathway_priority.iter();
        let first = listed
            .filter(|id| !self.lost.contains(id))
            .find_map(|id| self.ways.iter().find(|(known, _)| known == id));
        let (id, url) = first.filter(|(id, _)| *id != self.pathway)?.clone();
        self.pathway = id;
        Some(url)
    }

    /// The server cannot be heard: asked again when it would have been anyway; never if that is what it said.
    pub(super) fn failed(&mut self, gone: bool, now: Instant) {
        self.later(now);
        self.due = self.due.filter(|_| !gone);
    }

    /// This pathway has failed: another one's playlist, if there is one that has not.
    pub(super) fn elsewhere(&mut self) -> Option<Url> {
        self.lost.push(self.pathway.clone());
        let left = |(id, _): &&(String, Url)| !self.lost.contains(id);
        let (id, url) = self.ways.iter().find(left)?.clone();
        self.pathway = id;
        Some(url)
    }

    fn later(&mut self, now: Instant) {
        self.due = Some(now + self.ttl);
    }

    /// A pathway that is like another one but for its host and its query (section 7.2).
    fn add(&mut self, clone: Variation) {
        let known = |id: &str| self.ways.iter().position(|(known, _)| known == id);
        let (Some(base), None) = (known(&clone.base_id), known(&clone.id)) else {
            return;
        };
        if self.ways.len() >= WAYS {
            return;
        }
        let mut url = self.ways[base].1.clone();
        if let Some(host) = &clone.uri_replacement.host
            && url.set_host(Some(host)).is_err()
        {
            return;
        }
        let params = &clone.uri_replacement.params;
        let kept = url.query_pairs().into_owned();
        let kept: Vec<_> = kept
            .filter(|(name, _)| !params.contains_key(name))
            .collect();
        if !params.is_empty() {
            url.query_pairs_mut()
                .clear()
                .extend_pairs(kept)
                .extend_pairs(params);
        }
        self.ways.push((clone.id, url));
    }
}

/// If a manifest says nothing else (RFC 8216bis section 7.1).
const TTL: Duration = Duration::from_secs(300);
/// No server is asked more often, whatever it says.
const LEAST: Duration = Duration::from_secs(1);
/// Pathways that are known at a time; more are not taken.
const WAYS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn steering(now: Instant) -> Steering {
        let text = "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"v/a/steering.json\",PATHWAY-ID=\"one\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1,PATHWAY-ID=\"two\"\nhttp://two.test/live/x/v/a/index.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1,PATHWAY-ID=\"one\"\nv/a/index.m3u8\n";
        let base = "http://one.test/live/x/index.m3u8".parse().unwrap();
        let said = parse::steering(text).unwrap().unwrap();
        Steering::new(said, &base, now).unwrap()
    }

    fn take(steering: &mut Steering, text: &str, now: Instant) -> Option<String> {
        let from = "http://one.test/live/x/v/a/steering.json".parse().unwrap();
        let to = steering.take(text.as_bytes(), &from, now);
        to.map(String::from)
    }

    #[test]
    fn the_server_is_asked_at_the_join_and_then_when_it_says() {
        let now = Instant::now();
        let mut steering = steering(now);
        let asked = steering.due(now).unwrap();
        assert_eq!(
            asked.as_str(),
            "http://one.test/live/x/v/a/steering.json?_HLS_pathway=one"
        );
        let stay =
            r#"{"VERSION":1,"TTL":10,"RELOAD-URI":"other.json","PATHWAY-PRIORITY":["one","two"]}"#;
        assert_eq!(take(&mut steering, stay, now), None);
        assert_eq!(steering.next(), Some(now + Duration::from_secs(10)));
        assert_eq!(steering.due(now), None);
        let asked = steering.due(now + Duration::from_secs(10)).unwrap();
        assert_eq!(asked.path(), "/live/x/v/a/other.json");
    }

    #[test]
    fn the_first_pathway_that_is_known_is_taken_and_may_be_a_clone() {
        let now = Instant::now();
        let mut steering = steering(now);
        let go = r#"{"VERSION":1,"PATHWAY-PRIORITY":["two.moved","two"],"PATHWAY-CLONES":[
            {"BASE-ID":"two","ID":"two.moved","URI-REPLACEMENT":{"PARAMS":{"seen":"900"}}}]}"#;
        assert_eq!(
            take(&mut steering, go, now).as_deref(),
            Some("http://two.test/live/x/v/a/index.m3u8?seen=900")
        );
        assert_eq!(take(&mut steering, go, now), None, "it is there already");
        let host = r#"{"VERSION":1,"PATHWAY-PRIORITY":["c"],"PATHWAY-CLONES":[
            {"BASE-ID":"one","ID":"c","URI-REPLACEMENT":{"HOST":"three.test"}}]}"#;
        assert_eq!(
            take(&mut steering, host, now).as_deref(),
            Some("http://three.test/live/x/v/a/index.m3u8")
        );
    }

    #[test]
    fn who_cannot_be_read_or_heard_is_asked_later_and_who_is_gone_never() {
        let now = Instant::now();
        let mut steering = steering(now);
        for text in ["", "{}", r#"{"VERSION":2,"PATHWAY-PRIORITY":["two"]}"#] {
            assert_eq!(take(&mut steering, text, now), None);
            assert_eq!(steering.next(), Some(now + TTL));
        }
        steering.failed(true, now);
        assert_eq!(steering.due(now + TTL * 2), None);
    }

    #[test]
    fn a_pathway_that_fails_is_left_for_good() {
        let mut steering = steering(Instant::now());
        let to = steering.elsewhere().map(String::from);
        assert_eq!(to.as_deref(), Some("http://two.test/live/x/v/a/index.m3u8"));
        assert_eq!(steering.elsewhere(), None);
    }
}
