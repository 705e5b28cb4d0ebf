//! A storyboard as WebVTT: each cue names a piece of a picture, as players expect of thumbnails
//! (`#xywh=`, W3C Media Fragments). Which piece is `still`'s to say.

use std::fmt::{self, Write as _};

use crate::{
    still::{Cue, storyboard as cues},
    time::MediaTime,
    window::Window,
};

/// The storyboard of all that can still be watched of `window`, as seen from the stream. Times are counted from
/// segment `from`, or from the beginning of the long list.
pub fn storyboard(window: &Window, from: Option<u64>) -> String {
    let segments = window.listed_in_full().map(|segment| &**segment);
    let mut text = String::from("WEBVTT\n");
    for cue in cues(segments, from, window.format().segment) {
        write_cue(&mut text, &cue).expect("a String takes all text");
    }
    text
}

fn write_cue(text: &mut String, cue: &Cue) -> fmt::Result {
    let (start, end) = (Timestamp(cue.start), Timestamp(cue.end));
    let (name, top, width, height) = (cue.sprite.name(), cue.top, cue.width, cue.height);
    writeln!(
        text,
        "\n{start} --> {end}\n{name}#xywh=0,{top},{width},{height}"
    )
}

/// `hh:mm:ss.mmm` (WebVTT section 4.1).
struct Timestamp(MediaTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = (self.0.seconds() * 1000.0).round().max(0.0) as u64;
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{millis:03}")
    }
}
