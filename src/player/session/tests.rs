//! Stories of viewings against a server that is a function of time; no clock, no sockets.

use bytes::Bytes;
use reqwest::{StatusCode, header::HeaderMap};

use super::*;

/// Segments of 2 s, of which number `n` is complete at `2 * (n + 1)` s; the story begins at 100 s.
struct World {
    session: Session,
    t0: Instant,
    /// Since `t0`.
    at: Duration,
    /// Taken by each segment's download.
    download: Duration,
    blocks: bool,
    /// Added to the numbers that the clock gives; less of it is a server that starts over.
    numbers: u64,
    /// What becomes of a request, if anything but an answer does.
    fails: fn(&World, &Get) -> Option<FetchError>,
    asked: Vec<(Duration, String)>,
    events: Vec<Event>,
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn refused(get: &Get) -> Option<FetchError> {
    let why = "Connection refused (os error 111)".into();
    Some(FetchError::Transport {
        url: Box::new(get.url.clone()),
        why,
    })
}

fn status(get: &Get, status: StatusCode) -> Option<FetchError> {
    Some(FetchError::Status {
        url: Box::new(get.url.clone()),
        status,
        said: String::new(),
    })
}

impl World {
    fn new() -> Self {
        let (t0, start) = (
            Instant::now(),
            "http://tm.test/watch/live.m3u8".parse().unwrap(),
        );
        Self {
            session: Session::new(start, Config::default(), t0),
            t0,
            at: Duration::ZERO,
            download: seconds(0.2),
            blocks: true,
            numbers: 0,
            fails: |_, _| None,
            asked: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Until `until` after the beginning, or until the session is over.
    fn play(&mut self, until: f64) -> Result<(), PlayerError> {
        let until = seconds(until);
        while self.at < until {
            self.session.advance(self.t0 + self.at);
            let action = self.session.next(self.t0 + self.at);
            match action {
                Action::Get(get) => {
                    let (asked, request) = (self.at, get.url.to_string());
                    self.asked.push((asked, request));
                    let answer = self.serve(&get);
                    let at = self.t0 + self.at;
                    let wall = WallTime::from_millis(100_000 + self.at.as_millis() as i64);
                    self.session
                        .answer(get, self.t0 + asked, answer, Now { at, wall })?;
                }
                Action::Wait(wait) => {
                    assert!(wait > self.t0 + self.at, "a wait that is over");
                    self.at = wait - self.t0;
                }
                Action::Done => return Ok(()),
            }
            while let Some(event) = self.session.poll() {
                self.events.push(event);
            }
        }
        Ok(())
    }

    /// The last segment that is complete, by the clock.
    fn edge(&self) -> u64 {
        (100_000 + self.at.as_millis() as u64) / 2000 - 1
    }

    fn serve(&mut self, get: &Get) -> Result<Answer, FetchError> {
        if let Some(error) = (self.fails)(self, get) {
            if let FetchError::Late { patience, .. } = error {
                self.at += patience;
            }
            return Err(error);
        }
        let node: Url = "http://node.test/live/live/".parse().unwrap();
        let (at, body) = match &get.what {
            What::Join if get.url.path().starts_with("/watch") => (
                "index.m3u8",
                "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/a/index.m3u8\n".into(),
            ),
            What::Join | What::Playlist => {
                let number = get
                    .url
                    .query()
                    .and_then(|query| query.strip_prefix("_HLS_msn="));
                if let Some(number) =
                    number.map(|number| number.parse::<u64>().unwrap() - self.numbers)
                {
                    self.at = self.at.max(seconds((number + 1) as f64 * 2.0 - 100.0));
                }
                ("v/a/index.m3u8", self.list())
            }
            What::Init => ("7/init.mp4", "\0\0\0\u{8}moov".into()),
            What::Segment(_) => {
                self.at += self.download;
                ("v/a/1.m4s", "\0\0\0\u{c}moof1234".into())
            }
            What::Part { .. } | What::Steering => unreachable!("neither was offered"),
        };
        Ok(Answer {
            url: node.join(at).unwrap(),
            headers: HeaderMap::new(),
            body: Body::Whole(Bytes::from(body)),
        })
    }

    /// The last eight segments.
    fn list(&self) -> String {
        let edge = self.edge();
        let first = edge - 7;
        let control = if self.blocks {
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n"
        } else {
            ""
        };
        let mut text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n{control}#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-MAP:URI=\"../../7/init.mp4\"\n",
            first + self.numbers
        );
        let live = WallTime::from_millis(first as i64 * 2000);
        text += &format!("#EXT-X-PROGRAM-DATE-TIME:{live}\n");
        for number in first..=edge {
            text += &format!("#EXTINF:2,\n{}.m4s\n", number + self.numbers);
        }
        text
    }

    fn segments(&self) -> Vec<u64> {
        let number = |event: &Event| match event {
            Event::Segment(report) => Some(report.number),
            _ => None,
        };
        self.events.iter().filter_map(number).collect()
    }

    fn faults(&self) -> Vec<String> {
        let fault = |event: &Event| match event {
            Event::Fault(fault) => Some(fault.to_string()),
            _ => None,
        };
        self.events.iter().filter_map(fault).collect()
    }

    fn count(&self, wanted: fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }

    fn summary(&self) -> Summary {
        let (at, wall) = (
            self.t0 + self.at,
            WallTime::from_millis(100_000 + self.at.as_millis() as i64),
        );
        self.session.summary(Now { at, wall })
    }
}

#[test]
fn a_good_path_is_played_three_target_durations_behind_and_without_a_stall() {
    let mut world = World::new();
    world.play(60.0).unwrap();
    let segments = world.segments();
    // At 100 s the list ends at 100 s; segment 47 begins at 94 s.
    assert_eq!(
        segments,
        (47..=segments[segments.len() - 1]).collect::<Vec<_>>()
    );
    assert!(segments.len() >= 32, "{segments:?}");
    let summary = world.summary();
    assert_eq!((summary.stalls, summary.retries, summary.joins), (0, 0, 1));
    assert_eq!(summary.startup, Some(seconds(0.4)));
    // 94 s was on screen at 100.4 s, and nothing has moved that since.
    assert_eq!(summary.latency, Some(seconds(6.4)));
    assert_eq!(world.faults(), [""; 0]);
    assert_eq!(
        world
            .asked
            .iter()
            .filter(|(_, url)| url.ends_with("init.mp4"))
            .count(),
        1
    );
}

#[test]
fn a_path_that_is_slower_than_the_media_stalls_by_what_it_lacks() {
    let mut world = World {
        download: seconds(2.5),
        ..World::new()
    };
    world.play(103.0).unwrap();
    let summary = world.summary();
    assert!(summary.stalls > 10);
    // Whatever was not played since the start was stalled.
    let whole = summary.startup.unwrap() + summary.played + summary.stalled;
    assert_eq!(whole, world.at);
    let ended = world.count(|event| matches!(event, Event::Resumed { .. }));
    assert!(ended + 1 >= summary.stalls as usize);
}

#[test]
fn a_server_that_does_not_block_is_asked_every_target_duration() {
    let mut world = World {
        blocks: false,
        ..World::new()
    };
    world.play(31.0).unwrap();
    let asked = world
        .asked
        .iter()
        .filter(|(_, url)| url.ends_with("v/a/index.m3u8"));
    let times: Vec<_> = asked.map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, (0..=30).step_by(2).collect::<Vec<_>>());
    assert_eq!(world.summary().stalls, 0);
}

#[test]
fn one_failure_is_retried_and_no_more() {
    let mut world = World::new();
    world.play(10.0).unwrap();
    world.fails = |world, get| {
        let first = world
            .asked
            .iter()
            .filter(|(at, _)| *at >= seconds(10.0))
            .count()
            == 1;
        if first {
            status(get, StatusCode::BAD_GATEWAY)
        } else {
            None
        }
    };
    world.play(30.0).unwrap();
    let summary = world.summary();
    assert_eq!(
        (
            summary.retries,
            summary.joins,
            summary.stalls,
            summary.faults
        ),
        (1, 1, 0, 0)
    );
}

#[test]
fn a_node_that_takes_no_connection_is_left_at_the_second_try() {
    let mut world = World::new();
    world.play(10.0).unwrap();
    world.fails = |world, get| {
        let node_is_down = get.what != What::Join && world.session.summary.joins == 1;
        if node_is_down { refused(get) } else { None }
    };
    world.play(30.0).unwrap();
    assert_eq!(
        world.count(|event| matches!(event, Event::Rejoining { .. })),
        1
    );
    let summary = world.summary();
    assert_eq!(
        (
            summary.retries,
            summary.joins,
            summary.stalls,
            summary.faults
        ),
        (1, 2, 0, 0)
    );
    let segments = world.segments();
    assert!(
        segments.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "{segments:?}"
    );
}

#[test]
fn a_node_that_fails_is_given_three_seconds() {
    let mut world = World::new();
    world.play(10.0).unwrap();
    world.fails = |world, get| {
        let fails = get.what != What::Join && world.session.summary.joins == 1;
        if fails {
            status(get, StatusCode::INTERNAL_SERVER_ERROR)
        } else {
            None
        }
    };
    world.play(11.5).unwrap();
    assert_eq!(world.summary().joins, 1);
    world.play(30.0).unwrap();
    assert_eq!((world.summary().joins, world.summary().stalls), (2, 0));
}

#[test]
fn a_viewing_ends_when_nothing_goes_well_any_more() {
    let mut world = World::new();
    world.play(10.0).unwrap();
    world.fails = |_, get| refused(get);
    let error = world.play(100.0).unwrap_err();
    let PlayerError::GaveUp { after, .. } = &error else {
        panic!("{error}")
    };
    assert!(*after >= seconds(30.0) && *after < seconds(33.0), "{error}");
    assert!(
        error.to_string().starts_with("nothing went well for 3"),
        "{error}"
    );
}

#[test]
fn a_first_join_waits_for_a_server_that_asks_for_patience_and_for_no_other() {
    let mut world = World::new();
    world.fails = |world, get| match world.at < seconds(5.0) {
        true => status(get, StatusCode::SERVICE_UNAVAILABLE),
        false => None,
    };
    world.play(20.0).unwrap();
    assert_eq!((world.summary().joins, world.summary().stalls), (1, 0));

    for fails in [
        |_: &World, get: &Get| refused(get),
        |_: &World, get: &Get| status(get, StatusCode::NOT_FOUND),
    ] {
        let mut world = World {
            fails,
            ..World::new()
        };
        let error = world.play(20.0).unwrap_err();
        assert!(!matches!(error, PlayerError::GaveUp { .. }), "{error}");
        assert_eq!(world.at, Duration::ZERO);
    }
}

#[test]
fn a_segment_that_is_refused_again_and_again_is_left_out() {
    let mut world = World::new();
    world.fails = |_, get| match &get.what {
        What::Segment(segment) if segment.number == 52 => status(get, StatusCode::NOT_FOUND),
        _ => None,
    };
    world.play(30.0).unwrap();
    assert_eq!(
        world.faults(),
        ["segment 52 is listed but was refused 3 times; it is skipped"]
    );
    assert!(!world.segments().contains(&52) && world.segments().contains(&53));
    assert_eq!(world.summary().joins, 1);
}

#[test]
fn who_falls_out_of_the_window_goes_on_near_the_edge_and_says_what_is_missing() {
    let mut world = World::new();
    world.play(10.0).unwrap();
    world.download = seconds(40.0);
    world.play(20.0).unwrap();
    world.download = seconds(0.2);
    world.play(80.0).unwrap();
    let faults = world.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].ends_with("were never served; they are skipped"),
        "{faults:?}"
    );
    assert_eq!(world.summary().stalls, 1);
}

