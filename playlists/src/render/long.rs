//! The long list: everything that can still be watched, for whoever wants to go back, and a programme
//! that has ended. What is history was written before; here it is put together with what is live.

use std::fmt::{self, Write as _};

use super::{GAP_VERSION, Names, SKIP_VERSION, View, skip_boundary, write_ranges, write_segment};
use crate::{
    history::History,
    segment::Segment,
    time::MediaTime,
    window::{Format, Window},
};

/// The whole list; with `delta`, without what its reader should have already.
pub(super) fn write(text: &mut String, window: &Window, view: View, delta: bool) -> fmt::Result {
    let format = window.format();
    let names = Names { view, format };
    let live: Vec<&Segment> = window
        .segments()
        .filter(|segment| segment.complete)
        .map(|segment| &**segment)
        .collect();
    let past = window.history().filter(|past| past.listed_count() > 0);
    let first = past.and_then(|past| past.listed().next());
    let first = first.map(|first| &**first).or(live.first().copied());
    // Where the live list begins there is history before, or it is all there is.
    let kept = if delta { within(&live, format) } else { None };
    let skipped = kept.map(|from| past.map_or(0, History::listed_count) + from);
    header(text, window, skipped.is_some())?;
    if let View::Long {
        from_beginning: true,
        ..
    } = view
    {
        writeln!(text, "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES")?;
    }
    if let Some(first) = first {
        let before = first.head.timeline - u64::from(first.head.discontinuity);
        writeln!(
            text,
            "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{before}",
            first.number()
        )?;
    }
    writeln!(text, "#EXT-X-INDEPENDENT-SEGMENTS")?;
    let older = past
        .into_iter()
        .flat_map(History::listed)
        .map(|segment| &**segment);
    let left_out: Vec<_> = match kept {
        Some(from) => older.chain(live[..from].iter().copied()).collect(),
        None => Vec::new(),
    };
    let mut before = None;
    if skipped.is_none() {
        write_ranges(text, window, &[], first.as_ref())?;
    }
    match (skipped, past) {
        (Some(skipped), _) => {
            writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
            write_ranges(text, window, &left_out, first.as_ref())?;
        }
        (None, Some(past)) => {
            write_past(text, past, &names)?;
            before = past.last().map(|last| &**last);
        }
        (None, None) => {}
    }
    for segment in live.iter().skip(kept.unwrap_or(0)) {
        write_segment(text, segment, before, &names, false)?;
        before = Some(segment);
    }
    if window.has_ended() {
        writeln!(text, "#EXT-X-ENDLIST")?;
    }
    Ok(())
}

/// What has ended changes no more. What has not may lose its oldest at any time, so that it is
/// no `EVENT` (RFC 8216bis section 4.4.3.5).
fn header(text: &mut String, window: &Window, delta: bool) -> fmt::Result {
    let format = window.format();
    // Whether there is a gap somewhere in hours nobody counts.
    let version = if delta { SKIP_VERSION } else { GAP_VERSION };
    writeln!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{}",
        format.target_duration()
    )?;
    if window.has_ended() {
        return writeln!(text, "#EXT-X-PLAYLIST-TYPE:VOD");
    }
    writeln!(
        text,
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={},HOLD-BACK={}",
        skip_boundary(format),
        format.target() * 3,
    )
}

fn write_past(text: &mut String, past: &History, names: &Names<'_>) -> fmt::Result {
    let start = text.len();
    let way = usize::from(names.view.is_transport());
    past.write_lines(text, way, |text, segment, before| {
        write_segment(text, segment, before, names, false).expect("a String takes all text");
    });
    // Its lines may rest on a segment that is not listed any more.
    let first = text[start..]
        .find("#EXTINF")
        .map_or(text.len(), |at| start + at);
    if !text[start..first].contains("#EXT-X-MAP")
        && let Some(init) = past.listed().next().and_then(|first| names.init(first))
    {
        text.insert_str(start, &format!("#EXT-X-MAP:URI=\"{init}\"\n"));
    }
    Ok(())
}

/// From which of the `live` segments on a delta writes them; `None` if none ends before the Skip Boundary.
fn within(live: &[&Segment], format: &Format) -> Option<usize> {
    let mut behind = MediaTime::ZERO;
    let old = live.iter().rev().position(|segment| {
        let old = behind > skip_boundary(format);
        behind += segment.duration();
        old
    });
    old.map(|old| live.len() - old)
}
