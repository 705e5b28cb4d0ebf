//! Handlers of playlists. A viewer's reload costs a lookup and a shared text, whoever asks.

use std::sync::Arc;

use adaptation::region::Region;
use axum::{
    Extension,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use playlists::{
    Ladder, Rung,
    render::{self, Seen, View},
};
use serde::Deserialize;

use super::{
    NO_STORE, Origin, Refusal, Stance, beside, cmcd,
    edge::{self, Reload, playable},
    gate::Pass,
    listening, moving, own,
    profile::{Asked, Container, Profile},
    rewind,
    seat::{Seat, ViewerId},
    signalling::{self, Format, Known},
    steering,
};
use crate::{
    store::{Consumer, StreamName},
    text::Text,
    token,
};

#[derive(Debug, Deserialize)]
pub struct Join {
    region: Option<String>,
    abr: Option<String>,
    /// `canonical`: of who adapts by itself, or hands on what it gets, nobody is to be known.
    names: Option<String>,
    /// Whether the player honours content steering.
    steering: Option<String>,
    #[serde(flatten)]
    asked: Asked,
}

/// The multivariant playlist: mints a viewer, who has one variant; or the whole ladder, for a
/// player that will adapt by itself (`?abr=client`).
pub(super) async fn join(
    State(origin): State<Arc<Origin>>,
    Path(stream): Path<String>,
    Query(join): Query<Join>,
    pass: Option<Extension<Pass>>,
    headers: HeaderMap,
    uri: axum::http::Uri,
) -> Result<Response, Refusal> {
    let (name, stream) = stream_of(&origin, &stream)?;
    if let Stance::Draining { to } = &**origin.stance.load() {
        return Ok(elsewhere(to, &uri, None));
    }
    let agent = headers.get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or("");
    let profile = Profile::of(&join.asked, agent, origin.terms.latency);
    let profile = profile.map_err(Refusal::bad_request)?;
    let window = playable(&name, stream).await?;
    if let Some(keeper) = rewind::keeper(&origin, &profile, &window) {
        return Ok(elsewhere(&keeper, &uri, None));
    }
    let by_name = join.asked.names_container();
    if profile.listens() {
        let region = join.region.as_deref().map(Region::new).unwrap_or_default();
        let viewer = (ViewerId::mint(region, profile), join.names.as_deref());
        return match listening::join(&origin, &name, &window, viewer, by_name, &uri)? {
            Ok((text, role)) => Ok(handed_out(&origin, pass.as_ref(), &name, &role, text)),
            Err(turned_away) => Ok(turned_away),
        };
    }
    let profile = rewind::settled(profile, &window);
    let ladder = wanted(&window.format().ladder, &profile)?;
    let told = window.told(ladder);
    let profile = signalling::suited(&origin, &name, &window, profile, by_name).await?;
    let renditions = signalling::renditions(&window.format().renditions, &profile);
    let (text, role) = match join.abr.as_deref() {
        // Nothing in the sound's playlists could tell of switches in those of the pictures.
        abr if abr == Some("client") || signalling::is_beyond(&window, &profile, abr) => {
            let renditions = &signalling::beside_ladder(&window.format().renditions, &profile);
            let query = signalling::query(&profile);
            if own::is_known(&origin, join.names.as_deref()) {
                let cheapest = window.rates().first().copied().unwrap_or_default();
                if let Some(turned_away) = origin.turn_away(&name, cheapest, &uri) {
                    return turned_away;
                }
                let region = join.region.as_deref().map(Region::new).unwrap_or_default();
                // Its playlists are those of everybody; what was asked for has bounded the ladder.
                let viewer = ViewerId::mint(region, Profile::default());
                let folder = format!("v/{viewer}/");
                (
                    render::all_variants(&told, renditions, &folder, query),
                    token::of_viewer(name.as_str(), viewer.key),
                )
            } else {
                // Relays want the ladder as it was promised, which does not change under them.
                (
                    render::all_variants(ladder, renditions, "", query),
                    token::of_ladder(name.as_str()),
                )
            }
        }
        None | Some("server") => {
            let cheapest = window.rates().first().copied().unwrap_or_default();
            if let Some(turned_away) = origin.turn_away(&name, cheapest, &uri) {
                return turned_away;
            }
            let region = join.region.as_deref().map(Region::new).unwrap_or_default();
            let viewer = ViewerId::mint(region, profile);
            let text = if steered(&join, agent)? {
                let pathways = steering::pathways(&origin, &viewer, name.as_str());
                render::steered(&told, &renditions, &pathways)
            } else {
                render::one_variant(&told, &renditions, &format!("v/{viewer}/"))
            };
            (text, token::of_viewer(name.as_str(), viewer.key))
        }
        Some(other) => {
            return Err(Refusal::bad_request(format!(
                "abr={other:?} is neither \"server\" nor \"client\""
            )));
        }
    };
    Ok(handed_out(&origin, pass.as_ref(), &name, &role, text))
}

/// The text of a join, its names with a token of their own where tokens are asked for.
fn handed_out(
    origin: &Origin,
    pass: Option<&Extension<Pass>>,
    name: &StreamName,
    role: &str,
    text: String,
) -> Response {
    playlist(match (pass, &origin.terms.keys) {
        (Some(pass), Some(keys)) => pass.hand_out(keys, name, role, &text),
        _ => text,
    })
}

/// Whether a player is steered: if it asks for it, or is known to honour it. One that does not would see two variants
/// that are alike, and ffmpeg takes both.
fn steered(join: &Join, agent: &str) -> Result<bool, Refusal> {
    match join.steering.as_deref() {
        None => Ok(agent.contains("AppleCoreMedia")),
        Some("1" | "true") => Ok(true),
        Some("0" | "false") => Ok(false),
        Some(other) => Err(Refusal::bad_request(format!(
            "steering={other:?} is neither 1 nor 0"
        ))),
    }
}

/// The rungs that are left of `ladder` for a viewer with this profile.
fn wanted<'a>(ladder: &'a Ladder, profile: &Profile) -> Result<&'a [Rung], Refusal> {
    let rungs = ladder.rungs();
    match (&profile.rung, profile.fixed(ladder)) {
        (Some(name), None) => {
            let names: Vec<_> = rungs.iter().map(|rung| rung.name.as_str()).collect();
            Err(Refusal::bad_request(format!(
                "rung={name} is none of {}",
                names.join(", ")
            )))
        }
        (_, Some(fixed)) => Ok(&rungs[fixed..=fixed]),
        (_, None) => Ok(&rungs[..=profile.most(ladder)]),
    }
}