#[test]
fn a_server_that_starts_its_numbers_over_is_followed() {
    let mut world = World {
        numbers: 1000,
        ..World::new()
    };
    world.play(10.0).unwrap();
    world.numbers = 0;
    // What was asked of the old numbers would wait for ever here.
    world.blocks = false;
    if let Place::Playing { list, .. } = &mut world.session.place {
        *list = None;
    }
    world.play(40.0).unwrap();
    assert!(
        world
            .faults()
            .iter()
            .any(|fault| fault.starts_with("the numbering went backwards"))
    );
    let last = *world.segments().last().unwrap();
    assert!((60..100).contains(&last), "{last}");
}

#[test]
fn a_redirect_moves_the_answer_and_not_the_next_question() {
    let mut world = World::new();
    world.play(10.0).unwrap();
    let Place::Playing {
        url,
        list: Some(list),
    } = &world.session.place
    else {
        panic!("not playing")
    };
    // The join was redirected from the manager, so that the variant is the node's.
    assert_eq!(url.as_str(), "http://node.test/live/live/v/a/index.m3u8");
    let mut list = List::new(list.playlist.clone(), url.clone(), world.t0, None);
    list.base = "http://other.test/live/live/v/a/index.m3u8"
        .parse()
        .unwrap();
    let number = list.last().unwrap();
    world.session.next = Some(Spot::of(number));
    world.session.place = Place::Playing {
        url: url.clone(),
        list: Some(Box::new(list)),
    };
    world.asked.clear();
    world.play(14.0).unwrap();
    let asked: Vec<_> = world.asked.iter().map(|(_, url)| url.as_str()).collect();
    assert_eq!(asked[0], "http://other.test/live/live/7/init.mp4");
    assert_eq!(
        asked[1],
        format!("http://other.test/live/live/v/a/{number}.m4s")
    );
    assert!(
        asked[2].starts_with("http://node.test/live/live/v/a/index.m3u8"),
        "{asked:?}"
    );
}
