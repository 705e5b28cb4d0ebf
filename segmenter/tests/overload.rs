//! An encoder that is slower than real time: the dearest rung is left out from a segment on, and taken back with one.

mod support;

use std::collections::BTreeMap;

use segmenter::wire::{Alert, Part};
use support::{boxes, brightness, clip, live::Live};

#[test]
fn the_dearest_rung_goes_and_comes_back_and_no_player_can_tell() {
    // More than one core can do of it, and nearly nothing without it.
    let picture = "testsrc2=size=2560x1440:rate=30:duration=4";
    let clip = clip(
        "large.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            picture,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-b:v",
            "20M",
        ],
    );
    let arguments = [
        &clip,
        "--loop",
        "--fps",
        "60",
        "--preset",
        "medium",
        "--rung",
        "2560x1440@12000",
        "--rung",
        "256x144@200",
    ];
    let mut live = Live::start(&arguments);
    let health = live.until("a rung is left out", |health| health.rungs_dropped == 1);
    assert!(
        health.alerts.contains(&Alert::EncoderOverloaded),
        "{health:?}"
    );
    live.until("it keeps up", |health| {
        health.lag_ms < 500 && health.rungs_dropped == 1
    });
    live.until("it tries again", |health| health.rungs_dropped == 0);
    let parts = live.run.parts.len();
    live.parts(3 * 2 * 4);
    let run = live.leave();

    // In each segment the rung is encoded, or it is not.
    let mut same: BTreeMap<u64, Vec<bool>> = BTreeMap::new();
    for shares in run.parts.chunks_exact(2) {
        let [cheap, dear] = shares else {
            unreachable!("chunks of two")
        };
        assert_eq!((cheap.start, cheap.duration), (dear.start, dear.duration));
        let is_same = cheap.media == dear.media;
        assert!(!is_same || cheap.independent == dear.independent);
        same.entry(dear.segment).or_default().push(is_same);
    }
    assert!(
        same.values()
            .all(|parts| parts.iter().all(|same| *same == parts[0])),
        "{same:?}"
    );
    let changes: Vec<bool> = same.values().map(|parts| parts[0]).collect();
    let mut turns = changes.clone();
    turns.dedup();
    assert_eq!(turns[..3], [false, true, false], "{changes:?}");

    let dear: Vec<&Part> = run.parts.iter().filter(|part| part.rung == 1).collect();
    let mut due = None;
    for part in &dear {
        let tracks = boxes::fragment(&part.media);
        assert_eq!(tracks[0].tfdt as i64, part.start.to_ticks(90_000));
        assert!(
            due.is_none_or(|due| due == tracks[0].tfdt),
            "a gap before {:?}",
            part.start
        );
        let length: u64 = tracks[0]
            .samples
            .iter()
            .map(|sample| u64::from(sample.duration))
            .sum();
        due = Some(tracks[0].tfdt + length);
        if part.index == 0 {
            assert!(tracks[0].samples[0].sync, "a key frame begins each segment");
        }
    }
    let pictures = brightness("overload.mp4", &run.file(1));
    let expected: f64 = dear.iter().map(|part| part.duration.seconds() * 60.0).sum();
    assert_eq!(pictures.len(), expected.round() as usize);
    assert!(parts < run.parts.len());
}
