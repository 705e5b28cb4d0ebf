//! Inputs that stall, fail, end and come back: whoever watches sees somebody else meanwhile, on one timeline.

mod support;

use segmenter::wire::{Alert, InputState, OnAir};
use support::{
    Run, boxes, clip, decode,
    feed::{Feed, Mood},
    judge::check,
    live::Live,
};

const SMALL: [&str; 10] = [
    "--rung",
    "320x180@200",
    "--rung",
    "192x108@90",
    "--preset",
    "ultrafast",
    "--stall-seconds",
    "0.6",
    "--part-seconds",
    "0.32",
];

#[test]
fn an_input_that_stalls_and_fails_is_covered_by_the_slate_without_a_break() {
    let slate = image("green");
    let main = Feed::of("red", 440, Mood::Sending);
    let arguments = [&main.url, "--slate", &slate, "--grace-seconds", "4"];
    let mut live = Live::start(&[&SMALL[..], &arguments].concat());
    let health = live.until("live", |health| {
        health.main.state == InputState::Live && health.main.fps > 15.0
    });
    assert!(health.alerts.is_empty(), "{health:?}");
    assert!((50.0..1200.0).contains(&health.main.kbps), "{health:?}");

    main.is(Mood::Silent);
    let health = live.until("on the slate", |health| health.on_air == OnAir::Slate);
    assert_eq!(health.alerts, [Alert::InputStalled, Alert::OnSlate]);
    live.parts(12);
    main.is(Mood::Sending);
    live.until("back", |health| health.on_air == OnAir::Main);
    live.parts(12);

    main.is(Mood::Gone);
    let lost = live.until("on the slate again", |health| health.on_air == OnAir::Slate);
    assert!(
        lost.alerts.contains(&Alert::InputLost) || lost.main.state == InputState::Ended,
        "{lost:?}"
    );
    let run = live.end();
    check(&run);
    let seen = colours(&run);
    assert_eq!(seen, ["red", "green", "red", "green"], "{}", run.stderr);
    speaks_on_time(&run);
}

#[test]
fn what_is_passed_on_is_covered_too_and_goes_on_with_a_key_frame_of_the_input() {
    let slate = image("green");
    let main = Feed::of("red", 440, Mood::Sending);
    let arguments = [&main.url, "--slate", &slate, "--passthrough", "top"];
    let mut live = Live::start(&[&SMALL[..], &arguments, &["--grace-seconds", "2"]].concat());
    live.parts(24);
    main.is(Mood::Silent);
    live.until("on the slate", |health| health.on_air == OnAir::Slate);
    live.parts(24);
    main.is(Mood::Sending);
    live.until("back", |health| health.on_air == OnAir::Main);
    live.parts(40);
    main.is(Mood::Gone);
    let run = live.end();
    assert!(run.success, "{}", run.stderr);
    let rungs = run.hello.as_ref().map_or(0, |hello| hello.shares());
    let names = |run: &Run| {
        run.hello
            .as_ref()
            .map(|hello| hello.ladder.top().name.to_string())
    };
    assert_eq!(names(&run).as_deref(), Some("source"));

    // Whatever stood in for what, pictures have no hole, and every segment begins with a key frame.
    let picture = 90_000 / 25;
    let of = |rung: usize| {
        run.parts
            .iter()
            .filter(move |part| usize::from(part.rung) == rung)
    };
    let mut end = None;
    for part in of(rungs - 1) {
        let track = &boxes::fragment(&part.media)[0];
        let late = end.map_or(0, |end| track.tfdt.abs_diff(end));
        assert!(
            late <= picture,
            "a hole of {late} ticks before {} {}",
            part.segment,
            part.index
        );
        assert!(part.index > 0 || track.samples[0].sync);
        let long = track
            .samples
            .iter()
            .map(|sample| u64::from(sample.duration));
        end = Some(track.tfdt + long.sum::<u64>());
    }
    // It was passed on before and after, and not meanwhile.
    let passed = of(rungs - 1).zip(of(rungs - 2));
    let mut passed: Vec<bool> = passed
        .map(|(top, below)| top.media != below.media)
        .collect();
    passed.dedup();
    assert!(
        passed.len() >= 3 && passed[..3] == [true, false, true],
        "{passed:?}"
    );
    let seen = colours(&run);
    assert_eq!(seen[..3], ["red", "green", "red"], "{}", run.stderr);
}

#[test]
fn a_backup_takes_over_and_gives_the_air_back() {
    let (main, backup) = (
        Feed::of("red", 440, Mood::Sending),
        Feed::of("blue", 880, Mood::Sending),
    );
    let arguments = [&main.url, "--backup", &backup.url, "--slate", "black"];
    let arguments = [&SMALL[..], &arguments, &["--grace-seconds", "1"]].concat();
    let mut live = Live::start(&arguments);
    let both = |health: &segmenter::wire::Health| {
        let backup = health.backup.as_ref().map(|backup| backup.state);
        health.main.state == InputState::Live && backup == Some(InputState::Live)
    };
    live.until("both are there", both);
    main.is(Mood::Gone);
    let health = live.until("on the backup", |health| health.on_air == OnAir::Backup);
    assert!(health.alerts.contains(&Alert::OnBackup), "{health:?}");
    live.parts(8);
    main.is(Mood::Sending);
    live.until("back", |health| health.on_air == OnAir::Main);
    live.parts(8);
    backup.is(Mood::Gone);
    live.until("the backup is missed", |health| {
        health.alerts.contains(&Alert::BackupLost)
    });
    main.is(Mood::Gone);
    let run = live.end();
    check(&run);
    let seen = colours(&run);
    assert_eq!(seen[..3], ["red", "blue", "red"], "{}", run.stderr);
    speaks_on_time(&run);
}

