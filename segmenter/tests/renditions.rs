//! What is made beside the rungs: further sound and subtitles, cut where the rungs are cut.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use playlists::{MediaTime, rendition::Kind};
use support::{Run, boxes, clip, decode, segment};

const RUNGS: &[&str] = &["--rung", "320x180@200", "--rung", "640x360@500"];

/// Two languages, one of them an octave up, and two cues.
fn bilingual(name: &str) -> String {
    let subtitles = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.srt"));
    let text = "1\n00:00:01,000 --> 00:00:03,000\n<i>Over</i> the {\\an8}edge & on\n\n2\n00:00:04,500 --> 00:00:05,000\nSecond\n";
    std::fs::write(&subtitles, text).unwrap();
    let subtitles = subtitles.to_str().unwrap();
    clip(
        &format!("{name}.mkv"),
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=640x360:rate=30:duration=6.4",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000:duration=6.4",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=880:sample_rate=44100:duration=6.4",
            "-i",
            subtitles,
            "-map",
            "0",
            "-map",
            "1",
            "-map",
            "2",
            "-map",
            "3",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-c:a",
            "aac",
            "-c:s",
            "srt",
            "-metadata:s:a:0",
            "language=eng",
            "-metadata:s:a:1",
            "language=ger",
            "-metadata:s:a:1",
            "title=Kommentar",
            "-metadata:s:s:0",
            "language=fre",
        ],
    )
}

fn shares(run: &Run, rung: usize) -> impl Iterator<Item = &segmenter::wire::Part> {
    run.parts
        .iter()
        .filter(move |part| usize::from(part.rung) == rung)
}

#[test]
fn a_second_language_is_a_rendition_cut_where_the_rungs_are() {
    let run = segment(&[&[bilingual("bilingual-cut").as_str()], RUNGS].concat());
    let hello = run.hello.as_ref().unwrap();
    let renditions = &hello.renditions;
    assert_eq!(renditions.main.language.as_deref(), Some("en"));
    let said: Vec<_> = renditions
        .others
        .iter()
        .map(|one| (one.kind, one.name.as_str(), one.track.label.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            (Kind::Audio, "audio-1-en", "en"),
            (Kind::Audio, "audio-2-de", "Kommentar"),
            (Kind::Subtitles, "subtitles-1-fr", "fr"),
        ]
    );
    assert!(renditions.apart() && renditions.others[0].default);
    assert_eq!(run.inits.len(), 3);
    assert_eq!(
        boxes::init(&run.init).timescales,
        [90_000],
        "pictures alone"
    );
    assert_eq!(boxes::init(&run.inits[1]).timescales, [48_000]);
    assert!(run.inits[2].is_empty());

    let lead: Vec<_> = shares(&run, 0).collect();
    let (english, sound): (Vec<_>, Vec<_>) = (shares(&run, 2).collect(), shares(&run, 3).collect());
    assert_eq!(lead.len(), sound.len());
    let mut next = None;
    for ((lead, english), sound) in lead.iter().zip(english).zip(&sound) {
        assert_eq!(
            (lead.segment, lead.index, lead.last),
            (sound.segment, sound.index, sound.last)
        );
        assert_eq!((lead.start, lead.duration), (sound.start, sound.duration));
        let fragment = &boxes::fragment(&sound.media)[0];
        // The same samples as the main sound, to the frame; and none among the pictures.
        assert_eq!(boxes::fragment(&lead.media).len(), 1);
        let main = &boxes::fragment(&english.media)[0];
        assert_eq!(
            (fragment.tfdt, fragment.samples.len()),
            (main.tfdt, main.samples.len())
        );
        assert!(next.is_none_or(|next| next == fragment.tfdt));
        next = Some(fragment.tfdt + 1024 * fragment.samples.len() as u64);
    }
    let mut media = run.inits[1].to_vec();
    sound
        .iter()
        .for_each(|part| media.extend_from_slice(&part.media));
    let samples = decode("german.mp4", &media, &["-ac", "1", "-f", "s16le", "-"]);
    let samples: Vec<_> = samples
        .chunks_exact(2)
        .map(|octets| i16::from_le_bytes([octets[0], octets[1]]))
        .collect();
    // 880 Hz crosses zero upwards 880 times a second.
    let second = &samples[48_000..96_000];
    let crossings = second.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0);
    assert!((879..=881).contains(&crossings.count()));
}

