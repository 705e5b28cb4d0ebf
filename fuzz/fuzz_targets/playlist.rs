//! Playlists of others, as relays and players read them: whatever they are, an answer, and one that makes sense.

#![no_main]

use libfuzzer_sys::fuzz_target;
use playlists::parse;

fuzz_target!(|text: &str| {
    let _ = parse::multivariant(text);
    let Ok(playlist) = parse::media(text) else {
        return;
    };
    for pair in playlist.segments.windows(2) {
        assert!(pair[0].number <= pair[1].number, "numbers go back");
        assert!(pair[0].timeline <= pair[1].timeline, "timelines go back");
        assert!(pair[0].uri.is_some(), "only the last may be open");
    }
});
