//! What leaves the segmenter, checked box by box and by decoding it: every rule that players hold a ladder to.

mod support;

use std::{
    collections::HashSet,
    io::{Read, Write},
    path::Path,
};

use bytes::Bytes;
use playlists::MediaTime;
use segmenter::wire::Part;
use support::{Run, boxes, clip, decode, segment};

#[test]
fn the_programme_is_an_aligned_ladder_of_four() {
    let run = segment(&["test", "--duration", "6.5"]);
    check(&run);
    let ladder = run.hello.as_ref().unwrap().ladder.rungs().to_vec();
    assert_eq!(
        ladder
            .iter()
            .map(|rung| rung.name.as_str())
            .collect::<Vec<_>>(),
        ["240p", "360p", "480p", "720p"]
    );
    let top = run.parts.iter().filter(|part| part.rung == 3);
    assert_eq!(
        top.map(|part| part.duration).sum::<MediaTime>(),
        MediaTime::from_seconds(6.5)
    );
}

#[test]
fn rungs_switched_at_random_decode_without_a_complaint() {
    let run = segment(&[
        "test",
        "--duration",
        "8",
        "--rung",
        "320x180@200",
        "--rung",
        "480x270@400",
        "--rung",
        "640x360@700",
    ]);
    for turn in 0..3_u64 {
        let mut media = run.init.to_vec();
        for part in &run.parts {
            // Some order in which every switch between rungs comes up sooner or later.
            if u64::from(part.rung) == (part.segment * 2 + part.segment / 2 + turn) % 3 {
                media.extend_from_slice(&part.media);
            }
        }
        // One octet per picture that was decoded.
        let pictures = decode(
            "switched.mp4",
            &media,
            &[
                "-vf",
                "scale=1:1",
                "-pix_fmt",
                "gray",
                "-f",
                "rawvideo",
                "-an",
                "-",
            ],
        );
        assert_eq!(pictures.len(), 240);
        let sound = decode(
            "switched-sound.mp4",
            &media,
            &["-ac", "1", "-f", "s16le", "-vn", "-"],
        );
        assert_eq!(sound.len() / 2, 240 * 1600);
    }
}

