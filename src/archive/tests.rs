//! An archive over runs, damage and full disks, through what its user calls.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU32, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use playlists::{
    Bitrate, DateRange, Epoch, Format, Head, Init, Ladder, MediaTime, Part, Renditions, Rung,
    RungName, Segment, WallTime,
    daterange::Value,
    still::{Coding, Still},
};

use super::*;

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "spillway-archive-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        Self(std::env::temp_dir().join(name))
    }

    fn archives(&self, most: Option<u64>) -> Archives {
        Archives::new(Options {
            folder: self.0.clone(),
            span: Some(MediaTime::from_seconds(600.0)),
            most,
        })
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join("demo")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "dvr"))
            .collect();
        paths.sort();
        paths
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes segments `numbers`, and waits until each is on disk.
fn write(archive: &mut Archive, numbers: std::ops::Range<u64>) -> Vec<Arc<Segment>> {
    archive.begin(&format());
    let mut kept = Vec::new();
    for number in numbers.clone() {
        archive.opened(number);
        assert!(archive.keep(&segment(number)));
        while (kept.len() as u64) <= number - numbers.start {
            match archive.notes.blocking_recv().unwrap() {
                Note::Kept(segment) => kept.push(segment),
                Note::Forgotten { .. } => {}
                Note::Lost(number) => panic!("segment {number} is lost"),
            }
        }
    }
    kept
}

fn close(archives: &Archives, archive: Archive) {
    drop(archive);
    assert!(archives.close(Duration::from_secs(20)));
}

/// What another run finds.
fn reopen(folder: &Folder) -> (Archives, Archive, Option<Past>) {
    let archives = folder.archives(None);
    let mut archive = archives.open("demo", None).unwrap();
    let past = archive.take_past();
    (archives, archive, past)
}

fn numbers(past: &Past) -> Vec<(u64, bool)> {
    let segments = past.segments.iter();
    segments
        .map(|segment| (segment.number(), segment.gap))
        .collect()
}

#[test]
fn what_is_read_back_is_what_was_written() {
    let folder = Folder::new();
    let archives = folder.archives(None);
    let mut archive = archives.open("demo", None).unwrap();
    assert!(archive.take_past().is_none());
    let kept = write(&mut archive, 10..15);
    for segment in &kept {
        assert_eq!(**segment, *self::segment(segment.number()));
        let media = segment.media(1).next().unwrap();
        populate(media).unwrap();
    }
    close(&archives, archive);
    let (archives, archive, past) = reopen(&folder);
    let past = past.unwrap();
    assert_eq!(past.shape, Shape::of(&format()));
    assert!(past.segments.iter().eq(kept.iter()));
    assert_eq!(past.ended, None);
    close(&archives, archive);
}

#[test]
fn two_nodes_do_not_share_a_folder() {
    let folder = Folder::new();
    let (archives, archive, _) = reopen(&folder);
    let error = folder.archives(None).open("demo", None).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    close(&archives, archive);
}

#[test]
fn what_is_damaged_is_left_out_and_a_gap() {
    let folder = Folder::new();
    let archives = folder.archives(None);
    let mut archive = archives.open("demo", None).unwrap();
    write(&mut archive, 10..20);
    close(&archives, archive);
    let files = folder.files();
    assert_eq!(files.len(), 10);
    damage(&files[2], |octets| octets.truncate(octets.len() - 1));
    damage(&files[3], Vec::clear);
    damage(&files[5], |octets| octets[40] ^= 1);
    damage(&files[6], |octets| octets.extend(b"more"));
    damage(&files[7], |octets| octets[12] = 255);
    fs::write(files[9].with_extension("unfinished"), b"half").unwrap();
    fs::write(folder.0.join("demo/state.json"), b"{").unwrap();
    let (archives, archive, past) = reopen(&folder);
    let missing = [12, 13, 15, 16, 17];
    let expected: Vec<_> = (10..20)
        .map(|number| (number, missing.contains(&number)))
        .collect();
    assert_eq!(numbers(&past.unwrap()), expected);
    assert_eq!(folder.files().len(), 5);
    close(&archives, archive);
}

#[test]
fn octets_that_changed_are_found_out_while_nobody_waits() {
    let folder = Folder::new();
    let archives = folder.archives(None);
    let mut archive = archives.open("demo", None).unwrap();
    write(&mut archive, 10..14);
    close(&archives, archive);
    damage(&folder.files()[1], |octets| {
        *octets.last_mut().unwrap() ^= 1;
    });
    let (archives, mut archive, past) = reopen(&folder);
    assert_eq!(past.unwrap().segments.len(), 4);
    assert!(matches!(
        archive.notes.blocking_recv(),
        Some(Note::Lost(11))
    ));
    assert_eq!(folder.files().len(), 3);
    close(&archives, archive);
}

#[test]
fn a_segment_that_was_never_completed_is_a_gap_in_the_next_run() {
    let folder = Folder::new();
    let archives = folder.archives(None);
    let mut archive = archives.open("demo", None).unwrap();
    write(&mut archive, 10..12);
    archive.opened(12);
    close(&archives, archive);
    let (archives, archive, past) = reopen(&folder);
    let past = past.unwrap();
    assert_eq!(numbers(&past), [(10, false), (11, false), (12, true)]);
    let gap = &past.segments[2];
    assert_eq!(
        gap.head.date_time,
        past.segments[1].head.date_time.later(LENGTH)
    );
    close(&archives, archive);
}

