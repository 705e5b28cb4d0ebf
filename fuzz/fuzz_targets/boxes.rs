//! Media of others: an init section (its length in the first two octets), then a segment.

#![no_main]

use libfuzzer_sys::fuzz_target;
use media::{Init, avc, fragments, init_of_rung, jpeg, scte35, transmux};
use tools::validate::content;

fuzz_target!(|octets: &[u8]| {
    let Some((length, rest)) = octets.split_first_chunk::<2>() else {
        return;
    };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (init, segment) = rest.split_at(length);
    let _ = init_of_rung(init, segment);
    let _ = avc::sps(segment);
    let _ = avc::pps_ids(segment);
    let _ = scte35::splices(segment);
    let _ = jpeg::stack(&[segment, init]);
    let read = Init::parse(init).ok();
    let _ = content::read(segment, read.as_ref());
    let Some(read) = read else { return };
    if let Ok(found) = fragments(segment, &read) {
        for sample in found
            .iter()
            .flat_map(|one| &one.runs)
            .flat_map(|run| &run.samples)
        {
            assert!(
                sample.data.end <= segment.len(),
                "a sample outside of what was read"
            );
        }
    }
    if let Ok(ts) = transmux(&read, &[segment]) {
        assert_eq!(ts.len() % 188, 0, "half a packet");
        // What we make, a strict reader can read.
        if let Err(content::Unread::Broken(why)) = content::read(&ts, None) {
            assert!(ts.is_empty(), "{why}");
        }
    }
});
