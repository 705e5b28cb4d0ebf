//! What every run has to keep, whatever its input: one timeline, rungs in step, what players rely on.

use std::collections::HashSet;

use playlists::MediaTime;
use segmenter::wire::Part;

use super::{Run, boxes};

/// Holds a run to every rule that does not depend on its input.
pub(crate) fn check(run: &Run) {
    assert!(run.success, "{}", run.stderr);
    assert_eq!(run.end.as_ref().map(|end| end.error.as_ref()), Some(None));
    let hello = run.hello.as_ref().expect("a hello");
    let rungs = hello.ladder.rungs().len();
    check_init(run, rungs);

    // All shares of a part together, cheapest first.
    assert_eq!(run.parts.len() % rungs, 0);
    let parts: Vec<&[Part]> = run.parts.chunks(rungs).collect();
    for shares in &parts {
        check_shares(shares);
    }
    for (number, pair) in parts.windows(2).enumerate() {
        let (before, after) = (&pair[0][0], &pair[1][0]);
        assert_eq!(before.start + before.duration, after.start, "part {number}");
        let expected = if before.last {
            (before.segment + 1, 0)
        } else {
            (before.segment, before.index + 1)
        };
        assert_eq!((after.segment, after.index), expected, "part {number}");
        let (before, after) = (
            boxes::fragment(&before.media),
            boxes::fragment(&after.media),
        );
        for track in 0..2 {
            let length: u64 = before[track]
                .samples
                .iter()
                .map(|sample| u64::from(sample.duration))
                .sum();
            assert_eq!(
                before[track].tfdt + length,
                after[track].tfdt,
                "track {track} of part {number}"
            );
        }
    }
    let (first, last) = (parts[0], parts[parts.len() - 1]);
    assert!(last[0].last, "the run ends with a whole segment");
    assert_eq!((first[0].segment, first[0].index), (0, 0));
    check_segments(run, rungs);
}

fn check_init(run: &Run, rungs: usize) {
    let hello = run.hello.as_ref().expect("a hello");
    let init = boxes::init(&run.init);
    let top = hello
        .ladder
        .rungs()
        .iter()
        .max_by_key(|rung| rung.width * rung.height)
        .expect("a rung");
    assert_eq!(init.timescales, [90_000, 48_000]);
    assert_eq!(
        (u32::from(init.size.0), u32::from(init.size.1)),
        (top.width, top.height)
    );
    assert!(!init.has_edit_list);
    assert_eq!((init.sets.sps.len(), init.sets.pps.len()), (rungs, rungs));
    let ids: HashSet<_> = init
        .sets
        .sps
        .iter()
        .map(|sps| exp_golomb(&sps[4..]))
        .collect();
    assert_eq!(ids.len(), rungs, "every rung's SPS has an id of its own");
    let ids: HashSet<_> = init
        .sets
        .pps
        .iter()
        .map(|pps| exp_golomb(&pps[1..]))
        .collect();
    assert_eq!(ids.len(), rungs, "every rung's PPS has an id of its own");
    // Profile and level are one for all, and what the playlist will say.
    for (sps, rung) in init.sets.sps.iter().rev().zip(hello.ladder.rungs()) {
        assert_eq!(
            rung.codecs,
            format!("avc1.{:02X}{:02X}{:02X},mp4a.40.2", sps[1], sps[2], sps[3])
        );
        assert_eq!(sps[1..4], init.sets.sps[0][1..4]);
    }

    // In-band sets are those of the init, each rung's own.
    for part in run.parts.iter().filter(|part| part.independent) {
        let fragment = boxes::fragment(&part.media);
        let units = boxes::nal_units(&fragment[0].samples[0].data);
        let kinds: Vec<_> = units.iter().map(|(kind, _)| *kind).collect();
        let of = |wanted: u8| {
            units
                .iter()
                .find(|(kind, _)| *kind == wanted)
                .map(|(_, unit)| unit.to_vec())
        };
        let own = rungs - 1 - usize::from(part.rung);
        assert_eq!(
            of(7).as_ref(),
            Some(&init.sets.sps[own]),
            "SPS in band, {kinds:?}"
        );
        assert_eq!(
            of(8).as_ref(),
            Some(&init.sets.pps[own]),
            "PPS in band, {kinds:?}"
        );
        assert!(kinds.contains(&5), "an IDR picture, {kinds:?}");
    }
}

/// A sample's duration and its composition offset.
type Timing = (u32, i32);

