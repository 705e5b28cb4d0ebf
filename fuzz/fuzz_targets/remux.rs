//! MPEG-TS of others: whatever comes, what is made of it is CMAF that can be read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use media::{
    Init, fragments,
    remux::{self, Wanted},
};

fuzz_target!(|octets: &[u8]| {
    let Ok(programme) = remux::programme(octets) else {
        return;
    };
    let wanted = Wanted {
        programme: &programme,
        near: octets.len() as u64,
        length: 180_000,
        lead: None,
    };
    let Ok(made) = remux::remux(octets, &wanted) else {
        return;
    };
    // No more than comes in, and heads.
    assert!(made.media.len() <= octets.len() * 16 + 1024);
    let Ok(init) = remux::init(&programme) else {
        return;
    };
    let init = Init::parse(&init).expect("an init section");
    let read = fragments(&made.media, &init).expect("fragments");
    let samples = read.iter().flat_map(|one| &one.runs).flat_map(|run| &run.samples);
    assert!(samples.count() > 0);
    // As another rung's, with this one's sound.
    let lead = Some(&made.sound);
    let again = remux::remux(octets, &Wanted { lead, ..wanted }).expect("the same again");
    assert_eq!(again.media, made.media);
});