#[test]
fn inputs_of_every_kind_become_the_same_kind_of_ladder() {
    let picture = |size: &str, rate: &str, seconds: u32| {
        format!("testsrc2=size={size}:rate={rate}:duration={seconds}")
    };
    let (pal, slow, film) = (
        picture("640x360", "25", 5),
        picture("768x432", "10", 5),
        picture("480x270", "24000/1001", 6),
    );
    let (fast, upright) = (
        picture("854x480", "60000/1001", 3),
        picture("360x640", "30", 3),
    );
    let tone = "sine=frequency=440:sample_rate=44100:duration=5";
    let b_frames = clip(
        "b-frames.mp4",
        &[
            "-f", "lavfi", "-i", &pal, "-f", "lavfi", "-i", tone, "-c:v", "libx264", "-bf", "3",
            "-ac", "1", "-c:a", "aac",
        ],
    );
    let silent = clip(
        "silent.mp4",
        &["-f", "lavfi", "-i", &slow, "-c:v", "libx264"],
    );
    let film = clip(
        "film.mkv",
        &[
            "-f", "lavfi", "-i", &film, "-f", "lavfi", "-i", tone, "-c:v", "libx264", "-c:a",
            "libopus",
        ],
    );
    let fast = clip(
        "fast.ts",
        &[
            "-f",
            "lavfi",
            "-i",
            &fast,
            "-f",
            "lavfi",
            "-i",
            tone,
            "-shortest",
            "-c:v",
            "mpeg2video",
            "-c:a",
            "mp2",
        ],
    );
    let upright = clip(
        "upright.webm",
        &[
            "-f",
            "lavfi",
            "-i",
            &upright,
            "-c:v",
            "libvpx",
            "-deadline",
            "realtime",
            "-b:v",
            "1M",
        ],
    );

    for (name, rate, seconds, size) in [
        (&b_frames, 25.0, 5.0, (640, 360)),
        (&silent, 10.0, 5.0, (640, 360)),
        (&film, 24.0, 6.0, (426, 240)),
        (&fast, 30.0, 3.0, (854, 480)),
        (&upright, 30.0, 3.0, (360, 640)),
    ] {
        let run = segment(&[name]);
        check(&run);
        let hello = run.hello.as_ref().unwrap();
        let top = hello.ladder.top();
        assert!(
            (top.frame_rate - rate).abs() < 1e-9,
            "{name}: {}",
            top.frame_rate
        );
        assert_eq!((top.width, top.height), size, "{name}");
        assert!(hello.ladder.rungs().len() >= 3, "{name}");
        let length: MediaTime = run
            .parts
            .iter()
            .filter(|part| part.rung == 0)
            .map(|part| part.duration)
            .sum();
        assert!(
            (length.seconds() - seconds).abs() < 0.1,
            "{name}: {length} s"
        );
        assert_eq!(
            run.stderr.contains("no sound"),
            name.contains("silent") || name.contains("upright"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn clips_from_elsewhere_become_ladders() {
    let Some(data) = std::env::var_os("SPILLWAY_DATA") else {
        println!("SPILLWAY_DATA is not set: ran without its clips");
        return;
    };
    let clips = std::fs::read_dir(Path::new(&data).join("media"))
        .expect("SPILLWAY_DATA has a folder named media");
    for clip in clips.map(|entry| entry.unwrap().path()) {
        if clip
            .extension()
            .is_some_and(|extension| extension == "mp4" || extension == "webm")
        {
            println!("{}", clip.display());
            check(&segment(&[clip.to_str().unwrap(), "--duration", "8"]));
        }
    }
}

#[test]
fn a_file_goes_round_on_an_unbroken_timeline() {
    let picture = "testsrc2=size=426x240:rate=25:duration=1.5";
    let tone = "sine=frequency=440:sample_rate=48000:duration=1.5";
    let short = clip(
        "short.mp4",
        &[
            "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, "-c:v", "libx264", "-c:a",
            "aac",
        ],
    );
    let run = segment(&[&short, "--loop", "--duration", "10"]);
    check(&run);
    let length: MediaTime = run
        .parts
        .iter()
        .filter(|part| part.rung == 0)
        .map(|part| part.duration)
        .sum();
    assert_eq!(length, MediaTime::from_seconds(10.0));
}

#[test]
fn a_restarted_run_goes_on_where_the_last_one_ended() {
    let first = segment(&["test", "--duration", "3", "--rung", "320x180@200"]);
    let end = first
        .parts
        .last()
        .map(|part| part.start + part.duration)
        .unwrap();
    let second = segment(&[
        "test",
        "--duration",
        "3",
        "--rung",
        "320x180@200",
        "--origin-time",
        &end.flicks().to_string(),
    ]);
    check(&second);
    assert_eq!(second.parts[0].start, end);
    let [before, after] = [first.parts.last(), second.parts.first()]
        .map(|part| boxes::fragment(&part.unwrap().media));
    let duration: u64 = before[0]
        .samples
        .iter()
        .map(|sample| u64::from(sample.duration))
        .sum();
    assert_eq!(before[0].tfdt + duration, after[0].tfdt);
    assert!(before[1].tfdt < after[1].tfdt);
}

#[test]
fn a_flash_and_its_beep_stay_together() {
    let flash = "color=black:size=320x180:rate=25:duration=6,drawbox=color=white:t=fill:enable='lt(mod(t\\,1)\\,0.2)'";
    let beep =
        "aevalsrc=exprs='0.8*sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.2)':sample_rate=44100:duration=6";
    let sources = [
        "-f", "lavfi", "-i", flash, "-f", "lavfi", "-i", beep, "-c:v", "libx264", "-bf", "2",
    ];
    for (name, codecs) in [
        ("sync.mp4", &["-c:a", "aac"][..]),
        ("sync.flv", &["-c:a", "aac"]),
        ("sync.ts", &["-c:a", "mp2"]),
    ] {
        let clip = clip(name, &[&sources, codecs].concat());
        let run = segment(&[&clip, "--rung", "320x180@300"]);
        check(&run);
        let media = [&run.init[..]]
            .into_iter()
            .chain(run.parts.iter().map(|part| &part.media[..]))
            .collect::<Vec<_>>()
            .concat();
        let pictures = decode(
            &format!("{name}-v.mp4"),
            &media,
            &[
                "-vf",
                "scale=1:1",
                "-pix_fmt",
                "gray",
                "-f",
                "rawvideo",
                "-an",
                "-",
            ],
        );
        let sound = decode(
            &format!("{name}-a.mp4"),
            &media,
            &["-ac", "1", "-f", "s16le", "-vn", "-"],
        );
        let loud: Vec<_> = sound
            .chunks_exact(2)
            .map(|octets| i16::from_le_bytes([octets[0], octets[1]]).unsigned_abs() > 8000)
            .collect();

        // The flash of each second but the first, and the first loud sample near it.
        let flashes =
            (1..pictures.len()).filter(|at| pictures[*at] > 128 && pictures[*at - 1] <= 128);
        let offsets = flashes.map(|at| {
            let flash = at * 1920;
            let beep = (flash.saturating_sub(9600)..)
                .find(|sample| loud[*sample])
                .unwrap();
            (beep as f64 - flash as f64) / 48.0
        });
        let offsets: Vec<_> = offsets.collect();
        assert!(offsets.len() >= 5, "{name}: {offsets:?}");
        assert!(
            offsets.iter().all(|millis| millis.abs() < 25.0),
            "{name}: {offsets:?} ms"
        );
    }
}

#[test]
fn what_cannot_be_played_is_one_clear_line_and_fatal() {
    let sound = clip(
        "sound.m4a",
        &["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"],
    );
    let garbage = clip(
        "garbage.m4a",
        &["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"],
    );
    std::fs::write(&garbage, [0x5a; 4096]).unwrap();
    for (arguments, says) in [
        (&["/nowhere/at-all.mp4"][..], "no such file"),
        (&[&garbage], "not in any format"),
        (&[&sound], "has no video stream; it carries audio (aac)"),
        (&["lavfi:nonsense"], "nonsense"),
        (&["nonsense://host/path"], "protocol not found"),
        (&["test", "--fps", "7"], "--fps"),
        (&["test", "--rung", "big"], "'big' for '--rung"),
    ] {
        let run = segment(arguments);
        assert!(!run.success);
        let told = run
            .stderr
            .lines()
            .filter(|line| line.to_lowercase().contains("error"));
        assert_eq!(told.count(), 1, "{}", run.stderr);
        let end = run.end.unwrap();
        assert!(end.fatal, "{arguments:?}");
        let why = end.error.unwrap();
        assert!(why.contains(says), "{why}");
        assert!(
            run.stderr.contains(&why),
            "{} says nothing of {why}",
            run.stderr
        );
    }
}

#[test]
fn an_address_where_nobody_answers_may_be_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/live.ts", listener.local_addr().unwrap());
    // Accepts, by its backlog, and never says a word.
    let silent = segment(&[&address, "--timeout", "1"]);
    assert!(
        silent
            .end
            .as_ref()
            .unwrap()
            .error
            .as_ref()
            .unwrap()
            .contains("said nothing for 1 s"),
        "{silent:?}"
    );
    assert!(!silent.end.unwrap().fatal && !silent.success);
    drop(listener);
    let refused = segment(&[&address]);
    assert!(
        refused
            .end
            .as_ref()
            .unwrap()
            .error
            .as_ref()
            .unwrap()
            .contains("refused"),
        "{refused:?}"
    );
    assert!(!refused.end.unwrap().fatal && !refused.success);
}

#[test]
fn a_feed_that_falls_silent_loses_nothing_that_came() {
    let picture = "testsrc2=size=320x180:rate=25:duration=5";
    let clip = clip(
        "feed.ts",
        &["-f", "lavfi", "-i", picture, "-c:v", "libx264", "-g", "25"],
    );
    let media = std::fs::read(clip).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/live.ts", listener.local_addr().unwrap());
    let feed = std::thread::spawn(move || {
        let (mut viewer, _) = listener.accept().unwrap();
        viewer.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        viewer.write_all(&media).unwrap();
        viewer // stays open, and silent
    });
    let run = segment(&[&address, "--timeout", "2", "--rung", "320x180@200"]);
    drop(feed.join().unwrap());
    let end = run.end.as_ref().unwrap();
    assert!(
        end.error.as_ref().unwrap().contains("said nothing for 2 s") && !end.fatal,
        "{end:?}"
    );
    let length: MediaTime = run.parts.iter().map(|part| part.duration).sum();
    assert!(length.seconds() > 4.5, "{length} s");
    assert!(run.parts.last().unwrap().last);
}

#[test]
fn damage_is_left_out_and_the_rest_goes_on() {
    let picture = "testsrc2=size=320x180:rate=25:duration=6";
    let clip = clip(
        "damaged.ts",
        &[
            "-f",
            "lavfi",
            "-i",
            picture,
            "-f",
            "lavfi",
            "-i",
            "sine=duration=6",
            "-c:v",
            "libx264",
            "-g",
            "25",
        ],
    );
    let mut media = std::fs::read(&clip).unwrap();
    let middle = media.len() / 2;
    for (number, octet) in media[middle..middle + 20_000].iter_mut().enumerate() {
        *octet ^= (number * 7 % 251) as u8;
    }
    std::fs::write(&clip, media).unwrap();
    let run = segment(&[&clip, "--rung", "320x180@200"]);
    check(&run);
    let length: MediaTime = run.parts.iter().map(|part| part.duration).sum();
    assert!(length.seconds() > 5.5, "{length} s");
}

#[test]
fn turned_interlaced_and_changing_pictures_all_fit_the_ladder() {
    let encoded = clip(
        "lying.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=640x360:rate=30:duration=2",
            "-c:v",
            "libx264",
        ],
    );
    let turned = clip(
        "turned.mp4",
        &["-i", &encoded, "-c", "copy", "-metadata:s:v", "rotate=90"],
    );
    let fields = "testsrc2=size=720x576:rate=50:duration=3,interlace,setsar=16/11";
    let interlaced = clip(
        "interlaced.ts",
        &[
            "-f",
            "lavfi",
            "-i",
            fields,
            "-c:v",
            "mpeg2video",
            "-flags",
            "+ildct+ilme",
            "-b:v",
            "4M",
        ],
    );
    let wide = clip(
        "wide.ts",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=640x360:rate=25:duration=3",
            "-c:v",
            "libx264",
        ],
    );
    let narrow = clip(
        "narrow.ts",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x240:rate=25:duration=3",
            "-c:v",
            "libx264",
        ],
    );
    let changing = clip(
        "changing.ts",
        &[
            "-f",
            "lavfi",
            "-i",
            "color=size=64x64:duration=0.1",
            "-c:v",
            "libx264",
        ],
    );
    std::fs::write(
        &changing,
        [std::fs::read(wide).unwrap(), std::fs::read(narrow).unwrap()].concat(),
    )
    .unwrap();

    for (name, size, seconds) in [
        (&turned, (360, 640), 2.0),
        (&interlaced, (854, 480), 3.0),
        (&changing, (640, 360), 6.0),
    ] {
        let run = segment(&[name]);
        check(&run);
        let top = run.hello.as_ref().unwrap().ladder.top();
        assert_eq!((top.width, top.height), size, "{name}");
        let length: MediaTime = run
            .parts
            .iter()
            .filter(|part| part.rung == 0)
            .map(|part| part.duration)
            .sum();
        assert!(
            (length.seconds() - seconds).abs() < 0.2,
            "{name}: {length} s"
        );
    }
}

#[test]
fn the_segmenter_leaves_quietly_when_its_reader_does() {
    let mut segmenter = std::process::Command::new(env!("CARGO_BIN_EXE_segmenter"))
        .args(["test", "--pace", "off", "--rung", "320x180@200"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 1000];
    segmenter
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut some)
        .unwrap(); // and closes it
    let output = segmenter.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(!String::from_utf8(output.stderr).unwrap().contains("ERROR"));
}

/// Holds a run to every rule that does not depend on its input.
fn check(run: &Run) {
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
            .collect::<HashSet<&Bytes>>()
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
