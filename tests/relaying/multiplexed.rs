//! An HLS origin whose segments are MPEG-TS, made by ffmpeg's own HLS muxer: two rungs, of which one reorders its pictures.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use tokio_util::sync::DropGuard;

use crate::others::serve;

pub(crate) struct Multiplexed {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _guard: DropGuard,
}

struct Shared {
    folder: PathBuf,
    /// Segments that are listed.
    there: Mutex<usize>,
    /// What is answered with octets that are no media.
    spoiled: &'static str,
    seen: Mutex<BTreeMap<String, u32>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Multiplexed {
    /// `None` if there is no ffmpeg here. `spoiled` is the path of a segment that is no media.
    pub(crate) async fn start(name: &str, spoiled: &'static str) -> Option<Self> {
        let folder = format!("multiplexed-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let shared = Arc::new(Shared {
            folder,
            there: Mutex::new(4),
            spoiled,
            seen: Mutex::default(),
        });
        let (folder, output) = (shared.folder.display(), "%v/seg%d.ts");
        let made = Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                "testsrc2=s=256x144:r=25",
            ])
            .args([
                "-f",
                "lavfi",
                "-i",
                "sine=r=44100",
                "-t",
                "7",
                "-filter_complex",
            ])
            .args([
                "[0:v]split[a][b];[b]scale=128:72[c]",
                "-map",
                "[a]",
                "-map",
                "1:a",
            ])
            .args([
                "-map",
                "[c]",
                "-map",
                "1:a",
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
            ])
            .args([
                "-g",
                "25",
                "-sc_threshold",
                "0",
                "-b:v:0",
                "150k",
                "-b:v:1",
                "60k",
            ])
            .args([
                "-bf:v:0",
                "2",
                "-b_strategy",
                "0",
                "-bf:v:1",
                "0",
                "-c:a",
                "aac",
            ])
            .args(["-f", "hls", "-hls_time", "1", "-hls_list_size", "0"])
            .args([
                "-master_pl_name",
                "master.m3u8",
                "-var_stream_map",
                "v:0,a:0 v:1,a:1",
            ])
            .arg("-hls_segment_filename")
            .args([
                format!("{folder}/{output}"),
                format!("{folder}/%v/list.m3u8"),
            ])
            .status();
        assert!(made.ok()?.success(), "ffmpeg makes an HLS stream");
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let (url, guard) = serve(app).await;
        Some(Self {
            url,
            shared,
            _guard: guard,
        })
    }

    pub(crate) fn publish(&self) {
        *self.shared.there.lock().unwrap() += 1;
    }

    /// How often each segment was asked for.
    pub(crate) fn seen(&self) -> BTreeMap<String, u32> {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let Ok(octets) = std::fs::read(shared.folder.join(&path)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if path.ends_with("list.m3u8") {
        let there = *shared.there.lock().unwrap();
        return listed(&String::from_utf8(octets).unwrap(), there).into_response();
    }
    if !path.ends_with(".ts") {
        return octets.into_response();
    }
    *shared.seen.lock().unwrap().entry(path.clone()).or_default() += 1;
    let octets = match path == shared.spoiled {
        true => vec![0; octets.len()],
        false => octets,
    };
    ([(header::CONTENT_TYPE, "video/mp2t")], octets).into_response()
}

/// So many segments of a playlist that has all of them.
fn listed(text: &str, there: usize) -> String {
    let mut left = there;
    let lines = text.lines().take_while(|line| {
        let open = left > 0;
        left -= usize::from(open && line.ends_with(".ts"));
        open
    });
    lines.map(|line| format!("{line}\n")).collect()
}
