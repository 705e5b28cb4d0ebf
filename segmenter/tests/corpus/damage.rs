//! Files that are cut off, and files with one octet in a hundred turned to something else.

use super::{H264, PICTURE, RUNGS, TONE, odd};
use crate::support::{judge::check_or_refused, segment};

const KINDS: [(&str, &str); 5] = [
    ("mp4", H264),
    ("ts", H264),
    ("mkv", "-c:v libx264 -preset ultrafast -bf 2 -c:a libopus"),
    ("flv", H264),
    ("mpg", "-c:v mpeg2video -c:a mp2"),
];

#[test]
fn cut_off() {
    for (kind, options) in KINDS {
        let whole = std::fs::read(odd(&format!("whole.{kind}"), PICTURE, TONE, options)).unwrap();
        for percent in [0, 1, 10, 50, 99] {
            let name = format!("cut-{percent}.{kind}");
            judged(&name, &whole[..whole.len() * percent / 100]);
        }
    }
}

#[test]
fn one_octet_in_a_hundred() {
    for (kind, options) in KINDS {
        let whole = std::fs::read(odd(&format!("sound.{kind}"), PICTURE, TONE, options)).unwrap();
        for seed in 1..=6 {
            let mut octets = whole.clone();
            turn(&mut octets, seed);
            judged(&format!("turned-{seed}.{kind}"), &octets);
            // What lies at the front says what all the rest is; this time it is spared.
            octets[..4096].copy_from_slice(&whole[..4096]);
            judged(&format!("spared-{seed}.{kind}"), &octets);
        }
    }
}

fn judged(name: &str, octets: &[u8]) {
    let path = crate::support::scratch(name);
    std::fs::write(&path, octets).unwrap();
    let input = path.to_str().unwrap();
    let run = segment(&[&[input], &RUNGS[..]].concat());
    let end = run
        .end
        .as_ref()
        .unwrap_or_else(|| panic!("{name}: no last word; {}", run.stderr));
    println!(
        "{name}: {:.2} s, {:?}",
        crate::support::length(&run).seconds(),
        end.error
    );
    check_or_refused(&run, input);
    std::fs::remove_file(path).unwrap();
}

/// One octet in a hundred becomes another, the same ones each time (xorshift64).
fn turn(octets: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for octet in octets {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state.is_multiple_of(100) {
            *octet ^= (state >> 32) as u8 | 1;
        }
    }
}
