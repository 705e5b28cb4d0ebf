//! A window as HLS text (draft-pantos-hls-rfc8216bis). Names are relative, so that the text is
//! the same on every node and, for viewers, the same for every viewer.

use std::fmt::{self, Write as _};

mod multivariant;
mod told;

pub use multivariant::{all_variants, one_variant};
pub use told::{Style, Taken, told};

use crate::{ladder::Ladder, segment::Segment, time::MediaTime, window::Window};

/// Whose media playlist it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum View {
    /// Under `v/{viewer}/`: names without a rung, which is chosen when the segment is asked for.
    Viewer,
    /// One rung by its canonical names, with parts; for relays, caches and players that adapt themselves.
    Canonical { rung: usize },
}

/// The media playlist of `window`.
pub fn media(window: &Window, view: View) -> String {
    let mut text = String::with_capacity(4096);
    write_media(&mut text, window, view).expect("a String takes all text");
    text
}

fn write_media(text: &mut String, window: &Window, view: View) -> fmt::Result {
    let format = window.format();
    let listed: Vec<_> = window.listed().collect();
    let open = window
        .open_segment()
        .filter(|_| matches!(view, View::Canonical { .. }));
    let names = Names {
        view,
        ladder: &format.ladder,
    };
    writeln!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{}",
        format.target_duration()
    )?;
    match view {
        View::Viewer => writeln!(text, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES")?,
        View::Canonical { .. } => writeln!(
            text,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={}\n#EXT-X-PART-INF:PART-TARGET={}",
            format.part * 3,
            format.part
        )?,
    }
    if let Some(first) = listed.first().copied().or(open) {
        let before = first.head.timeline - u64::from(first.head.discontinuity);
        writeln!(
            text,
            "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{before}",
            first.number()
        )?;
    }
    writeln!(text, "#EXT-X-INDEPENDENT-SEGMENTS")?;
    let parts_from = with_parts_from(
        &listed,
        MediaTime::from_seconds(format.target_duration() as f64) * 3,
    );
    let mut init = None;
    for (place, segment) in listed.iter().copied().chain(open).enumerate() {
        write_head(text, segment, &names, &mut init)?;
        if place >= parts_from {
            write_parts(text, segment, &names)?;
        }
        if segment.complete {
            writeln!(
                text,
                "#EXTINF:{},\n{}",
                segment.duration(),
                names.segment(segment)
            )?;
        }
    }
    if window.has_ended() {
        writeln!(text, "#EXT-X-ENDLIST")?;
    }
    Ok(())
}

fn write_head(
    text: &mut String,
    segment: &Segment,
    names: &Names<'_>,
    init: &mut Option<u64>,
) -> fmt::Result {
    let head = &segment.head;
    if head.discontinuity {
        writeln!(text, "#EXT-X-DISCONTINUITY")?;
    }
    if *init != Some(head.init.epoch.0) {
        *init = Some(head.init.epoch.0);
        writeln!(text, "#EXT-X-MAP:URI=\"{}\"", names.init(segment))?;
    }
    writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", head.date_time)
}

fn write_parts(text: &mut String, segment: &Segment, names: &Names<'_>) -> fmt::Result {
    if !matches!(names.view, View::Canonical { .. }) {
        return Ok(());
    }
    for (index, part) in segment.parts.iter().enumerate() {
        let independent = if part.independent {
            ",INDEPENDENT=YES"
        } else {
            ""
        };
        writeln!(
            text,
            "#EXT-X-PART:DURATION={},URI=\"{}\"{independent}",
            part.duration,
            names.part(segment, index)
        )?;
    }
    Ok(())
}

/// Parts are listed of the last three target durations only (RFC 8216bis section 4.4.4.9);
/// from which place on that is.
fn with_parts_from(listed: &[&std::sync::Arc<Segment>], span: MediaTime) -> usize {
    let mut length = MediaTime::ZERO;
    let old = listed.iter().rev().position(|segment| {
        length += segment.duration();
        length > span
    });
    listed.len() - old.unwrap_or(listed.len())
}

/// How media is called from within one view. A name never says which rungs there are to choose from.
struct Names<'a> {
    view: View,
    ladder: &'a Ladder,
}

impl Names<'_> {
    fn init(&self, segment: &Segment) -> String {
        let epoch = segment.head.init.epoch.0;
        match self.view {
            View::Viewer => format!("../../{epoch}/init.mp4"),
            View::Canonical { .. } => format!("{epoch}/init.mp4"),
        }
    }

    fn segment(&self, segment: &Segment) -> String {
        let number = segment.number();
        match self.view {
            View::Viewer => format!("{number}.m4s"),
            View::Canonical { rung } => format!("{}/{number}.m4s", self.folder(segment, rung)),
        }
    }

    fn part(&self, segment: &Segment, part: usize) -> String {
        let number = segment.number();
        match self.view {
            View::Viewer => format!("{number}.{part}.m4s"),
            View::Canonical { rung } => {
                format!("{}/{number}.{part}.m4s", self.folder(segment, rung))
            }
        }
    }

    fn folder(&self, segment: &Segment, rung: usize) -> String {
        format!(
            "{}/{}",
            segment.head.epoch.0,
            self.ladder.rungs()[rung].name
        )
    }
}

/// `EXT-X-MAP` in a playlist with pictures needs 6; nothing here needs more (RFC 8216bis section 8).
const VERSION: usize = 6;
