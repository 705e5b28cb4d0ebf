//! Content steering (RFC 8216bis sections 4.4.6.6 and 7) for players that honour it: a viewer's pathways are this node
//! and the one that it follows, and its manifest says which to take, with what is known of the viewer.
//!
//! A player that is steered asks the other node from then on, where one that is redirected asks here for as long as it
//! plays; and it goes over by itself when this node dies. The manifest is the node's own, not the manager's: who
//! is to go is decided here, viewer by viewer, and it works while no manager is there.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use playlists::render::Pathway;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    NO_STORE, Origin, Refusal, Stance,
    moving::Way,
    playlist::stream_of,
    seat::{Seat, ViewerId},
};

/// The pathways of a viewer that joins here, this node first.
pub(super) fn pathways(origin: &Origin, viewer: &ViewerId, stream: &str) -> Vec<Pathway> {
    let folder = format!("v/{viewer}/");
    let here = Pathway {
        id: origin.pathway(),
        folder: folder.clone(),
    };
    // A token stands in front of the path, and another node's path is not known with it.
    let home = home(origin).filter(|_| origin.terms.keys.is_none());
    let there = home.map(|home| Pathway {
        id: name(&home),
        folder: format!("{home}/live/{stream}/{folder}"),
    });
    let there = there.filter(|there| there.id != here.id);
    std::iter::once(here).chain(there).collect()
}

/// What the steered player says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Steered {
    /// Where it is.
    #[serde(rename = "_HLS_pathway")]
    pathway: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Manifest {
    version: u8,
    ttl: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload_uri: Option<String>,
    pathway_priority: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pathway_clones: Vec<Value>,
}

/// `v/{viewer}/steering.json`.
pub(super) async fn manifest(
    State(origin): State<Arc<Origin>>,
    Path((stream, viewer)): Path<(String, String)>,
    Query(steered): Query<Steered>,
    uri: axum::http::Uri,
) -> Result<Response, Refusal> {
    let (stream, _) = stream_of(&origin, &stream)?;
    let viewer: ViewerId = viewer.parse().map_err(Refusal::not_found)?;
    let (seat, now) = (Seat { stream, viewer }, Instant::now());
    let manifest = match origin.way(&seat, &uri, now) {
        Some(way) => away(&origin, &seat, &way, now),
        None => {
            origin.viewers.touch(&seat, now);
            stay(&origin, steered.pathway)
        }
    };
    Ok(([(header::CACHE_CONTROL, NO_STORE)], Json(manifest)).into_response())
}

/// Here; who came from another node knows this one by the name that it was sent by.
fn stay(origin: &Origin, pathway: Option<String>) -> Manifest {
    let here = origin.pathway();
    let mut priority = vec![moved(&here), here];
    let others = home(origin)
        .map(|home| name(&home))
        .into_iter()
        .chain(pathway);
    for other in others.filter(|other| is_pathway(other)) {
        if !priority.contains(&other) {
            priority.push(other);
        }
    }
    Manifest {
        version: 1,
        ttl: TTL,
        reload_uri: None,
        pathway_priority: priority,
        pathway_clones: Vec::new(),
    }
}

/// There, with the names that a player finds there, and what is known here in their query.
fn away(origin: &Origin, seat: &Seat, way: &Way, now: Instant) -> Manifest {
    let (here, there) = (origin.pathway(), name(&way.to));
    let listed = home(origin).is_some_and(|home| name(&home) == there);
    let mut params = serde_json::Map::new();
    if let Some(known) = way.known {
        params.insert("seen".into(), known.kbps().to_string().into());
    }
    if let Some(told) = origin.viewers.told(seat, now) {
        params.insert("told".into(), told.to_string().into());
    }
    let own = origin.address.get();
    // A clone takes the host and leaves the port as it is.
    let clone = if listed && origin.terms.keys.is_none() {
        Some(json!({ "PARAMS": params }))
    } else if own.is_some_and(|own| port(own) == port(&way.to)) {
        Some(json!({ "HOST": host(&way.to), "PARAMS": params }))
    } else {
        None
    };
    let base = if listed { &there } else { &here };
    let clones = clone.map(|replacement| {
        json!({ "BASE-ID": base, "ID": moved(&there), "URI-REPLACEMENT": replacement })
    });
    let (to, stream, viewer) = (way.to.trim_end_matches('/'), &seat.stream, &seat.viewer);
    Manifest {
        version: 1,
        ttl: TTL,
        // Under a token the way there is not known; who asks here on is told the same again.
        reload_uri: origin
            .terms
            .keys
            .is_none()
            .then(|| format!("{to}/live/{stream}/v/{viewer}/steering.json")),
        pathway_priority: vec![moved(&there), there, here],
        pathway_clones: clones.into_iter().collect(),
    }
}

impl Origin {
    /// What this node is called as a pathway.
    fn pathway(&self) -> String {
        name(self.address.get().map_or(&self.node, |address| address))
    }
}

/// Base URL of the node that this one follows.
fn home(origin: &Origin) -> Option<String> {
    let home = match &**origin.stance.load() {
        Stance::Giving { to, .. } => Some(to.clone()),
        _ => origin
            .keeper
            .load()
            .as_ref()
            .map(|keeper| keeper.to_string()),
    };
    home.map(|home| home.trim_end_matches('/').to_owned())
}

/// A node as a pathway, by its URL, for all nodes know that of each other.
fn name(url: &str) -> String {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let place = place.trim_end_matches('/').chars();
    place.map(|c| if fits(c) { c } else { '-' }).collect()
}

/// A node with what another one knew of the viewer.
fn moved(pathway: &str) -> String {
    format!("{pathway}.moved")
}

fn is_pathway(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && name(text) == text
}

fn host(url: &str) -> String {
    let parsed = url.parse::<reqwest::Url>().ok();
    let host = parsed.and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_default()
}

fn port(url: &str) -> Option<(String, u16)> {
    let url = url.parse::<reqwest::Url>().ok()?;
    Some((url.scheme().to_owned(), url.port_or_known_default()?))
}

/// Seconds until a player asks again. Who is to go is redirected meanwhile.
const TTL: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pathway_is_named_by_where_its_node_is() {
        assert_eq!(name("http://127.0.0.1:8080/"), "127.0.0.1-8080");
        assert_eq!(name("https://live.example/sub"), "live.example-sub");
        assert!(is_pathway("127.0.0.1-8080.moved") && !is_pathway("a b") && !is_pathway(""));
        assert_eq!(port("https://a"), port("https://b:443/x"));
        assert_ne!(port("http://a"), port("https://a"));
    }
}
