//! The window and its history under any course of events: what is listed is one run of numbers
//! that only grows at its new end, and every number finds its segment.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use playlists::{
    Bitrate, Epoch, Format, Head, History, Init, Ladder, MediaTime, Part, Renditions, Rung,
    RungName, Segment, WallTime, Window,
};
use proptest::prelude::*;

const LENGTH: MediaTime = MediaTime::from_flicks(2 * MediaTime::PER_SECOND);

#[derive(Clone, Debug)]
enum Event {
    /// A whole segment; whether the timeline breaks before it, and whether its run has another init.
    Push { breaks: bool, new_init: bool },
    /// Its first part only, and then never another.
    Abandon,
    /// The segment so many back from the edge is on disk now.
    Kept { back: u64 },
    /// Its octets are lost.
    Lost { back: u64 },
    /// The disk is full: everything before the segment so many back is gone.
    Forget { back: u64 },
    /// The node starts again from what was kept.
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        30 => (prop::bool::weighted(0.1), prop::bool::weighted(0.3))
            .prop_map(|(breaks, new_init)| Event::Push { breaks, new_init }),
        1 => Just(Event::Abandon),
        10 => (0..40u64).prop_map(|back| Event::Kept { back }),
        2 => (0..40u64).prop_map(|back| Event::Lost { back }),
        1 => (0..300u64).prop_map(|back| Event::Forget { back }),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..400)
}

struct World {
    window: Window,
    next: u64,
    timeline: u64,
    init: Arc<Init>,
    /// Everything before is gone for good.
    forgotten: u64,
}

impl World {
    fn new(span: Option<i64>) -> Self {
        let history = History::new(span.map(|count| LENGTH * count), LENGTH * 3);
        Self {
            window: Window::remembering(format(), history),
            next: 1000,
            timeline: 0,
            init: init(1),
            forgotten: 1000,
        }
    }

    fn head(&self, discontinuity: bool) -> Head {
        Head {
            number: self.next,
            epoch: Epoch(self.timeline),
            init: self.init.clone(),
            discontinuity,
            timeline: self.timeline,
            date_time: WallTime::from_millis(self.next as i64 * 2000),
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Push { breaks, new_init } => {
                let breaks = breaks && self.next > 1000;
                if breaks {
                    self.timeline += 1;
                    if new_init {
                        self.init = init(self.init.epoch.0 + 1);
                    }
                }
                self.window.open(self.head(breaks)).unwrap();
                self.window.push(part(self.next, b'm')).unwrap();
                self.window.close();
                self.next += 1;
            }
            Event::Abandon => {
                self.window.open(self.head(false)).unwrap();
                self.window.push(part(self.next, b'm')).unwrap();
                self.window.abandon();
            }
            Event::Kept { back } => {
                if let Some(segment) = self.at(back).filter(|segment| !segment.gap) {
                    let mut kept = Segment::new(segment.head.clone());
                    kept.push(part(segment.number(), b'd'));
                    kept.complete = true;
                    assert!(self.window.succeed(Arc::new(kept)));
                }
            }
            Event::Lost { back } => {
                if let Some(segment) = self.at(back) {
                    let gap = Segment::gap(
                        segment.head.clone(),
                        segment.duration(),
                        1,
                        &Renditions::default(),
                    );
                    assert!(self.window.succeed(Arc::new(gap)));
                }
            }
            Event::Forget { back } => {
                let before = self.next.saturating_sub(back);
                self.window.forget_before(before);
                self.forgotten = self.forgotten.max(before);
            }
            Event::Restart => {
                let all: Vec<_> = self.window.listed_in_full().cloned().collect();
                let history = self.window.history().unwrap().emptied();
                self.window = Window::remembering(format(), history);
                self.window.resume(all).unwrap();
            }
        }
    }

    fn at(&self, back: u64) -> Option<Arc<Segment>> {
        let number = self.next.checked_sub(1 + back)?;
        self.window.segment(number).cloned()
    }

