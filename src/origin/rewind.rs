//! Viewers who do not begin live: where they begin, and where they are sent if this node has only
//! what is live. What a long playlist lists is `playlists`' business.

use axum::{body::Body, response::Response};
use playlists::{
    Window,
    render::{Skip, View},
};

use super::{
    Origin,
    delivery::Delivery,
    playlist::listing,
    profile::{Choosing, Container, Profile, Signalling, Start},
};
use crate::store::Published;

/// What a join comes to, now that it is known what there is: a moment becomes a way back from the
/// edge, and what has ended is watched from its beginning.
///
/// Who goes back has its rungs chosen at the GET: a list of hours for each viewer alone would cost every
/// reload what the shared one costs once.
pub(super) fn settled(profile: Profile, window: &Window) -> Profile {
    let start = match profile.start {
        Start::Live if window.has_ended() => Start::Beginning,
        Start::At(time) => Start::Back(window.since(time).seconds().ceil() as u32),
        start => start,
    };
    if start == Start::Live {
        return profile;
    }
    Profile {
        start,
        signalling: Signalling::Seamless,
        choosing: Choosing::AtGet,
        ..profile
    }
}

/// The node that has more than is live, if this one has not, and `profile` wants it.
pub(super) fn keeper(origin: &Origin, profile: &Profile, window: &Window) -> Option<String> {
    let wants = profile.start != Start::Live || window.has_ended();
    let keeper = origin.keeper.load();
    keeper
        .as_deref()
        .filter(|_| wants && window.history().is_none())
        .cloned()
}

/// A long playlist, the same for everybody, but for where in it one viewer is to begin (RFC 8216bis
/// section 4.4.2.2). Who reloads has begun.
pub(super) fn playlist(profile: &Profile, window: &Published, skip: Skip) -> Response {
    let long = |from_beginning| View::Long {
        transport: profile.container == Container::Ts,
        from_beginning,
    };
    match profile.start {
        Start::Beginning => listing(window.playlist(long(true), skip)),
        Start::Back(seconds) if seconds > 0 && skip == Skip::Nothing => {
            let text = window.playlist(long(false), Skip::Nothing).plain().clone();
            let line = format!("#EXT-X-START:TIME-OFFSET=-{seconds},PRECISE=YES\n");
            let head = text.slice(..FIRST.len().min(text.len()));
            let rest = text.slice(head.len()..);
            let body = Delivery::new(vec![head, line.into(), rest], None);
            listing(Body::new(body))
        }
        Start::Back(_) | Start::Live | Start::At(_) => listing(window.playlist(long(false), skip)),
    }
}

/// Every playlist begins with it.
const FIRST: &str = "#EXTM3U\n";
