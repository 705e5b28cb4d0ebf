//! What a segmenter, whole or crashing, says on its pipe: frames that are read are written and read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segmenter::wire::Frame;

fuzz_target!(|octets: &[u8]| {
    let mut input = octets.into();
    while let Ok(Some(frame)) = Frame::decode(&mut input) {
        let mut again = Default::default();
        // A number that JSON cannot say was read from JSON that said it in another way.
        if frame.encode(&mut again).is_err() {
            continue;
        }
        let read = Frame::decode(&mut again).expect("what was written can be read");
        // Fractions in JSON may differ in their last digit; only that they are read is looked at.
        let exact = matches!(frame, Frame::Init(_) | Frame::Part(_) | Frame::Still { .. } | Frame::End(_));
        assert!(read.is_some() && (!exact || read == Some(frame)));
        assert!(again.is_empty(), "octets are left over");
    }
});