    fn check(&self) {
        let listed: Vec<_> = self.window.listed_in_full().collect();
        for pair in listed.windows(2) {
            let (one, two) = (&pair[0].head, &pair[1].head);
            assert_eq!(two.number, one.number + 1);
            assert_eq!(two.timeline, one.timeline + u64::from(two.discontinuity));
        }
        for segment in &listed {
            let found = self.window.segment(segment.number()).unwrap();
            assert!(Arc::ptr_eq(found, segment));
            let init = self.window.init(segment.head.init.epoch).unwrap();
            assert_eq!(init.media, segment.head.init.media);
        }
        let history = self.window.history().unwrap();
        let past = listed
            .iter()
            .filter(|segment| self.window.is_past(segment.number()));
        assert_eq!(past.count(), history.listed_count());
        assert_eq!(
            history.length(),
            history.listed().map(|segment| segment.duration()).sum()
        );
        if let Some(first) = listed.first() {
            assert!(
                self.window
                    .segment(first.number().wrapping_sub(600))
                    .is_none()
            );
        }
        assert!(self.window.segment(self.next + 5).is_none());
        let mut text = String::new();
        history.write_lines(&mut text, 0, write);
        let mut plain = String::new();
        for segment in history.listed() {
            write(&mut plain, segment, None);
        }
        assert_eq!(text, plain);
    }
}

fn write(text: &mut String, segment: &Segment, _: Option<&Segment>) {
    let gap = if segment.gap { " gap" } else { "" };
    writeln!(text, "{}{gap}", segment.number()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_long_window_is_one_run_of_numbers_and_only_appends(events in events(), span in prop::option::of(1..150i64)) {
        let mut world = World::new(span);
        let (mut first, mut last) = (0, 0);
        for event in &events {
            let before = world.window.clone();
            let old: Vec<_> = before.listed_in_full().cloned().collect();
            world.happen(event);
            world.check();
            let new: Vec<_> = world.window.listed_in_full().collect();
            if let (Some(start), Some(end)) = (new.first(), new.last()) {
                prop_assert!(start.number() >= first && end.number() >= last);
                (first, last) = (start.number(), end.number());
                for segment in &new {
                    let was = old.iter().find(|old| old.number() == segment.number());
                    prop_assert!(was.is_none_or(|was| was.head == segment.head));
                }
            }
            if let Some(span) = span {
                let history = world.window.history().unwrap();
                prop_assert!(history.length() <= LENGTH * span);
            }
            // A snapshot is a value: nothing that happens later changes it.
            let again: Vec<_> = before.listed_in_full().cloned().collect();
            prop_assert!(old.iter().zip(&again).all(|(a, b)| Arc::ptr_eq(a, b)));
        }
    }
}

#[test]
fn what_has_left_the_list_can_be_fetched_for_a_while() {
    let mut world = World::new(Some(20));
    for _ in 0..100 {
        world.happen(&Event::Push {
            breaks: false,
            new_init: false,
        });
    }
    let first = world.window.listed_in_full().next().unwrap().number();
    assert!(world.window.segment(first - 3).is_some());
    assert!(world.window.segment(first - 4).is_none());
}

#[test]
fn what_was_lost_is_a_gap_and_what_was_kept_is_read_from_there() {
    let mut world = World::new(None);
    for _ in 0..100 {
        world.happen(&Event::Push {
            breaks: false,
            new_init: false,
        });
    }
    // Of both halves: one is history already, one is still live.
    for back in [2, 90] {
        world.happen(&Event::Lost { back });
        world.happen(&Event::Kept { back: back + 1 });
    }
    assert!(
        !world.at(2).unwrap().gap,
        "live media is in memory, and still good"
    );
    assert!(world.at(90).unwrap().gap);
    assert_eq!(world.at(91).unwrap().parts[0].media[0][0], b'd');
    for _ in 0..20 {
        world.happen(&Event::Push {
            breaks: false,
            new_init: false,
        });
    }
    assert!(world.at(22).unwrap().gap);
    assert_eq!(world.at(23).unwrap().parts[0].media[0][0], b'd');
}

fn part(number: u64, mark: u8) -> Part {
    let media = [&[mark][..], &number.to_be_bytes()].concat();
    Part {
        duration: LENGTH,
        open: 1,
        media: vec![Bytes::from(media)],
        renditions: Vec::new(),
    }
}

fn init(epoch: u64) -> Arc<Init> {
    Arc::new(Init {
        epoch: Epoch(epoch),
        media: Bytes::from(epoch.to_string()),
        renditions: Vec::new(),
    })
}

fn format() -> Format {
    let rung = Rung {
        name: RungName::try_from("one".to_owned()).unwrap(),
        width: 2,
        height: 2,
        bandwidth: Bitrate::from_kbps(1),
        average: Bitrate::from_kbps(1),
        codecs: String::new(),
        frame_rate: 30.0,
        score: None,
    };
    Format {
        ladder: Ladder::new(vec![rung]).unwrap(),
        segment: LENGTH,
        part: LENGTH,
        listed: 4,
        renditions: Renditions::default(),
    }
}
