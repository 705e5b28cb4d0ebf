//! Dates in playlists by the clock of the source, where it has one: from pictures that say when they were made to what
//! viewers read, on a relay too, and over the death of the segmenter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

#[path = "common/fed.rs"]
mod fed;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Primary, SMALL};
use fed::{
    clocked,
    feed::{Feed, Mood},
};
use playlists::parse::{self, MediaPlaylist};

use tokio::process::Command;
use tools::program::{Program, children, signal};

const HOUR: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn dates_are_those_of_the_source_whoever_dies() {
    let began = now() - HOUR;
    let media = clocked::stream("dates", 40, began * 1000);
    let feed = Feed::new(media, 40.0, Mood::Sending);
    let primary = Primary::start("127.0.0.1", &feed.url, &SMALL).await;
    let before = list(&primary.url).await;
    follows(&before);
    let last = before.segments.last().unwrap().number;

    let mut command = Command::new(env!("CARGO_BIN_EXE_local-server"));
    command.args(["--upstream", &primary.url, "--listen", "127.0.0.1:0"]);
    command.args(["--private-listen", "127.0.0.1:0"]);
    let mut relay = Program::start("local-server", command).unwrap();
    let relay_url = relay.ready().await.unwrap().remove(0);
    let there = until(&relay_url, last + 1).await;
    follows(&there);
    let here = until(&primary.url, last + 1).await;
    for segment in &here.segments {
        let same = there
            .segments
            .iter()
            .find(|same| same.number == segment.number);
        assert!(same.is_none_or(|same| same.date_time == segment.date_time));
    }

    // Another segmenter opens the feed anew, which then begins again with what it said an hour and some seconds ago.
    for (pid, _) in children(primary.program.pid().unwrap()) {
        signal(pid, "KILL");
    }
    let after = until(&primary.url, last + 4).await;
    let dates: Vec<_> = after
        .segments
        .iter()
        .filter_map(|one| one.date_time)
        .collect();
    assert!(dates.is_sorted_by(|one, next| one < next), "{dates:?}");
    let off = dates.last().unwrap().millis() - (now() - HOUR);
    assert!(off.abs() < 60_000, "{off} ms off");
}

/// Each segment's date is the one before it plus that one's length, and an hour ago.
fn follows(list: &MediaPlaylist) {
    let dated: Vec<_> = list
        .segments
        .iter()
        .filter(|one| one.uri.is_some())
        .collect();
    for two in dated.windows(2) {
        let expected = two[0].date_time.unwrap().later(two[0].duration);
        let off = two[1].date_time.unwrap().millis() - expected.millis();
        assert!(off.abs() <= 12, "{off} ms off at {}", two[1].number);
    }
    let last = dated.last().unwrap().date_time.unwrap();
    let off = last.millis() - (now() - HOUR);
    assert!(off.abs() < 30_000, "{off} ms off");
}

async fn list(url: &str) -> MediaPlaylist {
    let url = format!("{url}/live/live/180p.m3u8");
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    parse::media(&text).unwrap()
}

/// The list once it has segment `number`.
async fn until(url: &str, number: u64) -> MediaPlaylist {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let answer = reqwest::get(format!("{url}/live/live/180p.m3u8")).await;
        if let Ok(answer) = answer
            && answer.status().is_success()
        {
            let list = parse::media(&answer.text().await.unwrap()).unwrap();
            let complete = list.segments.iter().rfind(|one| one.uri.is_some());
            if complete.is_some_and(|last| last.number >= number) {
                return list;
            }
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "no segment {number}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}
