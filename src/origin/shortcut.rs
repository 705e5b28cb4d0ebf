//! The two requests that make up nearly all of a node's work, answered without being routed: a viewer's
//! playlist as it is now, and a segment or part that is there.
//!
//! Nothing is decided here. What is said comes from the functions that the handlers call; whatever would need
//! more than they do at once (to wait, to read from disk, to send elsewhere, to refuse) is left to the handlers,
//! and so is all that comes through something else first (tokens, a CDN), or is traced. That both ways give the same answer is
//! held by `tests/http1.rs`, which asks each for everything.

use std::{sync::Arc, time::Instant};

use axum::{body::Body, http::StatusCode};
use playlists::render::{Skip, View};

use super::{
    EXPOSED, NO_STORE, Origin, abandoning,
    asking::Brought,
    counted::Kind,
    delivery::{Delivery, Measure},
    media::{self, File},
    meter::Span,
    playlist,
    seat::Seat,
    signalling, telling,
};
use crate::net::{Plain, Short, Shortcut};

#[derive(Debug)]
pub(super) struct Sooner {
    origin: Arc<Origin>,
    /// What is said of every playlist, and of all media.
    playlist: String,
    media: String,
}

impl Sooner {
    /// `None` where no request is as plain as that.
    pub(super) fn of(origin: &Arc<Origin>) -> Option<Self> {
        if origin.terms.keys.is_some() || origin.terms.behind_cdn {
            return None;
        }
        // As the layer of the router says it.
        let cors = format!(
            "access-control-allow-origin: *\r\naccess-control-expose-headers: {}\r\n",
            EXPOSED.join(",")
        );
        let (list, m3u8) = (playlist::CACHE, playlist::M3U8);
        Some(Self {
            origin: origin.clone(),
            playlist: format!("content-type: {m3u8}\r\ncache-control: {list}\r\n{cors}"),
            media: format!("cache-control: {NO_STORE}\r\naccept-ranges: bytes\r\n{cors}"),
        })
    }

    fn playlist(&self, stream: &str, viewer: &str, gzip: bool) -> Option<Short> {
        let (stream, window) = self.origin.store.published(stream)?;
        let viewer = viewer.parse().ok()?;
        let seat = Seat { stream, viewer };
        let profile = &seat.viewer.profile;
        if !signalling::is_usual(profile) || !window.is_playable() {
            return None;
        }
        self.origin.viewers.touch(&seat, Instant::now());
        let parts = profile.lists_parts();
        let text = window.playlist(View::Viewer { parts }, Skip::Nothing);
        let form = text.form(gzip);
        let mut short = Short::text(form.octets.clone(), &self.playlist);
        if form.varies {
            short = short.with("vary", "accept-encoding");
        }
        if form.compressed {
            short = short.with("content-encoding", "gzip");
        }
        Some(short)
    }

    fn media(&self, stream: &str, viewer: &str, name: &str, asked: &Plain<'_>) -> Option<Short> {
        let origin = &*self.origin;
        let (stream, window) = origin.store.published(stream)?;
        let viewer = viewer.parse().ok()?;
        let file = File::named(name).ok()?;
        let segment = window.segment(file.number)?;
        if !file.is_at_hand(&window, segment) {
            return None;
        }
        let seat = Seat { stream, viewer };
        let brought = Brought {
            measured: asked.connection.peer.direct,
            part: file.part,
            whole: true,
            ..Brought::default()
        };
        let now = Instant::now();
        let told = media::choose(origin, &seat, (&window, segment), file, brought, now);
        let lacks = match file.part {
            Some(part) => segment
                .parts
                .get(part)
                .is_none_or(|part| part.lacks(told.rung)),
            None => segment.lacks(told.rung),
        };
        if lacks {
            // It is pinned, and the handler finds it so.
            return None;
        }
        telling::pace(origin, &window, &told.known, asked.connection);
        let piece = media::fragment(segment, file, (told.rung, told.name()));
        let span = Span::of(segment, file.part).in_rung(told.rung);
        let connection = asked.connection.clone();
        let measure = Measure {
            instead: abandoning::instead(origin, &seat, segment, told.rung, &brought),
            ..media::measure(origin, &seat, connection, span)
        };
        let length = piece.length();
        let body = Body::new(Delivery::new(piece.chunks, Some(measure)));
        let mut short = Short::new(body, length, &self.media)
            .with("content-type", piece.kind)
            .with("etag", format_args!("\"{}\"", piece.tag));
        told.say(origin, false, |name, value| short.put(name, value));
        Some(short)
    }
}

impl Shortcut for Sooner {
    fn answer(&self, asked: &Plain<'_>) -> Option<Short> {
        let path = asked.path.strip_prefix("/live/")?;
        let mut names = path.split('/');
        let (stream, v, viewer, file) =
            (names.next()?, names.next()?, names.next()?, names.next()?);
        if v != "v" || names.next().is_some() || !self.origin.keeps_all() {
            return None;
        }
        let lot = &asked.connection.lot;
        if self.origin.terms.tracer.draws() {
            lot.put(true);
            return None;
        }
        let short = match file {
            "index.m3u8" => self.playlist(stream, viewer, asked.gzip),
            file => self.media(stream, viewer, file, asked),
        };
        if short.is_none() {
            // Or it would draw another.
            lot.put(false);
        }
        let short = short?;
        let requests = &self.origin.requests;
        requests.count(Kind::of(asked.path), StatusCode::OK);
        Some(short)
    }
}
