//! How many requests were answered, by what was asked for and how. Counting is one addition that orders nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Join,
    Playlist,
    Segment,
    Part,
    Init,
    Still,
    Other,
}

/// Of each kind, by the first digit of the status; of 1xx there are none.
#[derive(Debug, Default)]
pub struct Requests([[AtomicU64; 4]; Kind::ALL.len()]);

impl Kind {
    const ALL: [Self; 7] = [
        Self::Join,
        Self::Playlist,
        Self::Segment,
        Self::Part,
        Self::Init,
        Self::Still,
        Self::Other,
    ];

    /// As metrics call it.
    fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Playlist => "playlist",
            Self::Segment => "segment",
            Self::Part => "part",
            Self::Init => "init",
            Self::Still => "still",
            Self::Other => "other",
        }
    }

    /// By a path alone, whether or not there is anything there.
    pub(super) fn of(path: &str) -> Self {
        let Some((folder, file)) = path.rsplit_once('/') else {
            return Self::Other;
        };
        let Some((stem, ending)) = file.rsplit_once('.') else {
            return Self::Other;
        };
        match ending {
            "m3u8" if file == "index.m3u8" && !folder.contains("/v/") => Self::Join,
            "m3u8" => Self::Playlist,
            "mp4" => Self::Init,
            "m4s" if stem.contains('.') => Self::Part,
            "m4s" | "ts" => Self::Segment,
            "vtt" if stem == "storyboard" => Self::Still,
            "vtt" => Self::Segment,
            "jpg" | "webp" => Self::Still,
            _ => Self::Other,
        }
    }
}

impl Requests {
    pub(super) fn count(&self, kind: Kind, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        self.0[kind as usize][class].fetch_add(1, Relaxed);
    }

    /// Kind, class of status and count of all that there were any of.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let each = Kind::ALL.into_iter().flat_map(|kind| {
            let classes = self.0[kind as usize].iter().zip(CLASSES);
            classes.map(move |(count, class)| (kind.name(), class, count.load(Relaxed)))
        });
        each.filter(|(.., count)| *count > 0)
    }
}

/// Around all that is routed.
pub(super) async fn counting(
    State(requests): State<Arc<Requests>>,
    request: Request,
    next: Next,
) -> Response {
    let kind = Kind::of(request.uri().path());
    let response = next.run(request).await;
    requests.count(kind, response.status());
    response
}

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_asked_for() {
        for (path, kind) in [
            ("/live/demo/index.m3u8", Kind::Join),
            ("/~token/live/demo/index.m3u8", Kind::Join),
            ("/live/demo/v/0123.paris/index.m3u8", Kind::Playlist),
            ("/live/demo/480p.m3u8", Kind::Playlist),
            ("/live/demo/v/0123.paris/7.m4s", Kind::Segment),
            ("/live/demo/v/0123.paris/7.2.m4s", Kind::Part),
            ("/live/demo/7/480p/7.ts", Kind::Segment),
            ("/live/demo/7/subtitles-1/7.vtt", Kind::Segment),
            ("/live/demo/7/init.mp4", Kind::Init),
            ("/live/demo/poster.jpg", Kind::Still),
            ("/live/demo/storyboard.vtt", Kind::Still),
            ("/live", Kind::Other),
            ("/", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }

    #[test]
    fn what_was_never_asked_for_is_not_told() {
        let requests = Requests::default();
        requests.count(Kind::Part, StatusCode::OK);
        requests.count(Kind::Part, StatusCode::PARTIAL_CONTENT);
        requests.count(Kind::Join, StatusCode::SERVICE_UNAVAILABLE);
        let all: Vec<_> = requests.all().collect();
        assert_eq!(all, [("join", "5xx", 1), ("part", "2xx", 2)]);
    }
}
