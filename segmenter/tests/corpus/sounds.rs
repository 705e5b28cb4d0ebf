//! Sound of every kind, and where it is missing, late, too long or too slow.

use super::{H264, PICTURE, TONE, is, odd, played, seconds};
use crate::support::{Run, clip, decode};

#[test]
fn kinds() {
    let codec = |codec: &str| format!("-c:v libx264 -preset ultrafast {codec}");
    for (name, sound, options) in [
        ("mono.mp4", TONE, codec("-ac 1 -c:a aac")),
        ("a44.mp4", "sine=sample_rate=44100", codec("-c:a aac")),
        ("a8.flv", "sine=sample_rate=11025", codec("-c:a mp3")),
        ("a96.mkv", "sine=sample_rate=96000", codec("-c:a flac")),
        ("a51.ts", TONE, codec("-ac 6 -c:a ac3")),
        ("a71.mkv", TONE, codec("-ac 8 -c:a aac")),
        ("pcm.mov", TONE, codec("-c:a pcm_s24le")),
        ("opus.mkv", TONE, codec("-c:a libopus")),
        ("silent.mp4", "", codec("")),
    ] {
        let run = played(&odd(name, PICTURE, sound, &options));
        is(&run, (320, 180), 25.0, seconds(), 0.15);
        assert_eq!(
            run.stderr.contains("no sound"),
            sound.is_empty(),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn late_early_and_with_a_hole() {
    let late = format!("{H264} -af asetpts=PTS+1.5/TB");
    let hole = format!("{H264} -af aselect='not(between(t,1,2.5))'");
    for (name, options, silent, sounding) in [
        ("late.ts", &late, 0.2..1.4, 1.7..3.0),
        ("late.mp4", &late, 0.2..1.4, 1.7..3.0),
        ("hole.ts", &hole, 1.2..2.3, 2.7..3.5),
    ] {
        let run = played(&odd(name, PICTURE, TONE, options));
        let longest = seconds() + if name.starts_with("late") { 1.5 } else { 0.0 };
        is(&run, (320, 180), 25.0, longest, 0.3);
        let loud = loudness(&run);
        assert!(
            within(&loud, silent).all(|loud| loud < 100),
            "{name}: silence where there is none"
        );
        assert!(
            within(&loud, sounding).all(|loud| loud > 1000),
            "{name}: sound where there is some"
        );
    }
    let early = odd(
        "early.ts",
        PICTURE,
        TONE,
        &format!("{H264} -vf setpts=PTS+1.5/TB"),
    );
    is(&played(&early), (320, 180), 25.0, seconds(), 0.3);
}

#[test]
fn ends_at_different_times() {
    let options = |cut: &str| format!("{H264} {cut}");
    let half = seconds() / 2.0;
    // The pictures stop half way, and the last one stays until the sound is over.
    let picture = format!("{PICTURE}:duration={half}");
    let run = played(&odd("short-picture.ts", &picture, TONE, &options("")));
    is(&run, (320, 180), 25.0, seconds(), 0.3);
    assert!(within(&loudness(&run), half..seconds() - 0.3).all(|loud| loud > 1000));
    let sound = format!("{TONE}:duration={half}");
    let run = played(&odd("short-sound.mp4", PICTURE, &sound, &options("")));
    is(&run, (320, 180), 25.0, seconds(), 0.3);
}

/// Sound whose clock goes wrong by 0.3 %: it stays with the pictures, and it never breaks off.
#[test]
fn drift() {
    let length = seconds().max(20.0);
    for (name, pace) in [("slow.ts", "1.003"), ("fast.ts", "0.997")] {
        let sound = format!(
            "aevalsrc=exprs='(0.2+0.6*lt(mod(t\\,1)\\,0.2))*sin(2*PI*1000*t)':sample_rate=48000,asetpts=PTS*{pace}"
        );
        let input = clip(
            name,
            &[
                "-f",
                "lavfi",
                "-t",
                &length.to_string(),
                "-i",
                PICTURE,
                "-f",
                "lavfi",
                "-t",
                &length.to_string(),
                "-i",
                &sound,
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-c:a",
                "mp2",
            ],
        );
        let loud = loudness(&played(&input));
        let until = length * 0.99;
        assert!(
            within(&loud, 0.2..until).all(|loud| loud > 3000),
            "{name}: the tone breaks off"
        );
        let starts = (1..loud.len()).filter(|at| loud[*at] > 15_000 && loud[at - 1] <= 15_000);
        let pace: f64 = pace.parse().unwrap();
        for (number, at) in (1..).zip(starts.skip_while(|at| *at < 50)) {
            let (heard, due) = (at as f64 / 100.0, f64::from(number) * pace);
            if due < until {
                assert!(
                    (heard - due).abs() < 0.04,
                    "{name}: beep {number} at {heard} s, due at {due} s"
                );
            }
        }
    }
}

/// The loudest sample of each hundredth of a second.
fn loudness(run: &Run) -> Vec<u16> {
    let mut media = run.init.to_vec();
    for part in run.parts.iter().filter(|part| part.rung == 0) {
        media.extend_from_slice(&part.media);
    }
    let name = format!("loudness-{:p}.mp4", &raw const *run);
    let samples = decode(&name, &media, &["-ac", "1", "-f", "s16le", "-vn", "-"]);
    let samples: Vec<_> = samples
        .chunks_exact(2)
        .map(|octets| i16::from_le_bytes([octets[0], octets[1]]).unsigned_abs())
        .collect();
    samples
        .chunks(480)
        .map(|some| some.iter().copied().max().unwrap_or(0))
        .collect()
}

fn within(loud: &[u16], span: std::ops::Range<f64>) -> impl Iterator<Item = u16> + '_ {
    let at = |seconds: f64| ((seconds * 100.0) as usize).min(loud.len());
    loud[at(span.start)..at(span.end)].iter().copied()
}
