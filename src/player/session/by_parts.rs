//! Stories of viewings by parts and on pathways, answer by answer; no clock, no sockets.

use bytes::Bytes;
use reqwest::header::HeaderMap;

use super::*;

/// A viewing whose requests are answered one by one, in whatever order the story wants.
struct Viewing {
    session: Session,
    t0: Instant,
    under_way: Vec<Get>,
    events: Vec<Event>,
}

impl Viewing {
    fn new() -> Self {
        let t0 = Instant::now();
        let start = "http://one.test/live/x/index.m3u8".parse().unwrap();
        let config = Config {
            parts: true,
            steers: true,
            ..Config::default()
        };
        Self {
            session: Session::new(start, config, t0),
            t0,
            under_way: Vec::new(),
            events: Vec::new(),
        }
    }

    /// All that is under way now, as the ends of the URLs, in the order of the alphabet.
    fn asked(&mut self) -> Vec<String> {
        while let Action::Get(get) = self.session.next(self.t0) {
            self.under_way.push(get);
        }
        let urls = self.under_way.iter().map(|get| get.url.as_str());
        let mut ends: Vec<_> = urls
            .map(|url| url.rsplit('/').next().unwrap_or_default().to_owned())
            .collect();
        ends.sort();
        ends
    }

    /// Answers the request whose URL ends so.
    fn answer(&mut self, ends: &str, body: &str) {
        self.asked();
        let at = self
            .under_way
            .iter()
            .position(|get| get.url.as_str().ends_with(ends));
        let get = self.under_way.remove(at.expect("it was asked for"));
        let answer = Answer {
            url: get.url.clone(),
            headers: HeaderMap::new(),
            body: match get.what {
                What::Part { .. } => Body::Counted(1000),
                _ => Body::Whole(Bytes::copy_from_slice(body.as_bytes())),
            },
        };
        let now = Now {
            at: self.t0,
            wall: WallTime::from_millis(0),
        };
        let taken = self.session.answer(get, self.t0, Ok(answer), now);
        taken.expect("a good answer");
        self.under_way.retain(|get| self.session.awaits(get));
        self.events
            .extend(std::iter::from_fn(|| self.session.poll()));
    }

    fn parts(&self) -> Vec<(u64, Option<usize>)> {
        let part = |event: &Event| match event {
            Event::Segment(report) => Some((report.number, report.part)),
            _ => None,
        };
        self.events.iter().filter_map(part).collect()
    }
}

/// Segments of two parts of half a second up to, and without, part `end` of segment 9.
fn list(end: usize) -> String {
    let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1\n\
        #EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-MEDIA-SEQUENCE:8\n"
        .to_owned();
    for (number, parts) in [(8, 2), (9, end)] {
        for part in 0..parts {
            text += &format!("#EXT-X-PART:DURATION=0.5,URI=\"{number}.{part}\",INDEPENDENT=YES\n");
        }
        if parts == 2 {
            text += &format!("#EXTINF:1,\n{number}.m4s\n");
        }
    }
    let hint = if end == 2 {
        "10.0".to_owned()
    } else {
        format!("9.{end}")
    };
    text + &format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{hint}\"\n")
}

#[test]
fn the_part_that_is_hinted_is_asked_for_beside_the_playlist_that_will_list_it() {
    let mut viewing = Viewing::new();
    viewing.answer("index.m3u8", &list(1));
    // A second behind the end, and on.
    for part in ["8.1", "9.0"] {
        assert_eq!(viewing.asked(), [part, "index.m3u8?_HLS_msn=9&_HLS_part=1"]);
        viewing.answer(part, "");
    }
    assert_eq!(
        viewing.asked(),
        ["9.1", "index.m3u8?_HLS_msn=9&_HLS_part=1"]
    );
    // It comes first: how long it is has to be said yet, and nothing else is asked for meanwhile.
    viewing.answer("9.1", "");
    assert_eq!(viewing.asked(), ["index.m3u8?_HLS_msn=9&_HLS_part=1"]);
    assert_eq!(viewing.parts(), [(8, Some(1)), (9, Some(0))]);
    viewing.answer("part=1", &list(2));
    assert_eq!(viewing.parts().last(), Some(&(9, Some(1))));
    // The next segment begins with what is hinted now; this time the playlist is the first.
    assert_eq!(
        viewing.asked(),
        ["10.0", "index.m3u8?_HLS_msn=10&_HLS_part=0"]
    );
    assert_eq!(viewing.session.summary.segments, 1);
    assert_eq!(viewing.session.summary.media, seconds(1.5));
}

#[test]
fn steering_leads_to_another_node_and_what_was_under_way_is_left() {
    let mut viewing = Viewing::new();
    let multivariant = "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"steering.json\",PATHWAY-ID=\"one\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1,PATHWAY-ID=\"one\"\nv/a/index.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1,PATHWAY-ID=\"two\"\nhttp://two.test/live/x/v/a/index.m3u8\n";
    viewing.answer("index.m3u8", multivariant);
    assert_eq!(viewing.asked(), ["steering.json?_HLS_pathway=one"]);
    viewing.answer(
        "pathway=one",
        r#"{"VERSION":1,"TTL":10,"PATHWAY-PRIORITY":["one"]}"#,
    );
    viewing.answer("v/a/index.m3u8", &list(1));
    assert_eq!(viewing.asked().len(), 2);
    viewing.t0 += seconds(10.0);
    viewing.answer("part=1", &list(1));
    assert!(
        viewing
            .asked()
            .contains(&"steering.json?_HLS_pathway=one".to_owned())
    );
    viewing.answer(
        "pathway=one",
        r#"{"VERSION":1,"PATHWAY-PRIORITY":["two","one"]}"#,
    );
    let asked = viewing.asked();
    assert_eq!(asked, ["index.m3u8"]);
    assert_eq!(viewing.under_way[0].url.host_str(), Some("two.test"));
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}
