//! Sound and subtitles that are fetched beside a rung. There is nothing to choose of them, so that
//! every viewer is given the canonical object; only their playlists lie under the viewer, which
//! is how a viewer who is moved takes them along.

use axum::{
    extract::Query,
    http::{HeaderMap, Uri},
    response::Response,
};
use bytes::Bytes;
use playlists::{
    Epoch, Rendition, Window,
    render::{Seen, View},
    rendition::Kind,
};

use super::{
    Origin, Refusal,
    edge::{self, Reload},
    listening,
    media::{FOREVER, File, there},
    own,
    piece::Piece,
    playlist::playlist,
    profile::Latency,
    seat::Seat,
};
use crate::store::{Consumer, StreamName};

/// `v/{viewer}/{rendition}.m3u8`: for all viewers the same. Also of a rung, for who adapts by itself.
pub(super) async fn for_viewer(
    origin: &Origin,
    seat: &Seat,
    stream: Consumer,
    rendition: &str,
    uri: &Uri,
) -> Result<Response, Refusal> {
    if let Some(list) = own::list(seat, stream.clone(), rendition, uri).await {
        return list;
    }
    let reload: Query<Reload> =
        Query::try_from_uri(uri).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let window = edge::reload(&seat.stream, stream, &reload).await?;
    let parts = seat.viewer.profile.latency == Latency::Low;
    let renditions = &window.format().renditions;
    let alone = listening::is_alone(origin, &seat.viewer.profile, renditions, rendition);
    let seen = match (alone, seat.viewer.profile.listens()) {
        (false, _) => Seen::Viewer,
        (true, false) => Seen::Canonical,
        (true, true) => Seen::Alone,
    };
    let view = view(&window, rendition, seen, parts).ok_or_else(|| {
        let stream = &seat.stream;
        Refusal::not_found(format!("stream {stream} has no rendition {rendition:?}"))
    })?;
    Ok(playlist(window.playlist(view, reload.skips())))
}

/// How the playlist of a rendition is written; `None` if there is none of this name.
pub(super) fn view(window: &Window, name: &str, seen: Seen, parts: bool) -> Option<View> {
    let renditions = &window.format().renditions;
    let index = renditions.index(name)?;
    let parts = parts && renditions.others[index].kind == Kind::Audio;
    Some(View::Rendition { index, seen, parts })
}

/// `{epoch}/{rendition}/init.mp4`, `{msn}.m4s`, `{msn}.{part}.m4s` or `{msn}.vtt`.
pub(super) async fn media(
    stream: &StreamName,
    consumer: &Consumer,
    epoch: Epoch,
    (index, rendition): (usize, &Rendition),
    file: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let piece = piece(stream, consumer, epoch, (index, rendition), file).await?;
    Ok(piece.answer(headers))
}

/// The same, before it is an answer.
pub(super) async fn piece(
    stream: &StreamName,
    consumer: &Consumer,
    epoch: Epoch,
    (index, rendition): (usize, &Rendition),
    file: &str,
) -> Result<Piece, Refusal> {
    let (kind, name) = (rendition.kind, &rendition.name);
    let tag = format!("{}-{name}-{file}", epoch.0);
    let made = |chunks| Piece {
        chunks,
        tag,
        kind: match kind {
            Kind::Audio => "audio/mp4",
            Kind::Subtitles => "text/vtt",
        },
        cache: FOREVER,
        measure: None,
    };
    if file == "init.mp4" {
        let now = consumer.now();
        let init = now.as_ref().and_then(|now| now.init(epoch));
        let media = init.and_then(|init| init.renditions.get(index));
        let media = media.filter(|media| !media.is_empty());
        let missing = || Refusal::not_found(format!("{name} has no init of epoch {}", epoch.0));
        return Ok(made(vec![media.ok_or_else(missing)?.clone()]));
    }
    let asked = match (kind, file.strip_suffix(".vtt")) {
        (Kind::Audio, None) if !file.ends_with(".ts") => File::named(file)?,
        (Kind::Subtitles, Some(number)) if number.bytes().all(|b| b.is_ascii_digit()) => {
            File::named(&format!("{number}.m4s"))?
        }
        _ => return Err(Refusal::not_found(format!("{file}: not a file of {name}"))),
    };
    let File { number, part, .. } = asked;
    let window = there(stream, consumer, asked).await?;
    let segment = window
        .segment(number)
        .ok_or_else(|| edge::absent(&window, number))?;
    if segment.gap || segment.head.epoch != epoch {
        let epoch = epoch.0;
        let why = format!("segment {number} is lost, or not of epoch {epoch}");
        return Err(Refusal::not_found(why));
    }
    match part {
        Some(place) => {
            let part = segment.parts.get(place);
            let media = part.and_then(|part| part.renditions.get(index));
            let missing =
                || Refusal::not_found(format!("segment {number} has no part {place} yet"));
            Ok(made(vec![media.ok_or_else(missing)?.clone()]))
        }
        None if segment.complete => {
            let chunks: Vec<Bytes> = segment.rendition(index).cloned().collect();
            Ok(made(chunks))
        }
        // Sound alone is small: it is listed when it is whole, and nobody hints at it before.
        None => Err(edge::absent(&window, number)),
    }
}
