//! The media playlist that a player goes by: where to begin, what comes next, when and how to ask
//! for more.

use std::time::{Duration, Instant};

use playlists::{
    MediaTime,
    parse::{ListedSegment, MediaPlaylist},
};
use reqwest::Url;

/// A media playlist as it was answered.
#[derive(Debug)]
pub(super) struct List {
    pub(super) playlist: MediaPlaylist,
    /// Where it came from in the end; its URIs are relative to this.
    pub(super) base: Url,
    pub(super) asked: Instant,
    /// It says something that the one before did not.
    pub(super) changed: bool,
}

impl List {
    pub(super) fn new(
        mut playlist: MediaPlaylist,
        base: Url,
        asked: Instant,
        before: Option<&MediaPlaylist>,
    ) -> Self {
        date(&mut playlist.segments);
        let changed = before.is_none_or(|before| *before != playlist);
        Self {
            playlist,
            base,
            asked,
            changed,
        }
    }

    /// Segment `number`, if it can be fetched.
    pub(super) fn segment(&self, number: u64) -> Option<&ListedSegment> {
        self.complete().find(|segment| segment.number == number)
    }

    /// Segment `number`, be it complete or not.
    pub(super) fn listed(&self, number: u64) -> Option<&ListedSegment> {
        let mut segments = self.playlist.segments.iter();
        segments.find(|segment| segment.number == number)
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.complete().next().map(|first| first.number)
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.complete().last().map(|last| last.number)
    }

    pub(super) fn target(&self) -> Duration {
        Duration::from_secs(self.playlist.target_duration.max(1))
    }

    /// The latest segment that begins three target durations before the end (RFC 8216bis
    /// section 6.3.3), or the first if there is none; the first of what has ended.
    pub(super) fn start(&self) -> Option<u64> {
        if self.playlist.ended {
            return self.first();
        }
        let behind = MediaTime::from_seconds(self.target().as_secs_f64()) * 3;
        let mut left: MediaTime = self.complete().map(|segment| segment.duration).sum();
        let mut start = self.first();
        for segment in self.complete() {
            if left < behind {
                break;
            }
            start = Some(segment.number);
            left = left - segment.duration;
        }
        start
    }

    /// When to ask again: at once if the server holds the answer back until there is news, else a
    /// target duration after it was asked, half of that if it said nothing new (section 6.3.4).
    pub(super) fn reload_at(&self) -> Instant {
        match (self.changed, self.playlist.can_block_reload) {
            (true, true) => self.asked,
            (true, false) => self.asked + self.target(),
            (false, _) => self.asked + self.target() / 2,
        }
    }

    /// Where `uri` is. What is no URL at all is asked for at the playlist's, and so refused or found unsound.
    pub(super) fn url(&self, uri: &str) -> Url {
        self.base.join(uri).unwrap_or_else(|_| self.base.clone())
    }

    /// `url` with the wish to be answered once there is the next segment, or the next part (section 6.2.5.2).
    pub(super) fn reload_url(&self, url: &Url, by_parts: bool) -> Url {
        let mut url = url.clone();
        let Some(last) = self.last().filter(|_| self.playlist.can_block_reload) else {
            return url;
        };
        let next = match self.following().filter(|_| by_parts) {
            Some(next) => format!("_HLS_msn={}&_HLS_part={}", next.number, next.part),
            None => format!("_HLS_msn={}", last + 1),
        };
        let kept = url.query().unwrap_or_default().split('&');
        let mut query: Vec<_> = kept
            .filter(|pair| !pair.is_empty() && !pair.starts_with("_HLS_"))
            .collect();
        query.push(&next);
        let query = query.join("&");
        url.set_query(Some(&query));
        url
    }

    /// How long the answer to a reload may take.
    pub(super) fn patience(&self) -> Duration {
        let held = if self.playlist.can_block_reload {
            self.target() * 3
        } else {
            Duration::ZERO
        };
        held + ANSWER
    }

    fn complete(&self) -> impl Iterator<Item = &ListedSegment> {
        self.playlist
            .segments
            .iter()
            .filter(|segment| segment.uri.is_some())
    }
}

/// Gives each segment its moment, where only some have it (section 4.4.4.6).
fn date(segments: &mut [ListedSegment]) {
    for index in 1..segments.len() {
        let before = &segments[index - 1];
        let follows = before.date_time.map(|start| start.later(before.duration));
        let segment = &mut segments[index];
        if !segment.discontinuity {
            segment.date_time = segment.date_time.or(follows);
        }
    }
}

/// For an answer that should come at once.
const ANSWER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tags: &str, count: u64, length: f64) -> List {
        let mut text =
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:100\n{tags}");
        for number in 100..100 + count {
            text += &format!("#EXTINF:{length},\n{number}.m4s\n");
        }
        let url = "http://node.test/live/x/v/a/index.m3u8".parse().unwrap();
        List::new(
            playlists::parse::media(&text).unwrap(),
            url,
            Instant::now(),
            None,
        )
    }

    #[test]
    fn a_player_starts_three_target_durations_before_the_edge() {
        assert_eq!(list("", 8, 2.0).start(), Some(105));
        assert_eq!(list("", 8, 1.9).start(), Some(104));
        assert_eq!(list("", 20, 0.5).start(), Some(108));
    }

    #[test]
    fn a_short_list_is_played_from_its_first_segment() {
        assert_eq!(list("", 2, 2.0).start(), Some(100));
        assert_eq!(list("", 0, 2.0).start(), None);
    }

    #[test]
    fn what_has_ended_is_played_from_its_beginning() {
        assert_eq!(list("#EXT-X-ENDLIST\n", 8, 2.0).start(), Some(100));
    }

    #[test]
    fn a_server_that_blocks_is_asked_at_once_for_the_next_segment() {
        let list = list("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n", 3, 2.0);
        let url: Url = "http://a.test/i.m3u8?max=720p&_HLS_msn=7".parse().unwrap();
        assert_eq!(
            list.reload_url(&url, false).query(),
            Some("max=720p&_HLS_msn=103")
        );
        assert_eq!(list.reload_at(), list.asked);
    }

    #[test]
    fn another_server_is_asked_every_target_duration_and_twice_as_often_without_news() {
        let mut list = list("", 3, 2.0);
        let url: Url = "http://a.test/i.m3u8".parse().unwrap();
        assert_eq!(list.reload_url(&url, false), url);
        assert_eq!(list.reload_at() - list.asked, Duration::from_secs(2));
        list.changed = false;
        assert_eq!(list.reload_at() - list.asked, Duration::from_secs(1));
    }

    #[test]
    fn one_date_dates_all_that_follows() {
        let list = list(
            "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n",
            3,
            1.5,
        );
        let last = list.segment(102).unwrap().date_time.unwrap();
        assert_eq!(last.to_string(), "2026-01-01T00:00:03.000Z");
    }
}