#[test]
fn a_run_begins_with_the_slate_when_nobody_is_there_and_goes_over_to_the_input_that_comes() {
    let clip = clip(
        "slate-clip.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            "color=green:size=160x120:rate=25:duration=0.6",
            "-c:v",
            "libx264",
        ],
    );
    let main = Feed::of("red", 440, Mood::Gone);
    let arguments = [&main.url, "--slate", &clip, "--grace-seconds", "0"];
    let mut live = Live::start(&[&SMALL[..], &arguments].concat());
    live.until("on the slate", |health| health.on_air == OnAir::Slate);
    live.parts(8);
    main.is(Mood::Sending);
    live.until("the input is there", |health| health.on_air == OnAir::Main);
    live.parts(8);
    main.is(Mood::Gone);
    let run = live.end();
    check(&run);
    let top = run.hello.as_ref().map(|hello| hello.ladder.top().clone());
    assert_eq!(top.map(|top| (top.width, top.height)), Some((320, 180)));
    assert_eq!(colours(&run), ["green", "red"], "{}", run.stderr);
}

#[test]
fn a_run_that_begins_without_its_input_makes_what_the_run_before_it_made() {
    // High definition's colours in a small picture, two tracks, a rate of its own: nothing that could be guessed.
    let before = clip(
        "before.mkv",
        &[
            "-f",
            "lavfi",
            "-i",
            "color=red:size=480x300:rate=24:duration=1",
            "-f",
            "lavfi",
            "-i",
            "sine=duration=1",
            "-f",
            "lavfi",
            "-i",
            "sine=duration=1",
            "-map",
            "0",
            "-map",
            "1",
            "-map",
            "2",
            "-c:v",
            "libx264",
            "-colorspace",
            "bt709",
            "-c:a",
            "aac",
        ],
    );
    let first = support::segment(&[&before, "--preset", "ultrafast"]);
    let hello = first.hello.as_ref().expect("a hello");
    let like = format!("--like={}", hello.likeness);
    let nobody = Feed::of("red", 440, Mood::Gone);
    let arguments = [
        &nobody.url,
        "--slate",
        "black",
        "--preset",
        "ultrafast",
        &like,
    ];
    let mut live = Live::start(&arguments);
    live.until("on the slate", |health| health.on_air == OnAir::Slate);
    let second = live.leave();
    let again = second.hello.as_ref().expect("a hello");
    assert_eq!(
        (&again.ladder, again.segment, again.part),
        (&hello.ladder, hello.segment, hello.part)
    );
    assert_eq!(again.renditions, hello.renditions);
    assert_eq!((&second.init, &second.inits), (&first.init, &first.inits));
}

#[test]
fn a_slate_that_cannot_be_shown_is_refused_before_anything_is_on_the_air() {
    for (arguments, says) in [
        (["--slate", "/nowhere/slate.png"], "--slate"),
        (["--backup", "/nowhere/backup.mp4"], "--backup"),
    ] {
        let run = support::segment(&[&["test"], &arguments[..]].concat());
        let end = run.end.expect("a last word");
        assert!(end.fatal && !run.success);
        let why = end.error.expect("a reason");
        assert!(why.contains(says) && why.contains("/nowhere"), "{why}");
    }
}

#[test]
fn a_file_that_is_over_is_the_end_of_the_programme_slate_or_not() {
    let path = clip(
        "over.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            "color=red:size=320x180:rate=25:duration=2",
            "-c:v",
            "libx264",
        ],
    );
    let run = support::segment(&[&SMALL[..], &[&path, "--slate", "black"]].concat());
    check(&run);
    assert_eq!(colours(&run), ["red"]);
}

fn image(colour: &str) -> String {
    let picture = format!("color={colour}:size=320x180:rate=1:duration=1");
    clip(
        &format!("{colour}.png"),
        &["-f", "lavfi", "-i", &picture, "-frames:v", "1"],
    )
}

/// Which colours were shown one after another, as the top rung has it; no picture is missing or damaged.
fn colours(run: &Run) -> Vec<&'static str> {
    let ladder = &run.hello.as_ref().expect("a hello").ladder;
    let (top, rate) = (ladder.rungs().len() - 1, ladder.top().frame_rate);
    let arguments = [
        "-vf",
        "crop=8:8:156:86,scale=1:1",
        "-pix_fmt",
        "rgb24",
        "-f",
        "rawvideo",
        "-an",
        "-",
    ];
    let pictures = decode(
        &format!("colours-{}.mp4", name()),
        &run.file(top as u8),
        &arguments,
    );
    let expected: u32 = run
        .parts
        .iter()
        .filter(|part| usize::from(part.rung) == top)
        .map(|part| (part.duration.seconds() * rate).round() as u32)
        .sum();
    assert_eq!(pictures.len() as u32 / 3, expected, "pictures in all");
    let mut seen = Vec::new();
    for rgb in pictures.chunks_exact(3) {
        let colour = match rgb {
            [150..=255, ..60, ..60] => "red",
            [..60, 60..=255, ..60] => "green",
            [..60, ..60, 150..=255] => "blue",
            _ => continue,
        };
        if seen.last() != Some(&colour) {
            seen.push(colour);
        }
    }
    seen
}

/// What is made is in step with the clock, whoever was on the air: neither early nor late by more than the start cost.
fn speaks_on_time(run: &Run) {
    let last = run.healths.last().expect("a report");
    assert!(last.lead_ms.abs() < 2500, "{last:?}");
}

/// Of the test that runs.
fn name() -> String {
    let thread = std::thread::current();
    thread.name().unwrap_or("test").replace("::", "-")
}
