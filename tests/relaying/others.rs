//! An HLS origin that is none of ours: two rungs with an init section each, their own names, and numbers that differ.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// `segmenter test --fps 10 --segment-seconds 1.6 --rung 128x72@40 --rung 256x144@80`.
const INIT: &[u8] = include_bytes!("../../media/tests/data/init.mp4");
const LOW: &[u8] = include_bytes!("../../media/tests/data/low.m4s");
const HIGH: &[u8] = include_bytes!("../../media/tests/data/high.m4s");

pub(crate) struct Others {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _guard: DropGuard,
}

#[derive(Default)]
struct Shared {
    /// Segments that are there.
    there: Mutex<u64>,
    seen: Mutex<BTreeMap<String, u32>>,
}

impl Others {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        *shared.there.lock().unwrap() = 4;
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let (url, guard) = serve(app).await;
        Self {
            url,
            shared,
            _guard: guard,
        }
    }

    pub(crate) fn publish(&self) {
        *self.shared.there.lock().unwrap() += 1;
    }

    pub(crate) fn seen(&self) -> BTreeMap<String, u32> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, path: &str) -> u32 {
        self.seen().get(path).copied().unwrap_or(0)
    }

    pub(crate) fn most(&self) -> u32 {
        self.seen().values().copied().max().unwrap_or(0)
    }
}

/// Serves at a port of its own until the guard is dropped.
pub(crate) async fn serve(app: Router) -> (String, DropGuard) {
    let local = ([127, 0, 0, 1], 0).into();
    let listener = spillway::net::bind(local).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let limits = spillway::net::Limits::default();
    tokio::spawn(spillway::net::serve(listener, app, limits, stop.clone()));
    (url, stop.drop_guard())
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let there = *shared.there.lock().unwrap();
    let own = |segment| media::init_of_rung(INIT, segment).unwrap();
    let octets = match path.as_str() {
        "master.m3u8" => MASTER.into(),
        "hevc.m3u8" => MASTER.replace("avc1.42C00B", "hvc1.1.6.L93.B0").into(),
        "low/list.m3u8" => list(3000, there, "seg").into(),
        "high/list.m3u8" => list(12, there, "seg").into(),
        "low/i.mp4" => own(LOW),
        "high/i.mp4" => own(HIGH),
        "encrypted.m3u8" => list(0, there, "x")
            .replace(
                "#EXT-X-MAP",
                "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-MAP",
            )
            .into(),
        "ranges.m3u8" => list(0, there, "x")
            .replace("#EXTINF", "#EXT-X-BYTERANGE:100@0\n#EXTINF")
            .into(),
        "bare.m3u8" => list(0, there, "low/seg")
            .replace("#EXT-X-MAP:URI=\"i.mp4\"\n", "")
            .into(),
        path if path.starts_with("low/seg-") => LOW.to_vec(),
        path if path.starts_with("high/seg-") => HIGH.to_vec(),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    if path.ends_with(".m4s") {
        *shared.seen.lock().unwrap().entry(path).or_default() += 1;
    }
    octets.into_response()
}

const MASTER: &str = "#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION=256x144,CODECS=\"avc1.42C00B,mp4a.40.2\",FRAME-RATE=10
high/list.m3u8?session=1
#EXT-X-STREAM-INF:BANDWIDTH=60000,RESOLUTION=128x72,CODECS=\"avc1.42C00A,mp4a.40.2\",FRAME-RATE=10
low/list.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=20000,CODECS=\"mp4a.40.2\"
sound.m3u8
";

/// Segments of 1.6 s, the third after a break.
fn list(first: u64, there: u64, name: &str) -> String {
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:7\n#EXT-X-MAP:URI=\"i.mp4\"\n"
    );
    for index in 0..there {
        if index == 2 {
            text += "#EXT-X-DISCONTINUITY\n";
        }
        let millis = index * 1600;
        let (minute, second) = (millis / 60_000, millis % 60_000);
        writeln!(
            text,
            "#EXT-X-PROGRAM-DATE-TIME:2026-11-25T12:{minute:02}:{:02}.{:03}Z\n#EXTINF:1.6,\n{name}-{}.m4s",
            second / 1000,
            second % 1000,
            first + index
        )
        .unwrap();
    }
    text
}