#[test]
fn subtitles_are_a_file_for_each_segment() {
    let run = segment(&[&[bilingual("bilingual-files").as_str()], RUNGS].concat());
    let segment_length = run.hello.as_ref().unwrap().segment;
    assert_eq!(segment_length, MediaTime::from_ticks(64, 30));
    let texts: Vec<_> = shares(&run, 4).collect();
    assert!(texts.iter().all(|part| part.last != part.media.is_empty()));
    let files: Vec<_> = texts
        .iter()
        .filter(|part| part.last)
        .map(|part| std::str::from_utf8(&part.media).unwrap())
        .collect();
    assert_eq!(files.len(), 3);
    let first = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\n00:00:01.000 --> 00:00:03.000\n<i>Over</i> the edge &amp; on\n";
    assert_eq!(files[0], first);
    assert!(
        files[1].contains("Over") && !files[1].contains("Second"),
        "{}",
        files[1]
    );
    assert!(
        files[2].contains("Second") && !files[2].contains("Over"),
        "{}",
        files[2]
    );
}

#[test]
fn a_language_that_falls_silent_holds_nobody_up() {
    let clip = clip(
        "half-silent.mkv",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=30:duration=8",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000:duration=8",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=880:sample_rate=48000:duration=2",
            "-map",
            "0",
            "-map",
            "1",
            "-map",
            "2",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-c:a",
            "aac",
        ],
    );
    let run = segment(&[clip.as_str(), "--rung", "320x180@200"]);
    let length = |rung| {
        shares(&run, rung)
            .map(|part| part.duration)
            .sum::<MediaTime>()
    };
    assert_eq!(length(0), MediaTime::from_seconds(8.0));
    assert_eq!(length(1), length(0));
    assert!(run.success, "{}", run.stderr);
}

#[test]
fn main_sound_alone_is_what_the_rungs_carry() {
    let arguments = ["--audio-tracks", "1", "--audio-rung"];
    let clip = bilingual("alone");
    let run = segment(&[&[clip.as_str()], &arguments[..], RUNGS].concat());
    let hello = run.hello.as_ref().unwrap();
    let (alone, takes) = hello.renditions.alone().unwrap();
    assert_eq!(alone.name.as_str(), "audio");
    assert!(alone.is_only_alone() && !hello.renditions.apart());
    let place = hello.ladder.rungs().len() + hello.renditions.index("audio").unwrap();
    assert_eq!(boxes::init(&run.inits[0]).timescales, [48_000]);
    let (mut octets, mut seconds) = (0, 0.0);
    for (rung, sound) in shares(&run, 0).zip(shares(&run, place)) {
        let (rung, sound) = (
            boxes::fragment(&rung.media),
            (sound, boxes::fragment(&sound.media)),
        );
        let carried = rung
            .iter()
            .find(|track| track.samples.len() == sound.1[0].samples.len());
        assert_eq!(carried.unwrap().tfdt, sound.1[0].tfdt);
        octets += sound.0.media.len();
        seconds += sound.0.duration.seconds();
    }
    let kbps = octets as f64 * 8.0 / seconds / 1000.0;
    assert!(kbps < takes.bandwidth.kbps() as f64, "{kbps} kbit/s");
    // Of several sounds the main one is a rendition already.
    let run = segment(&[&[bilingual("alone-of-two").as_str(), "--audio-rung"], RUNGS].concat());
    let renditions = &run.hello.as_ref().unwrap().renditions;
    let sounds = renditions
        .others
        .iter()
        .filter(|one| one.kind == Kind::Audio);
    assert_eq!(sounds.count(), 2);
    assert_eq!(renditions.alone().unwrap().0.name.as_str(), "audio-1-en");
}

#[test]
fn one_track_of_sound_is_enough_for_whoever_says_so() {
    let run = segment(
        &[
            &[bilingual("bilingual-one").as_str(), "--audio-tracks", "1"],
            RUNGS,
        ]
        .concat(),
    );
    let others = &run.hello.as_ref().unwrap().renditions.others;
    assert!(others.iter().all(|one| one.kind == Kind::Subtitles));
}