/// A viewer's media playlist: the same text for all who know parts, and for all who do not.
pub(super) async fn viewer(
    State(origin): State<Arc<Origin>>,
    Path((stream, viewer)): Path<(String, String)>,
    Query(reload): Query<Reload>,
    Query(known): Query<Known>,
    pass: Option<Extension<Pass>>,
    uri: axum::http::Uri,
) -> Result<Response, Refusal> {
    let (name, stream) = stream_of(&origin, &stream)?;
    let viewer: ViewerId = viewer.parse().map_err(Refusal::not_found)?;
    let seat = Seat {
        stream: name.clone(),
        viewer,
    };
    let now = std::time::Instant::now();
    if let Some(way) = origin.way(&seat, &uri, now) {
        let uri = signalling::telling(uri, origin.viewers.told(&seat, now));
        return Ok(way.redirect(&uri));
    }
    origin.viewers.touch(&seat, std::time::Instant::now());
    let parts = seat.viewer.profile.lists_parts() && !seat.viewer.profile.goes_back();
    // Who is told of no parts cannot mean one; but it must not ask for one of no segment either.
    let part = reload.part.filter(|_| parts || reload.number.is_none());
    let reload = Reload { part, ..reload };
    let window = edge::reload(&name, stream, &reload).await?;
    // It waited, which is no silence.
    origin.viewers.touch(&seat, std::time::Instant::now());
    if seat.viewer.profile.goes_back() {
        return Ok(
            match rewind::keeper(&origin, &seat.viewer.profile, &window) {
                Some(keeper) => elsewhere(&keeper, &uri, None),
                None => rewind::playlist(&seat.viewer.profile, &window, reload.skips()),
            },
        );
    }
    let known = (&known, origin.place(pass.as_ref()));
    let own = signalling::playlist(&origin, &seat, &window, known, reload.skips());
    Ok(playlist(own.unwrap_or_else(|| {
        window.playlist(View::Viewer { parts }, reload.skips())
    })))
}

/// `{rung}.m3u8`, `{rendition}.m3u8`: one rung or rendition by its canonical names.
pub async fn canonical(
    State(origin): State<Arc<Origin>>,
    Path((stream, file)): Path<(String, String)>,
    Query(reload): Query<Reload>,
    Query(format): Query<Format>,
) -> Result<Response, Refusal> {
    let (name, stream) = stream_of(&origin, &stream)?;
    let rung = file
        .strip_suffix(".m3u8")
        .ok_or_else(|| Refusal::not_found(format!("{file}: not a playlist")))?;
    let window = edge::reload(&name, stream, &reload).await?;
    let view = match window.format().ladder.index(rung) {
        Some(rung) if format.container()? == Container::Ts => {
            return Ok(playlist(window.transport(Some(rung), reload.skips())));
        }
        Some(rung) => Some(View::Canonical { rung }),
        None => beside::view(&window, rung, Seen::Canonical, true),
    };
    let view =
        view.ok_or_else(|| Refusal::not_found(format!("stream {name} has no rung {rung:?}")))?;
    Ok(playlist(window.playlist(view, reload.skips())))
}

/// The stream called `name`, or a refusal that says so. Leaves nothing behind.
pub(super) fn stream_of(origin: &Origin, name: &str) -> Result<(StreamName, Consumer), Refusal> {
    let parsed: StreamName = name
        .parse()
        .map_err(|error| Refusal::not_found(format!("{error}")))?;
    let stream = origin.store.stream(name);
    let stream =
        stream.ok_or_else(|| Refusal::not_found(format!("no stream {name:?} on this node")))?;
    Ok((parsed, stream))
}

/// A redirect to the same place on another node, with what is to be known there of the viewer; without what
/// its player said of itself, which is of this request and would stay in the names that follow.
pub(super) fn elsewhere(to: &str, uri: &axum::http::Uri, mark: Option<String>) -> Response {
    let query = uri.query().into_iter().flat_map(cmcd::without);
    let query = query
        .filter(|pair| !pair.is_empty() && !moving::is_mark(pair))
        .map(str::to_owned);
    let query: Vec<_> = query.chain(mark).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let target = format!(
        "{}{}{mark}{}",
        to.trim_end_matches('/'),
        uri.path(),
        query.join("&")
    );
    (
        [(header::CACHE_CONTROL, NO_STORE)],
        Redirect::temporary(&target),
    )
        .into_response()
}

pub(super) fn playlist(text: impl Into<Text>) -> Response {
    listing(text.into())
}

pub(super) fn listing(text: impl IntoResponse) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(M3U8));
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static(CACHE),
    );
    (headers, text).into_response()
}

/// It changes with every part, and who waits for the next must not get the last from a cache.
pub(super) const CACHE: &str = "no-cache";

pub(super) const M3U8: &str = "application/vnd.apple.mpegurl";