#[test]
fn after_a_hole_that_is_too_large_the_past_begins_anew() {
    let folder = Folder::new();
    let archives = folder.archives(None);
    let mut archive = archives.open("demo", None).unwrap();
    write(&mut archive, 10..12);
    write(&mut archive, 100..102);
    close(&archives, archive);
    let (archives, archive, past) = reopen(&folder);
    assert_eq!(numbers(&past.unwrap()), [(100, false), (101, false)]);
    close(&archives, archive);
}

#[test]
fn a_break_that_was_lost_is_told_by_the_gap() {
    let folder = Folder::new();
    let archives = folder.archives(None);
    let mut archive = archives.open("demo", None).unwrap();
    archive.begin(&format());
    // The timeline breaks before 12, whose file is lost.
    for (number, timeline) in [(10, 0), (11, 0), (12, 1), (13, 1)] {
        let mut segment = Segment::clone(&segment(number));
        segment.head.timeline = timeline;
        segment.head.discontinuity = number == 12;
        assert!(archive.keep(&Arc::new(segment)));
    }
    close(&archives, archive);
    fs::remove_file(&folder.files()[2]).unwrap();
    let (archives, archive, past) = reopen(&folder);
    let past = past.unwrap();
    let heads = past.segments.iter().map(|segment| &segment.head);
    let told: Vec<_> = heads
        .map(|head| (head.timeline, head.discontinuity))
        .collect();
    assert_eq!(told, [(0, false), (0, false), (1, true), (1, false)]);
    close(&archives, archive);
}

#[test]
fn at_its_limit_the_oldest_goes_and_that_is_said() {
    let folder = Folder::new();
    let size = {
        let archives = folder.archives(None);
        let mut archive = archives.open("demo", None).unwrap();
        write(&mut archive, 10..11);
        close(&archives, archive);
        fs::metadata(&folder.files()[0]).unwrap().len()
    };
    let archives = folder.archives(Some(size * 5 + 8192));
    let mut archive = archives.open("demo", None).unwrap();
    let kept = write(&mut archive, 11..30);
    assert_eq!(kept.len(), 19);
    let left = folder.files();
    assert!(left.len() <= 5, "{left:?}");
    assert!(left.last().unwrap().ends_with("00000000000000000029.dvr"));
    // Whoever is still being sent the first has it, though its file is gone.
    assert_eq!(*kept[0], *segment(11));
    close(&archives, archive);
}

#[test]
fn another_ladder_begins_anew() {
    let folder = Folder::new();
    let archives = folder.archives(None);
    let mut archive = archives.open("demo", None).unwrap();
    write(&mut archive, 10..14);
    let other = Format {
        part: LENGTH * 2,
        ..format()
    };
    archive.begin(&other);
    assert!(archive.keep(&segment(14)));
    close(&archives, archive);
    let (archives, archive, past) = reopen(&folder);
    let past = past.unwrap();
    assert_eq!(past.shape, Shape::of(&other));
    assert_eq!(numbers(&past), [(14, false)]);
    close(&archives, archive);
}

#[test]
fn an_end_is_remembered_and_a_cleared_archive_is_empty() {
    let folder = Folder::new();
    let archives = folder.archives(None);
    let mut archive = archives.open("demo", None).unwrap();
    write(&mut archive, 10..14);
    archive.end();
    close(&archives, archive);
    let (archives, mut archive, past) = reopen(&folder);
    assert!(past.unwrap().ended.is_some());
    archive.clear();
    close(&archives, archive);
    let (archives, archive, past) = reopen(&folder);
    assert!(past.is_none() && folder.files().is_empty());
    close(&archives, archive);
}

fn damage(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut octets = fs::read(path).unwrap();
    how(&mut octets);
    fs::write(path, octets).unwrap();
}

const LENGTH: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND);

fn segment(number: u64) -> Arc<Segment> {
    let mut segment = Segment::new(Head {
        number,
        epoch: Epoch(7),
        init: Arc::new(Init {
            epoch: Epoch(3),
            media: Bytes::from_static(b"init"),
            renditions: Vec::new(),
        }),
        discontinuity: false,
        timeline: 0,
        date_time: WallTime::from_millis(number as i64 * 1000),
    });
    for part in 0..2u8 {
        let media = (0..2u8).map(|rung| vec![number as u8 ^ part ^ rung; 20_000].into());
        segment.push(Part {
            duration: MediaTime::from_ticks(1, 2),
            open: if part == 0 { 2 } else { 0 },
            media: media.collect(),
            renditions: Vec::new(),
        });
    }
    let still = |tile, coding, octets| Still {
        tile,
        coding,
        width: 160,
        height: 90,
        media: vec![number as u8; octets].into(),
    };
    segment.stills = vec![still(true, Coding::Jpeg, 200)];
    if number.is_multiple_of(2) {
        segment.stills.push(still(false, Coding::Webp, 3000));
    }
    segment.ranges.push(DateRange {
        id: format!("range-{number}"),
        class: None,
        start: segment.head.date_time,
        end: None,
        duration: Some(MediaTime::ZERO),
        planned: None,
        others: vec![("X-A".into(), Value::Octets(vec![number as u8]))],
    });
    segment.complete = true;
    Arc::new(segment)
}

fn format() -> Format {
    let rung = |name: &str, kbps| Rung {
        name: RungName::try_from(name.to_owned()).unwrap(),
        width: 2,
        height: 2,
        bandwidth: Bitrate::from_kbps(kbps),
        average: Bitrate::from_kbps(kbps),
        codecs: String::new(),
        frame_rate: 30.0,
        score: None,
    };
    Format {
        ladder: Ladder::new(vec![rung("low", 1), rung("top", 2)]).unwrap(),
        renditions: Renditions::default(),
        segment: LENGTH,
        part: MediaTime::from_ticks(1, 2),
        listed: 4,
    }
}
