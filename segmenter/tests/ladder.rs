//! What leaves the segmenter, checked box by box and by decoding it: every rule that players hold a ladder to.

mod support;

use std::{
    io::{Read, Write},
    path::Path,
};

use playlists::MediaTime;
use support::{boxes, brightness, clip, decode, judge::check, segment};

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
        let pictures = brightness("switched.mp4", &media);
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