/// One part in all rungs: the same pictures at the same times, and the very same sound.
fn check_shares(shares: &[Part]) {
    let sound = |part: &Part| -> Vec<Vec<u8>> {
        boxes::fragment(&part.media)
            .remove(1)
            .samples
            .into_iter()
            .map(|sample| sample.data)
            .collect()
    };
    let times = |part: &Part| -> Vec<(u64, Vec<Timing>)> {
        let tracks = boxes::fragment(&part.media).into_iter();
        tracks
            .map(|track| {
                (
                    track.tfdt,
                    track
                        .samples
                        .iter()
                        .map(|sample| (sample.duration, sample.offset))
                        .collect(),
                )
            })
            .collect()
    };
    let (first_sound, first_times) = (sound(&shares[0]), times(&shares[0]));
    for (rung, part) in shares.iter().enumerate() {
        assert_eq!(usize::from(part.rung), rung);
        assert_eq!(
            (part.segment, part.index, part.last),
            (shares[0].segment, shares[0].index, shares[0].last)
        );
        assert_eq!(
            part.independent,
            part.index == 0 || rung == 0,
            "the cheapest rung can be begun at every part, the others at a segment"
        );
        assert_eq!(
            (part.start, part.duration),
            (shares[0].start, shares[0].duration)
        );
        assert_eq!(times(part), first_times);
        assert_eq!(sound(part), first_sound);

        let tracks = boxes::fragment(&part.media);
        assert_eq!(
            tracks.iter().map(|track| track.id).collect::<Vec<_>>(),
            [1, 2]
        );
        let (video, audio) = (&tracks[0], &tracks[1]);
        assert_eq!(
            video.tfdt as i64,
            part.start.to_ticks(90_000),
            "tfdt is the first picture's time"
        );
        assert!(
            video.samples.iter().all(|sample| sample.offset == 0),
            "shown in the order in which they are decoded"
        );
        let ticks: i64 = video
            .samples
            .iter()
            .map(|sample| i64::from(sample.duration))
            .sum();
        assert_eq!(MediaTime::from_ticks(ticks, 90_000), part.duration);
        for (number, sample) in video.samples.iter().enumerate() {
            assert_eq!(
                sample.sync,
                part.independent && number == 0,
                "IDR pictures where that is said, and nowhere else"
            );
        }
        assert!(audio.samples.iter().all(|sample| sample.duration == 1024));
        let start = part.start.to_ticks(48_000);
        let late = audio.tfdt as i64 - start;
        assert!(
            (0..1024).contains(&late),
            "sound begins {late} samples after its part"
        );
    }
}

/// Whole segments are as long as promised, to a millisecond, and within their rung's bandwidth.
fn check_segments(run: &Run, rungs: usize) {
    let hello = run.hello.as_ref().expect("a hello");
    let last = run.parts.last().expect("a part").segment;
    for rung in 0..rungs {
        for segment in 0..=last {
            let parts = run
                .parts
                .iter()
                .filter(|part| usize::from(part.rung) == rung && part.segment == segment);
            let parts: Vec<_> = parts.collect();
            assert_eq!(parts.iter().filter(|part| part.last).count(), 1);
            assert!(
                parts
                    .iter()
                    .enumerate()
                    .all(|(index, part)| usize::from(part.index) == index)
            );
            let length: MediaTime = parts.iter().map(|part| part.duration).sum();
            if segment < last {
                assert!((length - hello.segment).seconds().abs() < 0.001);
                assert!(
                    parts[..parts.len() - 1]
                        .iter()
                        .all(|part| part.duration == hello.part)
                );
                let octets: u64 = parts.iter().map(|part| part.media.len() as u64).sum();
                let rate = playlists::Bitrate::of(octets, length.duration());
                let promised = hello.ladder.rungs()[rung].bandwidth;
                assert!(
                    rate <= promised,
                    "rung {rung} segment {segment}: {rate} is more than {promised}"
                );
            }
        }
    }
    assert!(
        run.parts
            .iter()
            .map(|part| &part.media)
            .collect::<HashSet<_>>()
            .len()
            == run.parts.len()
    );
}

/// The first unsigned Exp-Golomb value (ITU-T H.264, 9.1).
fn exp_golomb(octets: &[u8]) -> u32 {
    let bits: Vec<u32> = octets
        .iter()
        .take(8)
        .flat_map(|octet| (0..8).rev().map(move |bit| u32::from(octet >> bit & 1)))
        .collect();
    let zeros = bits.iter().take_while(|bit| **bit == 0).count();
    bits[zeros..=2 * zeros]
        .iter()
        .fold(0, |value, bit| value << 1 | bit)
        - 1
}
